"""Score weights on a folder of meshes, side by side, and beside marching cubes of the same voxels.

    python -m experiments.evaluate --meshes=DIR --output=out/scores
    python -m experiments.evaluate --meshes=DIR --output=out/scores --weights=compact,runs/a,runs/b --robustness

Writes report.md (tables: all meshes, by first sub-folder, closed and open ones), report.json (every figure) and
sheet.png (references, voxels, pictures, maps of their errors). Ray-traced pictures are kept in references/: a command
that was interrupted, or one with other weights and --overwrite, does not trace them again.
"""

import pathlib

from absl import flags

from . import _launch as launch

_MESHES = flags.DEFINE_string("meshes", None, "Folder of meshes, searched with its sub-folders; required.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the report; required.")
_WEIGHTS = flags.DEFINE_list("weights", "compact", "Names of shipped weights and folders of training runs.")
_OCCUPANCY = flags.DEFINE_list("occupancy", "coverage,binary", "How the meshes are voxelised.")
_VIEWS = flags.DEFINE_integer("views", 4, "Views of each mesh.", 1, 4)
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files; never guessed.")
_ROBUSTNESS = flags.DEFINE_bool("robustness", False, "Score some of the meshes on changed inputs, too.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a report that is there already; references stay.")


def main():
    """Flags to one evaluation."""
    launch.require(meshes=_MESHES.value, output=_OUTPUT.value, weights=_WEIGHTS.value, occupancy=_OCCUPANCY.value)
    launch.keep_compiled_programs()
    from rendernet_jax import scoreboard
    from rendernet_jax.errors import InputError
    from rendernet_jax.evaluation import show
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.report import COLUMNS

    meshes = pathlib.Path(_MESHES.value)
    if not meshes.is_dir():
        raise InputError(f"--meshes: expected a folder, got {_MESHES.value!r}; correct the path")
    output = launch.prepare_output(_OUTPUT.value)
    written = (scoreboard.TEXT, scoreboard.REPORT, scoreboard.SHEET)
    launch.refuse_existing([output / name for name in written], _OVERWRITE.value)
    plan = scoreboard.Plan(
        meshes,
        output,
        tuple(_WEIGHTS.value),
        tuple(_OCCUPANCY.value),
        _VIEWS.value,
        _SIZE.value,
        _UP.value,
        _ROBUSTNESS.value,
        {"command": command(), **machine()},
    )
    report = scoreboard.run(plan)
    for method, figures in report["mean"].items():
        print(f"{method:24s} " + ", ".join(f"{name} {show(figures[name], 3)}" for name in COLUMNS))
    print(f"{len(report['meshes'])} meshes, {len(report['skipped'])} skipped; wrote {', '.join(written)} in {output}")


if __name__ == "__main__":
    launch.run(main)
