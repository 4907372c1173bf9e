"""The training loop, whatever the task is: checkpoints, the weights of the best evaluation, and a log."""

import dataclasses
import functools
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
    make_step: Callable  # axis -> step(state, batch) -> (state, figures), averaged over the axis if it is not None
    batch: Callable[[int], Any]  # by its number, of which it is a function
    examples: int  # in a batch
    score: Callable[[dict, int], dict[str, float]]  # EMA parameters, step -> figures
    figure: str  # the one of them that tells which is best: the higher the better
    save: Callable[[dict, dict], None]  # writes weights from EMA parameters, with these facts about them
    unit: str = "examples"  # as the log calls them
    score_first: bool = False  # whether it is seen beside what it began with


def train_task(
    folder: pathlib.Path,
    description: dict,
    steps: int,
    eval_every: int,
    prepare: Callable[[], Task],
    parallel: str = "pmap",
) -> dict:
    """Train ``steps`` steps, or the rest of them if ``folder`` holds checkpoints of the same run.

    Writes into ``folder``: run.json, log.jsonl, checkpoints/ (latest two and best) and what the task saves of the best
    evaluation. One process at a time may do so.

    Args:
        description: what fixes the run, JSON values; a run is continued with an equal one only.
        prepare: called once the folder is known to be this run's.
        parallel: see :func:`rendernet_jax.training.parallel.data_parallel`.

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
        return _go_on(task, folder, steps, eval_every, parallel, checkpoints, checkpoints.restore(state) or state)


def _go_on(task: Task, folder, steps: int, eval_every: int, parallel: str, checkpoints, state: dict) -> dict:
    """The steps that are left, from a train state; returns the last evaluation's figures."""
    start = int(state["step"])
    records = [record for record in rewind_log(folder / LOG, start) if task.figure in record]
    evaluations = [record for record in records if record["step"] > 0]
    best = max((record[task.figure] for record in evaluations), default=-math.inf)
    scores = {name: value for name, value in (evaluations or [{}])[-1].items() if name != "step"}
    step = data_parallel(task.make_step, parallel)
    batches = Prefetch(task.batch, start, steps)
    with batches, open(folder / LOG, "a") as log, _Progress(task, steps, start) as progress:
        write = functools.partial(_write_record, log)
        if task.score_first and not records and start == 0:
            write({"step": 0, **task.score(_first_copy(state["ema"]), 0)})
        unread = []
        for done in range(start + 1, steps + 1):
            state, figures = step(state, progress.take(batches))
            unread.append(figures)
            evaluating = done % eval_every == 0 or done == steps
            if done % _LOG_EVERY == 0 or evaluating:
                figures = fetch_finite(unread, done, write)
                write({"step": done, **figures, **progress.tell(done, len(unread), figures["loss"])})
                unread = []
            if evaluating:
                ema = _first_copy(state["ema"])
                scores = task.score(ema, done)
                if scores[task.figure] > best:
                    best = scores[task.figure]
                    task.save(ema, {"step": done, **scores})
                write({"step": done, **scores})
                # Last: a run killed before this line repeats the evaluation, and what it wrote, when it goes on.
                checkpoints.save(done, _first_copy(state), scores[task.figure])
                progress.tell_scores(scores)
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


def _first_copy(tree):
    """A replicated tree as one device holds it: neither checkpoints nor evaluations depend on the device count."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf, tree)


def _write_record(log, record: dict) -> None:
    log.write(json.dumps(record, allow_nan=False) + "\n")
    log.flush()


class _Progress:
    """How fast it goes, on a terminal's bar or in lines on stderr; a context manager."""

    def __init__(self, task: Task, steps: int, start: int):
        self._task, self._steps = task, steps
        self._bar = tqdm(total=steps, initial=start, disable=None)
        self._line, self._began, self._waited = "", time.perf_counter(), 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def take(self, batches):
        """The next batch; counts the time that is spent waiting for it."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        self._bar.update()
        return batch

    def tell(self, done: int, count: int, loss: float) -> dict:
        """Show how far it is; returns the last ``count`` steps' speed, and the share of their time that data took."""
        seconds = time.perf_counter() - self._began
        unit, speed = self._task.unit, count * self._task.examples / seconds
        self._bar.set_postfix_str(f"loss {loss:.4f}, {speed:.1f} {unit}/s")
        left = (self._steps - done) * self._task.examples / speed / 60
        self._line = f"step {done}/{self._steps}, {speed:.1f} {unit}/s, {left:.0f} min left: "
        if self._bar.disable:  # no terminal
            print(f"{self._line}loss {loss:.4f}", file=sys.stderr, flush=True)
        figures = {f"{unit}_per_second": speed, "data_wait": self._waited / seconds}
        self._began, self._waited = time.perf_counter(), 0.0
        return figures

    def tell_scores(self, scores: dict) -> None:
        """Print an evaluation's figures, whose time does not count."""
        self._bar.write(self._line + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        self._began = time.perf_counter()
