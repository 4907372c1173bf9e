"""Object grids without pictures: what the shape prior is trained on.

Procedural ones are made here, upright and whole, many times faster than a data set with ray-traced views, and kept in
``.npz`` files of a few dozen shapes each, so that an interrupted command goes on. Those of data sets are read from it.
"""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np

from rendernet_jax.array_files import read_arrays
from rendernet_jax.data import pool, shards
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.source import hold_back
from rendernet_jax.data.tasks import Task
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.files import remove_leftovers, write_atomically
from rendernet_jax.shape_prior import SET_FROM

CHUNK = 48  # shapes in a file
_TIMEOUT = 900.0  # seconds for one file
_REPORT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Shape:
    """One shape's grid as it is stored: packed bits ``[G^3 / 8]`` by the binary rule, or coverage ``[G, G, G]``."""

    name: str
    family: str
    stored: np.ndarray

    def grid(self, side: int) -> np.ndarray:
        """Float32 ``[G, G, G, 1]``; ``side`` is G."""
        if self.stored.ndim > 1:
            return shards.decode_coverage(self.stored)
        return shards.decode_bits(self.stored, side)

    def cells(self, side: int) -> np.ndarray:
        """Those that are set by the binary rule, bool ``[G, G, G, 1]``; of coverage, about those."""
        return self.grid(side) >= SET_FROM["coverage" if self.stored.ndim > 1 else "binary"]


