"""Build a data set: ray-traced views and voxel grids of procedural shapes or of a folder of meshes.

    python -m experiments.build_dataset --output=data/procedural --shapes=800
    python -m experiments.build_dataset --source=ShapeNetCore/03001627 --output=data/chairs
    python -m experiments.build_dataset --output=data/procedural --executor=dask --scheduler=tcp://10.0.0.1:8786

The same command continues an interrupted build. Meshes that cannot be used are skipped, and listed with the reason in
OUTPUT/manifest.json, which is written last; contact_sheet.png shows what the set holds.
"""

import collections
import os
import pathlib
import sys

from absl import flags

from rendernet_jax.errors import InputError

from . import _launch as launch

_SOURCE = flags.DEFINE_string("source", "procedural", "'procedural', or a folder of obj, ply, off, stl or glb meshes.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the data set, required; an interrupted build there goes on.")
_SHAPES = flags.DEFINE_integer("shapes", 800, "Number of procedural shapes.", lower_bound=1)
_FAMILIES = flags.DEFINE_list(
    "families",
    ["all"],
    "'all', or procedural families, for example chair,table; 'coloured' for face,painted; 'all' is without rocker.",
)
_VIEWS = flags.DEFINE_integer("views", 3, "Views of each shape.", 1, 1000)
_SIZE = flags.DEFINE_integer("size", 512, "Side of a picture, pixels.", 8, 4096)
_GRID = flags.DEFINE_integer("grid", 64, "Voxels on each side of a grid.", 4, 512)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes and views.", lower_bound=0)
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of a folder's mesh files; never guessed.")
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes, by default one a core; 0 works in this one, which a mesh may crash.", lower_bound=0
)
_EXECUTOR = flags.DEFINE_enum(
    "executor", "local", ["local", "dask"], "This machine, or a Dask cluster that is running."
)
_SCHEDULER = flags.DEFINE_string("scheduler", None, "With --executor=dask: address of its scheduler, tcp://HOST:PORT.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what the output folder holds of a data set.")


def main():
    """Flags to one build."""
    launch.require(source=_SOURCE.value, output=_OUTPUT.value)
    if _EXECUTOR.value == "dask":
        launch.require(scheduler=_SCHEDULER.value)
    elif _SCHEDULER.value:
        raise InputError("--scheduler: expected with --executor=dask only; add it, or leave --scheduler out")
    from rendernet_jax.data import dataset, tasks

    if _SOURCE.value == "procedural":
        shapes = tasks.procedural_tasks(_SHAPES.value, _FAMILIES.value, _SEED.value)
    else:
        shapes = tasks.folder_tasks(_SOURCE.value, _UP.value, _SEED.value)
    settings = dataset.Settings(views=_VIEWS.value, size=_SIZE.value, grid=_GRID.value)
    output = launch.prepare_output(_OUTPUT.value)
    described = describe_source()
    manifest = dataset.build(
        shapes, output, settings, count_workers(), described, _OVERWRITE.value, scheduler=_SCHEDULER.value
    )
    for mesh in manifest["skipped"]:
        print(f"skipped {mesh['name']}: {mesh['reason']}", file=sys.stderr)
    made = collections.Counter(shard["family"] or "files" for shard in manifest["shards"])
    print(", ".join(f"{family} {count}" for family, count in made.most_common()))
    counts = manifest["counts"]
    print(f"wrote {output}: complete, {counts['shapes']} shapes, {counts['views']} views, {counts['skipped']} skipped")


def count_workers() -> int:
    """The flag's number of processes, else one for each core that this process may use."""
    if _WORKERS.value is not None:
        return _WORKERS.value
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_source() -> dict:
    """What the manifest says of the source; a build is continued with the same only."""
    if _SOURCE.value == "procedural":
        return {"source": "procedural", "shapes": _SHAPES.value, "families": _FAMILIES.value, "seed": _SEED.value}
    return {"source": pathlib.PurePath(_SOURCE.value).as_posix(), "up": _UP.value, "seed": _SEED.value}


if __name__ == "__main__":
    launch.run(main)
