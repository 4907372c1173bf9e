"""Train the shape prior: an autoencoder between 64^3 object grids and vectors of 200 numbers, about unit normal.

    python -m experiments.train_shape_prior --output=runs/shape_prior
    python -m experiments.train_shape_prior --output=runs/chairs --shapes=4000 --families=chair
    python -m experiments.train_shape_prior --output=runs/mine --shapes=0 --data=data/mine,data/more

The grids of procedural shapes are made first and kept in OUTPUT/grids. The same command continues an interrupted run,
exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best evaluation; OUTPUT/log.jsonl has the overlap
(IoU) of unseen shapes with what is decoded from their latents, for each family.
"""

import os
import time

from absl import flags

from . import _launch as launch

_FURNITURE = "chair,stool,bench,sofa,table,shelf,cabinet,lamp"
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_SHAPES = flags.DEFINE_integer("shapes", 8000, "Number of procedural shapes; 0 for --data alone.", lower_bound=0)
_FAMILIES = flags.DEFINE_list("families", _FURNITURE, "Procedural families, or 'all'.")
_DATA = flags.DEFINE_list("data", [], "Folders of data sets made by build_dataset, whose grids are used too.")
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
_KL = flags.DEFINE_float("kl", 0.1, "Weight of the latents' divergence from a unit normal.", lower_bound=0.0)
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of shapes, initial weights and batches.", 0, 2**31 - 1)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes that make shapes, by default one a core; 0 works in this one.", lower_bound=0
)


def main():
    """Flags to one training run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    import jax

    from rendernet_jax.data import shape_grids
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
        if found != config:
            wanted, got = (f"preset {each.name!r} of {each.occupancy} grids" for each in (config, found))
            raise InputError(f"--weights: expected {wanted}, got {got}; choose the matching --preset, or leave it out")
    tasks, read, inputs = find_shapes(config)
    if _WEIGHTS.value:
        inputs["weights"] = read_card(_WEIGHTS.value)["sha256"]
    output = launch.prepare_output(_OUTPUT.value)

    def collect():
        shapes = list(read)
        if tasks:
            folder, workers = output / "grids", count_workers()
            shapes = shape_grids.make_procedural(tasks, folder, config.grid, workers, config.occupancy) + shapes
        grids = shape_grids.GridSet(shapes, config.grid)
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


def find_shapes(config):
    """Tasks for procedural shapes, shapes of data sets, and what identifies both."""
    from rendernet_jax.data import families, shape_grids, tasks
    from rendernet_jax.errors import InputError

    asked = []
    if _SHAPES.value:
        chosen = families.FAMILIES if _FAMILIES.value == ["all"] else _FAMILIES.value
        asked = tasks.procedural_tasks(_SHAPES.value, chosen, _SEED.value)
    read, digests = shape_grids.read_data_sets(_DATA.value, config.grid, config.occupancy)
    if not asked and not read:
        raise InputError("--shapes: expected 1 or more, or --data, got neither; add one of both")
    chosen = sorted({task.family for task in asked})
    return asked, read, {"shapes": len(asked), "families": chosen, "data_sha256": digests}


def count_workers() -> int:
    """The flag's number of processes, else one for each core that this process may use."""
    if _WORKERS.value is not None:
        return _WORKERS.value
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    launch.run(main)
