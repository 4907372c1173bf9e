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
import scipy.ndimage
import scipy.sparse.csgraph

from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.errors import InputError

SUBCELLS = 4  # a side, for coverage
MAX_CELLS = 512  # a side of the finest grid, which takes 5 bytes a cell while it is filled
MAX_SAMPLES = 20_000_000
_TIE = 1e-3  # cells; float32 leaves about 1e-5 at 1024 cells
_BASE = 16  # cells a side of the coarsest level that is queried throughout


def voxelise(mesh: Mesh, grid: int = 64, occupancy: str = "coverage") -> np.ndarray:
    """Occupancy of a mesh in ``[-.5, .5]^3`` (see :func:`rendernet_jax.data.meshes.normalise`).

    Args:
        mesh: a mesh within the cube.
        grid: cells a side, G; at most 128 for coverage and 512 for binary.
        occupancy: "coverage" (fractions, multiples of 1/64) or "binary" (0 and 1).

    Returns:
        float32 ``[G, G, G, 1]``, axes x, y, z.

    Raises:
        InputError: the mesh leaves the cube, or grid or occupancy is out of range.
    """
    if occupancy not in ("coverage", "binary"):
        raise InputError(f"occupancy: expected 'coverage' or 'binary', got {occupancy!r}; choose one")
    scene = _scene(mesh, grid, MAX_CELLS if occupancy == "binary" else MAX_CELLS // SUBCELLS)
    if occupancy == "binary":
        return _fill(_shell(scene, grid)).astype(np.float32)[..., None]
    fine = _fill(_shell(scene, SUBCELLS * grid))
    blocks = fine.reshape(grid, SUBCELLS, grid, SUBCELLS, grid, SUBCELLS)
    count = blocks.sum(axis=5, dtype=np.uint8).sum(axis=3, dtype=np.uint8).sum(axis=1, dtype=np.uint8)
    return (count.astype(np.float32) / SUBCELLS**3)[..., None]


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
    _scene(mesh, grid, MAX_CELLS)
    cells = np.zeros((grid,) * 3, bool)
    index = np.floor((_surface_samples(mesh, 32 * grid**2, seed) + 0.5) * grid).astype(int)
    cells[tuple(np.clip(index, 0, grid - 1).T)] = True
    for faces in _closed_pieces(mesh):
        _set_inside(cells, mesh.vertices, faces)
    return cells.astype(np.float32)[..., None]


def _scene(mesh: Mesh, grid: int, largest: int):
    """Check the arguments that all rules share and make the mesh ready for distances."""
    if not isinstance(grid, (int, np.integer)) or not 1 <= grid <= largest:
        raise InputError(f"grid: expected a whole number of cells from 1 to {largest}, got {grid!r}; change it")
    reach = float(np.abs(mesh.vertices[mesh.faces.reshape(-1)]).max())
    if reach > 0.5 + 1e-6:
        raise InputError(f"mesh: expected coordinates in [-.5, .5], got {reach:.4g}; normalise it first")
    return _raycasting_scene(mesh.vertices, mesh.faces)


def _raycasting_scene(vertices: np.ndarray, faces: np.ndarray):
    o3d = import_open3d()

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(faces.astype(np.uint32)))
    return scene


def _shell(scene, size: int) -> np.ndarray:
    """Cells ``[size]*3`` whose centre is within half a cell of the surface, found from coarse to fine."""
    levels = [size]
    while levels[-1] > _BASE and levels[-1] % 2 == 0:
        levels.append(levels[-1] // 2)
    reach = (0.5 + _TIE) / size
    cells = np.stack(np.unravel_index(np.arange(levels[-1] ** 3), (levels[-1],) * 3), axis=-1).astype(np.int32)
    for level in reversed(levels):
        # Centres of the finest cells in a cell of this level are this far from its own at most.
        spread = np.sqrt(3) / 2 * (1 / level - 1 / size)
        cells = cells[_distance(scene, (cells + 0.5) / level - 0.5) <= reach + spread * (1 + 1e-5)]
        if level != size:
            cells = (2 * cells[:, None] + _CHILDREN).reshape(-1, 3)
    shell = np.zeros((size,) * 3, bool)
    shell[tuple(cells.T)] = True
    return shell


_CHILDREN = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=-1).astype(np.int32)


def _distance(scene, points: np.ndarray) -> np.ndarray:
    o3d = import_open3d()

    return scene.compute_distance(o3d.core.Tensor(points.astype(np.float32)), nthreads=1).numpy()


def _fill(shell: np.ndarray) -> np.ndarray:
    """Shell plus every cell that cannot be reached from outside the cube through faces of free cells."""
    axes = [np.flatnonzero(shell.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not len(axes[0]):
        raise InputError("mesh: expected parts as thick as half a cell, got thinner ones only; use a larger grid")
    box = tuple(slice(used[0], used[-1] + 1) for used in axes)  # labelling is the slowest part: leave out the rest
    labels, _ = scipy.ndimage.label(np.pad(~shell[box], 1, constant_values=True))
    filled = np.zeros_like(shell)
    filled[box] = labels[1:-1, 1:-1, 1:-1] != labels[0, 0, 0]
    return filled


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
    # The majority of three rays: one that meets an edge or a vertex may be counted wrong.
    inside = _raycasting_scene(vertices, faces).compute_occupancy(points, nthreads=1, nsamples=3)
    cells[box] |= inside.numpy() > 0.5
