"""A path a user gives -> objects to draw: meshes are voxelised, voxel files are taken as they are."""

import dataclasses
import pathlib

import numpy as np

from rendernet_jax.data.colour_voxels import colour_voxels, complete_colours
from rendernet_jax.data.meshes import SUFFIXES, Mesh, load_mesh, normalise
from rendernet_jax.data.voxel_files import SUFFIXES as VOXEL_SUFFIXES
from rendernet_jax.data.voxel_files import read_voxels
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError

COLOURED = 4  # channels of a grid of occupancy, red, green and blue
UNSEEN_CHAIR = ("chair", 7_000_009)  # family and seed of an example that no data set of the shipped weights holds


@dataclasses.dataclass(frozen=True)
class Object:
    """One thing to draw."""

    path: pathlib.Path
    grid: np.ndarray  # [1, X, Y, Z, C] in [0, 1]: occupancy, and perhaps its colours
    occupancy: str  # coverage, binary, or file
    mesh: Mesh | None  # normalised; None for a voxel file


def list_inputs(path) -> dict[str, pathlib.Path]:
    """The file itself, or all mesh and voxel files in a folder and its sub-folders.

    Returns:
        Name -> path, sorted by path. A name is the file's stem; where two files share one, in any letter case, all
        names are the paths in the folder, suffix included (``a/model.obj``). Each can be a sub-folder of one folder.

    Raises:
        InputError: nothing there, or a folder without such files.
    """
    path = pathlib.Path(path)
    suffixes = SUFFIXES + VOXEL_SUFFIXES
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
        if not found:
            raise InputError(f"input {path}: expected a folder with {', '.join(suffixes)} files, found none")
        taken = {p.stem.casefold() for p in found} - {"render.json"}  # which lies beside the sub-folders
        return {p.stem if len(taken) == len(found) else p.relative_to(path).as_posix(): p for p in found}
    if not path.exists():
        raise InputError(f"input {path}: no such file or folder; check the path")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"input {path}: expected one of {', '.join(suffixes)}, got {path.suffix!r}; convert it")
    return {path.stem: path}


def read_object(
    path: pathlib.Path, up: str = "y", occupancy: str = "coverage", grid: int = 64, channels: int | None = None
) -> Object:
    """Load one file.

    Args:
        path: mesh or voxel file.
        up: ``y`` or ``z``, the mesh file's upward axis; a voxel file is y-up.
        occupancy: how a mesh is voxelised, ``coverage`` or ``binary``.
        grid: voxels on each side of a voxelised mesh.
        channels: that the network reads. 1: occupancy alone. :data:`COLOURED`: occupancy and the colours of its
            surroundings, white where the file has none. Any other, or None: occupancy, or what the voxel file holds.

    Raises:
        InputError: the file can't be used.
    """
    if path.suffix.lower() in VOXEL_SUFFIXES:
        return Object(path, _fit_channels(path, read_voxels(path), channels)[None], "file", None)
    mesh = normalise(load_mesh(path, up))
    return Object(path, _voxelise(mesh, grid, occupancy, channels)[None], occupancy, mesh)


def make_example(occupancy: str = "coverage", grid: int = 64, channels: int | None = None) -> Object:
    """The procedural chair that stands in where a user names no file.

    Raises:
        InputError: Open3D or Numba is missing.
    """
    from rendernet_jax.data.families import make_shape

    mesh = normalise(make_shape(*UNSEEN_CHAIR))
    return Object(pathlib.Path("chair"), _voxelise(mesh, grid, occupancy, channels)[None], occupancy, mesh)


def _voxelise(mesh: Mesh, grid: int, occupancy: str, channels: int | None) -> np.ndarray:
    cells = voxelise(mesh, grid, occupancy)
    return np.concatenate([cells, colour_voxels(mesh, cells)], axis=-1) if channels == COLOURED else cells


def _fit_channels(path: pathlib.Path, cells: np.ndarray, channels: int | None) -> np.ndarray:
    if channels == 1 and cells.shape[3] == COLOURED:
        return cells[..., :1]
    if channels != COLOURED:
        return cells
    try:
        return complete_colours(cells)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
