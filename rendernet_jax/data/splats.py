"""Small pictures of voxel grids, drawn cell by cell: thousands a second, where detail does not matter.

They are what the first guess of a fit is trained on.
"""

import dataclasses

import numpy as np
import scipy.ndimage

from rendernet_jax.camera import Pose
from rendernet_jax.data.raycast import camera_axes, direction
from rendernet_jax.first_guess import MARGIN, SIZE, relative

_BORDER = 2  # cells
_SMOOTH = 1.0  # cells by which a grid is blurred before its slope is taken for the surface's normal


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """The cells of a grid that can be seen."""

    points: np.ndarray  # float16 [N, 3], object space
    normals: np.ndarray  # float16 [N, 3], unit or zero, outward
    pitch: float  # of the cells


def find_surface(grid: np.ndarray) -> Surface:
    """Cells of a grid ``[X, Y, Z, 1]`` that are set, above one half, and have an empty neighbour."""
    index, cells = _surface_cells(grid)
    blurred = scipy.ndimage.gaussian_filter(cells.astype(np.float32), _SMOOTH)
    at = lambda step: blurred[tuple((index + step).T)]  # noqa: E731
    slope = np.stack([at(-step) - at(step) for step in np.eye(3, dtype=int)], axis=-1)
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    normals = slope / np.maximum(length, 1e-3)
    return Surface(surface_points(grid).astype(np.float16), normals.astype(np.float16), 1.0 / len(grid))


def stretch_surface(surface: Surface, factors: np.ndarray) -> Surface:
    """A surface scaled about the centre of the cube by a factor for each axis ``[3]``, negative ones mirror."""
    normals = surface.normals / factors
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-3)
    points = (surface.points * factors).astype(np.float16)
    return Surface(points, normals.astype(np.float16), surface.pitch)


def stretch(cells: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Cells ``[X, Y, Z, 1]`` scaled so, each new one as the old one at its centre; nothing comes from outside."""
    for axis, (size, factor) in enumerate(zip(cells.shape, factors)):
        old = np.floor((((np.arange(size) + 0.5) / size - 0.5) / factor + 0.5) * size + 1e-9).astype(int)
        inside = ((old >= 0) & (old < size)).reshape([-1 if a == axis else 1 for a in range(4)])
        cells = np.take(cells, old.clip(0, size - 1), axis) & inside
    return cells


def surface_points(grid: np.ndarray) -> np.ndarray:
    """Centres ``[N, 3]`` of those cells, float32, object space."""
    index, _ = _surface_cells(grid)
    return ((index - _BORDER + 0.5) / grid.shape[:3] - 0.5).astype(np.float32)


def _surface_cells(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices ``[N, 3]`` into the set cells with a border of empty ones, and these."""
    cells = np.pad(grid[..., 0] > 0.5, _BORDER)
    return np.argwhere(cells & ~scipy.ndimage.binary_erosion(cells)), cells


def splat(surface: Surface, pose: Pose, light: tuple[float, float], ambient: float = 0.1) -> np.ndarray:
    """Picture ``[SIZE, SIZE, 2]`` as :func:`rendernet_jax.first_guess.crop` makes it: mask and relative brightness.

    Args:
        pose: whose scale and translation matter only as far as perspective goes: the object fills the picture.
        light: azimuth and elevation in camera axes, radians.
        ambient: share of the light that comes from everywhere.
    """
    axes = camera_axes(pose).astype(np.float32)
    seen = np.float32(pose.scale) * (surface.points.astype(np.float32) @ axes.T)
    places = seen[:, :2] / (1.0 - np.float32(pose.inverse_distance) * seen[:, 2:])
    low, high = places.min(0), places.max(0)
    pitch = pose.scale * surface.pitch
    side = max(float((high - low).max() + pitch), 1e-6) / (1.0 - 2.0 * MARGIN)
    column, row = (((places - 0.5 * (low + high)) * [1, -1] / side + 0.5) * SIZE).astype(np.int32).clip(0, SIZE - 1).T
    normals = surface.normals.astype(np.float32) @ axes.T
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # a sheet's two sides are one cell
    shade = ambient + (1.0 - ambient) * np.maximum(normals @ direction(*light).astype(np.float32), 0)
    order = np.argsort(seen[:, 2])  # what is nearest is drawn last
    cut = np.zeros((SIZE, SIZE, 2), np.float32)
    cut[row[order], column[order]] = np.stack([np.ones_like(shade), shade], axis=-1)[order]
    return relative(cut)
