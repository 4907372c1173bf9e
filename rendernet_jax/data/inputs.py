"""A path a user gives -> objects to draw: meshes are voxelised, voxel files are taken as they are."""

import dataclasses
import pathlib

import numpy as np

from rendernet_jax.data.meshes import Mesh, load_mesh, normalise
from rendernet_jax.data.voxel_files import read_voxels
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError

MESH_SUFFIXES = (".obj", ".ply", ".off", ".stl", ".glb", ".gltf")
VOXEL_SUFFIXES = (".binvox", ".npz", ".npy")


@dataclasses.dataclass(frozen=True)
class Object:
    """One thing to draw."""

    path: pathlib.Path
    grid: np.ndarray  # [1, X, Y, Z, C] occupancy in [0, 1]
    occupancy: str  # coverage, binary, or file
    mesh: Mesh | None  # normalised; None for a voxel file


def list_inputs(path) -> list[pathlib.Path]:
    """The file itself, or all mesh and voxel files directly in a folder, sorted.

    Raises:
        InputError: nothing there, or a folder without such files.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in MESH_SUFFIXES + VOXEL_SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"input {path}: expected a folder with {', '.join(MESH_SUFFIXES + VOXEL_SUFFIXES)} files")
        return found
    if not path.exists():
        raise InputError(f"input {path}: no such file or folder; check the path")
    if path.suffix.lower() not in MESH_SUFFIXES + VOXEL_SUFFIXES:
        raise InputError(
            f"input {path}: expected one of {', '.join(MESH_SUFFIXES + VOXEL_SUFFIXES)}, got {path.suffix!r}; convert it"
        )
    return [path]


def read_object(path: pathlib.Path, up: str = "y", occupancy: str = "coverage", grid: int = 64) -> Object:
    """Load one file.

    Args:
        path: mesh or voxel file.
        up: ``y`` or ``z``, the mesh file's upward axis; a voxel file is y-up.
        occupancy: how a mesh is voxelised, ``coverage`` or ``binary``.
        grid: voxels on each side of a voxelised mesh.

    Raises:
        InputError: the file can't be used.
    """
    if path.suffix.lower() in VOXEL_SUFFIXES:
        return Object(path, read_voxels(path)[None], "file", None)
    mesh = normalise(load_mesh(path, up))
    return Object(path, voxelise(mesh, grid, occupancy)[None], occupancy, mesh)
