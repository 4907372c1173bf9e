"""Flags of a launcher that several processes may run together, on one machine or on many."""

from absl import flags

_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0 of several; under SLURM and on TPU pods they find each other."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "With --coordinator: how many there are.", lower_bound=1)
_PROCESS = flags.DEFINE_integer("process", None, "With --coordinator: which this is, from 0.", lower_bound=0)


def join() -> bool:
    """Join the other processes, if there are any; returns whether this one leads, and writes what is written."""
    from rendernet_jax.training import hosts

    hosts.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    return hosts.leads()
