"""Object grid and pose -> camera grid: rigid transform and trilinear sampling, differentiable in both.

An object grid ``[B, X, Y, Z, C]`` fills the object cube ``[-.5, .5]^3``: voxel (i, j, k) is centred at
``((i+.5)/X-.5, (j+.5)/Y-.5, (k+.5)/Z-.5)``. A camera grid ``[B, H, W, D, C]`` has row 0 at the top, column 0 at the
left and depth 0 nearest to the viewer, and is uniform in q_z; outside the object grid it is 0.
"""

import functools
import itertools
import math

import flax.struct
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.scipy.ndimage import map_coordinates

from rendernet_jax import camera
from rendernet_jax.camera import Pose, broadcast
from rendernet_jax.conv import one_by_one
from rendernet_jax.errors import InputError

_BORDER = 2  # voxels of nothing around the grid
_BANDS = 16  # of rows


@flax.struct.dataclass
class Window:
    """Square part of the frame ``[-1, 1]^2`` that is looked at: patches in training, small objects in fits."""

    left: jax.Array | float = -1.0  # [...], smallest q_x
    top: jax.Array | float = 1.0  # [...], largest q_y
    extent: jax.Array | float = 2.0  # [...], side
    depth: jax.Array | float = 1.0  # [...], largest abs(q_z) that is looked at


def frame_axes(shape: tuple[int, int, int], window: Window) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cell centres of a camera grid over one window: q_x ``[1, W, 1]`` and q_y ``[H, 1, 1]`` after perspective, q_z."""
    rows, columns, depth = shape
    x = window.left + (jnp.arange(columns, dtype=jnp.float32) + 0.5) * (window.extent / columns)
    y = window.top - (jnp.arange(rows, dtype=jnp.float32) + 0.5) * (window.extent / rows)
    return x[None, :, None], y[:, None, None], _depths(depth) * window.depth


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

    def one(grid, pose, window):
        return sample(shape[2], grid, *frame_rays(shape, pose, window))

    return over_poses(one, grid, pose, window)


def frame_rays(shape: tuple[int, int, int], pose: Pose, window: Window) -> tuple[list[jax.Array], list[jax.Array]]:
    """Columns of a camera grid in the object frame: what :func:`sample` takes, of one pose and one window."""
    x, y, _ = frame_axes(shape, window)
    broadcast = lambda r: jnp.broadcast_to(r[..., 0], shape[:2]).astype(jnp.float32)  # noqa: E731
    origin, direction = camera.rays(x, y, pose)
    direction = [step * window.depth for step in direction]
    return jax.tree.map(broadcast, (origin, direction))


def over_poses(function, grid: jax.Array, pose: Pose, window: Window | None = None):
    """``function(grid, pose, window)`` for each pose, stacked; on a CPU one after the other.

    Args:
        function: of one grid ``[X, Y, Z, C]``, one pose and one window; returns a pytree of arrays.
        grid, pose, window: as for :func:`camera_grid`, which says what is raised.
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
    if grid.shape[0] == 1:
        return one_by_one(lambda pair: function(grid[0], *pair), (pose, window))
    return one_by_one(lambda triple: function(*triple), (grid, pose, window))


def _broadcast_window(window: Window) -> Window:
    fields = window.left, window.top, window.extent, window.depth
    return Window(*jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float32) for x in fields)))


# --- trilinear sampling along rays ----------------------------------------------------------------------------------


def _depths(depth):
    """q_z of the cells along a column, ``[1, 1, D]``."""
    return (1.0 - (jnp.arange(depth, dtype=jnp.float32) + 0.5) * (2.0 / depth))[None, None, :]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def sample(depth, grid, origin, direction):
    """Grid ``[X, Y, Z, C]`` at ``origin + q_z * direction`` (components ``[H, W]``), ``[H, W, D, C]``.

    The derivative is our own: XLA's adds each sample to the grid in eight passes, and by position it goes through as
    many intermediate pictures.
    """

    def along(volume):
        index = _index(depth, grid.shape, origin, direction)
        return map_coordinates(volume, index, order=1, mode="constant")

    shape = (*origin[0].shape, depth)
    somewhere = sum(o[0, 0] for o in origin)

    def one(volume):
        nothing = jnp.float32(jnp.nan) * somewhere * volume[0, 0, 0]  # varies over what devices the inputs vary
        return jax.lax.cond(
            jnp.isfinite(somewhere), functools.partial(along, volume), lambda: jnp.broadcast_to(nothing, shape)
        )

    # A branch, above all because XLA's CPU backend would merge the sampling into each reader of the camera grid, and so
    # repeat it. (Under vmap it becomes a choice between values, and no longer stands in the way.) One for each channel:
    # merged into one loop that writes them side by side, four took seven times as long.
    return jnp.stack([one(grid[..., c]) for c in range(grid.shape[3])], axis=-1)


@functools.partial(sample.defjvp, symbolic_zeros=True)
def _sample_jvp(depth, primals, tangents):
    is_zero = lambda x: isinstance(x, SymbolicZero)  # noqa: E731
    result = sample(depth, *primals)
    total = jnp.zeros_like(result)
    if not is_zero(tangents[0]):
        total += _derivative_by_grid(depth, primals, tangents[0])
    rays, shape = tangents[1:], primals[1][0].shape
    if not all(map(is_zero, jax.tree.leaves(rays, is_leaf=is_zero))):
        instantiate = lambda x: jnp.zeros(shape, jnp.float32) if is_zero(x) else x  # noqa: E731
        total += _derivative_by_rays(depth, primals, jax.tree.map(instantiate, rays, is_leaf=is_zero))
    return result, total


