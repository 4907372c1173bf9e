"""Soft silhouettes of a grid, by compositing alone: cheap, smooth in the pose, and without any network."""

import jax
import jax.numpy as jnp

from rendernet_jax.camera import Pose
from rendernet_jax.inverse import least_squares, unknowns
from rendernet_jax.voxels import camera_grid

_GAIN = 4.0  # of occupancy: a sheet that covers a quarter of its voxels is as opaque as any other
_MOST = 0.98  # opacity of a cell


def opaque(grid: jax.Array, side: int) -> jax.Array:
    """Occupancy ``[1, X, Y, Z, C]`` -> opacity of cells ``[1, side, side, side, 1]``, in which no thin part fades."""
    solid = jnp.clip(_GAIN * jnp.max(grid, axis=-1, keepdims=True), 0.0, 1.0)
    if solid.shape[1:4] == (side,) * 3:
        return solid
    return jax.image.resize(solid, (1, side, side, side, 1), "linear", antialias=True)


def silhouette(grid: jax.Array, pose: Pose, size: int) -> jax.Array:
    """Covered fraction ``[N, size, size]`` of opacities ``[1, X, Y, Z, 1]``, see :func:`opaque`, at N poses."""
    cells = camera_grid(grid, pose, (size, size, size))[..., 0]
    return 1.0 - jnp.exp(jnp.sum(jnp.log1p(-_MOST * jnp.clip(cells, 0.0, 1.0)), axis=-1))


def search(grid: jax.Array, mask: jax.Array, starts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scale and translate every start so that its silhouette has the mask's area and centroid, and compare.

    Args:
        grid: opacities ``[1, X, Y, Z, 1]``.
        mask: ``[S, S]`` in [0, 1].
        starts: pose vectors ``[N, 7]``.

    Returns:
        the pose vectors moved so, and the mean squared difference of each silhouette ``[N]``.
    """
    size = mask.shape[0]
    wanted = _moments(mask[None])
    for _ in range(2):  # once more, since perspective and the frame's edge play a part
        found = _moments(silhouette(grid, unknowns.to_pose(starts), size))
        ratio = jnp.sqrt(wanted[0] / jnp.maximum(found[0], 1e-3))
        scale = starts[:, 3] + jnp.log(ratio)
        offset = wanted[1] - ratio[:, None] * (found[1] - starts[:, 4:6])
        moved = jnp.concatenate([starts[:, :3], scale[:, None], offset, starts[:, 6:]], axis=-1)
        starts = unknowns.clip_pose(moved)
    return starts, compare(grid, mask, starts)


def compare(grid: jax.Array, mask: jax.Array, vectors: jax.Array) -> jax.Array:
    """Mean squared difference ``[N]`` of the silhouettes at N pose vectors from the mask; see :func:`search`."""
    difference = silhouette(grid, unknowns.to_pose(vectors), mask.shape[0]) - mask[None]
    return jnp.mean(difference**2, axis=(1, 2))


def refine(grid: jax.Array, mask: jax.Array, start: jax.Array, free: jax.Array, steps: int):
    """Move one pose vector ``[7]`` until its silhouette is the mask's ``[S, S]``: (vector, half mean square)."""
    residuals = lambda vector: (silhouette(grid, unknowns.to_pose(vector), mask.shape[0])[0] - mask).reshape(-1)  # noqa: E731

    def linearise(vector):
        value, push = jax.linearize(residuals, vector)
        return value, jax.vmap(push)(jnp.eye(len(vector)))

    return least_squares.minimise(linearise, start, steps, unknowns.clip_pose, free)


def _moments(mask):
    """Area ``[N]`` and centroid ``[N, 2]`` (right, up) in the frame ``[-1, 1]^2`` of masks ``[N, S, S]``."""
    size = mask.shape[1]
    axis = ((jnp.arange(size, dtype=jnp.float32) + 0.5) * (2.0 / size) - 1.0)[None, None]
    area = jnp.sum(mask, axis=(1, 2))
    right = jnp.sum(mask * axis, axis=(1, 2)) / jnp.maximum(area, 1e-6)
    up = jnp.sum(mask * -jnp.swapaxes(axis, 1, 2), axis=(1, 2)) / jnp.maximum(area, 1e-6)
    return area * (4.0 / size**2), jnp.stack([right, up], axis=-1)
