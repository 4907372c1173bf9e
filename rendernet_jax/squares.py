"""The square about the object in a picture: what a network that sees single views looks at, and poses in it.

Poses in the square take it for the frame, and tell how the object looks as if the camera looked straight at its middle:
the square tells nothing of where it lies in a photo. :func:`to_frame` leads back. Pose vectors are those of
``inverse.unknowns.POSE``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.camera import Pose, rotation

MARGIN = 0.06  # of the square, on each side of the object's longer side
CHANNELS = 2  # the mask, and brightness as a share of twice its mean over the object


def crop(picture: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """What the network looks at, ``[size, size, CHANNELS]``, of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``.

    The mask must not be empty. Colour, albedo and brightness leave no trace but relative brightness.
    """
    grey = np.asarray(picture, np.float32).mean(-1, keepdims=True)
    return relative(cut(np.concatenate([mask, mask * grey], axis=-1), mask, size))


def square(mask: np.ndarray) -> np.ndarray:
    """Middle (x, y) and half the side, in the frame ``[-1, 1]^2``, of the square that :func:`cut` takes: ``[3]``.

    A mask ``[S, S, 1]``, which must not be empty, fills it but for margins.
    """
    rows, columns = (np.flatnonzero((mask[..., 0] > 0.5).any(axis)) for axis in (1, 0))
    x, y = (sign * ((side[0] + side[-1] + 1) / len(mask) - 1.0) for sign, side in ((1, columns), (-1, rows)))
    longer = max(side[-1] - side[0] + 1 for side in (rows, columns))
    return np.float32([x, y, longer / len(mask) / (1.0 - 2.0 * MARGIN)])


def cut(picture: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """The :func:`square` about the object of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``: ``[size, size, C]``."""
    x, y, half = square(mask)
    scale = size / (half * len(mask))  # of pixels
    shift = jnp.asarray([size / 2 - scale * len(mask) / 2 * (1.0 + place) for place in (-y, x)], jnp.float32)
    shape, picture = (size, size, picture.shape[-1]), np.asarray(picture, np.float32)
    return np.asarray(jax.image.scale_and_translate(picture, shape, (0, 1), jnp.full(2, scale), shift, "linear"))


def to_frame(poses: jax.Array, place: jax.Array) -> jax.Array:
    """Pose vectors ``[..., 7]`` in the frame, of those in a :func:`square` ``[3]``."""
    place = jnp.asarray(place, jnp.float32)
    scale, distance = poses[..., 3:4] + jnp.log(place[2]), poses[..., 6:] / place[2]
    moved = jnp.stack([place[axis] + place[2] * poses[..., 4 + axis] for axis in (0, 1)], axis=-1)
    return jnp.concatenate([_look_aside(poses[..., :3], distance * moved), scale, moved, distance], axis=-1)


def to_square(poses: jax.Array, place: jax.Array) -> jax.Array:
    """The way back from :func:`to_frame`, to first order in how far the camera looks aside, as that is."""
    place = jnp.asarray(place, jnp.float32)
    moved, distance = poses[..., 4:6], poses[..., 6:]
    angles = _look_aside(poses[..., :3], -distance * moved)
    middle = jnp.stack([(moved[..., axis] - place[axis]) / place[2] for axis in (0, 1)], axis=-1)
    return jnp.concatenate([angles, poses[..., 3:4] - jnp.log(place[2]), middle, distance * place[2]], axis=-1)


def _look_aside(angles: jax.Array, off: jax.Array) -> jax.Array:
    """Angles ``[..., 3]`` of what looks the same from a camera that looks past it, by ``off [..., 2]``, radians.

    To first order: a point at (x, y) from the middle and z nearer is then seen at (x, y) + off z.
    """
    right, up, back = jnp.moveaxis(rotation(Pose(*jnp.moveaxis(angles, -1, 0))), -2, 0)
    turned = back + off[..., :1] * right + off[..., 1:] * up
    right, up = right - off[..., :1] * back, up - off[..., 1:] * back
    azimuth = jnp.arctan2(turned[..., 0], turned[..., 2])
    azimuth = azimuth + 2.0 * jnp.pi * jnp.round((angles[..., 0] - azimuth) / (2.0 * jnp.pi))
    elevation = jnp.arctan2(turned[..., 1], jnp.hypot(turned[..., 0], turned[..., 2]))
    level = jnp.stack([jnp.cos(azimuth), jnp.zeros_like(azimuth), -jnp.sin(azimuth)], axis=-1)
    roll = jnp.arctan2(jnp.sum(up * level, -1), jnp.sum(right * level, -1))
    return jnp.stack([azimuth, elevation, roll], axis=-1)


def relative(picture: np.ndarray) -> np.ndarray:
    """Brightness that is premultiplied by the mask ``[S, S, 2]`` as a share of twice its mean over the object."""
    covered, shade = picture[..., :1], picture[..., 1:]
    mean = shade.sum() / max(float(covered.sum()), 1e-6)
    return np.concatenate([covered, np.clip(shade / max(2.0 * mean, 1e-6), 0.0, 2.0)], axis=-1)


def mirror(poses):
    """Pose vectors ``[..., 7]`` of things and pictures that are mirrored, left to right."""
    return poses * np.float32([-1, 1, -1, 1, -1, 1, 1]).reshape((1,) * (poses.ndim - 1) + (-1,))
