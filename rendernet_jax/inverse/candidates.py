"""What a fit finds: a few candidates, the best first, and what is done with such lists."""

import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.camera import Light, Pose, rotation
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.voxels import Window

_ALIKE = 32  # pixels, of which sides of pictures are multiples, so that few programs are compiled
_APART = 0.12  # radians between candidates that count as different


@flax.struct.dataclass
class Fit:
    """What was found in one picture so far; the first candidate is the best, the others show what else it might be."""

    candidates: Unknowns  # [K, ...]
    losses: jax.Array  # [K]
    stage: str = flax.struct.field(pytree_node=False, default="")

    @property
    def best(self) -> Unknowns:
        """The best candidate."""
        return take(self.candidates, 0)

    @property
    def pose(self) -> Pose:
        """Pose of the best candidate."""
        return unknowns.to_pose(self.best.pose)

    @property
    def light(self) -> Light:
        """Light of the best candidate."""
        return unknowns.to_light(self.best.light)


# Both by NumPy: JAX would compile a program for each number of candidates.
def take(candidates, index):
    """Some of the candidates, or one: every array indexed along its first axis."""
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[index]), candidates)


def join(*lists):
    """Several lists of candidates as one: arrays one after the other along their first axes."""
    return jax.tree.map(lambda *parts: jnp.asarray(np.concatenate(parts)), *lists)


def ranked(candidates: Unknowns, losses, stage: str) -> Fit:
    """Candidates in the order of their losses."""
    order = np.argsort(np.asarray(losses), kind="stable")
    return Fit(*take((candidates, losses), order), stage)


def different(vectors, losses, count: int) -> np.ndarray:
    """Indices of the ``count`` best pose vectors ``[N, 7]``, each turned by 7 degrees or more against the others."""
    turns = np.asarray(_rotations(vectors))
    chosen: list[int] = []
    for index in np.argsort(np.asarray(losses), kind="stable"):
        cosines = [(np.sum(turns[index] * turns[other]) - 1.0) / 2.0 for other in chosen]
        if all(cosine < np.cos(_APART) for cosine in cosines):
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return np.asarray(chosen)


def pick(vectors, losses, count: int) -> np.ndarray:
    """``count`` indices whatever there is, so that programs are compiled once: different ones first, then the best."""
    first = different(vectors, losses, count)
    rest = [index for index in np.argsort(np.asarray(losses), kind="stable") if index not in first]
    return np.asarray([*first, *rest][:count])


@functools.partial(jax.jit, static_argnames="size")
def resize(picture, size: int) -> jax.Array:
    """Picture ``[S, S, C]`` at ``size`` pixels a side, averaged where it shrinks."""
    return jax.image.resize(jnp.asarray(picture, jnp.float32), (size, size, picture.shape[-1]), "linear")


def surround(mask, margin: float = 2.0) -> Window:
    """Square about the object in a mask ``[S, S, 1]``, ``margin`` times as wide as it: the frame at most.

    It is as deep as twice the object is wide.
    """
    size = mask.shape[0]
    rows, columns = (np.flatnonzero(np.any(np.asarray(mask[..., 0]) > 0.5, axis=axis)) for axis in (1, 0))
    first, last = (np.asarray([columns[end], rows[end]]) for end in (0, -1))
    width = 2.0 * (last - first + 1).max() / size
    if margin * width >= 2.0:
        return Window(*map(np.float32, (-1.0, 1.0, 2.0, 1.0)))
    x, y = (first + last + 1) / size - 1.0
    half = 0.5 * margin * width
    return Window(*map(np.float32, (x - half, -y + half, 2.0 * half, min(width, 1.0))))


@functools.partial(jax.jit, static_argnames=("size", "beyond"))
def crop(picture, window: Window, size: int, beyond: float) -> jax.Array:
    """What a window shows of a picture ``[S, S, C]``, at ``size`` pixels a side, averaged where it shrinks.

    Args:
        beyond: the value of what lies outside the picture.
    """
    scale = 2.0 * size / (window.extent * picture.shape[0])
    offset = -jnp.stack([1.0 - window.top, window.left + 1.0]) * (size / window.extent)
    shape = (size, size, picture.shape[-1])
    moved = jax.image.scale_and_translate(
        jnp.asarray(picture, jnp.float32) - beyond, shape, (0, 1), jnp.full(2, scale), offset, "linear"
    )
    return moved + beyond


