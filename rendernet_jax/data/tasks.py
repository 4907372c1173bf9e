"""Which shapes a data set is made of: procedural ones, or the mesh files of a folder."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

from rendernet_jax.data.families import FAMILIES, expand
from rendernet_jax.data.meshes import SUFFIXES
from rendernet_jax.errors import InputError

# How often a family comes in a round, 1 where it is not named: what is most varied, or most often rendered.
FAMILY_WEIGHTS = {
    "chair": 6,
    "stool": 3,
    "table": 3,
    "bench": 2,
    "shelf": 2,
    "hardware": 2,
    "animal": 2,
    "csg": 2,
    "soup": 2,
}
FIRST_TEST_SEED = 900_000_000  # of shapes to test on: data sets count theirs from their own seed times a million


@dataclasses.dataclass(frozen=True)
class Task:
    """One shape to be made: from a family and seed, or, where ``path`` is given, from a mesh file."""

    name: str
    seed: int
    family: str = ""
    path: str = ""
    up: str = "y"


def procedural_tasks(count: int, families: Sequence[str] = FAMILIES, seed: int = 0) -> list[Task]:
    """``count`` shapes, the families in turn, each as often as :data:`FAMILY_WEIGHTS` says.

    Families are what :func:`rendernet_jax.data.families.expand` takes.

    Raises:
        InputError: no shape asked for, a negative seed, or an unknown family.
    """
    families = expand(families)
    if count < 1 or seed < 0:
        raise InputError(f"shapes, seed: expected at least 1 and 0, got {count} and {seed}")
    weights = {family: FAMILY_WEIGHTS.get(family, 1) for family in families}
    turns = [family for turn in range(max(weights.values())) for family in families if weights[family] > turn]
    tasks = []
    for index in range(count):
        family, number = turns[index % len(turns)], seed * 1_000_000 + index
        tasks.append(Task(name=f"{family}-{number:06d}", seed=number, family=family))
    return tasks


def folder_tasks(folder, up: str = "y", seed: int = 0) -> list[Task]:
    """Every mesh file in a folder and its sub-folders, sorted; a name is the path inside the folder.

    Each mesh's views depend on its name and the seed, so that adding a file changes no other.

    Raises:
        InputError: no such folder, or no mesh in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"source: expected 'procedural' or a folder of meshes, got {folder}, which is no folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"source: expected {', '.join(SUFFIXES)} files in {folder}, found none")
    tasks = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        number = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6], "big")
        tasks.append(Task(name=name, seed=number, path=str(file), up=up))
    return tasks
