"""Inverse rendering: pose, light and appearance (and shape) of what a picture shows, by gradients of the renderer."""

from rendernet_jax.inverse.fit import Fit, Settings, count_reports, fit, fit_steps

__all__ = ["Fit", "Settings", "count_reports", "fit", "fit_steps"]
