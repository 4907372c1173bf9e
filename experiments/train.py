"""Train a network on a data set that build_dataset made.

    python -m experiments.train --data=data/procedural --output=runs/compact --steps=10000

The same command continues an interrupted run, exactly. OUTPUT/weights.npz holds the averaged (EMA) weights of the best
evaluation; ``render --weights=OUTPUT`` draws with them.
"""

import dataclasses
import time

from absl import flags

from . import _launch as launch

_PRESET = flags.DEFINE_string("preset", "compact", "Network: paper, compact or tiny.")
_HEADS = flags.DEFINE_enum(
    "heads", "gbuffer", ["gbuffer", "image"], "A G-buffer for every shader and light, or the pictures of --shader."
)
_SHADER = flags.DEFINE_enum(
    "shader", None, ["phong", "toon", "contour", "ao"], "What --heads=image learns to draw; light at 35/40 degrees."
)
_DATA = flags.DEFINE_string("data", None, "Data set folder, made by build_dataset.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run; an interrupted run there goes on.")
_STEPS = flags.DEFINE_integer("steps", 10_000, "Optimiser steps.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 6, "Patches a step, over all devices.", lower_bound=1)
_PATCH = flags.DEFINE_integer("patch", 192, "Side of a patch, pixels.", lower_bound=8)
_RATE = flags.DEFINE_float("rate", 1e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_EMA = flags.DEFINE_float("ema", 0.999, "Decay of the weights' running mean.", lower_bound=0.0, upper_bound=1.0)
_BF16 = flags.DEFINE_bool("bf16", False, "Run the network in bfloat16 (GPU, TPU); parameters stay float32.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (shipped name or folder).")
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_PARALLEL = flags.DEFINE_enum("parallel", "pmap", ["pmap"], "How a batch is spread over local devices.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of initial weights, batches and lights.", 0, 2**31 - 1)


def main():
    """Flags to one training run."""
    launch.require(data=_DATA.value, output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax.config import preset
    from rendernet_jax.data.source import Source
    from rendernet_jax.errors import InputError
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.training.loop import train
    from rendernet_jax.training.step import Recipe
    from rendernet_jax.weights import load_weights, read_card

    if (_HEADS.value == "image") != (_SHADER.value is not None):
        raise InputError("--shader: expected with --heads=image, and only there; give both or neither")
    config = preset(_PRESET.value)
    if _SHADER.value:
        config = preset(_PRESET.value, heads=(("image", 1),), shader=_SHADER.value)
    recipe = Recipe(
        steps=_STEPS.value,
        batch=_BATCH.value,
        patch=_PATCH.value,
        rate=_RATE.value,
        ema=_EMA.value,
        bf16=_BF16.value,
        seed=_SEED.value,
    )
    if recipe.patch % config.multiple:
        raise InputError(f"--patch: expected a multiple of {config.multiple}, got {recipe.patch}")
    warm_start, warm_start_sha256 = None, None
    if _WEIGHTS.value:
        warm_start, found = load_weights(_WEIGHTS.value)
        warm_start_sha256 = read_card(_WEIGHTS.value)["sha256"]
        if dataclasses.replace(found, name=config.name) != config:
            raise InputError(
                f"--weights: expected weights of preset {config.name!r}, got those of {found.name!r} with other "
                "layers or heads; choose the matching --preset"
            )
    output = launch.prepare_output(_OUTPUT.value)
    source = Source(_DATA.value, config.upsample)
    patches = f"{recipe.batch} patches, {recipe.patch} pixels wide"
    print(f"{len(source.training)} training views, {recipe.steps} steps of {patches}")
    began = time.time()
    scores = train(
        config,
        source,
        recipe,
        output,
        eval_every=_EVAL_EVERY.value,
        warm_start=warm_start,
        inputs={"data": identify_data(_DATA.value), "weights": warm_start_sha256},
        provenance={"command": command(), "data": describe_data(_DATA.value), **machine()},
    )
    if scores:
        print(", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    print(f"{(time.time() - began) / 60:.1f} minutes; wrote {output}/weights.npz, log.jsonl, sheets/, checkpoints/")


def identify_data(folder: str) -> dict:
    """What of a data set must be the same for a run to be continued, wherever the folder lies."""
    from rendernet_jax.data.shards import read_manifest, sha256

    manifest = read_manifest(folder)
    digests = "\n".join(shard["sha256"] for shard in manifest["shards"])
    named = {key: manifest[key] for key in ("settings", "names_sha256")}
    return {**named, "shards_sha256": sha256(digests.encode())}


def describe_data(folder: str) -> dict:
    """What the weights' card says of the data set."""
    from rendernet_jax.data.shards import read_manifest

    manifest = read_manifest(folder)
    return {key: manifest[key] for key in ("arguments", "settings", "counts", "names_sha256")}


if __name__ == "__main__":
    launch.run(main)
