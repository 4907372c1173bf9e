"""Object grids without pictures: what the shape prior is trained on.

Procedural ones are made here, upright and whole, many times faster than a data set with ray-traced views, and kept in
``.npz`` files of a few dozen shapes each, so that an interrupted command goes on. Those of data sets are read from it.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from rendernet_jax.array_files import read_arrays
from rendernet_jax.data import kept_files, shards
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.source import hold_back
from rendernet_jax.data.tasks import Task
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.shape_prior import SET_FROM


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


def make_procedural(tasks: Sequence[Task], folder, grid: int, workers: int, occupancy: str = "binary") -> list[Shape]:
    """Grids of procedural shapes, by one rule; see :func:`rendernet_jax.data.kept_files.make`.

    Args:
        grid: cells on a side.
        occupancy: rule of the grids, binary or coverage.
    """
    job = functools.partial(_Job, grid=grid, occupancy=occupancy)
    files = kept_files.make(job, tasks, folder, workers, f"grids of {occupancy} cells")
    stored = [each for arrays in files for each in arrays[_FORMS[occupancy][0]]]
    return [Shape(task.name, task.family, each) for task, each in zip(tasks, stored, strict=True)]


@dataclasses.dataclass(frozen=True)
class _Job:
    path: pathlib.Path
    tasks: tuple[Task, ...]
    grid: int
    occupancy: str

    @property
    def key(self) -> str:
        return _FORMS[self.occupancy][0]

    def asked(self) -> list:
        return [self.grid, *(task.name for task in self.tasks)]

    def make(self) -> dict[str, np.ndarray]:
        _, encode = _FORMS[self.occupancy]
        meshes = (make_shape(task.family, task.seed) for task in self.tasks)
        return {self.key: np.stack([encode(voxelise(mesh, self.grid, self.occupancy)) for mesh in meshes])}


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
