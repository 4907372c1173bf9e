"""Soft silhouettes of a grid, by compositing alone: cheap, smooth in the pose, and without any network."""

import jax
import jax.numpy as jnp

from rendernet_jax.camera import Pose
from rendernet_jax.inverse import least_squares, unknowns
from rendernet_jax.voxels import Window, camera_grid

_GAIN = 4.0  # of occupancy: a sheet that covers a quarter of its voxels is as opaque as any other
_MOST = 0.98  # opacity of a cell


def opaque(grid: jax.Array, side: int) -> jax.Array:
    """Occupancy ``[1, X, Y, Z, C]`` -> opacity of cells ``[1, side, side, side, 1]``, in which no thin part fades."""
    solid = jnp.clip(_GAIN * jnp.max(grid, axis=-1, keepdims=True), 0.0, 1.0)
    if solid.shape[1:4] == (side,) * 3:
        return solid
    return jax.image.resize(solid, (1, side, side, side, 1), "linear", antialias=True)


def silhouette(grid: jax.Array, pose: Pose, size: int, window: Window | None = None) -> jax.Array:
    """Covered fraction ``[N, size, size]`` of opacities ``[1, X, Y, Z, 1]``, see :func:`opaque`, at N poses."""
    cells = camera_grid(grid, pose, (size, size, size), window)[..., 0]
    return 1.0 - jnp.exp(jnp.sum(jnp.log1p(-_MOST * jnp.clip(cells, 0.0, 1.0)), axis=-1))


def search(
    grid: jax.Array, mask: jax.Array, starts: jax.Array, window: Window | None = None
) -> tuple[jax.Array, jax.Array]:
    """:func:`place` every start, and :func:`compare` its silhouette: pose vectors ``[N, 7]``, and losses ``[N]``."""
    placed = place(grid, mask, starts, window)
    return placed, compare(grid, mask, placed, window)


def place(grid: jax.Array, mask: jax.Array, starts: jax.Array, window: Window | None = None) -> jax.Array:
    """Scale and translate every start so that its silhouette has the mask's area and centroid.

    Args:
        grid: opacities ``[1, X, Y, Z, 1]``.
        mask: ``[S, S]`` in [0, 1].
        starts: pose vectors ``[N, 7]``.
        window: what the mask shows of the frame; all of it if None.

    Returns:
        the pose vectors moved so ``[N, 7]``.
    """
    size = mask.shape[0]
    wanted = _moments(mask[None], window)
    for _ in range(2):  # once more, since perspective and the frame's edge play a part
        found = _moments(silhouette(grid, unknowns.to_pose(starts), size, window), window)
        ratio = jnp.sqrt(wanted[0] / jnp.maximum(found[0], 1e-3))
        scale = starts[:, 3] + jnp.log(ratio)
        offset = wanted[1] - ratio[:, None] * (found[1] - starts[:, 4:6])
        moved = jnp.concatenate([starts[:, :3], scale[:, None], offset, starts[:, 6:]], axis=-1)
        starts = unknowns.clip_pose(moved)
    return starts


def compare(grid: jax.Array, mask: jax.Array, vectors: jax.Array, window: Window | None = None) -> jax.Array:
    """Mean squared difference ``[N]`` of the silhouettes at N pose vectors from the mask; see :func:`place`."""
    difference = silhouette(grid, unknowns.to_pose(vectors), mask.shape[0], window) - mask[None]
    return jnp.mean(difference**2, axis=(1, 2))


def turns(grid: jax.Array, count: int) -> jax.Array:
    """Angles ``[count]``, radians, by which opacities may be turned upright and are most like what they were.

    The axis goes through their centroid, not through the middle of their box, in which no three legs stand evenly.
    They are multiples of 15 degrees from 30 to 330. Local maxima of the soft IoU (sum of the lesser over sum of the
    greater) come first, the greatest before others.
    """
    angles = jnp.arange(24, dtype=jnp.float32) * (jnp.pi / 12.0)
    cells = jnp.sum(grid[0, ..., 0], axis=1)
    x, z = ((jnp.arange(n, dtype=jnp.float32) + 0.5) / n - 0.5 for n in cells.shape)
    total = jnp.maximum(jnp.sum(cells), 1e-6)
    x, z = jnp.sum(cells * x[:, None]) / total, jnp.sum(cells * z[None]) / total
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    centred = -2.0 * jnp.stack([cosine * x - sine * z, jnp.zeros_like(sine), sine * x + cosine * z], axis=-1)
    pose = Pose(azimuth=angles, scale=2.0, translation=centred)  # the cube fills the frame
    turned = camera_grid(grid, pose, grid.shape[1:4])
    lesser, greater = (jnp.sum(f(turned, turned[:1]), axis=(1, 2, 3, 4)) for f in (jnp.minimum, jnp.maximum))
    overlap = lesser / greater
    peak = (overlap >= jnp.roll(overlap, 1)) & (overlap >= jnp.roll(overlap, -1))
    order = jnp.argsort(-jnp.where(peak, 1.0 + overlap, overlap)[2:-1], stable=True)
    return angles[2:-1][order[:count]]


def refine(
    grid: jax.Array, mask: jax.Array, start: jax.Array, free: jax.Array, steps: int, window: Window | None = None
):
    """Move one pose vector ``[7]`` until its silhouette is the mask's ``[S, S]``: (vector, half mean square)."""

    def residuals(vector):
        return (silhouette(grid, unknowns.to_pose(vector), mask.shape[0], window)[0] - mask).reshape(-1)

    def linearise(vector):
        value, push = jax.linearize(residuals, vector)
        return value, jax.vmap(push)(jnp.eye(len(vector)))

    return least_squares.minimise(linearise, start, steps, unknowns.clip_pose, free)


def _moments(mask, window):
    """Area ``[N]`` and centroid ``[N, 2]`` (right, up) in the frame ``[-1, 1]^2`` of masks ``[N, S, S]``."""
    size, window = mask.shape[1], Window() if window is None else window
    cell = window.extent / size
    axis = ((jnp.arange(size, dtype=jnp.float32) + 0.5) * cell)[None, None]
    area = jnp.sum(mask, axis=(1, 2))
    right = jnp.sum(mask * (window.left + axis), axis=(1, 2)) / jnp.maximum(area, 1e-6)
    up = jnp.sum(mask * (window.top - jnp.swapaxes(axis, 1, 2)), axis=(1, 2)) / jnp.maximum(area, 1e-6)
    return area * cell**2, jnp.stack([right, up], axis=-1)
