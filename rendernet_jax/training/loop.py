"""The training loop: data in, checkpoints, weights, a log and picture sheets out."""

import dataclasses
import json
import math
import os
import pathlib
import queue
import threading
import time

import jax
import numpy as np
from tqdm import tqdm

from rendernet_jax import metrics, shading
from rendernet_jax.camera import Pose
from rendernet_jax.config import Config, config_to_dict
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import DEFAULT_LIGHT, render_buffers
from rendernet_jax.training.checkpoints import Checkpoints
from rendernet_jax.training.parallel import data_parallel
from rendernet_jax.training.step import Recipe, init_state, make_step
from rendernet_jax.weights import save_weights

_AHEAD = 4  # batches prepared in advance
_LOG_EVERY = 50  # steps; figures are fetched from the device no more often


def train(
    config: Config,
    source,
    recipe: Recipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    warm_start: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them if ``folder`` holds checkpoints of the same run.

    Writes into ``folder``: run.json (what the run is), log.jsonl (a line each 50 steps and two an evaluation),
    checkpoints/ (latest two and best), weights.npz + weights.json (EMA weights of the best evaluation), and
    sheets/{step}.png (validation views: reference above, network below).

    Args:
        source: has ``batch(rng, count, patch)``, ``validation`` and ``views(indices)``, see ``data.source.Source``.
        warm_start: parameters to begin with; random if None.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures.

    Raises:
        InputError: the folder holds another run, its checkpoints are damaged, or there is nothing to validate on.
        FloatingPointError: the loss is not finite; the last good checkpoint stays.
    """
    if not len(source.validation):
        raise InputError("data set: expected at least one validation view, got none; build it with two shapes or more")
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_run(folder, config, recipe)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = init_state(config, recipe, warm_start)
    state = checkpoints.restore(state) or state
    start = int(state["step"])
    evaluations = [record for record in _rewind_log(folder / "log.jsonl", start) if "psnr" in record]
    best = max((record["psnr"] for record in evaluations), default=-math.inf)
    scores = {name: value for name, value in (evaluations or [{}])[-1].items() if name != "step"}
    step = data_parallel(make_step(config, recipe))
    evaluate = Evaluation(config, source, folder / "sheets")
    batches = _Prefetch(lambda i: make_batch(source, recipe, i), start, recipe.steps)
    with batches, open(folder / "log.jsonl", "a") as log, tqdm(total=recipe.steps, initial=start, disable=None) as bar:

        def write(record):
            log.write(json.dumps(record) + "\n")
            log.flush()

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
                figures = _fetch_finite(unread, done, write)
                seconds = time.perf_counter() - began
                speed = len(unread) * recipe.batch / seconds
                write({"step": done, **figures, "patches_per_second": speed, "data_wait": waited / seconds})
                bar.set_postfix_str(f"loss {figures['loss']:.4f}, {speed:.1f} patches/s")
                unread, began, waited = [], time.perf_counter(), 0.0
            if evaluating:
                scores = evaluate(state["ema"], done)
                if scores["psnr"] > best:
                    best = scores["psnr"]
                    save_weights(folder, state["ema"], config, {**(provenance or {}), "step": done, **scores})
                write({"step": done, **scores})
                # Last: a run killed before this line repeats the evaluation, and what it wrote, when it goes on.
                checkpoints.save(done, state, scores["psnr"])
                bar.write(f"step {done}: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
                began = time.perf_counter()
    return scores


def make_batch(source, recipe: Recipe, index: int) -> dict:
    """Batch number ``index``: a function of the seed and the index alone."""
    rng = np.random.default_rng([recipe.seed, index])
    batch = source.batch(rng, recipe.batch, recipe.patch)
    targets = ("mask", "normal", "depth", "ao", "contour", "albedo")
    return {
        **{k: v for k, v in batch.items() if k not in targets},
        "target": {k: v for k, v in batch.items() if k in targets},
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


class Evaluation:
    """Scores on whole validation views, and a sheet of them."""

    def __init__(self, config, source, folder, count=8):
        self._folder = folder
        indices = np.linspace(0, len(source.validation) - 1, min(count, len(source.validation))).astype(int)
        self._views = [source.views([source.validation[i]]) for i in indices]
        size = self._views[0]["mask"].shape[1]
        self._draw = jax.jit(lambda params, grid, pose: render_buffers(params, config, grid, Pose(**pose), size))

    def __call__(self, params, step) -> dict:
        rows, scores = [], []
        for view in self._views:
            target = {k: view[k] for k in ("mask", "normal", "depth", "ao", "contour")}
            drawn = self._draw(params, view["grid"], view["pose"])
            outputs = [o for o in shading.OUTPUTS if all(n in drawn for n in shading.NEEDS[o])]
            pictures = {o: [shading.shade(b, DEFAULT_LIGHT, o) for b in (target, drawn)] for o in outputs}
            scores.append({f"psnr_{o}": float(metrics.psnr(b, a)[0]) for o, (a, b) in pictures.items()})
            scores[-1]["mask_iou"] = float(metrics.mask_iou(drawn["mask"], target["mask"])[0])
            rows += [[np.asarray(pair[k][0]) for pair in pictures.values()] for k in range(2)]
        self._folder.mkdir(exist_ok=True)
        save_png(self._folder / f"{step:07d}.png", picture_sheet(rows[:8], column_labels=outputs, cell=192))
        mean = {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
        return {"psnr": mean.get("psnr_phong", float("nan")), **mean}


class _Prefetch:
    """Iterator over ``make(start), ..., make(stop - 1)`` prepared in a background thread, in order."""

    def __init__(self, make, start, stop):
        self._queue = queue.Queue(maxsize=_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(make, start, stop), daemon=True)

    def _work(self, make, start, stop):
        for index in range(start, stop):
            try:
                item = make(index)
            except Exception as error:  # handed to the consumer, who raises it
                item = error
            while not self._stopped.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if self._stopped.is_set() or isinstance(item, Exception):
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def __next__(self):
        item = self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item


def _check_same_run(folder, config, recipe):
    """A folder belongs to one run; the same command continues it, another is refused."""
    wanted = {"config": config_to_dict(config), "recipe": dataclasses.asdict(recipe)}
    wanted = json.loads(json.dumps(wanted))
    path = folder / "run.json"
    if not path.exists():
        _write_whole(path, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"output {folder}: expected JSON in run.json, got {error}; choose another --output") from error
    if found != wanted:
        differing = [k for part in wanted for k in wanted[part] if found.get(part, {}).get(k) != wanted[part][k]]
        raise InputError(
            f"output {folder}: holds another run (differs in {', '.join(differing)}); choose another --output, "
            "or give the same flags to continue it"
        )


def _fetch_finite(unread: list[dict], done: int, write) -> dict:
    """Figures of the last of the steps up to ``done``, once those of all ``unread`` ones are found finite."""
    for step, figures in enumerate(jax.device_get(unread), done - len(unread) + 1):
        figures = {name: float(value) for name, value in figures.items()}
        if not all(math.isfinite(value) for value in figures.values()):
            write({"step": step, "not_finite": figures})
            raise FloatingPointError(
                f"step {step}: the loss of batch {step - 1} is not finite ({figures}); the last good checkpoint "
                "stands; lower --rate"
            )
    return figures


def _rewind_log(path: pathlib.Path, step: int) -> list[dict]:
    """Cut the log back to the records up to ``step``, which are returned: what came after is about to be repeated."""
    kept = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:  # half a line, from the moment of a kill
            continue
        if record["step"] <= step:
            kept.append(record)
    _write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept


def _write_whole(path: pathlib.Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
