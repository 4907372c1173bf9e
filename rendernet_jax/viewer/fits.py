"""A fit as the viewer shows it: step by step, each a look at an object."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np

from rendernet_jax import inverse
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.photo import Photo
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.viewer.painter import Painter


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """The best that a fit has found so far."""

    stage: str
    done: float  # share of the whole, 0 to 1
    loss: float
    pose: Pose
    light: Light
    albedo: tuple[float, ...]
    grid: np.ndarray | None = None  # [1, X, Y, Z, 1], where the shape is fitted, too


def fit_known_shape(painter: Painter, photo: Photo, grid: np.ndarray) -> Iterator[Step]:
    """Pose, light and albedo of a shape ``[1, X, Y, Z, 1]`` in a photo; raises what ``inverse.fit_steps`` raises."""
    settings = inverse.Settings()
    steps = inverse.fit_steps(painter.params, painter.config, photo.picture, photo.mask, grid, settings)
    return follow(steps, inverse.count_reports(settings))


def follow(
    fits: Iterator[inverse.Fit], count: int, shape: Callable[[Unknowns], jax.Array] | None = None
) -> Iterator[Step]:
    """The steps of any fit that tells ``count`` times what it found; ``shape`` decodes the grid where it is fitted."""
    for number, found in enumerate(fits, 1):
        best = found.best
        yield Step(
            stage=found.stage,
            done=min(1.0, number / count),
            loss=float(found.losses[0]),
            pose=_plain(found.pose),
            light=_plain(found.light),
            albedo=_three(np.asarray(best.albedo)),
            grid=None if shape is None else np.asarray(shape(best)),
        )


def _plain(item):
    """A pose or light of plain numbers."""
    return type(item)(
        **{
            field.name: tuple(map(float, value)) if np.ndim(value := getattr(item, field.name)) else float(value)
            for field in dataclasses.fields(item)
        }
    )


def _three(albedo: np.ndarray) -> tuple[float, ...]:
    """Red, green, blue, no brighter than a picture can be."""
    return tuple(float(x) for x in np.clip(np.broadcast_to(albedo, 3), 0.0, 1.0))
