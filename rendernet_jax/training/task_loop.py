"""The training loop, whatever the task is: checkpoints, the weights of the best evaluation, and a log."""

import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

from rendernet_jax.errors import InputError, Interrupted
from rendernet_jax.files import lock_folder, write_atomically
from rendernet_jax.training import hosts
from rendernet_jax.training.parallel import data_parallel
from rendernet_jax.training.prefetch import prefetch
from rendernet_jax.training.run_folder import FAULT, LOG, open_run, rewind_log
from rendernet_jax.weights import flatten

_LOG_EVERY = 50  # steps; figures are fetched from the device no more often


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained."""

    state: Callable[[], dict]  # a fresh train state: params, ema, opt_state, step
    make_step: Callable  # axis -> step(state, batch) -> (state, figures), averaged over the axis if it is not None
    batch: Callable  # (number, places: range) -> examples of a batch, functions of its number and their places alone
    examples: int  # in a batch, over all processes
    score: Callable[[dict, int], dict[str, float]]  # EMA parameters, step -> figures
    figure: str  # the one of them that tells which is best: the higher the better
    save: Callable[[dict, dict], None]  # writes weights from EMA parameters, with these facts about them
    unit: str = "examples"  # as the log calls them
    workers: int = 0  # processes that make batches, see training.prefetch
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
    evaluation. One command at a time may do so; of several processes that train together (:mod:`hosts`) the first.

    Args:
        description: what fixes the run, JSON values; a run is continued with an equal one only.
        prepare: called once the folder is known to be this run's.
        parallel: see :func:`rendernet_jax.training.parallel.data_parallel`.

    Returns:
        the last evaluation's figures; of processes that do not lead, none.

    Raises:
        InputError: the folder holds another run, files of other origin, or damaged checkpoints; another command
            trains there; a batch that the devices can't share; or the loss is not finite, in which case the last good
            checkpoint stays, and not_finite.npz holds what :mod:`replay` repeats.
        Interrupted: SIGTERM came, and the last step is saved.
    """
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if hosts.leads():
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_folder(folder))
            checkpoints = open_run(folder, {**description, "evaluation": {"eval_every": eval_every}})
        task = prepare()
        state = task.state()
        if checkpoints:
            state = checkpoints.restore(state) or state
        run = _Run(task, folder, steps, eval_every, checkpoints, int(hosts.share(state["step"])))
        with hosts.watch_sigterm() as stop, run:
            return run.go_on(hosts.share(state), parallel, stop)


