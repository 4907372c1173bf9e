"""A fit as the viewer shows it: step by step, each a look at an object."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np

from rendernet_jax import inverse, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.inputs import Object
from rendernet_jax.data.photo import Photo
from rendernet_jax.data.references import surface_of
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.viewer.painter import Painter

WITH_SHAPE = "shape, too (seats alone)"
KINDS = ("view and light, of this object", WITH_SHAPE)


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


def start(kind: str, painter: Painter, photo: Photo, thing: Object) -> Iterator[Step]:
    """Steps of a fit to a photo, of one of :data:`KINDS`: of the shape that is shown, or of any.

    Raises:
        InputError: what the photo or the network cannot be fitted with; see ``inverse.fit_steps``.
    """
    return _fit_shape(painter, photo) if kind == WITH_SHAPE else _fit_known_shape(painter, photo, thing)


def _fit_known_shape(painter: Painter, photo: Photo, thing: Object) -> Iterator[Step]:
    settings, surface = inverse.Settings(), None if thing.mesh is None else surface_of(thing.mesh)
    seen = photo.picture, photo.mask, thing.grid
    steps = inverse.fit_steps(painter.params, painter.config, *seen, settings, surface=surface)
    return follow(steps, inverse.count_reports(settings, surface is not None))


def _fit_shape(painter: Painter, photo: Photo) -> Iterator[Step]:
    sight, settings = weights.load_single_view(), inverse.CarvedSettings()
    steps = inverse.fit_carved_steps(painter.params, painter.config, sight, photo.picture, photo.mask, settings)
    return follow(steps, inverse.count_carved_reports(settings), lambda point: point.cells[None])


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