class GridSet:
    """Shapes in memory, split into those to train on and those held back; by name, so that a shape keeps its side.

    Attributes:
        grid: cells on a side.
        training, validation: indices of shapes; each has at least one, but that a single shape is trained on.
        families: names, in the order of first appearance.

    Raises:
        InputError: no shape at all.
    """

    def __init__(self, shapes: Sequence[Shape], grid: int, validation: float = 0.04):
        if not shapes:
            raise InputError("shapes: expected at least one, got none; ask for more with --shapes or name a --data")
        self.grid, self._shapes = grid, list(shapes)
        held_back = hold_back([shape.name for shape in shapes], validation)
        self.validation, self.training = np.flatnonzero(held_back), np.flatnonzero(~held_back)
        self.families = list(dict.fromkeys(shape.family for shape in shapes))

    def __len__(self) -> int:
        return len(self._shapes)

    def family(self, index: int) -> str:
        """Family of a shape."""
        return self._shapes[index].family

    def grids(self, indices) -> np.ndarray:
        """Grids by index, float32 ``[B, G, G, G, 1]``."""
        return np.stack([self._shapes[index].grid(self.grid) for index in indices])

    def cells(self, index: int) -> np.ndarray:
        """The set cells of one shape, see :meth:`Shape.cells`."""
        return self._shapes[index].cells(self.grid)

    def batch(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Grids ``[count, G, G, G, 1]`` of random training shapes, half of them mirrored in x.

        A function of the generator's state alone.
        """
        grids = self.grids(rng.choice(self.training, count))
        return np.where((rng.random(count) < 0.5).reshape(-1, 1, 1, 1, 1), grids[:, ::-1], grids)


def read_data_sets(folders: Sequence, grid: int, occupancy: str = "binary") -> tuple[list[Shape], list[str]]:
    """Every shape of data sets made by build_dataset, by one rule, and what identifies each set.

    Raises:
        InputError: a folder without a finished data set, a damaged one, or one with grids of another size.
    """
    shapes, identities = [], []
    for folder in folders:
        manifest = shards.read_manifest(folder)
        if (found := manifest["settings"]["grid"]) != grid:
            raise InputError(f"data set {folder}: expected grids of {grid} cells a side, got {found}; build another")
        for entry in manifest["shards"]:
            arrays = shards.read_shard(pathlib.Path(folder) / entry["file"], entry["sha256"])
            shapes.append(Shape(entry["name"], entry["family"] or "files", arrays[occupancy]))
        identities.append(shards.sha256("\n".join(entry["sha256"] for entry in manifest["shards"]).encode()))
    return shapes, identities


# Name of the array in a file, and what encodes a grid.
_FORMS = {"binary": ("bits", shards.encode_bits), "coverage": ("coverage", shards.encode_coverage)}

# --- procedural grids -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Job:
    path: pathlib.Path
    tasks: tuple[Task, ...]
    grid: int
    occupancy: str


def make_procedural(tasks: Sequence[Task], folder, grid: int, workers: int, occupancy: str = "binary") -> list[Shape]:
    """Grids of procedural shapes, made or, where ``folder`` holds them, read; progress goes to stderr.

    Neither the number of processes nor an interruption changes a byte.

    Args:
        tasks: with families and different names.
        folder: the files go there; made if need be.
        grid: cells on a side.
        workers: processes, see :func:`pool.run_tasks`.
        occupancy: rule of the grids, binary or coverage.

    Raises:
        InputError: the folder holds grids of other shapes, or by another rule; no Open3D; or the process making some
            shapes died.
        OSError: a file cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    starts = range(0, len(tasks), CHUNK)
    jobs = [
        _Job(folder / f"{start // CHUNK:06d}.npz", tuple(tasks[start : start + CHUNK]), grid, occupancy)
        for start in starts
    ]
    found = [_read(job) for job in jobs]
    left = [job for job, shapes in zip(jobs, found, strict=True) if shapes is None]
    begin = last = time.monotonic()
    for ended, (position, result) in enumerate(pool.run_tasks(_make, left, workers, _TIMEOUT), 1):
        if isinstance(result, pool.Crash):
            raise InputError(f"shapes of {left[position].path.name}: {result.reason}; repeat the command")
        now = time.monotonic()
        if now - last > _REPORT_SECONDS or ended == len(left):
            minutes = (now - begin) / ended * (len(left) - ended) / 60
            print(f"{ended}/{len(left)} files of {CHUNK} grids, {minutes:.1f} min left", file=sys.stderr, flush=True)
            last = now
    complete = [_read(job) if shapes is None else shapes for job, shapes in zip(jobs, found, strict=True)]
    if None in complete:
        raise InputError(f"{jobs[complete.index(None)].path}: expected the grids just made; repeat the command")
    return [shape for shapes in complete for shape in shapes]


def read_kept(folder, grid: int) -> list[Shape]:
    """Every shape that :func:`make_procedural` left in a folder.

    Raises:
        InputError: no such folder, nothing of the kind in it, a damaged file, or grids of another size.
    """
    shapes = []
    for path in sorted(pathlib.Path(folder).glob("*.npz")):
        try:
            arrays = read_arrays(path.read_bytes())
            side, *names = json.loads(arrays["asked"].tobytes())
            stored = arrays["bits"] if "bits" in arrays else arrays["coverage"]
        except Exception as error:
            raise InputError(f"{path}: expected kept grids, got {error!r}; make them again") from error
        if side != grid:
            raise InputError(f"{path}: expected grids of {grid} cells a side, got {side}; name another folder")
        shapes += [Shape(name, name.rsplit("-", 1)[0], each) for name, each in zip(names, stored, strict=True)]
    if not shapes:
        raise InputError(f"{folder}: expected kept grids, found none; name the grids folder of a prior's training")
    return shapes


def _make(job: _Job) -> None:
    """Make and write one file."""
    key, encode = _FORMS[job.occupancy]
    stored = [encode(voxelise(make_shape(task.family, task.seed), job.grid, job.occupancy)) for task in job.tasks]
    write_atomically(job.path, shards.pack_shard({key: np.stack(stored), "asked": _asked(job)}))


def _asked(job: _Job) -> np.ndarray:
    """What tells a file of these shapes from any other."""
    return np.frombuffer(json.dumps([job.grid, *(task.name for task in job.tasks)]).encode(), np.uint8)


def _read(job: _Job) -> list[Shape] | None:
    """Shapes of a file, or None if it must be made: missing or damaged. Raises InputError if it holds others."""
    try:
        arrays = read_arrays(job.path.read_bytes())
        asked, stored = arrays["asked"], arrays.get(_FORMS[job.occupancy][0])
    except Exception:  # whatever is wrong with the file, it can be made again
        return None
    if stored is None or not np.array_equal(asked, _asked(job)):
        raise InputError(
            f"{job.path}: holds grids of other shapes, or not of {job.occupancy}; repeat the flags that made them, or "
            "choose another --output"
        )
    return [Shape(task.name, task.family, each) for task, each in zip(job.tasks, stored, strict=True)]
