"""Train the first guess: from a small picture of an upright object, its view and the shape prior's vector of it.

    python -m experiments.train_first_guess --shapes=48000 --families=chair,stool,sofa --output=runs/first_guess
    python -m experiments.train_first_guess --prior=runs/mine --shapes=0 --data=data/mine --output=runs/mine_guess

Procedural shapes are made first: their grids, by the binary rule, and ray-traced views of them are kept in OUTPUT/grids
and OUTPUT/views. It takes many more of them than the prior, by whose encoder the grids are read. Shapes of data sets
must stand upright; of their views it takes those that a photo might show. The same command continues an interrupted
run, exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best evaluation.
"""

import time

from absl import flags

from . import _launch as launch
from ._shapes import find_shapes

_PRIOR = flags.DEFINE_string("prior", "shape_prior", "Shape prior by name, or the folder of its training.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (first_guess ships, or a run's folder).")
_STEPS = flags.DEFINE_integer("steps", 4000, "Optimiser steps.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 48, "Pictures a step, over all devices.", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 1e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes, initial weights, views and lights.", 0, 2**31 - 1)


def main():
    """Flags to one training run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import weights
    from rendernet_jax.errors import InputError
    from rendernet_jax.first_guess import GuessConfig, config_from_dict
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.training.first_guess_loop import GuessRecipe, train_guess

    prior = weights.load_prior(_PRIOR.value)
    grid = prior[1].grid
    shapes = find_shapes(grid, "binary", _SEED.value)
    inputs = shapes.inputs | {"prior": weights.read_card(_PRIOR.value)["sha256"]}
    warm_start, config = None, GuessConfig(latent=prior[1].latent)
    if _WEIGHTS.value:
        warm_start, fields = weights.read_params(_WEIGHTS.value)
        if (found := config_from_dict(fields)) != config:
            raise InputError(f"--weights: expected layers of {config}, got {found}; use others, or leave it out")
        inputs["weights"] = weights.read_card(_WEIGHTS.value)["sha256"]
    output = launch.prepare_output(_OUTPUT.value)
    began = time.time()
    scores = train_guess(
        config,
        prior,
        lambda: shapes.collect_seen(output, grid, "binary"),
        GuessRecipe(steps=_STEPS.value, batch=_BATCH.value, rate=_RATE.value, seed=_SEED.value),
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
