"""Processes that train together, on one machine or on many: who they are, what they share, and when they stop."""

import contextlib
import importlib.util
import ipaddress
import os
import pathlib
import re
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

from rendernet_jax.errors import InputError

_ADDRESS = re.compile(r"(.+):([0-9]{1,5})")


def join(coordinator: str | None = None, processes: int | None = None, index: int | None = None) -> None:
    """Join the other processes of this run, if there are any; call it before any computation.

    Args:
        coordinator: ``host:port`` of process 0, as the others reach it; anyone who reaches it can disturb the run.
        processes, index: how many there are, and which this is. Without any of the three, the tasks of ``srun`` and
            the hosts of a TPU pod find each other, and elsewhere a process is alone.

    Raises:
        InputError: only some of the three were given, or they make no sense.
    """
    given = (coordinator, processes, index)
    if given == (None, None, None):
        if started_together(os.environ):
            jax.distributed.initialize()
        return
    if None in given:
        raise InputError("--coordinator, --processes, --process: expected all of them or none, got some; give the rest")
    address = _ADDRESS.fullmatch(coordinator)
    if address is None or not 0 < int(address[2]) < 1 << 16:
        raise InputError(f"--coordinator: expected HOST:PORT, got {coordinator!r}; name process 0's host")
    if not 0 <= index < processes:
        raise InputError(f"--process: expected 0 to {processes - 1}, got {index}; number the processes from 0")
    # A host's name may stand for another address on the host itself; a number says which one to listen on.
    bind = {"coordinator_bind_address": coordinator} if _is_number(address[1]) else {}
    jax.distributed.initialize(coordinator, processes, index, **bind)


def started_together(environment) -> bool:
    """Whether this process is one of several that ``srun`` started, or runs on a TPU host."""
    slurm = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    if all(name in environment for name in slurm) and int(environment.get("SLURM_NTASKS", 1)) > 1:
        return True
    chips = any(pathlib.Path(path).exists() for path in ("/dev/accel0", "/dev/vfio/0"))
    return chips and importlib.util.find_spec("libtpu") is not None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def leads() -> bool:
    """Whether this process writes files and logs: one of them all does."""
    return jax.process_index() == 0


def places(examples: int) -> range:
    """Places in a batch of the examples that this process makes.

    Raises:
        InputError: the batch is no multiple of the device count.
    """
    if examples % jax.device_count():
        raise InputError(
            f"batch: expected a multiple of the {jax.device_count()} devices, got {examples}; change --batch"
        )
    part = examples // jax.process_count()
    return range(jax.process_index() * part, (jax.process_index() + 1) * part)


def share(tree):
    """The leading process's tree on every process."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.process_count() > 1 else tree


def own_copy(tree):
    """A replicated tree as this process holds it on one device: nothing kept depends on how many there are."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf, tree)


@contextlib.contextmanager
def watch_sigterm() -> Iterator[Callable[[int], bool]]:
    """Yields ``stop(step)``, to be asked after every step: whether SIGTERM came, to any of the processes.

    All of them are told to stop after the same step. JAX listens to the signal where it coordinates processes, and a
    handler of Python's would silence it; elsewhere there is a handler.
    """
    if jax.distributed.is_initialized():
        yield multihost_utils.reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield lambda step: False
        return
    came = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield lambda step: came.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
