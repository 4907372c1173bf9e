"""Meshes to voxels: occupancy of a mesh that stands in the cube ``[-.5, .5]^3``.

Two rules fill any mesh, however broken. *Binary*: a cell is set when its centre is within half a cell of the surface,
or when such cells enclose it (6-connected flood fill from outside the cube). *Coverage*: the mean of 4^3 sub-cells,
each set by the same rule on the grid of sub-cells. What becomes of each kind of mesh:

- closed meshes, and parts that overlap or touch: solid, inner walls included; the winding does not matter;
- triangle soups and cracked or slightly open meshes: solid where no gap is wider than a cell (coverage: a sub-cell);
- open vessels (a vase, a box without a lid): walls one to two cells thick, hollow;
- sheets: one to two cells thick, never lost, also where they are thinner than any cell;
- rods: never lost if thicker than 0.42 cells (coverage: sub-cells); a thinner one may pass between the centres.

A surface exactly half a cell from a centre counts as within: a face on a cell boundary sets the cells on both sides, so
that the result is the same for a mirrored mesh. The shell of a closed surface has no leak: of two neighbouring centres
on both sides of it, one is within half a cell of where their connection crosses it.

*Sampled* is the rule by which other people's voxel files are often made (a cell is set by surface samples, or by lying
in a closed piece); training sees it too, so that such files work.
"""

import numpy as np
import scipy.sparse.csgraph

from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_numba, import_open3d
from rendernet_jax.errors import InputError

SUBCELLS = 4  # a side, for coverage
MAX_CELLS = 512  # a side of the finest grid
MAX_SAMPLES = 20_000_000


def voxelise(mesh: Mesh, grid: int = 64, occupancy: str = "coverage") -> np.ndarray:
    """Occupancy of a mesh in ``[-.5, .5]^3`` (see :func:`rendernet_jax.data.meshes.normalise`).

    Args:
        mesh: a mesh within the cube.
        grid: cells a side, G; at most 128 for coverage and 512 for binary.
        occupancy: "coverage" (fractions, multiples of 1/64) or "binary" (0 and 1).

    Returns:
        float32 ``[G, G, G, 1]``, axes x, y, z.

    Raises:
        InputError: the mesh leaves the cube or is thinner than its cells see, grid or occupancy is out of range, or
            Numba is missing.
    """
    if occupancy not in ("coverage", "binary"):
        raise InputError(f"occupancy: expected 'coverage' or 'binary', got {occupancy!r}; choose one")
    binary = occupancy == "binary"
    _check(mesh, grid, MAX_CELLS if binary else MAX_CELLS // SUBCELLS)
    grid = int(grid)  # an unsigned one of NumPy wraps where it is multiplied
    import_numba()
    from rendernet_jax.data import solid

    cells = solid.solid(mesh.vertices, mesh.faces, grid if binary else SUBCELLS * grid)
    if not cells.any():
        raise InputError("mesh: expected parts as thick as half a cell, got thinner ones only; use a larger grid")
    filled = solid.unpack(cells) if binary else solid.count_blocks(cells) / np.float32(SUBCELLS**3)
    return filled.astype(np.float32)[..., None]


def sampled(mesh: Mesh, grid: int = 64, seed: int = 0) -> np.ndarray:
    """Occupancy by the rule of many published voxel files: hollow where the mesh is open.

    A cell is set when a random surface sample lies in it (about 32 samples a cell face) or its centre is inside a
    closed piece of the mesh; open pieces stay shells.

    Args:
        mesh: a mesh within ``[-.5, .5]^3``.
        grid: cells a side, G.
        seed: of the samples; cells that a surface only grazes are set by chance.

    Returns:
        float32 ``[G, G, G, 1]`` of 0 and 1, axes x, y, z.

    Raises:
        InputError: the mesh leaves the cube, or grid is out of range.
    """
    _check(mesh, grid, MAX_CELLS)
    grid = int(grid)
    cells = np.zeros((grid,) * 3, bool)
    index = np.floor((_surface_samples(mesh, 32 * grid**2, seed) + 0.5) * grid).astype(int)
    cells[tuple(np.clip(index, 0, grid - 1).T)] = True
    for faces in _closed_pieces(mesh):
        _set_inside(cells, mesh.vertices, faces)
    return cells.astype(np.float32)[..., None]


def _check(mesh: Mesh, grid: int, largest: int) -> None:
    """Raise InputError for arguments that no rule takes."""
    if not isinstance(grid, (int, np.integer)) or not 1 <= grid <= largest:
        raise InputError(f"grid: expected a whole number of cells from 1 to {largest}, got {grid!r}; change it")
    reach = float(np.abs(mesh.vertices[mesh.faces.reshape(-1)]).max())
    if reach > 0.5 + 1e-6:
        raise InputError(f"mesh: expected coordinates in [-.5, .5], got {reach:.4g}; normalise it first")


# --- the sampled rule -------------------------------------------------------------------------------------------------


def _surface_samples(mesh: Mesh, density: float, seed: int) -> np.ndarray:
    """Points ``[N, 3]`` spread evenly over the surface, ``density`` for each unit of area and at least 1,000."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    if not area.sum() > 0:
        return corners.reshape(-1, 3)
    count = int(np.clip(density * area.sum(), 1_000, MAX_SAMPLES))
    rng = np.random.default_rng(seed)
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum(), side="right").clip(max=len(area) - 1)
    u, v = rng.random((2, count, 1))
    flip = u + v > 1  # the half of the parallelogram outside the triangle
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def _closed_pieces(mesh: Mesh) -> list[np.ndarray]:
    """Faces ``[F', 3]`` of each connected piece all of whose edges belong to exactly two of its faces."""
    _, weld = np.unique(np.round(mesh.vertices * 1e6).astype(np.int64), axis=0, return_inverse=True)
    faces = weld.reshape(-1)[mesh.faces].astype(np.int64)
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    original, faces = mesh.faces[proper], faces[proper]
    count = int(weld.max()) + 1
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, which, uses = np.unique(edges @ [count, 1], return_inverse=True, return_counts=True)
    graph = scipy.sparse.coo_matrix((np.ones(len(edges), bool), tuple(edges.T)), shape=(count, count))
    _, piece_of_vertex = scipy.sparse.csgraph.connected_components(graph, directed=False)
    piece = piece_of_vertex[faces[:, 0]]
    open_pieces = np.unique(piece[(uses[which.reshape(-1, 3)] != 2).any(axis=1)])
    order = np.argsort(piece, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(piece[order])) + 1) if len(order) else []
    return [original[group] for group in groups if piece[group[0]] not in set(open_pieces.tolist())]


def _set_inside(cells: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Set the cells whose centre is inside one closed piece."""
    o3d = import_open3d()

    grid = len(cells)
    used = vertices[faces.reshape(-1)]
    low = np.floor((used.min(axis=0) + 0.5) * grid).astype(int).clip(0, grid - 1)
    high = np.floor((used.max(axis=0) + 0.5) * grid).astype(int).clip(0, grid - 1) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    centres = (np.moveaxis(np.mgrid[box], 0, -1) + 0.5) / grid - 0.5
    points = o3d.core.Tensor(centres.astype(np.float32))
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(faces.astype(np.uint32)))
    # The majority of three rays: one that meets an edge or a vertex may be counted wrong.
    inside = scene.compute_occupancy(points, nthreads=1, nsamples=3)
    cells[box] |= inside.numpy() > 0.5
