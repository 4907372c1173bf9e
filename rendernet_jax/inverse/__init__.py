"""Inverse rendering: pose, light, albedo and shape from a picture, by derivatives of the renderer."""

from rendernet_jax.inverse.candidates import Fit
from rendernet_jax.inverse.fitting import Settings, count_reports, fit, fit_all, fit_steps
from rendernet_jax.inverse.schedules import KNOWN, ROUNDS, fit_2018, fit_known
from rendernet_jax.inverse.shape import (
    ELEVATIONS,
    ShapeSettings,
    count_shape_reports,
    fit_shape,
    fit_shape_steps,
    grids,
)

__all__ = [
    "ELEVATIONS",
    "KNOWN",
    "ROUNDS",
    "Fit",
    "Settings",
    "ShapeSettings",
    "count_reports",
    "count_shape_reports",
    "fit",
    "fit_2018",
    "fit_all",
    "fit_known",
    "fit_shape",
    "fit_shape_steps",
    "fit_steps",
    "grids",
]
