"""Object grid and pose -> camera grid: rigid transform and trilinear sampling, differentiable in both.

An object grid ``[B, X, Y, Z, C]`` fills the object cube ``[-.5, .5]^3``: voxel (i, j, k) is centred at
``((i+.5)/X-.5, (j+.5)/Y-.5, (k+.5)/Z-.5)``. A camera grid ``[B, H, W, D, C]`` has row 0 at the top, column 0 at the
left and depth 0 nearest to the viewer, and is uniform in q_z; outside the object grid it is 0.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from rendernet_jax.camera import Pose, broadcast, unproject
from rendernet_jax.errors import InputError


@flax.struct.dataclass
class Window:
    """Square part of the frame ``[-1, 1]^2`` that is looked at; training draws patches through it."""

    left: jax.Array | float = -1.0  # [...], smallest q_x
    top: jax.Array | float = 1.0  # [...], largest q_y
    extent: jax.Array | float = 2.0  # [...], side


def frame_axes(shape: tuple[int, int, int], window: Window) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cell centres of a camera grid over one window: q_x ``[1, W, 1]`` and q_y ``[H, 1, 1]`` after perspective, q_z."""
    rows, columns, depth = shape
    x = window.left + (jnp.arange(columns, dtype=jnp.float32) + 0.5) * (window.extent / columns)
    y = window.top - (jnp.arange(rows, dtype=jnp.float32) + 0.5) * (window.extent / rows)
    z = 1.0 - (jnp.arange(depth, dtype=jnp.float32) + 0.5) * (2.0 / depth)
    return x[None, :, None], y[:, None, None], z[None, None, :]


def check_grid(grid) -> None:
    """Raise InputError unless ``grid`` is ``[B, X, Y, Z, C]`` with no empty axis."""
    shape = jnp.shape(grid)
    if len(shape) != 5 or 0 in shape:
        raise InputError(f"grid: expected [B, X, Y, Z, C], got {shape}; add batch and channel axes")


def camera_grid(grid: jax.Array, pose: Pose, shape: tuple[int, int, int], window: Window | None = None) -> jax.Array:
    """Sample object grids in the camera frame.

    Args:
        grid: ``[B, X, Y, Z, C]``, B equal to the number of poses, or 1: then all poses share the one grid in memory.
        pose: fields ``[N]`` or scalars.
        shape: (H, W, D) of the result.
        window: part of the frame, fields ``[N]`` or scalars; the whole frame if None.

    Returns:
        float32 ``[N, H, W, D, C]``.

    Raises:
        InputError: the grid has no five axes, or its batch does not fit the poses.
    """
    check_grid(grid)
    grid = jnp.asarray(grid, jnp.float32)  # sampling integers would round
    pose = broadcast(pose)
    window = _broadcast_window(Window() if window is None else window)
    counts = {n for n in (*pose.azimuth.shape, *window.extent.shape, grid.shape[0]) if n != 1}
    if pose.azimuth.ndim > 1 or window.extent.ndim > 1 or len(counts) > 1:
        raise InputError(
            f"grid: expected one grid, or one for each pose, got {grid.shape[0]} grids, poses of shape "
            f"{pose.azimuth.shape} and windows of shape {window.extent.shape}; repeat or split them"
        )
    count = counts.pop() if counts else 1
    window = jax.tree.map(lambda x: jnp.broadcast_to(x, count), window)
    pose = broadcast(pose.replace(azimuth=jnp.broadcast_to(pose.azimuth, count)))

    def sample(one_grid, one_pose, one_window):
        points = unproject(*frame_axes(shape, one_window), one_pose)
        index = [_snap((p + 0.5) * size - 0.5, 1e-6 * size) for p, size in zip(points, grid.shape[1:4], strict=True)]
        channels = [map_coordinates(one_grid[..., c], index, order=1, mode="constant") for c in range(grid.shape[4])]
        return jnp.stack(channels, axis=-1)

    if grid.shape[0] == 1:
        return jax.vmap(lambda p, w: sample(grid[0], p, w))(pose, window)
    return jax.vmap(sample)(grid, pose, window)


def _broadcast_window(window: Window) -> Window:
    fields = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float32) for x in (window.left, window.top, window.extent)))
    return Window(*fields)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _snap(index: jax.Array, tolerance: float) -> jax.Array:
    """Move indices within rounding error of a voxel centre onto it; the derivative is 1.

    A compiler may evaluate an index twice, rounded differently. Left beside a voxel centre, its integer part could then
    come from one side and its remainder from the other: a sample one voxel off. At the edge of the tolerance the same
    split costs no more than the tolerance. Quarter turns are exact because of it.
    """
    nearest = jnp.round(index)
    return jnp.where(jnp.abs(index - nearest) < tolerance, nearest, index)


@_snap.defjvp
def _snap_jvp(tolerance, primals, tangents):
    return _snap(*primals, tolerance), tangents[0]
