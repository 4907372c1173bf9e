r"""Score fits: pose, light, albedo and, unless it is given, shape, found in ray-traced pictures in several ways.

    python -m experiments.evaluate_fit --meshes=DIR --output=out/fits
    python -m experiments.evaluate_fit --shapes=5 --families=chair,table --methods=default,paper --output=out/fits
    python -m experiments.evaluate_fit --shapes=20 --families=chair --methods=shape,retrieval,mean \
        --training=runs/shape_prior/grids --output=out/unknown

Writes report.md (tables: all targets, by category, each target), report.json (every figure) and sheet.png. Pictures
are traced from the meshes, never drawn by the network, under poses and lights that depend on --seed and the target's
name alone. They are kept in targets/, and fits in fits/ until the report is written: after an interruption the same
command goes on. Methods for a given shape: default, one-start (no search), silhouette (the picture is not looked at),
paper (the schedule of 2018: minutes a target). For an unknown one: shape, prior (no single-view network), and what they
must beat, retrieval and mean.
"""

import pathlib

from absl import flags

from . import _launch as launch

_MESHES = flags.DEFINE_string("meshes", None, "Folder of meshes, searched with its sub-folders.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files; never guessed.")
_LIMIT = flags.DEFINE_integer("limit", None, "Number of meshes at most, spread over the folder; by default all.", 1)
_SHAPES = flags.DEFINE_integer("shapes", 0, "Procedural shapes of each family, which no data set holds.", 0)
_FAMILIES = flags.DEFINE_list(
    "families", ["all"], "Procedural families, for example chair,table; 'all' is without rocker."
)
_METHODS = flags.DEFINE_list("methods", "default,one-start,silhouette", "How to fit, see above.")
_PRIOR = flags.DEFINE_string("prior", "shape_prior", "Shape prior by name, or the folder of its training.")
_SINGLE_VIEW = flags.DEFINE_string(
    "single_view", "single_view", "Single-view network by name, or the folder of its training."
)
_TRAINING = flags.DEFINE_string("training", None, "Folder 'grids' of the prior's training, for retrieval and mean.")
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Shipped weights by name, or the folder of a training run.")
_SIZE = flags.DEFINE_integer("size", 256, "Side of the pictures, pixels.", 8, 1024)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of poses, lights and random starts.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the report; required.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a report that is there already; targets stay.")


def main():
    """Flags to one evaluation."""
    launch.require(output=_OUTPUT.value, weights=_WEIGHTS.value)
    launch.keep_compiled_programs()
    from rendernet_jax.errors import InputError

    if not _MESHES.value and not _SHAPES.value:
        raise InputError(
            "--meshes, --shapes: expected one of them or both, got neither; add --meshes=DIR or --shapes=N"
        )
    if _MESHES.value and not pathlib.Path(_MESHES.value).is_dir():
        raise InputError(f"--meshes: expected a folder, got {_MESHES.value!r}; correct the path")
    if _FAMILIES.value != ["all"] and not _SHAPES.value:
        raise InputError("--families: expected a number of shapes, too, got none; add --shapes=N")
    from rendernet_jax import fit_report
    from rendernet_jax.data.families import expand
    from rendernet_jax.evaluation import show
    from rendernet_jax.provenance import command, machine

    output = launch.prepare_output(_OUTPUT.value)
    written = (fit_report.TEXT, fit_report.REPORT, fit_report.SHEET)
    launch.refuse_existing([output / name for name in written], _OVERWRITE.value)
    plan = fit_report.Plan(
        output=output,
        meshes=pathlib.Path(_MESHES.value) if _MESHES.value else None,
        shapes=_SHAPES.value,
        families=tuple(expand(_FAMILIES.value)),
        methods=tuple(_METHODS.value),
        weights=_WEIGHTS.value,
        prior=_PRIOR.value,
        single_view=_SINGLE_VIEW.value,
        training=pathlib.Path(_TRAINING.value) if _TRAINING.value else None,
        size=_SIZE.value,
        seed=_SEED.value,
        limit=_LIMIT.value,
        up=_UP.value,
        provenance={"command": command(), **machine()},
    )
    report = fit_report.run(plan)
    for method, summary in report["summary"].items():
        figures = (f"{title} {show(summary[name], digits)}" for name, (title, digits) in fit_report.COLUMNS.items())
        print(f"{method:12s} {', '.join(figures)}")
    print(f"{len(report['targets'])} targets, {len(report['skipped'])} skipped; wrote {', '.join(written)} in {output}")


if __name__ == "__main__":
    launch.run(main)
