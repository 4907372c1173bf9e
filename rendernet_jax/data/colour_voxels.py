"""Colours for the cells of an object grid: the mean albedo of the surface around each.

A grid of four channels, (occupancy, R, G, B), is what a colour network reads::

    grid = np.concatenate([occupancy, colour_voxels(mesh, occupancy)], axis=-1)
"""

import numpy as np
import scipy.ndimage

from rendernet_jax.data.materials import surface_colors
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.errors import InputError

MARGIN = 2  # cells around occupied ones that get a colour too, for whoever interpolates there

# Eight points in a cell of side 1 about 0, no two of which share a coordinate: on a wall along the axes they fall on
# eight places, where the corners of a 2^3 grid would fall on four.
_POINTS = np.array([((k + 0.5) / 8, (3 * k % 8 + 0.5) / 8, (5 * k % 8 + 0.5) / 8) for k in range(8)]) - 0.5


def colour_voxels(mesh: Mesh, occupancy: np.ndarray) -> np.ndarray:
    """Albedo around each cell of a mesh's grid.

    A cell by the surface gets the mean colour of the surface points nearest to eight points in it, those that lie
    within a cell's side of the surface; sheets of different colours in one cell mix. Others, inside or beside the
    object, get the colour of the nearest such cell.

    Args:
        mesh: within ``[-.5, .5]^3``; a plain one is white.
        occupancy: ``[G, G, G, 1]`` in [0, 1], of this mesh: any rule, and errors in it are allowed.

    Returns:
        float32 ``[G, G, G, 3]`` in [0, 1]: straight colours in occupied cells and within :data:`MARGIN` cells of one
        (26-neighbourhood), 0 elsewhere.

    Raises:
        InputError: the occupancy has another shape.
    """
    occupancy = np.asarray(occupancy)
    if occupancy.ndim != 4 or occupancy.shape[3] != 1 or len(set(occupancy.shape[:3])) != 1:
        raise InputError(f"occupancy: expected [G, G, G, 1], got {occupancy.shape}; give the grid of one mesh")
    occupied = occupancy[..., 0] > 0
    colors = np.ones((*occupied.shape, 3), np.float32)
    if not mesh.colored:
        return _spread(occupied, occupied, colors)
    # Where the surface may be: not deep inside, where only the walls of overlapping parts lie.
    cells, found = _surface_cells(mesh, _grow(occupied, 1) & _grow(~occupied, 2, outside=True), len(occupied))
    if not len(cells):  # the occupancy is not this mesh's: nothing nearer than the whole
        cells, found = _surface_cells(mesh, np.ones_like(occupied), len(occupied))
    known = np.zeros_like(occupied)
    known[tuple(cells.T)] = True
    colors[known] = found  # both in row-major order
    return _spread(occupied, known, colors)


def complete_colours(grid: np.ndarray) -> np.ndarray:
    """A grid of any origin with colours as :func:`colour_voxels` gives them around what is occupied.

    Args:
        grid: ``[X, Y, Z, 1]``, occupancy, which becomes white, or ``[X, Y, Z, 4]``, occupancy and red, green and blue
            (straight, not multiplied by the occupancy). Colours of empty cells that are not black stay.

    Returns:
        float32 ``[X, Y, Z, 4]``.

    Raises:
        InputError: another number of channels.
    """
    if grid.ndim != 4 or grid.shape[3] not in (1, 4):
        raise InputError(
            "grid: expected 1 channel, occupancy, or 4, occupancy and red, green and blue, for a network of colours, "
            f"got {grid.shape}; give one of these"
        )
    occupied = grid[..., 0] > 0
    colors = grid[..., 1:] if grid.shape[3] == 4 else np.ones((*occupied.shape, 3), np.float32)
    known = occupied | colors.any(-1) if grid.shape[3] == 4 else occupied
    return np.concatenate([grid[..., :1], _spread(occupied, known, colors)], axis=-1).astype(np.float32)


def _spread(occupied: np.ndarray, known: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Colours of the nearest known cell ``[X, Y, Z]``, within the margin of occupied ones; 0 elsewhere."""
    if not known.any():
        return np.zeros_like(colors)
    nearest = scipy.ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return colors[tuple(nearest)] * _grow(occupied, MARGIN)[..., None]


def _grow(cells: np.ndarray, by: int, outside: bool = False) -> np.ndarray:
    """Cells ``[G, G, G]`` and their 26 neighbours, ``by`` times; ``outside`` stands for all cells beyond the grid."""
    return scipy.ndimage.maximum_filter(cells, 2 * by + 1, mode="constant", cval=outside)


def _surface_cells(mesh: Mesh, candidates: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Those candidates ``[N, 3]`` whose points come within a cell of the surface, and their colours ``[N, 3]``."""
    o3d = import_open3d()

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))

    def closest(points):
        return scene.compute_closest_points(o3d.core.Tensor(points.astype(np.float32)), nthreads=1)

    cells = np.argwhere(candidates)
    centres = (cells + 0.5) / grid - 0.5
    # A point of a cell is within half its diagonal of the centre.
    near = np.linalg.norm(closest(centres)["points"].numpy() - centres, axis=1) <= 1 / grid
    cells, centres = cells[near], centres[near]
    points = (centres[:, None] + _POINTS / grid).reshape(-1, 3)
    found = closest(points)
    colors = surface_colors(mesh, found["primitive_ids"].numpy().astype(np.int64), found["primitive_uvs"].numpy())
    within = np.linalg.norm(found["points"].numpy() - points, axis=1) <= 1 / grid
    weight = np.where(within, 1.0, 1e-6).astype(np.float32).reshape(-1, 8, 1)  # all count where none is within
    return cells, (weight * colors.reshape(-1, 8, 3)).sum(1) / weight.sum(1)
