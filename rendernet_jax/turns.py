"""One square about an object, turned, moved and shrunk a little: what is seen in each is as good as in the first.

The mean of what it says of all is nearer to the truth (Krizhevsky et al. 2012, section 4.1, has the idea for classes).
A turn is four numbers, as :data:`TURNS` has them; pictures and poses are those of :mod:`rendernet_jax.squares`.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

# Radians, logarithm of size, and halves of the side: small, since the network saw what stands upright and fills most of
# the square; never larger, so that nothing is cut off.
_ANGLE, _SMALLER, _MOVED = 0.04, -0.02, 0.008


def _make() -> np.ndarray:
    """Each angle and move with its opposite, so that what they do to first order cancels in the mean."""
    every = itertools.product((-_ANGLE, _ANGLE), (0.0, _SMALLER), (-_MOVED, _MOVED), (-_MOVED, _MOVED))
    return np.float32([(0.0, 0.0, 0.0, 0.0), *every])


# [17, 4]: by what angle, by what logarithm of size, and how far right and up; the first changes nothing.
TURNS = _make()


def turn(picture: jax.Array, turns: jax.Array) -> jax.Array:
    """A square ``[S, S, C]`` after turns ``[K, 4]``, about its middle: ``[K, S, S, C]``, 0 where it shows nothing."""
    side, channels = picture.shape[0], picture.shape[-1]
    line = (jnp.arange(side, dtype=jnp.float32) + 0.5) * (2.0 / side) - 1.0
    right, up = jnp.meshgrid(line, -line)

    def one(number):
        x, y = _back(number, right, up)
        rows, columns = (0.5 * side * (1.0 + axis) - 0.5 for axis in (-y, x))
        take = lambda channel: jax.scipy.ndimage.map_coordinates(channel, [rows, columns], order=1)  # noqa: E731
        return jnp.stack([take(picture[..., channel]) for channel in range(channels)], axis=-1)

    return jax.vmap(one)(turns)


def turn_back(poses: jax.Array, turns: jax.Array) -> jax.Array:
    """Poses in a square, of those ``[K, N, 7]`` that were seen in it after turns ``[K, 4]``."""
    turns = turns[:, None]
    x, y = _back(jnp.moveaxis(turns, -1, 0), poses[..., 4], poses[..., 5])
    changed = jnp.stack(
        [poses[..., 2] - turns[..., 0], poses[..., 3] - turns[..., 1], x, y, poses[..., 6] * jnp.exp(turns[..., 1])],
        axis=-1,
    )
    return jnp.concatenate([poses[..., :2], changed], axis=-1)


def _back(number, x, y):
    """Where the place (x, y) after a turn was before it."""
    angle, growth, right, up = number
    cos, sin, x, y = jnp.cos(angle), jnp.sin(angle), x - right, y - up
    shrink = jnp.exp(-growth)
    return shrink * (cos * x + sin * y), shrink * (cos * y - sin * x)
