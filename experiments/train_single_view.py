"""Train what sees single views: of an upright object in a small picture, its pose, and its cells.

    python -m experiments.train_single_view --shapes=48000 --families=chair,stool,sofa,rocker --output=runs/single_view
    python -m experiments.train_single_view --weights=single_view --shapes=0 --data=data/mine --output=runs/mine

Procedural shapes are made first: their grids of coverage, and ray-traced views of them, are kept in OUTPUT/grids and
OUTPUT/views. It takes many of them. Shapes of data sets must stand upright; of their views it takes those that a photo
might show. Two cores of a shared CPU take 16 s for a step of 48 pictures, 18 hours for 4,000 steps, so that it is work
for a GPU, with --bf16 and as many pictures a step as its memory holds. The same command continues an interrupted run,
exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best evaluation.
"""

import time

from absl import flags

from . import _launch as launch
from ._shapes import find_shapes

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (single_view ships, or a run's folder).")
_VIEWS = flags.DEFINE_integer("views", 4, "Views of each procedural shape; what is shown often is learnt by heart.", 1)
_STEPS = flags.DEFINE_integer("steps", 4000, "Optimiser steps.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 48, "Pictures a step, over all devices.", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 1.2e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_BF16 = flags.DEFINE_bool("bf16", False, "Compute convolutions in bfloat16, as GPUs do many times faster.")
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes, initial weights, views and lights.", 0, 2**31 - 1)


def main():
    """Flags to one training run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import weights
    from rendernet_jax.errors import InputError
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.single_view import SingleViewConfig, config_from_dict
    from rendernet_jax.training.single_view_loop import train_single_view
    from rendernet_jax.training.single_view_step import SingleViewRecipe

    warm_start, config = None, SingleViewConfig()
    shapes = find_shapes(config.grid, "coverage", _SEED.value)
    inputs = {**shapes.inputs, "views": _VIEWS.value}
    if _WEIGHTS.value:
        warm_start, fields = weights.read_params(_WEIGHTS.value)
        if (found := config_from_dict(fields)) != config:
            raise InputError(f"--weights: expected layers of {config}, got {found}; use others, or leave it out")
        inputs["weights"] = weights.read_card(_WEIGHTS.value)["sha256"]
    output = launch.prepare_output(_OUTPUT.value)
    began = time.time()
    scores = train_single_view(
        config,
        lambda: shapes.collect_seen(output, config.grid, "coverage", _VIEWS.value),
        SingleViewRecipe(steps=_STEPS.value, batch=_BATCH.value, rate=_RATE.value, bf16=_BF16.value, seed=_SEED.value),
        output,
        eval_every=_EVAL_EVERY.value,
        warm_start=warm_start,
        inputs=inputs,
        provenance={"command": command(), "data": inputs, **machine()},
    )
    print(", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    print(f"{(time.time() - began) / 60:.1f} minutes; wrote {output}/weights.npz, log.jsonl, checkpoints/")


if __name__ == "__main__":
    launch.run(main)
