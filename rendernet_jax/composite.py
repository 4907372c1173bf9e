"""What a camera grid shows without any network: opacity, depth, normals and the cells around the surface.

These pictures give the projection unit analytic company. All are differentiable in the grid.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.conv import one_by_one

SLAB = (-4, 10)  # cells kept around the expected depth: four before it, nine behind
CHANNELS = 10 + SLAB[1] - SLAB[0]
FRONTS = (1, 4)  # powers of the transmittance by which colours are weighed: as seen, and more of the very front
REACH = 3  # columns beyond the last cell that holds something, in which lines and soft edges may be drawn
_OPAQUE = 0.999  # the most that a cell takes of the light
_FAR = -1.0  # q_z where a column is empty
_BAND = 2**20  # cells looked at together


def composite_weights(occupancy: jax.Array) -> jax.Array:
    """Front-to-back compositing weights (Max 1995, section 2) of occupancy ``[..., D]`` read as opacity per cell."""
    opacity = jnp.clip(occupancy, 0.0, _OPAQUE)
    return opacity * transmittance(opacity)


def transmittance(opacity: jax.Array) -> jax.Array:
    """Share of the light that passes all cells before each, of opacities ``[..., D]`` below 1."""
    depth = opacity.shape[-1]
    before = jnp.asarray(np.triu(np.ones((depth, depth), np.float32), 1))
    return jnp.exp(_matmul(jnp.log1p(-opacity), before))


def analytic_features(grid: jax.Array, columns: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pictures of a camera grid.

    Args:
        grid: occupancy ``[B, H, W, D]`` in [0, 1].
        columns: ``[B]``, how many columns of this width cross the whole frame; relates column width to cell depth.

    Returns:
        features ``[B, H, W, CHANNELS]``, expected q_z ``[B, H, W, 1]``, unit (or zero) normals ``[B, H, W, 3]``.
    """
    b, h, w, depth = grid.shape
    bands = next(n for n in range(1, h + 1) if h % n == 0 and (h // n * w * depth <= _BAND or n == h))
    split = grid.reshape(b, bands, h // bands, w, depth)
    nothing = jnp.zeros((b, 1, w, depth), jnp.float32)
    above = jnp.concatenate([nothing, split[:, :-1, -1]], axis=1)  # the row before each band, and the one after
    below = jnp.concatenate([split[:, 1:, 0], nothing], axis=1)
    sums = one_by_one(_sums_along_depth, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (split, above, below)))
    opacity, z, spread, gradient, slab, total, largest = (x.reshape(b, h, w, -1) for x in sums)

    ratio = (columns / depth)[:, None, None, None]
    normal = -gradient * jnp.concatenate([ratio, ratio, jnp.ones_like(ratio)], axis=-1)
    normal = normal / jnp.sqrt(jnp.sum(normal**2, axis=-1, keepdims=True) + 1e-4)
    features = [
        opacity,
        4.0 * z,
        spread,
        normal,
        total / 16.0,
        largest,
        jnp.broadcast_to(ratio - 1.0, opacity.shape),
        _edge(opacity, z),
        slab,
    ]
    return jnp.concatenate(features, axis=-1), z, normal


@functools.partial(jax.checkpoint, prevent_cse=False)  # else the backward pass keeps twelve times the camera grid
def _sums_along_depth(rows):
    """What a band of rows ``[R, W, D]``, between the rows above and below ``[W, D]``, shows; pictures ``[R, W, c]``."""
    grid, above, below = rows
    depth = grid.shape[-1]
    weights = composite_weights(grid)
    centres = 1.0 - (jnp.arange(depth, dtype=jnp.float32) + 0.5) * (2.0 / depth)
    moments = _matmul(weights, jnp.stack([jnp.ones_like(centres), centres, centres**2], axis=-1))
    opacity, first, second = jnp.split(moments, 3, axis=-1)
    z = (first + 1e-3 * _FAR) / (opacity + 1e-3)
    variance = jnp.maximum((second + 1e-3 * _FAR**2) / (opacity + 1e-3) - z**2, 0.0)
    gradient = _weighted_gradient(jnp.concatenate([above[None], grid, below[None]]), weights)
    sums = jnp.sum(grid, axis=-1, keepdims=True), jnp.max(grid, axis=-1, keepdims=True)
    return opacity, z, jnp.sqrt(variance + 1e-4), gradient, _slab(grid, z[..., 0]), *sums


def colour_features(grid: jax.Array) -> jax.Array:
    """Colours that a camera grid shows, weighed as each of :data:`FRONTS` says.

    Args:
        grid: ``[B, H, W, D, 1 + C]``: occupancy, and occupancy times colour, which is what must be sampled for a mean
            over a partly occupied surrounding to be a mean of what is there.

    Returns:
        ``[B, H, W, len(FRONTS) * C]``; 0 where a column is empty.
    """
    return one_by_one(_colours_along_depth, grid)


@functools.partial(jax.checkpoint, prevent_cse=False)
def _colours_along_depth(grid):
    """The same of one camera grid ``[H, W, D, 1 + C]``."""
    before = transmittance(jnp.clip(grid[..., 0], 0.0, _OPAQUE))
    ones = jnp.ones((grid.shape[2], 1), jnp.float32)
    colours = []
    for power in FRONTS:
        weights = before**power
        sums = [_matmul(weights * grid[..., channel], ones) for channel in range(grid.shape[3])]
        colours += [total / (sums[0] + 1e-3) for total in sums[1:]]
    return jnp.concatenate(colours, axis=-1)


def near_something(grid: jax.Array) -> jax.Array:
    """1 where any cell of ``[B, H, W, D]`` within :data:`REACH` columns holds something, else 0; ``[B, H, W, 1]``.

    Without a gradient: the pictures beside an empty cell have none either.
    """
    largest = jax.lax.stop_gradient(jnp.max(grid, axis=-1, keepdims=True))
    side = 2 * REACH + 1
    largest = jax.lax.reduce_window(largest, np.float32(0.0), jax.lax.max, (1, side, side, 1), (1, 1, 1, 1), "SAME")
    return (largest > 0).astype(jnp.float32)


def _weighted_gradient(grid: jax.Array, weights: jax.Array) -> jax.Array:
    """Central differences (right, up, nearer) of ``[1+R+1, W, D]``, averaged along depth by weights ``[R, W, D]``."""
    padded = jnp.pad(grid, ((0, 0), (1, 1), (1, 1)))
    middle = slice(1, -1)
    differences = [
        padded[middle, 2:, middle] - padded[middle, :-2, middle],
        padded[:-2, middle, middle] - padded[2:, middle, middle],
        padded[middle, middle, :-2] - padded[middle, middle, 2:],
    ]
    # Matrix products with ones: XLA's CPU backend runs the fused reduction 20 times slower.
    ones = jnp.ones((weights.shape[-1], 1), jnp.float32)
    return jnp.concatenate([_matmul(weights * difference, ones) for difference in differences], axis=-1)


# GPUs and TPUs round the factors of a product unless told not to; moments of depth cancel.
_matmul = functools.partial(jnp.matmul, precision="highest")


def _edge(opacity: jax.Array, z: jax.Array) -> jax.Array:
    """How far a column stands before the farthest of its four neighbours, squashed to [0, 1)."""
    padded = jnp.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    farthest = jnp.minimum(
        jnp.minimum(padded[:, 2:, 1:-1], padded[:, :-2, 1:-1]), jnp.minimum(padded[:, 1:-1, 2:], padded[:, 1:-1, :-2])
    )
    return opacity * jnp.tanh(8.0 * (z - farthest))


def _slab(grid: jax.Array, z: jax.Array) -> jax.Array:
    """Occupancy at fractional cells ``SLAB`` around the expected depth ``z`` ``[R, W]``, linearly interpolated."""
    depth = grid.shape[-1]
    position = (1.0 - z) * (depth / 2.0) - 0.5
    cell = jnp.floor(position)
    index = cell.astype(jnp.int32)[..., None] + jnp.arange(SLAB[0], SLAB[1] + 1).reshape(1, 1, -1)
    index = jnp.where(index < 0, depth, index)  # a negative index would count from the far end
    values = jnp.take_along_axis(grid, index, axis=-1, mode="fill", fill_value=0.0)
    fraction = (position - cell)[..., None]
    return values[..., :-1] * (1.0 - fraction) + values[..., 1:] * fraction
