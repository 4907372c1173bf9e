"""Training of small networks: checkpoints, the weights of the best evaluation, and a log, whatever the task is."""

import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
from tqdm import tqdm

from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder
from rendernet_jax.training.parallel import data_parallel
from rendernet_jax.training.prefetch import Prefetch
from rendernet_jax.training.run_folder import LOG, open_run, rewind_log

_LOG_EVERY = 50  # steps; figures are fetched from the device no more often


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained."""

    state: Callable[[], dict]  # a fresh train state: params, ema, opt_state, step
    step: Callable  # (state, batch) -> (state, figures), averaged over the axis that data_parallel names
    batch: Callable[[int], Any]  # by its number, of which it is a function
    examples: int  # in a batch
    score: Callable[[dict], dict[str, float]]  # EMA parameters -> figures
    figure: str  # the one of them that tells which is best: the higher the better
    save: Callable[[dict, dict], None]  # writes weights from EMA parameters, with these facts about them


def train_task(
    folder: pathlib.Path, description: dict, steps: int, eval_every: int, prepare: Callable[[], Task]
) -> dict:
    """Train ``steps`` steps, or the rest of them if ``folder`` holds checkpoints of the same run.

    Writes into ``folder``: run.json, log.jsonl, checkpoints/ (latest two and best) and what the task saves of the best
    evaluation. One process at a time may do so.

    Args:
        description: what fixes the run, JSON values; a run is continued with an equal one only.
        prepare: called once the folder is known to be this run's.

    Returns:
        the last evaluation's figures.

    Raises:
        InputError: the folder holds another run, files of other origin, or damaged checkpoints; another process
            trains there; or the loss is not finite, in which case the last good checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        checkpoints = open_run(folder, {**description, "evaluation": {"eval_every": eval_every}})
        task = prepare()
        state = task.state()
        return _go_on(task, folder, steps, eval_every, checkpoints, checkpoints.restore(state) or state)


def _go_on(task: Task, folder, steps: int, eval_every: int, checkpoints, state: dict) -> dict:
    """The steps that are left, from a train state; returns the last evaluation's figures."""
    start = int(state["step"])
    evaluations = [record for record in rewind_log(folder / LOG, start) if task.figure in record]
    best = max((record[task.figure] for record in evaluations), default=-math.inf)
    scores = {name: value for name, value in (evaluations or [{}])[-1].items() if name != "step"}
    step = data_parallel(task.step)
    batches = Prefetch(task.batch, start, steps)
    with batches, open(folder / LOG, "a") as log, tqdm(total=steps, initial=start, disable=None) as bar:

        def write(record):
            log.write(json.dumps(record, allow_nan=False) + "\n")
            log.flush()

        unread, began = [], time.perf_counter()
        for done in range(start + 1, steps + 1):
            state, figures = step(state, next(batches))
            unread.append(figures)
            bar.update()
            evaluating = done % eval_every == 0 or done == steps
            if done % _LOG_EVERY == 0 or evaluating:
                figures = fetch_finite(unread, done, write)
                speed = len(unread) * task.examples / (time.perf_counter() - began)
                write({"step": done, **figures, "examples_per_second": speed})
                bar.set_postfix_str(f"loss {figures['loss']:.4f}, {speed:.1f} examples/s")
                left = (steps - done) * task.examples / speed / 60
                progress = f"step {done}/{steps}, {speed:.1f} examples/s, {left:.0f} min left: "
                if bar.disable:  # no terminal
                    print(f"{progress}loss {figures['loss']:.4f}", file=sys.stderr, flush=True)
                unread, began = [], time.perf_counter()
            if evaluating:
                scores = task.score(state["ema"])
                if scores[task.figure] > best:
                    best = scores[task.figure]
                    task.save(state["ema"], {"step": done, **scores})
                write({"step": done, **scores})
                # Last: a run killed before this line repeats the evaluation, and what it wrote, when it goes on.
                checkpoints.save(done, state, scores[task.figure])
                bar.write(progress + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
                began = time.perf_counter()
    return scores


def fetch_finite(unread: list[dict], done: int, write) -> dict:
    """Figures of the last of the steps up to ``done``, once those of all ``unread`` ones are found finite."""
    for step, figures in enumerate(jax.device_get(unread), done - len(unread) + 1):
        figures = {name: float(value) for name, value in figures.items()}
        wrong = [name for name, value in figures.items() if not math.isfinite(value)]
        if wrong:
            write({"step": step, "not_finite": wrong})
            raise InputError(
                f"step {step}: expected finite figures of batch {step - 1}, got {', '.join(wrong)} that are not; the "
                "last good checkpoint stands; lower --rate and choose a new --output"
            )
    return figures
