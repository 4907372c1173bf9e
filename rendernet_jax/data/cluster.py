"""The tasks of a job on the workers of a Dask cluster, in place of processes of this machine (:mod:`pool`)."""

import concurrent.futures
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rendernet_jax.data.optional import import_distributed
from rendernet_jax.data.pool import Crash
from rendernet_jax.errors import InputError

_AHEAD = 4  # tasks handed in for each thread of the cluster, so that no worker waits
_TIMEOUT = 30  # seconds to find the scheduler


def run_tasks(function: Callable, tasks: Sequence, scheduler: str) -> Iterator[tuple[int, Any]]:
    """Yield ``(index, function(task))`` as the tasks end, in any order.

    The workers need the same packages, and the folders that the tasks name, relative ones from this process's working
    directory. The tasks of a worker that dies go to the others; one that three workers died of is a
    :class:`~rendernet_jax.data.pool.Crash`.

    Args:
        function: a module's top-level function; it and the tasks are pickled.
        scheduler: address of the cluster's scheduler, ``tcp://host:port``.

    Raises:
        InputError: no Dask, no scheduler there, no worker, other packages there, or the function raised it.
        OSError: the function raised it.
    """
    distributed = import_distributed()
    try:
        client = distributed.Client(scheduler, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"scheduler: expected Dask's at {scheduler}, got {error}; check --scheduler") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise InputError(f"scheduler: expected workers at {scheduler}, got none; start some with `dask worker`")
        try:
            client.get_versions(check=True)
        except ValueError as error:
            raise InputError(f"scheduler: expected this process's packages on all workers, got {error}") from error
        with client.get_executor(pure=False) as executor:
            there = functools.partial(_call_in, os.getcwd(), function)
            yield from _run(executor, there, tasks, _AHEAD * threads, distributed.KilledWorker)


def _run(executor, function, tasks, ahead: int, killed: type[Exception]) -> Iterator[tuple[int, Any]]:
    waiting = enumerate(tasks)
    running = {executor.submit(function, task): index for index, task in itertools.islice(waiting, ahead)}
    while running:
        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            index = running.pop(future)
            try:
                yield index, future.result()
            except killed:
                yield index, Crash("the processes reading it died")
            for following, task in itertools.islice(waiting, 1):
                running[executor.submit(function, task)] = following


def _call_in(folder: str, function: Callable, task) -> Any:
    """What a worker does."""
    os.chdir(folder)
    return function(task)
