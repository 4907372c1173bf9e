"""Build a data set: ray-traced views and voxel grids of procedural shapes or of a folder of meshes."""

import collections
import os
import sys

from absl import flags

from rendernet_jax.data import dataset
from rendernet_jax.data.families import FAMILIES
from rendernet_jax.errors import InputError

from . import launch

SOURCE = flags.DEFINE_string("source", "procedural", "'procedural', or a folder of obj, ply, off, stl or glb meshes.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the data set; the same command continues an interrupted one.")
SHAPES = flags.DEFINE_integer("shapes", 800, "Number of procedural shapes.")
FAMILIES_ = flags.DEFINE_list("families", ["all"], f"'all', or procedural families: {', '.join(FAMILIES)}.")
VIEWS = flags.DEFINE_integer("views", 3, "Views of each shape.")
SIZE = flags.DEFINE_integer("size", 512, "Pixels on a picture's side.")
GRID = flags.DEFINE_integer("grid", 64, "Cells on a voxel grid's side.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes and views.")
UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Axis that points up in the mesh files of a folder.")
AO = flags.DEFINE_bool("ao", True, "Store ambient occlusion, which takes most of the time.")
WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes, by default one for each core; 0 works in this process, which a broken mesh may end."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace another data set in the output folder.")


def main() -> None:
    """Flags to tasks and settings, one call, and a summary."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if WORKERS.value is None else WORKERS.value
    if workers < 0:
        raise InputError(f"workers: expected 0 or more, got {workers}")
    tasks = make_tasks()
    settings = dataset.Settings(views=VIEWS.value, size=SIZE.value, grid=GRID.value, ao=AO.value)
    output = launch.prepare_output(OUTPUT.value, overwrite=True)  # an unfinished set is continued, others refused
    manifest = dataset.build(tasks, output, settings, workers, describe_source(), OVERWRITE.value)
    counts = manifest["counts"]
    for mesh in manifest["skipped"]:
        print(f"skipped {mesh['name']}: {mesh['reason']}", file=sys.stderr)
    families = collections.Counter(shard["family"] or "file" for shard in manifest["shards"])
    print(", ".join(f"{family} {count}" for family, count in families.most_common()))
    print(f"{output}: complete, {counts['shapes']} shapes, {counts['views']} views, {counts['skipped']} skipped")


def make_tasks() -> list[dataset.Task]:
    """The shapes that the flags name."""
    if SOURCE.value == "procedural":
        families = FAMILIES if FAMILIES_.value == ["all"] else FAMILIES_.value
        return dataset.procedural_tasks(SHAPES.value, families, SEED.value)
    return dataset.folder_tasks(SOURCE.value, UP.value, SEED.value)


def describe_source() -> dict:
    """What the manifest says of the source."""
    if SOURCE.value == "procedural":
        return {"source": "procedural", "shapes": SHAPES.value, "families": FAMILIES_.value, "seed": SEED.value}
    return {"source": SOURCE.value, "up": UP.value, "seed": SEED.value}


if __name__ == "__main__":
    launch.run(main)
