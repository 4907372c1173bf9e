"""Score weights on a folder of meshes, beside marching cubes of the same voxels.

    python -m experiments.evaluate --meshes=DIR --output=out/scores

Writes report.json (each mesh and the means) and sheet.png (reference, then each method).
"""

import pathlib

from absl import flags

from . import _launch as launch

_MESHES = flags.DEFINE_string("meshes", None, "Folder of meshes, searched with its sub-folders.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the report.")
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_OCCUPANCY = flags.DEFINE_list("occupancy", "coverage,binary", "How the meshes are voxelised.")
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files; never guessed.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a report that is there already.")


def main():
    """Flags to one evaluation."""
    launch.require(meshes=_MESHES.value, output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import evaluation
    from rendernet_jax.errors import InputError

    launch.require(occupancy=_OCCUPANCY.value)
    if unknown := sorted(set(_OCCUPANCY.value) - {"coverage", "binary"}):
        raise InputError(f"--occupancy: expected coverage, binary or both, got {', '.join(unknown)}")
    meshes = pathlib.Path(_MESHES.value)
    if not meshes.is_dir():
        raise InputError(f"--meshes: expected a folder, got {_MESHES.value!r}; correct the path")
    output = launch.prepare_output(_OUTPUT.value)
    launch.refuse_existing([output / "report.json", output / "sheet.png"], _OVERWRITE.value)
    plan = evaluation.Plan(
        meshes, output, _WEIGHTS.value, occupancies=tuple(_OCCUPANCY.value), size=_SIZE.value, up=_UP.value
    )
    report = evaluation.run(plan)
    for method, figures in report["mean"].items():
        print(f"{method:24s} " + ", ".join(f"{name} {evaluation.show(value, 3)}" for name, value in figures.items()))
    print(f"{len(report['meshes'])} meshes, {len(report['skipped'])} skipped; wrote {output}/report.json and sheet.png")


if __name__ == "__main__":
    launch.run(main)
