"""Voxels and ray-traced pictures of a folder of meshes, kept in files so that many networks can be scored on them."""

import json
import pathlib

import numpy as np

from rendernet_jax import rendering
from rendernet_jax.data import shards
from rendernet_jax.data.meshes import SUFFIXES, load_mesh, normalise
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import VIEWS, view_pose
from rendernet_jax.files import remove_leftovers, write_atomically

GRID = 64  # voxels on a side
OCCUPANCIES = ("coverage", "binary")
OUTPUTS = ("phong", "normal", "mask")


def find_meshes(folder: pathlib.Path) -> dict[str, str]:
    """SHA-256 of each mesh file by its path under the folder, sorted."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return {path.relative_to(folder).as_posix(): shards.sha256(path.read_bytes()) for path in paths}


def make_references(
    meshes: pathlib.Path, files: dict[str, str], folder: pathlib.Path, views: int, size: int, up: str
) -> tuple[dict[str, pathlib.Path], dict[str, str]]:
    """A file for each mesh, made unless it is there already; what :func:`load_references` reads.

    Args:
        meshes, files: the folder and what :func:`find_meshes` found there.
        folder: where the files are kept, under names that tell content, views and size apart.
        views: of each mesh, the first ones of ``evaluation.VIEWS``.
        size: side of the pictures, pixels.

    Returns:
        files by mesh, and the reason by mesh that can't be used.

    Raises:
        InputError: none can be used.
    """
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    references, skipped = {}, {}
    for name, digest in files.items():
        key = [digest, up, size, VIEWS[:views], GRID]
        path = folder / f"{shards.sha256(json.dumps(key).encode())[:32]}.npz"
        try:
            if not path.exists():
                write_atomically(path, shards.pack_shard(_trace(meshes / name, views, size, up)))
        except InputError as error:
            skipped[name] = str(error)
            print(f"{name}: skipped: {error}", flush=True)
            continue
        references[name] = path
    if not references:
        reason = f": {next(iter(skipped.values()))}" if skipped else ""
        raise InputError(f"meshes {meshes}: expected {', '.join(SUFFIXES)} files, found none that can be used{reason}")
    return references, skipped


def load_references(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Float32: voxels ``[X, Y, Z, 1]`` by occupancy, and pictures ``[V, H, W, C]`` by output, of one mesh."""
    with np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def _trace(path: pathlib.Path, views: int, size: int, up: str) -> dict[str, np.ndarray]:
    """In float16, which holds voxels and masks exactly, and shades to -80 dB."""
    mesh = normalise(load_mesh(path, up))
    scene = build_scene(mesh)
    arrays = {occupancy: voxelise(mesh, GRID, occupancy) for occupancy in OCCUPANCIES}
    light = rendering.DEFAULT_LIGHT
    pictures = [reference_pictures(scene, view_pose(v), light, size, OUTPUTS) for v in range(views)]
    arrays |= {output: np.stack([view[output] for view in pictures]) for output in OUTPUTS}
    return {name: array.astype(np.float16) for name, array in arrays.items()}