class _Run:
    """The steps that are left of a run, and what is written about them by the process that leads."""

    def __init__(self, task: Task, folder, steps: int, eval_every: int, checkpoints, start: int):
        self.task, self.folder, self.steps, self.eval_every, self.start = task, folder, steps, eval_every, start
        self.checkpoints = checkpoints  # None: another process leads
        records = rewind_log(folder / LOG, start) if checkpoints else []
        records = [record for record in records if task.figure in record]
        evaluations = [record for record in records if record["step"] > 0]
        self.is_new = not records and start == 0
        self.best = max((record[task.figure] for record in evaluations), default=-math.inf)
        self.scores = {name: value for name, value in (evaluations or [{}])[-1].items() if name != "step"}
        self.progress = _Progress(task, steps, start, quiet=checkpoints is None)

    def __enter__(self):
        self.log = open(self.folder / LOG if self.checkpoints else os.devnull, "a")
        return self

    def __exit__(self, *_):
        self.log.close()
        self.progress.close()

    def write(self, record: dict) -> None:
        self.log.write(json.dumps(record, allow_nan=False) + "\n")
        self.log.flush()

    def go_on(self, state: dict, parallel: str, stop: Callable[[int], bool]) -> dict:
        """All steps from a train state on; returns the last evaluation's figures."""
        places = hosts.places(self.task.examples)
        step = data_parallel(self.task.make_step, parallel)
        if self.task.score_first and self.is_new and self.checkpoints:
            self.write({"step": 0, **self.task.score(hosts.own_copy(state["ema"]), 0)})
        make = functools.partial(self.task.batch, places=places)
        with prefetch(make, self.start, self.steps, self.task.workers) as batches:
            unread, read = [], state  # figures of the steps since a state
            for done in range(self.start + 1, self.steps + 1):
                state, figures = step(state, self.progress.take(batches))
                unread.append(figures)
                stopping, evaluating = stop(done), done % self.eval_every == 0 or done == self.steps
                if done % _LOG_EVERY == 0 or evaluating or stopping:
                    try:
                        figures = fetch_finite(unread, done)
                    except NotFinite as fault:
                        self.keep_fault(fault, step, read)
                        raise
                    if done % _LOG_EVERY == 0 or evaluating:
                        self.write({"step": done, **figures, **self.progress.tell(done, len(unread), figures["loss"])})
                    unread, read = [], state
                if evaluating and self.checkpoints:
                    self.evaluate(state, done)
                if stopping:
                    if self.checkpoints and not evaluating:
                        self.checkpoints.save(done, hosts.own_copy(state))
                    raise Interrupted(f"SIGTERM: step {done} of {self.steps} is saved; the same command goes on")
        return self.scores

    def evaluate(self, state: dict, done: int) -> None:
        """Score the parameters, and keep them if they are the best, the figures, and the train state."""
        ema = hosts.own_copy(state["ema"])
        self.scores = self.task.score(ema, done)
        score = self.scores[self.task.figure]
        if score > self.best:
            self.best = score
            self.task.save(ema, {"step": done, **self.scores})
        self.write({"step": done, **self.scores})
        # Last: a run killed before this line repeats the evaluation, and what it wrote, when it goes on.
        self.checkpoints.save(done, hosts.own_copy(state), score)
        self.progress.tell_scores(self.scores)

    def keep_fault(self, fault: "NotFinite", step, state: dict) -> None:
        """Write the batch that a step failed on, and the parameters before it, which are found again from a state."""
        places, number = hosts.places(self.task.examples), int(hosts.own_copy(state["step"]))
        for earlier in range(number, fault.step - 1):
            state, _ = step(state, self.task.batch(earlier, places))
        self.write({"step": fault.step, "not_finite": fault.names})
        if self.checkpoints:
            content = {
                "params": jax.device_get(hosts.own_copy(state["params"])),
                "batch": self.task.batch(fault.step - 1, range(self.task.examples)),
                "step": np.asarray(fault.step - 1),
            }
            file = io.BytesIO()
            np.savez(file, **flatten(content))
            write_atomically(self.folder / FAULT, file.getvalue())


class NotFinite(InputError):
    """Figures of a step that are NaN or infinite."""

    def __init__(self, step: int, names: list[str]):
        super().__init__(
            f"step {step}: expected finite figures of batch {step - 1}, got {', '.join(names)} that are not; the last "
            f"good checkpoint stands, and {FAULT} holds the batch and the parameters, which `python -m "
            "experiments.replay --run=OUTPUT` looks into; lower --rate and choose a new --output"
        )
        self.step, self.names = step, names


def fetch_finite(unread: list[dict], done: int) -> dict:
    """Figures of the last of the steps up to ``done``, once those of all ``unread`` ones are found finite."""
    for step, figures in enumerate(jax.device_get(hosts.own_copy(unread)), done - len(unread) + 1):
        figures = {name: float(value) for name, value in figures.items()}
        if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
            raise NotFinite(step, wrong)
    return figures


class _Progress:
    """How fast it goes, on a terminal's bar or in lines on stderr."""

    def __init__(self, task: Task, steps: int, start: int, quiet: bool):
        self._task, self._steps, self._quiet = task, steps, quiet
        self._bar = tqdm(total=steps, initial=start, disable=quiet or None)
        self._line, self._began, self._waited = "", time.perf_counter(), 0.0

    def close(self) -> None:
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
        if self._bar.disable and not self._quiet:  # no terminal
            print(f"{self._line}loss {loss:.4f}", file=sys.stderr, flush=True)
        figures = {f"{unit}_per_second": speed, "data_wait": self._waited / seconds}
        self._began, self._waited = time.perf_counter(), 0.0
        return figures

    def tell_scores(self, scores: dict) -> None:
        """Print an evaluation's figures, whose time does not count."""
        self._bar.write(self._line + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        self._began = time.perf_counter()
