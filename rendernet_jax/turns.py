"""One square about an object, turned, moved and grown a little: what a network says of each is as good as of the first.

The mean of what it says of all is nearer to the truth (Krizhevsky et al. 2012, section 4.1, has the idea for classes).
A turn is four numbers, as :data:`TURNS` has them; pictures and poses are those of :mod:`rendernet_jax.squares`.
"""

import jax
import jax.numpy as jnp
import numpy as np

_COUNT = 16
# Standard deviations: angle, radians; logarithm of size; places, in halves of the side. Most are a little smaller, so
# that little is cut off.
_SPREAD, _MIDDLE = (0.1, 0.02, 0.008, 0.008), (0.0, -0.02, 0.0, 0.0)


def _make() -> np.ndarray:
    turns = np.random.default_rng(0).normal(_MIDDLE, _SPREAD, (_COUNT, 4)).astype(np.float32)
    turns[0] = 0.0
    return turns


TURNS = _make()  # [K, 4]: by what angle, by what logarithm of size, and how far right and up; the first changes nothing


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