@functools.partial(jax.jit, static_argnames="size")
def crop_both(picture, mask, window: Window, size: int) -> tuple[jax.Array, jax.Array]:
    """What a window shows of a picture on white ``[S, S, C]`` and of a mask ``[S, S, 1]``, as :func:`crop` does."""
    return crop(picture, window, size, 1.0), crop(mask, window, size, 0.0)


def crop_pixels(picture, mask, window: Window, size: int) -> tuple[np.ndarray, np.ndarray, Window]:
    """What a window shows of a picture on white ``[S, S, C]`` and of a mask ``[S, S, 1]``, not resampled.

    Returns:
        both, ``[N, N, ...]``, each pixel the mean of a square of so many of the picture's that what the window shows
        has ``size`` on a side at most; and what they show, a little more than the window.
    """
    shown = 0.5 * float(window.extent) * len(picture)
    factor = math.ceil(shown / size)
    width, side = 2.0 * factor / len(picture), _ALIKE * math.ceil((shown / factor + 1.0) / _ALIKE)
    beyond = 0.5 * (side - shown / factor)
    top, left = (round(place / width - beyond) for place in (1.0 - float(window.top), 1.0 + float(window.left)))
    shrunk = []
    for image, outside in ((picture, 1.0), (mask, 0.0)):
        spans = [(factor * first, factor * (first + side)) for first in (top, left)]
        inside = tuple(slice(max(0, start), max(0, stop)) for start, stop in spans)
        pads = [(max(0, -start), max(0, stop - len(image))) for start, stop in spans]
        seen = np.pad(np.asarray(image)[inside], (*pads, (0, 0)), constant_values=outside)
        blocks = seen.reshape(side, factor, side, factor, -1)
        shrunk.append(blocks.mean((1, 3)))
    return *shrunk, Window(*map(np.float32, (width * left - 1.0, 1.0 - width * top, width * side, window.depth)))


def prepare(picture, mask) -> tuple[jax.Array, jax.Array]:
    """The object alone on white, and its mask, ``[S, S, C]`` and ``[S, S, 1]``.

    Raises:
        InputError: shapes that do not fit, or an empty mask.
    """
    shape = jnp.shape(picture)
    if len(shape) != 3 or shape[0] != shape[1] or jnp.shape(mask) != (*shape[:2], 1):
        raise InputError(
            f"picture, mask: expected [S, S, C] and [S, S, 1], got {shape} and {jnp.shape(mask)}; pad to a square"
        )
    if not np.any(np.asarray(mask) > 0.5):
        raise InputError("mask: expected a pixel that the object covers, got none; give another mask")
    picture, mask = (np.asarray(each, np.float32) for each in (picture, mask))
    return jnp.asarray(mask * picture + (1.0 - mask)), jnp.asarray(mask)


def check_start(start: dict, fixed: tuple[str, ...]) -> None:
    """Raise InputError if an unknown is to be held that is not given."""
    if missing := [name for name in fixed if name not in start]:
        raise InputError(
            f"fixed: expected a value in start for {', '.join(missing)}, got none; give one or let it free"
        )


def check_network(config) -> None:
    """Raise InputError unless a network draws normals and masks."""
    if missing := [name for name in ("normal", "mask") if name not in dict(config.heads)]:
        raise InputError(
            f"network {config.name!r}: expected the heads normal and mask, got no {missing[0]}; use others"
        )


def given(start: dict) -> dict:
    """Light and albedo of a start as vectors, None where there is none."""
    return {
        "light": unknowns.from_light(start["light"]) if "light" in start else None,
        "albedo": jnp.asarray(start["albedo"], jnp.float32) if "albedo" in start else None,
    }


# --- compiled as a whole: alone each operation would be a program to compile ------------------------------------------

_rotations = jax.jit(lambda vectors: rotation(unknowns.to_pose(vectors)))
