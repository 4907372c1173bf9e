"""Training of the network: data in, checkpoints, weights, a log and picture sheets out."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from rendernet_jax.config import Config, config_to_dict, shape_alone
from rendernet_jax.data.source import TARGETS
from rendernet_jax.errors import InputError
from rendernet_jax.training.run_folder import SHEETS
from rendernet_jax.training.step import Recipe, init_state, make_step
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.training.validation import Evaluation
from rendernet_jax.weights import load_weights, read_card, save_weights


def train(
    config: Config,
    source,
    recipe: Recipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    parallel: str = "pmap",
    workers: int = 0,
    warm_start: dict | None = None,
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them; see :func:`rendernet_jax.training.task_loop.train_task`.

    Beside what that writes, ``folder`` gets weights.npz + weights.json (EMA weights of the best evaluation), and
    sheets/{step}.png (validation views: reference above, network below; of a network that draws images also what it
    drew before any training).

    Args:
        source: has ``batch(rng, count, patch)``, ``validation``, ``views(indices, occupancy)`` and ``size``, see
            ``data.source.Source``.
        parallel: see :func:`rendernet_jax.training.parallel.data_parallel`.
        workers: processes that make batches, for a source that can be pickled; 0 for a thread of this one. It changes
            no bit, and a run may go on with another number.
        warm_start: parameters to begin with; random if None.
        inputs: what identifies the data and the warm start, JSON values by name; a run is continued with equal ones
            only.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures.

    Raises:
        InputError: there is nothing to validate on, workers for data in memory, a patch that the network can't draw,
            no head that the data can judge, or what ``train_task`` raises.
    """
    if not len(source.validation):
        raise InputError("data set: expected at least one validation view, got none; build it with two shapes or more")
    if workers and not getattr(source, "packed", False):
        raise InputError(f"--workers: expected 0 for data in memory, got {workers}; pack them first, with pack_dataset")
    if config.size and config.size != source.size:
        raise InputError(
            f"config: expected network {config.name!r} for the data's {source.size} pixels, got one for {config.size}; "
            "fit it with config.fit_size"
        )
    if recipe.patch % config.multiple or config.size not in (None, recipe.patch):
        wanted = f"{config.size}, whole views" if config.size else f"a multiple of {config.multiple}"
        raise InputError(
            f"--patch: expected {wanted}, for {config.name}, got {recipe.patch}; change it or leave it out"
        )

    if recipe.only_texture and config.paint is None:
        raise InputError(f"--only_texture: expected a preset of coloured objects, got {config.name!r}; leave it out")

    def prepare() -> Task:
        state = init_state(config, recipe, warm_start)
        return Task(
            state=lambda: state,
            make_step=functools.partial(make_step, config, recipe),
            batch=functools.partial(make_batch, source, recipe),
            examples=recipe.batch,
            score=Evaluation(config, source, folder / SHEETS, state["ema"] if config.draws_images else None),
            figure="psnr",
            save=lambda params, facts: save_weights(folder, params, config, {**(provenance or {}), **facts}),
            unit="patches",
            workers=workers,
            score_first=config.draws_images,
        )

    description = {"config": config_to_dict(config), "recipe": dataclasses.asdict(recipe), "inputs": inputs or {}}
    return train_task(folder, description, recipe.steps, eval_every, prepare, parallel)


def read_warm_start(name, config: Config) -> tuple[dict, str]:
    """Parameters of weights to begin with, and what identifies them.

    A network of coloured objects may begin with what draws the same shapes without colours.

    Raises:
        InputError: no such weights, or those of another network.
    """
    params, found = load_weights(name)
    if dataclasses.replace(found, name=config.name) not in (config, shape_alone(config)):
        wanted = f"expected weights of preset {config.name!r}, got {found.name!r} with other layers or heads"
        raise InputError(f"--weights: {wanted}; choose the matching --preset")
    return params, read_card(name)["sha256"]


def make_batch(source, recipe: Recipe, index: int, places: range | None = None) -> dict:
    """Batch number ``index``, or its examples at some places.

    Each is a function of the seed, the index and its place alone: processes that make a part each make one batch.
    """
    places = range(recipe.batch) if places is None else places
    examples = [_make_example(source, recipe, np.random.default_rng([recipe.seed, index, place])) for place in places]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *examples)


def _make_example(source, recipe: Recipe, rng: np.random.Generator) -> dict:
    """A batch of one, with its light."""
    example = source.batch(rng, 1, recipe.patch)
    return {
        **{k: v for k, v in example.items() if k not in TARGETS},
        "target": {k: v for k, v in example.items() if k in TARGETS},
        "light": _random_light(rng),
    }


def _random_light(rng: np.random.Generator) -> dict:
    """Light from the viewer's half of the sphere, mostly from above, ``[1]``."""
    return {
        "azimuth": rng.uniform(-1.4, 1.4, 1).astype(np.float32),
        "elevation": rng.uniform(-0.6, 1.3, 1).astype(np.float32),
        "ambient": np.full(1, 0.1, np.float32),
        "intensity": np.full(1, 0.9, np.float32),
    }
