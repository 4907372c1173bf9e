"""Soft silhouettes of a grid, by compositing alone: cheap, smooth in the pose, and without any network."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from rendernet_jax.camera import Pose
from rendernet_jax.inverse import least_squares, unknowns
from rendernet_jax.voxels import Window, frame_rays, over_poses, sample

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
    return over_poses(lambda grid, *view: _composite(grid, *frame_rays((size,) * 3, *view)), grid, pose, window)


def _composite(grid, origin, direction):
    """Covered fraction ``[S, S]`` of opacities ``[X, Y, Z, 1]`` along rays, see :func:`voxels.sample`."""
    cells = sample(len(origin[0]), grid, origin, direction)[..., 0]
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

    def move(_, starts):
        found = _moments(silhouette(grid, unknowns.to_pose(starts), size, window), window)
        ratio = jnp.sqrt(wanted[0] / jnp.maximum(found[0], 1e-3))
        scale = starts[:, 3] + jnp.log(ratio)
        offset = wanted[1] - ratio[:, None] * (found[1] - starts[:, 4:6])
        moved = jnp.concatenate([starts[:, :3], scale[:, None], offset, starts[:, 6:]], axis=-1)
        return unknowns.clip_pose(moved)

    return jax.lax.fori_loop(0, 2, move, starts)  # once more, since perspective and the frame's edge play a part


def compare(grid: jax.Array, mask: jax.Array, vectors: jax.Array, window: Window | None = None) -> jax.Array:
    """Mean squared difference ``[N]`` of the silhouettes at N pose vectors from the mask; see :func:`place`."""
    difference = silhouette(grid, unknowns.to_pose(vectors), mask.shape[0], window) - mask[None]
    return jnp.mean(difference**2, axis=(1, 2))


def turns(cells: np.ndarray, count: int) -> np.ndarray:
    """Angles ``[count]``, radians, by which opacities may be turned upright and are most like what they were.

    The axis goes through their centroid, not through the middle of their box, in which no three legs stand evenly.
    They are multiples of 15 degrees from 30 to 330. Local maxima of the soft IoU (sum of the lesser over sum of the
    greater) come first, the greatest before others.

    Args:
        cells: ``[X, Y, Z]``.
        count: how many.
    """
    cells = np.asarray(cells)
    angles = np.arange(24, dtype=np.float32) * np.float32(np.pi / 12.0)
    centroid = np.asarray(scipy.ndimage.center_of_mass(cells + 1e-9))  # of nothing, too

    def overlap(angle):
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
        # Not "constant", which drops a border cell that rounding moves out of the grid.
        offset = centroid - back @ centroid
        turned = scipy.ndimage.affine_transform(cells, back, offset, order=1, mode="grid-constant")
        return np.minimum(turned, cells).sum() / max(np.maximum(turned, cells).sum(), 1e-6)

    alike = np.array([overlap(angle) for angle in angles])
    peak = (alike >= np.roll(alike, 1)) & (alike >= np.roll(alike, -1))
    order = np.argsort(-np.where(peak, 1.0 + alike, alike)[2:-1], kind="stable")
    return angles[2:-1][order[:count]]


def refine(
    grid: jax.Array, mask: jax.Array, start: jax.Array, free: jax.Array, steps: int, window: Window | None = None
):
    """Move one pose vector ``[7]`` until its silhouette is the mask's ``[S, S]``: (vector, half mean square)."""

    def look(vector):
        covered, derivatives = linearise(grid, vector, mask.shape[0], window)
        return (covered - mask).reshape(-1), derivatives.reshape(len(vector), -1)

    return least_squares.minimise(look, start, steps, unknowns.clip_pose, free)


def linearise(
    grid: jax.Array, vector: jax.Array, size: int, window: Window | None = None
) -> tuple[jax.Array, jax.Array]:
    """:func:`silhouette` ``[size, size]`` at a pose vector ``[7]``, and its derivatives ``[7, size, size]``."""
    window = Window() if window is None else window
    rays, push = jax.linearize(lambda vector: frame_rays((size,) * 3, unknowns.to_pose(vector), window), vector)
    moved = jax.vmap(push)(jnp.eye(len(vector)))
    # What covers a pixel depends on its own ray alone: the derivatives of the sum by all rays are those of the pixels.
    covered, pull = jax.vjp(lambda rays: _composite(grid[0], *rays), rays)
    (slopes,) = pull(jnp.ones_like(covered))
    return covered, sum(jax.tree.leaves(jax.tree.map(lambda slope, by: slope[None] * by, slopes, moved)))


def _moments(mask, window):
    """Area ``[N]`` and centroid ``[N, 2]`` (right, up) in the frame ``[-1, 1]^2`` of masks ``[N, S, S]``."""
    size, window = mask.shape[1], Window() if window is None else window
    cell = window.extent / size
    axis = ((jnp.arange(size, dtype=jnp.float32) + 0.5) * cell)[None, None]
    area = jnp.sum(mask, axis=(1, 2))
    right = jnp.sum(mask * (window.left + axis), axis=(1, 2)) / jnp.maximum(area, 1e-6)
    up = jnp.sum(mask * (window.top - jnp.swapaxes(axis, 1, 2)), axis=(1, 2)) / jnp.maximum(area, 1e-6)
    return area * cell**2, jnp.stack([right, up], axis=-1)
