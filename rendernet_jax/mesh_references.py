"""Voxels and ray-traced pictures of a folder of meshes, kept in files so that many networks can be scored on them.

A :class:`Case` says how a mesh is shown. Each file holds one mesh in one case; its name is a hash of both, so that a
folder serves any number of commands, and an interrupted one loses one mesh at most.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable

import numpy as np

from rendernet_jax import camera, rendering
from rendernet_jax.array_files import read_arrays
from rendernet_jax.data import shards
from rendernet_jax.data.marching_cubes import marching_cubes
from rendernet_jax.data.meshes import SUFFIXES, Mesh, load_mesh, normalise
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.source import flip
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import VIEWS
from rendernet_jax.files import remove_leftovers, write_atomically

GRID = 64  # voxels on a side
OCCUPANCIES = ("coverage", "binary")
OUTPUTS = ("phong", "normal", "mask")
_SCHEMA = 3  # of the files; another one after a change of what they hold, or of how it is made


@dataclasses.dataclass(frozen=True)
class Case:
    """How a mesh is voxelised and looked at."""

    size: int  # side of the pictures, pixels
    views: tuple[tuple[float, float], ...] = VIEWS  # azimuth, elevation in degrees
    outputs: tuple[str, ...] = OUTPUTS
    grid: int = GRID
    scale: float = 1.0
    inverse_distance: float = 0.0
    flipped: float = 0.0  # share of the voxels v that become 1 - v; the pictures stay those of the mesh

    def poses(self) -> list[camera.Pose]:
        """Pose of each view."""
        lens = {"scale": self.scale, "inverse_distance": self.inverse_distance}
        return [camera.pose_from_degrees(azimuth_deg=a, elevation_deg=e, **lens) for a, e in self.views]


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
        folder: where the files are kept.
        views: of each mesh, the first ones of ``evaluation.VIEWS``.
        size: side of the pictures, pixels.

    Returns:
        files by mesh, and the reason by mesh that can't be used.

    Raises:
        InputError: none can be used.
    """
    remove_leftovers(folder)
    case = Case(size, VIEWS[:views])
    references, skipped = {}, {}
    for name in files:
        try:
            references[name] = keep_mesh(folder, meshes, files, name, case, up)
        except InputError as error:
            skipped[name] = str(error)
            print(f"{name}: skipped: {error}", flush=True)
    if not references:
        raise none_usable(meshes, skipped)
    return references, skipped


def none_usable(meshes: pathlib.Path, skipped: dict[str, str]) -> InputError:
    """The error of a folder without a mesh that can be used; ``skipped`` holds the reason of each."""
    reason = f": {next(iter(skipped.values()))}" if skipped else ""
    return InputError(f"meshes {meshes}: expected {', '.join(SUFFIXES)} files, found none that can be used{reason}")


def keep_mesh(
    folder: pathlib.Path,
    meshes: pathlib.Path,
    files: dict[str, str],
    name: str,
    case: Case,
    up: str,
    beside: str | None = None,
) -> pathlib.Path:
    """File of one mesh's voxels and references in one case, traced unless it is there.

    Args:
        folder: where the files are kept; made if needed.
        meshes, files, name: the folder, what :func:`find_meshes` found there, and which of it.
        case: how it is shown.
        up: upward axis of mesh files.
        beside: another of the meshes: both are halved, and share the grid side by side.

    Raises:
        InputError: the mesh can't be used.
    """
    second = None if beside is None else meshes / beside
    key = ["mesh", files[name], files.get(beside), up, dataclasses.asdict(case)]
    return _keep(folder, key, lambda: _trace(meshes / name, case, up, second))


def keep_cubes(folder: pathlib.Path, grid: np.ndarray, case: Case) -> pathlib.Path:
    """File of the pictures that marching cubes and ray tracing make of a grid ``[X, Y, Z, 1]``, unless it is there.

    They are empty where nothing in the grid reaches the level.
    """
    bits = shards.sha256(np.ascontiguousarray(grid, np.float32).tobytes())
    key = ["cubes", bits, grid.shape, dataclasses.asdict(case)]
    return _keep(folder, key, lambda: _trace_cubes(grid, case))


