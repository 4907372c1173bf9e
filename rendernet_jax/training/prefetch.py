"""Batches prepared while the device works: in a thread of this process, or in processes of their own."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable

import jax
import numpy as np
from absl import flags

from rendernet_jax.data.optional import import_grain
from rendernet_jax.errors import InputError

_AHEAD = 4  # items prepared in advance; by processes, of each of them


def prefetch(make: Callable, start: int, stop: int, workers: int = 0):
    """Iterator over ``make(start), ..., make(stop - 1)``, in order, whoever prepares them.

    A context manager: threads and processes run inside ``with`` only. What ``make`` raises, ``next`` raises.

    Args:
        make: a function of the number alone; for workers it is pickled, with all that it holds.
        workers: processes; 0 for a thread of this one.
    """
    return _Processes(make, start, stop, workers) if workers else Prefetch(make, start, stop)


class Prefetch:
    """A thread of this process."""

    def __init__(self, make, start: int, stop: int):
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


class _Processes:
    """Processes of grain, which take turns.

    Grain's iterator is not saved in checkpoints, since all that it knows is the number of the next batch, which the
    train state has as its step; and grain's own state would bind a run to the number of workers.
    """

    def __init__(self, make, start: int, stop: int, workers: int):
        grain = import_grain()
        if not flags.FLAGS.is_parsed():  # grain has some of its own, and asks for them
            flags.FLAGS.mark_as_parsed()
        numbers = grain.MapDataset.range(start, stop).map(make).to_iter_dataset(grain.ReadOptions(1, _AHEAD))
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=_AHEAD)
        self._batches = iter(numbers.mp_prefetch(options, worker_init_fn=_begin))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._batches.close()

    def __next__(self):
        try:
            batch = next(self._batches)
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise InputError(
                f"--workers: expected processes that make batches, got one that died ({error}); where memory or "
                "/dev/shm is short, take fewer of them, or a smaller --batch"
            ) from error
        # Copied, so that grain's shared memory goes back at once, whoever holds the batch, and for how long.
        return jax.tree.map(np.array, batch)


def _begin(*_) -> None:
    """Called first in a worker: it leaves devices and signals to the process that trains, and ends with it."""
    jax.config.update("jax_platforms", "cpu")
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
