"""Inverse rendering: pose, light, albedo and shape from a picture, by derivatives of the renderer."""

from rendernet_jax.inverse.candidates import Fit
from rendernet_jax.inverse.carved import CarvedSettings, count_carved_reports, fit_carved, fit_carved_steps
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
from rendernet_jax.inverse.textured import (
    TextureSettings,
    coloured_grids,
    count_texture_reports,
    fit_textured,
    fit_textured_steps,
)
from rendernet_jax.inverse.textured_2018 import fit_textured_2018

__all__ = [
    "CarvedSettings",
    "ELEVATIONS",
    "KNOWN",
    "ROUNDS",
    "Fit",
    "Settings",
    "ShapeSettings",
    "TextureSettings",
    "coloured_grids",
    "count_carved_reports",
    "count_reports",
    "count_shape_reports",
    "count_texture_reports",
    "fit",
    "fit_2018",
    "fit_all",
    "fit_carved",
    "fit_carved_steps",
    "fit_known",
    "fit_shape",
    "fit_shape_steps",
    "fit_steps",
    "fit_textured",
    "fit_textured_2018",
    "fit_textured_steps",
    "grids",
]