def load_references(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What a file of this module holds, float32: pictures ``[V, H, W, C]`` by output.

    A mesh's also holds voxels ``[X, Y, Z, 1]`` by occupancy, and ``closed``, which is 1 or 0 (see :func:`is_closed`).

    Raises:
        InputError: the file is damaged.
    """
    try:
        return {name: array.astype(np.float32) for name, array in read_arrays(path.read_bytes()).items()}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected kept references, got {error}; remove the file to make it again") from error


def is_closed(mesh: Mesh) -> bool:
    """Whether every edge of a normalised mesh belongs to two faces, corners less than 1e-6 apart being one."""
    _, weld = np.unique(np.round(mesh.vertices * 1e6).astype(np.int64), axis=0, return_inverse=True)
    faces = weld.reshape(-1)[mesh.faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]  # without those that became a line
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    return bool((uses == 2).all())


# --- making ---------------------------------------------------------------------------------------------------------


def _keep(folder: pathlib.Path, key: list, make: Callable[[], dict[str, np.ndarray]]) -> pathlib.Path:
    """Arrays in float16, which holds voxels and masks exactly, and shades to -80 dB."""
    path = folder / f"{shards.sha256(json.dumps([_SCHEMA, *key]).encode())[:32]}.npz"
    if not path.exists():
        arrays = {name: array.astype(np.float16) for name, array in make().items()}
        folder.mkdir(exist_ok=True)
        write_atomically(path, shards.pack_shard(arrays))
    return path


def _trace(path: pathlib.Path, case: Case, up: str, beside: pathlib.Path | None) -> dict[str, np.ndarray]:
    mesh = _load(path, up, path.stat().st_mtime_ns)
    if beside is None:
        grids = _voxelise(path, up, path.stat().st_mtime_ns, case.grid)
    else:
        mesh = _side_by_side(mesh, _load(beside, up, beside.stat().st_mtime_ns))
        grids = _both_grids(mesh, case.grid)
    arrays = {occupancy: flip(np.random.default_rng(0), grid, case.flipped) for occupancy, grid in grids.items()}
    return arrays | _pictures(build_scene(mesh), case) | {"closed": np.asarray(is_closed(mesh))}


def _trace_cubes(grid: np.ndarray, case: Case) -> dict[str, np.ndarray]:
    try:
        surface = marching_cubes(grid)
    except InputError:  # nothing reaches the level
        shape = (len(case.views), case.size, case.size)
        channels = {output: 3 if output in ("normal", "albedo") else 1 for output in case.outputs}
        return {o: np.full((*shape, c), 0.0 if o == "mask" else 1.0, np.float32) for o, c in channels.items()}
    return _pictures(build_scene(surface), case)


def _pictures(scene, case: Case) -> dict[str, np.ndarray]:
    light = rendering.DEFAULT_LIGHT
    views = [reference_pictures(scene, pose, light, case.size, case.outputs) for pose in case.poses()]
    return {output: np.stack([view[output] for view in views]) for output in case.outputs}


# One mesh is shown in several cases, one after the other. A file that was written since is another file.
@functools.lru_cache(maxsize=2)
def _load(path: pathlib.Path, up: str, modified: int) -> Mesh:
    return normalise(load_mesh(path, up))


@functools.lru_cache(maxsize=2)
def _voxelise(path: pathlib.Path, up: str, modified: int, grid: int) -> dict[str, np.ndarray]:
    return _both_grids(_load(path, up, modified), grid)


def _both_grids(mesh: Mesh, grid: int) -> dict[str, np.ndarray]:
    return {occupancy: voxelise(mesh, grid, occupancy) for occupancy in OCCUPANCIES}


def _side_by_side(first: Mesh, second: Mesh) -> Mesh:
    vertices = [0.5 * mesh.vertices + [x, 0.0, 0.0] for x, mesh in ((-0.25, first), (0.25, second))]
    return Mesh(np.concatenate(vertices), np.concatenate([first.faces, second.faces + len(first.vertices)]))
