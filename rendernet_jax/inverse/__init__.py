"""Inverse rendering: pose, light and albedo of a known shape in a picture, by derivatives of the renderer."""

from rendernet_jax.inverse.fitting import Fit, Settings, count_reports, fit, fit_steps

__all__ = ["Fit", "Settings", "count_reports", "fit", "fit_steps"]
