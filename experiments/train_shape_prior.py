"""Train the shape prior: an autoencoder between 64^3 object grids and vectors of 200 numbers, about unit normal.

    python -m experiments.train_shape_prior --output=runs/shape_prior
    python -m experiments.train_shape_prior --output=runs/chairs --shapes=4000 --families=chair
    python -m experiments.train_shape_prior --output=runs/mine --shapes=0 --data=data/mine,data/more

The grids of procedural shapes are made first and kept in OUTPUT/grids. The same command continues an interrupted run,
exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best evaluation; OUTPUT/log.jsonl has the overlap
(IoU) of unseen shapes with what is decoded from their latents, for each family.
"""

import dataclasses
import time

from absl import flags

from . import _launch as launch
from ._shapes import find_shapes

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_PRESET = flags.DEFINE_enum(
    "preset",
    "shape_prior",
    ["shape_prior", "small", "tiny"],
    "Layers; small is for smooth shapes much alike, whose grids tell coverage, tiny for trying things out.",
)
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (shape_prior ships, or a run's folder).")
_STEPS = flags.DEFINE_integer("steps", 4000, "Optimiser steps.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 8, "Shapes a step, over all devices.", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 2e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_KL = flags.DEFINE_float("kl", 0.03, "Weight of the latents' divergence from a unit normal.", lower_bound=0.0)
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes, initial weights and batches.", 0, 2**31 - 1)


def main():
    """Flags to one training run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    import jax

    from rendernet_jax.errors import InputError
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.shape_prior import PRESETS
    from rendernet_jax.training.shape_prior_loop import train_prior
    from rendernet_jax.training.shape_prior_step import PriorRecipe
    from rendernet_jax.weights import load_prior, read_card

    config = PRESETS[_PRESET.value]
    recipe = PriorRecipe(
        steps=_STEPS.value,
        batch=_BATCH.value,
        rate=_RATE.value,
        kl=_KL.value,
        seed=_SEED.value,
    )
    if recipe.batch % (devices := jax.local_device_count()):
        raise InputError(f"--batch: expected a multiple of the {devices} devices, got {recipe.batch}; change it")
    warm_start = None
    if _WEIGHTS.value:
        warm_start, found = load_prior(_WEIGHTS.value)
        if dataclasses.replace(found, occupancy=config.occupancy) != config:  # what cells tell is soon learned anew
            raise InputError(
                f"--weights: expected those of the preset {config.name!r}, got layers of {found.name!r}; choose the "
                "matching --preset, or leave it out"
            )
    shapes = find_shapes(config.grid, config.occupancy, _SEED.value)
    inputs = shapes.inputs | ({"weights": read_card(_WEIGHTS.value)["sha256"]} if _WEIGHTS.value else {})
    output = launch.prepare_output(_OUTPUT.value)

    def collect():
        grids = shapes.collect(output, config.grid, config.occupancy)
        print(f"{len(grids.training)} training shapes, {len(grids.validation)} unseen ones, {recipe.steps} steps")
        return grids

    began = time.time()
    scores = train_prior(
        config,
        collect,
        recipe,
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
