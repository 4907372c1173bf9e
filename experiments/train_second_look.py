"""Train the second look: from a small picture and a first guess drawn beside it, how the guess is off.

    python -m experiments.train_second_look --shapes=48000 --families=chair,stool,sofa --output=runs/second_look
    python -m experiments.train_second_look --prior=runs/mine --guess=runs/mine_guess --shapes=0 --data=data/mine \
      --output=runs/mine_look

Shapes and views are those of train_first_guess, made first and kept in OUTPUT/grids and OUTPUT/views: folders of its
run may be put there. What the first guess makes of one view of each is kept in OUTPUT/estimates.npz. The same command
continues an interrupted run, exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best evaluation.
"""

import time

from absl import flags

from . import _launch as launch
from ._shapes import find_shapes

_PRIOR = flags.DEFINE_string("prior", "shape_prior", "Shape prior by name, or the folder of its training.")
_GUESS = flags.DEFINE_string("guess", "first_guess", "First guess by name, or the folder of its training.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (second_look ships, or a run's folder).")
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
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.second_look import LookConfig, config_from_dict
    from rendernet_jax.training.first_guess_loop import GuessRecipe
    from rendernet_jax.training.second_look_loop import train_look

    prior, guess = weights.load_prior(_PRIOR.value), weights.load_guess(_GUESS.value)
    if guess[1].latent != prior[1].latent:
        raise InputError(
            f"--guess: expected latents of {prior[1].latent} numbers, as those of the prior, got {guess[1].latent}; "
            "use the guess of this prior"
        )
    grid = prior[1].grid
    shapes = find_shapes(grid, "binary", _SEED.value)
    given = {"prior": _PRIOR.value, "guess": _GUESS.value}
    inputs = shapes.inputs | {name: weights.read_card(each)["sha256"] for name, each in given.items()}
    layers = {name: getattr(guess[1], name) for name in ("latent", "patch", "widths", "blocks", "hidden")}
    warm_start, config = None, LookConfig(**layers)
    if _WEIGHTS.value:
        warm_start, fields = weights.read_params(_WEIGHTS.value)
        if (found := config_from_dict(fields)) != config:
            raise InputError(f"--weights: expected layers of {config}, got {found}; use others, or leave it out")
        inputs["weights"] = weights.read_card(_WEIGHTS.value)["sha256"]
    output = launch.prepare_output(_OUTPUT.value)
    began = time.time()
    scores = train_look(
        config,
        prior,
        guess,
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