def _derivative_by_grid(depth, primals, tangent):
    """Trilinear sampling of another grid, linear in it, by bands of rows, which keeps what is made on the way small."""
    _, *rays = primals
    bands = math.gcd(rays[0][0].shape[0], _BANDS)
    split = jax.tree.map(lambda r: r.reshape(bands, -1, r.shape[1]), rays)
    gather = functools.partial(_gather_windows, depth, tangent.shape, _surround(tangent))
    sampled = one_by_one(jax.checkpoint(gather, prevent_cse=False), split)
    return sampled.reshape(*rays[0][0].shape, depth, tangent.shape[3])


def _gather_windows(depth, sizes, surrounded, rays):
    """Samples of a surrounded grid; the adjoint adds each as one window of 2 x 2 x 2 voxels."""
    cell, fraction = _cells(depth, sizes, *rays)
    x, y, z = (jnp.stack([_weight(f, 0), _weight(f, 1)], axis=-1).reshape(-1, 2) for f in fraction)
    weights = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    corners = jnp.stack([c.reshape(-1) for c in cell], axis=-1)
    numbers = jax.lax.GatherDimensionNumbers((1, 2, 3, 4), (), (0, 1, 2))
    windows = jax.lax.gather(surrounded, corners, numbers, (2, 2, 2, sizes[3]), mode="clip")
    return jnp.sum(windows * weights[..., None], axis=(1, 2, 3)).reshape(*cell[0].shape, -1)


# Checkpointed: until the backward pass nothing is kept but the arguments, which are small beside a camera grid.
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0,))
def _derivative_by_rays(depth, primals, tangents):
    (grid, *rays), z = primals, _depths(depth)[0, 0]
    cell, fraction = _cells(depth, grid.shape, *rays)
    surrounded = _surround(grid)
    # A matrix product, whose adjoint adds up along depth: XLA's CPU backend would merge that sum with what follows, and
    # read the grid again for every parameter of the pose.
    powers = jnp.stack([jnp.ones_like(z), z])
    total = 0.0
    for axis, ray in enumerate(zip(*tangents, strict=True)):
        moved = jnp.matmul(jnp.stack(ray, axis=-1), powers, precision="highest") * grid.shape[axis]
        slopes = [_slope(surrounded[..., c], cell, fraction, axis) for c in range(grid.shape[3])]
        total += jnp.stack(slopes, axis=-1) * moved[..., None]
    return total


def _index(depth, sizes, origin, direction):
    """Fractional voxel index of the samples, three arrays ``[H, W, D]``."""
    z = _depths(depth)
    scaled = ((o * n + (0.5 * n - 0.5), d * n, n) for o, d, n in zip(origin, direction, sizes[:3], strict=True))
    return [_snap(o[..., None] + z * d[..., None], 1e-6 * n) for o, d, n in scaled]


def _cells(depth, sizes, origin, direction):
    """First corner of each sample's 2 x 2 x 2 voxels in the surrounded grid, and its place between them."""
    index = _index(depth, sizes, origin, direction)
    # The last cells of the border hold nothing but zeros: what lies outside is sampled there.
    inside = [jnp.clip(jnp.floor(i), -_BORDER, n) for i, n in zip(index, sizes[:3], strict=True)]
    return [i.astype(jnp.int32) + _BORDER for i in inside], [i - jnp.floor(i) for i in index]


def _surround(grid):
    return jnp.pad(grid, (*[(_BORDER, _BORDER)] * 3, (0, 0)))


def _snap(index: jax.Array, tolerance: float) -> jax.Array:
    """Move indices within rounding error of a voxel centre onto it.

    A compiler may evaluate an index twice, rounded differently. Left beside a voxel centre, its integer part could then
    come from one side and its remainder from the other: a sample one voxel off. At the edge of the tolerance the same
    split costs no more than the tolerance. Quarter turns are exact because of it.
    """
    nearest = jnp.round(index)
    return jnp.where(jnp.abs(index - nearest) < tolerance, nearest, index)


def _slope(volume, cell, fraction, axis):
    """Derivative of trilinear sampling by the index along one axis: differences along it, bilinear in the others.

    Each value is read once, so that XLA fuses the reads into one loop.
    """
    differences = jnp.diff(volume, axis=axis)
    strides = [differences.shape[1] * differences.shape[2], differences.shape[2], 1]
    flat = differences.reshape(-1)
    base = sum(c * stride for c, stride in zip(cell, strides, strict=True))
    first, second = (a for a in range(3) if a != axis)
    total = 0.0
    for i, j in itertools.product((0, 1), repeat=2):
        weight = _weight(fraction[first], i) * _weight(fraction[second], j)
        # Clipped: an index made of NaN must not read outside the grid.
        total += weight * flat.at[base + i * strides[first] + j * strides[second]].get(mode="clip")
    return total


def _weight(fraction, corner):
    return fraction if corner else 1.0 - fraction
