"""Worker processes that a crash cannot take the whole job down with.

Mesh libraries can end the process on a broken file. Each task therefore runs in one of a few processes, each behind
its own pipe: when a process dies, the task it held is the one that failed, and a fresh process takes its place.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

from rendernet_jax.errors import InputError

_START = multiprocessing.get_context("spawn")  # a fork would copy the threads of JAX and Open3D


@dataclasses.dataclass(frozen=True)
class Crash:
    """Result of a task whose process died or took too long."""

    reason: str


def run_tasks(function: Callable, tasks: Sequence, workers: int, timeout: float) -> Iterator[tuple[int, Any]]:
    """Yield ``(index, function(task))`` as the tasks end, in any order.

    Args:
        function: a module's top-level function; it and the tasks are pickled.
        tasks: one argument each.
        workers: number of processes, each with one thread of numerical libraries; 0 works in this process, which a
            crash then ends.
        timeout: seconds after which a task's process is killed; its result is a :class:`Crash`.

    Raises:
        InputError, OSError: the function raised it.
        RuntimeError: the function raised anything else; the message holds the worker's traceback.
    """
    if workers == 0:
        yield from ((index, function(task)) for index, task in enumerate(tasks))
        return
    waiting = collections.deque(enumerate(tasks))
    crew = [_Worker(function) for _ in range(min(workers, len(tasks)))]
    try:
        while waiting or any(w.index is not None for w in crew):
            for worker in crew:
                if worker.index is None and waiting:
                    worker.give(*waiting.popleft())
            connection.wait([w.pipe for w in crew if w.index is not None], timeout=1.0)
            for worker in crew:
                if worker.index is not None and (ended := worker.poll(timeout)) is not None:
                    yield ended
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """One process, and the task it holds."""

    def __init__(self, function: Callable):
        self.function, self.process, self.pipe, self.index = function, None, None, None

    def give(self, index: int, task) -> None:
        if self.process is None:
            self.pipe, far_end = _START.Pipe()
            self.process = _START.Process(target=_serve, args=(self.function, far_end), daemon=True)
            with _single_threaded():
                self.process.start()
            far_end.close()
        self.index, self.started = index, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # poll tells of it
            self.pipe.send(task)

    def poll(self, timeout: float) -> tuple[int, Any] | None:
        """(index, result) if the task has ended."""
        index = self.index
        if self.pipe.poll():
            try:
                raised, result = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                self.process.join()
                code = self.process.exitcode
                self.stop()
                cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                return index, Crash(f"the process reading it died ({cause})")
            if raised:
                raise result if isinstance(result, Exception) else RuntimeError(f"task {index} failed\n{result}")
            self.index = None
            return index, result
        if time.monotonic() - self.started > timeout:
            self.stop()
            return index, Crash(f"took longer than {timeout:.0f} s")
        return None

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
        self.process = self.pipe = self.index = None


def _serve(function: Callable, pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = (False, function(task))
        except (InputError, OSError) as error:
            answer = (True, error)
        except Exception:
            answer = (True, traceback.format_exc())
        try:
            pipe.send(answer)
        except BrokenPipeError:  # the parent was killed
            return


@contextlib.contextmanager
def _single_threaded():
    """Environment in which numerical libraries start with one thread: every core has its own worker."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: "1" for name in names})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
