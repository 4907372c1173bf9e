"""Train a network: on a data set that build_dataset made, or to draw as pictures of your own do.

    python -m experiments.train --data=data/procedural --output=runs/compact --steps=10000
    python -m experiments.train --pictures=DIR --objects=DIR --poses=poses.json --output=runs/mine

Each entry of poses.json names a picture, the voxel or mesh file it shows, and its pose, with render's keys:
{"picture": "a.png", "object": "chair.obj", "azimuth_deg": 30, "elevation_deg": 20}. Without --poses the pictures' names
tell all that, as in the 2018 tar files: {object}_p{azimuth}_t{polar}_r{radius}.png.

The same command continues an interrupted run, exactly; SIGTERM saves first, and exits with 143. OUTPUT/weights.npz
holds the averaged (EMA) weights of the best evaluation, with which ``render --weights=OUTPUT`` draws.
"""

import pathlib

from absl import flags

from rendernet_jax.errors import InputError

from . import _hosts
from . import _launch as launch

flags.adopt_module_key_flags(_hosts)
_SHADERS = ("phong", "toon", "contour", "ao")
_PRESET = flags.DEFINE_string("preset", "compact", "compact, paper or tiny, or either with -texture; ec or ec-deep.")
_HEADS = flags.DEFINE_enum(
    "heads", None, ["gbuffer", "image"], "A G-buffer for every shader and light (default), or the pictures of --shader."
)
_SHADER = flags.DEFINE_string(
    "shader",
    None,
    f"What an image network draws: with --data {', '.join(_SHADERS)}, light at 35/40 degrees; else any name.",
)
_DATA = flags.DEFINE_string("data", None, "Data set, packed or not, or faces as of 2018; required, or --pictures.")
_PICTURES = flags.DEFINE_string("pictures", None, "In place of --data: folder or tar of square png or jpg pictures.")
_OBJECTS = flags.DEFINE_string("objects", None, "With --pictures: folder of the voxels or meshes they show.")
_POSES = flags.DEFINE_string("poses", None, "With --pictures: JSON list of what each shows; default: names tell it.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files of --objects; never guessed.")
_OCCUPANCY = flags.DEFINE_enum("occupancy", "coverage", ["coverage", "binary"], "How --objects are voxelised.")
_GRID = flags.DEFINE_integer("grid", 64, "Voxels on each side of a voxelised mesh of --objects.", 4, 128)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run, required; an interrupted run there goes on.")
_STEPS = flags.DEFINE_integer("steps", 10_000, "Optimiser steps.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 6, "Patches a step, over all devices.", lower_bound=1)
_PATCH = flags.DEFINE_integer("patch", None, "Side of a patch, pixels; default: 192, or a small view's.", lower_bound=8)
_RATE = flags.DEFINE_float("rate", 1e-3, "Peak learning rate of AdamW.", lower_bound=0.0)
_EMA = flags.DEFINE_float("ema", 0.999, "Decay of the weights' running mean.", lower_bound=0.0, upper_bound=1.0)
_BF16 = flags.DEFINE_bool("bf16", False, "Run the network in bfloat16 (GPU, TPU); parameters stay float32.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Start from these weights (shipped name or folder).")
_ONLY_TEXTURE = flags.DEFINE_bool(
    "only_texture", False, "Train what draws colours; leave shapes as --weights has them."
)
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Steps between evaluations and checkpoints.", lower_bound=1)
_ACCUMULATE = flags.DEFINE_integer("accumulate", 1, "Parts in which a batch is worked on, to save memory.", 1)
_WORKERS = flags.DEFINE_integer("workers", 0, "Processes making batches of a packed data set; 0: a thread.", 0)
_PARALLEL = flags.DEFINE_enum("parallel", "pmap", ["pmap", "sharding"], "How a batch is spread over devices.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of initial weights, batches and lights.", 0, 2**31 - 1)


def main():
    """Flags to one training run."""
    launch.require(output=_OUTPUT.value)
    launch.require(**({"objects": _OBJECTS.value} if _PICTURES.value else {"data": _DATA.value}))
    launch.keep_compiled_programs()
    check_flags()
    leads = _hosts.join()  # before anything computes
    from rendernet_jax.data.source import choose_patch
    from rendernet_jax.provenance import command, machine
    from rendernet_jax.training.loop import read_warm_start, train
    from rendernet_jax.training.step import Recipe

    output = launch.prepare_output(_OUTPUT.value) if leads else pathlib.Path(_OUTPUT.value)
    config, source = read_pictures() if _PICTURES.value else read_data_set()
    recipe = Recipe(
        steps=_STEPS.value,
        batch=_BATCH.value,
        patch=_PATCH.value or config.size or choose_patch(source.size),
        rate=_RATE.value,
        ema=_EMA.value,
        bf16=_BF16.value,
        accumulate=_ACCUMULATE.value,
        only_texture=_ONLY_TEXTURE.value,
        seed=_SEED.value,
    )
    warm_start, warm_start_sha256 = None, None
    if _WEIGHTS.value:
        warm_start, warm_start_sha256 = read_warm_start(_WEIGHTS.value, config)
    if leads:
        patches = f"{recipe.batch} patches of {recipe.patch} pixels"
        print(f"{len(source.training)} training views, {recipe.steps} steps of {patches}")
    scores = train(
        config,
        source,
        recipe,
        output,
        eval_every=_EVAL_EVERY.value,
        parallel=_PARALLEL.value,
        workers=_WORKERS.value,
        warm_start=warm_start,
        inputs={"data": source.identity, "weights": warm_start_sha256},
        provenance={"command": command(), "data": source.description, **machine()},
    )
    if leads:
        print(", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        print(f"wrote {output}/weights.npz, log.jsonl, sheets/, checkpoints/")


def check_flags() -> None:
    """Raise InputError for flags that do not go together."""
    from rendernet_jax.config import preset

    preset(_PRESET.value)
    if _PICTURES.value:
        if _DATA.value:
            raise InputError("--data: expected without --pictures, got both; leave one out")
        if _HEADS.value == "gbuffer":
            raise InputError("--heads: expected image with --pictures, got gbuffer; leave it out")
        return
    if given := [flag.name for flag in (_OBJECTS, _POSES) if flag.value]:
        raise InputError(f"--{given[0]}: expected with --pictures only; add --pictures=..., or leave it out")
    if (_HEADS.value == "image") != (_SHADER.value is not None):
        raise InputError("--shader: expected with --heads=image, and only there; give both or neither")
    if _SHADER.value not in (None, *_SHADERS):
        raise InputError(f"--shader: expected one of {', '.join(_SHADERS)}, got {_SHADER.value!r}; correct the name")


def read_data_set():
    """Network and source for --data."""
    from rendernet_jax.config import preset
    from rendernet_jax.training.open_data import open_data

    image = {"heads": (("image", 1),), "shader": _SHADER.value} if _SHADER.value else {}
    return open_data(_DATA.value, preset(_PRESET.value, **image))


def read_pictures():
    """Network and source for --pictures."""
    from rendernet_jax.data import own_shader

    shader = own_shader.name_shader(_PICTURES.value, _SHADER.value)
    options = {"up": _UP.value, "occupancy": _OCCUPANCY.value, "grid": _GRID.value}
    source, passed_over = own_shader.load_pictures(_PICTURES.value, _OBJECTS.value, _POSES.value, **options)
    print(own_shader.describe_pictures(source, passed_over))
    return own_shader.picture_network(_PRESET.value, shader, source), source


if __name__ == "__main__":
    launch.run(main)
