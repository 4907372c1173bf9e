"""The baseline every network is compared with: the iso-surface of the grid that the network got, ray traced."""

import dataclasses

import numpy as np

from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.errors import InputError

BLUR = 0.6  # standard deviation in voxels
LEVEL = 0.6
_SOLID = 0.8  # occupancy of a cell within a part that is thick enough for its surface to be found
_MARGIN = 4  # voxels of empty space, wider than the blur reaches, so that the surface closes


def marching_cubes(grid) -> Mesh:
    """Iso-surface of an occupancy grid: Gaussian blur of 0.6 voxel, level 0.6, closed at the grid's border.

    Args:
        grid: ``[X, Y, Z, 1]``, occupancy in [0, 1]; voxel (i, j, k) is centred at ((i+.5)/X-.5, (j+.5)/Y-.5, ...).

    Returns:
        The mesh in the grid's object space, not re-centred. Trace it with :mod:`rendernet_jax.data.references`.

    Raises:
        InputError: wrong shape, a value that is not finite, or nothing in the grid reaches the level.
    """
    from scipy.ndimage import gaussian_filter

    o3d = import_open3d()

    grid = np.asarray(grid, np.float32)
    if grid.ndim != 4 or grid.shape[-1] != 1:
        raise InputError(f"grid: expected [X, Y, Z, 1], got {grid.shape}; pass one grid with one occupancy channel")
    if not np.isfinite(grid).all():
        raise InputError("grid: expected finite occupancy, got nan or inf; check the voxel file")
    field = gaussian_filter(np.pad(grid[..., 0], _MARGIN), BLUR, mode="constant")
    if field.max() <= LEVEL:
        raise InputError(
            f"grid: expected a blurred occupancy above {LEVEL}, got at most {field.max():.3g}; no surface to extract"
        )
    # Open3D's volume is indexed [z, y, x], with voxel centres at whole numbers.
    volume = o3d.core.Tensor(np.ascontiguousarray(field.transpose(2, 1, 0)))
    surface = o3d.t.geometry.TriangleMesh.create_isosurfaces(volume, [LEVEL])
    vertices = (surface.vertex.positions.numpy() - _MARGIN + 0.5) / grid.shape[:3] - 0.5
    return Mesh(
        vertices=vertices.astype(np.float32), faces=surface.triangle.indices.numpy().astype(np.int32), colors=None
    )


def with_thin_parts(grid: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """A grid of coverage whose surface has sheets and rods, too: those with no solid cell become all solid.

    Args:
        grid: ``[X, Y, Z, C]``, coverage and perhaps colours.
        cells: those that count as set, bool ``[X, Y, Z, 1]``.
    """
    from scipy.ndimage import maximum_filter

    occupancy = grid[..., 0]
    thin = cells[..., 0] & (maximum_filter(occupancy, 3) < _SOLID)
    return np.concatenate([np.where(thin, 1.0, occupancy)[..., None], grid[..., 1:]], axis=-1)


def coloured_surface(grid) -> Mesh:
    """:func:`marching_cubes` of a grid ``[X, Y, Z, C]``, its vertices coloured by the channels behind the first.

    Args:
        grid: occupancy, alone or with the colours (R, G, B) in [0, 1] of every occupied cell.

    Raises:
        InputError: as for ``marching_cubes``, or another number of channels.
    """
    from scipy.ndimage import map_coordinates

    grid = np.asarray(grid, np.float32)
    if grid.ndim != 4 or grid.shape[-1] not in (1, 4):
        raise InputError(f"grid: expected [X, Y, Z, 1] or [X, Y, Z, 4], got {grid.shape}; pass one grid")
    mesh = marching_cubes(grid[..., :1])
    if grid.shape[-1] == 1:
        return mesh
    at = ((mesh.vertices + 0.5) * grid.shape[:3] - 0.5).T
    sample = lambda volume: map_coordinates(volume, at, order=1, mode="nearest")  # noqa: E731
    weight = grid[..., 0] + 1e-3  # of what is there, not of the emptiness beside it
    total = sample(weight)
    colors = np.stack([sample(weight * grid[..., 1 + i]) / total for i in range(3)], axis=-1)
    return dataclasses.replace(mesh, colors=np.clip(colors, 0.0, 1.0).astype(np.float32))
