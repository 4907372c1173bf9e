"""Files that many processes make, a few dozen shapes in each, and that an interrupted command finds again."""

import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from rendernet_jax.array_files import read_arrays
from rendernet_jax.data import pool, shards
from rendernet_jax.data.tasks import Task
from rendernet_jax.errors import InputError
from rendernet_jax.files import remove_leftovers, write_atomically

CHUNK = 48  # shapes in a file
_TIMEOUT = 900.0  # seconds for one file
_REPORT_SECONDS = 30.0
_ASKED = "asked"  # name of the array that tells what a file was to hold


class Job(Protocol):
    """One file. A frozen dataclass, so that it can be pickled."""

    path: pathlib.Path
    tasks: tuple[Task, ...]
    key: str  # name of an array that only files of its kind hold

    def asked(self) -> list:
        """What tells the file's content from any other: JSON values."""

    def make(self) -> dict[str, np.ndarray]:
        """Its arrays."""


def make(job: Callable[..., Job], tasks: Sequence[Task], folder, workers: int, what: str) -> list[dict]:
    """Arrays of every file for some tasks, made or, where ``folder`` holds them, read; progress goes to stderr.

    Neither the number of processes nor an interruption changes a byte.

    Args:
        job: makes one of path and tasks.
        tasks: with families and different names.
        folder: the files go there; made if need be.
        workers: processes, see :func:`pool.run_tasks`.
        what: is made, in the plural.

    Raises:
        InputError: the folder holds files of something else; no Open3D or Numba; or the process making one died.
        OSError: a file cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    starts = range(0, len(tasks), CHUNK)
    jobs = [job(folder / f"{start // CHUNK:06d}.npz", tuple(tasks[start : start + CHUNK])) for start in starts]
    found = [_read(job, what) for job in jobs]
    left = [job for job, arrays in zip(jobs, found, strict=True) if arrays is None]
    begin = last = time.monotonic()
    for ended, (position, result) in enumerate(pool.run_tasks(_write, left, workers, _TIMEOUT), 1):
        if isinstance(result, pool.Crash):
            raise InputError(f"{what} of {left[position].path.name}: {result.reason}; repeat the command")
        now = time.monotonic()
        if now - last > _REPORT_SECONDS or ended == len(left):
            minutes = (now - begin) / ended * (len(left) - ended) / 60
            print(f"{ended}/{len(left)} files of {CHUNK} {what}, {minutes:.1f} min left", file=sys.stderr, flush=True)
            last = now
    complete = [_read(job, what) if arrays is None else arrays for job, arrays in zip(jobs, found, strict=True)]
    if None in complete:
        raise InputError(f"{jobs[complete.index(None)].path}: expected the {what} just made; repeat the command")
    return complete


def _write(job: Job) -> None:
    """Make and write one file."""
    write_atomically(job.path, shards.pack_shard({**job.make(), _ASKED: _encode(job.asked())}))


def _read(job: Job, what: str) -> dict[str, np.ndarray] | None:
    """A file's arrays, or None if it must be made: missing or damaged. Raises InputError if it holds others."""
    try:
        arrays = read_arrays(job.path.read_bytes())
        asked = arrays.pop(_ASKED)
    except Exception:  # whatever is wrong with the file, it can be made again
        return None
    if job.key not in arrays or not np.array_equal(asked, _encode(job.asked())):
        got = "those of other shapes" if job.key in arrays else "something else"
        raise InputError(
            f"{job.path}: expected {what} of the shapes asked for, got {got}; repeat the flags that made the file, or "
            "choose another --output"
        )
    return arrays


def _encode(asked: list) -> np.ndarray:
    return np.frombuffer(json.dumps(asked).encode(), np.uint8)
