"""Train variants of the compact network alike, and score them on a folder of meshes.

    python -m experiments.compare_networks --data=data/procedural --meshes=DIR --output=out/variants

Writes table.md and table.json after each variant: arithmetic, time and quality, by GFLOP. The same command goes on
where an interrupted one stopped; another --variants adds to the table.
"""

import pathlib

from absl import flags

from . import _launch as launch

_DATA = flags.DEFINE_string("data", None, "Data set folder, made by build_dataset; required.")
_MESHES = flags.DEFINE_string("meshes", None, "Folder of meshes to score on, searched with its sub-folders; required.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the table and the runs; required.")
_VARIANTS = flags.DEFINE_list("variants", None, "Which variants, in the order of training; all if not given.")
_STEPS = flags.DEFINE_integer("steps", 500, "Optimiser steps of each.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 8, "Patches a step, over all devices.", lower_bound=1)
_PATCH = flags.DEFINE_integer("patch", 160, "Side of a patch, pixels.", lower_bound=8)
_RATE = flags.DEFINE_float("rate", 1.5e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_EMA = flags.DEFINE_float("ema", 0.99, "Decay of the weights' running mean.", lower_bound=0.0, upper_bound=1.0)
_BF16 = flags.DEFINE_bool("bf16", False, "Train in bfloat16 (GPU, TPU); parameters stay float32.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of initial weights, batches and lights.", 0, 2**31 - 1)
_VIEWS = flags.DEFINE_integer("views", 2, "Views of each mesh.", 1, 4)
_SIZE = flags.DEFINE_integer("size", 512, "Side of the scored pictures, pixels.", 8, 1024)
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files; never guessed.")


def main():
    """Flags to one comparison."""
    launch.require(data=_DATA.value, meshes=_MESHES.value, output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import comparison
    from rendernet_jax.errors import InputError
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.training.step import Recipe

    networks = comparison.pick(comparison.VARIANTS if _VARIANTS.value is None else _VARIANTS.value)
    meshes = pathlib.Path(_MESHES.value)
    if not meshes.is_dir():
        raise InputError(f"--meshes: expected a folder, got {_MESHES.value!r}; correct the path")
    recipe = Recipe(
        steps=_STEPS.value,
        batch=_BATCH.value,
        patch=_PATCH.value,
        rate=_RATE.value,
        ema=_EMA.value,
        bf16=_BF16.value,
        seed=_SEED.value,
    )
    plan = comparison.Plan(
        pathlib.Path(_DATA.value),
        meshes,
        launch.prepare_output(_OUTPUT.value),
        recipe,
        networks,
        views=_VIEWS.value,
        size=_SIZE.value,
        up=_UP.value,
        provenance={"command": command(), **machine()},
    )
    comparison.run(plan)
    print((plan.output / comparison.TABLE).read_text(encoding="utf-8"))
    print(f"wrote {plan.output}/{comparison.TABLE} and {comparison.REPORT}")


if __name__ == "__main__":
    launch.run(main)
