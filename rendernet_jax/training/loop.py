"""The training loop: data in, checkpoints, weights, a log and picture sheets out."""

import dataclasses
import json
import math
import pathlib
import sys
import time

import numpy as np
from tqdm import tqdm

from rendernet_jax.config import Config, config_to_dict
from rendernet_jax.data.source import TARGETS
from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder
from rendernet_jax.training.parallel import data_parallel
from rendernet_jax.training.prefetch import Prefetch
from rendernet_jax.training.run_folder import LOG, SHEETS, open_run, rewind_log
from rendernet_jax.training.step import Recipe, init_state, make_step
from rendernet_jax.training.task_loop import fetch_finite
from rendernet_jax.training.validation import Evaluation
from rendernet_jax.weights import save_weights

_LOG_EVERY = 50  # steps; figures are fetched from the device no more often


def train(
    config: Config,
    source,
    recipe: Recipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    warm_start: dict | None = None,
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them if ``folder`` holds checkpoints of the same run.

    Writes into ``folder``: run.json (what the run is), log.jsonl (a line each 50 steps and two an evaluation),
    checkpoints/ (latest two and best), weights.npz + weights.json (EMA weights of the best evaluation), and
    sheets/{step}.png (validation views: reference above, network below; of a network that draws images also what it
    drew before any training). One process at a time may do so.

    Args:
        source: has ``batch(rng, count, patch)``, ``validation``, ``views(indices, occupancy)`` and ``size``, see
            ``data.source.Source``.
        warm_start: parameters to begin with; random if None.
        inputs: what identifies the data and the warm start, JSON values by name; a run is continued with equal ones
            only.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures.

    Raises:
        InputError: the folder holds another run, files of other origin, or damaged checkpoints; another process
            trains there; there is nothing to validate on; no head that the data can judge; or the loss is not
            finite, in which case the last good checkpoint stays.
    """
    if not len(source.validation):
        raise InputError("data set: expected at least one validation view, got none; build it with two shapes or more")
    if config.size and config.size != source.size:
        raise InputError(
            f"config: expected network {config.name!r} for the data's {source.size} pixels, got one for {config.size}; "
            "fit it with config.fit_size"
        )
    description = {
        "config": config_to_dict(config),
        "recipe": dataclasses.asdict(recipe),
        "inputs": inputs or {},
        "evaluation": {"eval_every": eval_every},
    }
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        checkpoints = open_run(folder, description)
        state = init_state(config, recipe, warm_start)
        evaluate = Evaluation(config, source, folder / SHEETS, state["ema"] if config.draws_images else None)
        state = checkpoints.restore(state) or state
        return _go_on(config, source, recipe, folder, eval_every, provenance or {}, checkpoints, state, evaluate)


def _go_on(config, source, recipe, folder, eval_every, provenance, checkpoints, state, evaluate) -> dict:
    """The steps that are left, from a train state; returns the last evaluation's figures."""
    start = int(state["step"])
    records = [record for record in rewind_log(folder / LOG, start) if "psnr" in record]
    evaluations = [record for record in records if record["step"] > 0]
    best = max((record["psnr"] for record in evaluations), default=-math.inf)
    scores = {name: value for name, value in (evaluations or [{}])[-1].items() if name != "step"}
    step = data_parallel(make_step(config, recipe))
    batches = Prefetch(lambda i: make_batch(source, recipe, i), start, recipe.steps)
    with batches, open(folder / LOG, "a") as log, tqdm(total=recipe.steps, initial=start, disable=None) as bar:

        def write(record):
            log.write(json.dumps(record, allow_nan=False) + "\n")
            log.flush()

        if config.draws_images and not records and start == 0:  # what it learns is seen beside what it began with
            write({"step": 0, **evaluate(state["ema"], 0)})
        unread, began, waited = [], time.perf_counter(), 0.0
        for done in range(start + 1, recipe.steps + 1):
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            state, figures = step(state, batch)
            unread.append(figures)
            bar.update()
            evaluating = done % eval_every == 0 or done == recipe.steps
            if done % _LOG_EVERY == 0 or evaluating:
                figures = fetch_finite(unread, done, write)
                seconds = time.perf_counter() - began
                speed = len(unread) * recipe.batch / seconds
                write({"step": done, **figures, "patches_per_second": speed, "data_wait": waited / seconds})
                bar.set_postfix_str(f"loss {figures['loss']:.4f}, {speed:.1f} patches/s")
                left = (recipe.steps - done) * recipe.batch / speed / 60
                progress = f"step {done}/{recipe.steps}, {speed:.1f} patches/s, {left:.0f} min left: "
                if bar.disable:  # no terminal
                    print(f"{progress}loss {figures['loss']:.4f}", file=sys.stderr, flush=True)
                unread, began, waited = [], time.perf_counter(), 0.0
            if evaluating:
                scores = evaluate(state["ema"], done)
                if scores["psnr"] > best:
                    best = scores["psnr"]
                    save_weights(folder, state["ema"], config, {**provenance, "step": done, **scores})
                write({"step": done, **scores})
                # Last: a run killed before this line repeats the evaluation, and what it wrote, when it goes on.
                checkpoints.save(done, state, scores["psnr"])
                bar.write(progress + ", ".join(f"{name} {value:.2f}" for name, value in scores.items()))
                began = time.perf_counter()
    return scores


def make_batch(source, recipe: Recipe, index: int) -> dict:
    """Batch number ``index``: a function of the seed and the index alone."""
    rng = np.random.default_rng([recipe.seed, index])
    batch = source.batch(rng, recipe.batch, recipe.patch)
    return {
        **{k: v for k, v in batch.items() if k not in TARGETS},
        "target": {k: v for k, v in batch.items() if k in TARGETS},
        "light": _random_lights(rng, recipe.batch),
    }


def _random_lights(rng: np.random.Generator, count: int) -> dict:
    """Lights from the viewer's half of the sphere, mostly from above."""
    return {
        "azimuth": rng.uniform(-1.4, 1.4, count).astype(np.float32),
        "elevation": rng.uniform(-0.6, 1.3, count).astype(np.float32),
        "ambient": np.full(count, 0.1, np.float32),
        "intensity": np.full(count, 0.9, np.float32),
    }
