"""Figures of a training run's log as TensorBoard's event files."""

import pathlib

from rendernet_jax.data.optional import import_tensorboard
from rendernet_jax.errors import InputError
from rendernet_jax.training.run_folder import LOG, read_log


def write_events(run, output) -> int:
    """Write every figure of ``run``'s log by step into the folder ``output``; returns how many.

    Event files of an earlier call are replaced.

    Raises:
        InputError: no run there, or tensorboardX is not installed.
    """
    log = pathlib.Path(run) / LOG
    if not log.is_file():
        raise InputError(f"run {run}: expected a training run's folder with {LOG}, got none; check --run")
    tensorboard = import_tensorboard()
    for earlier in pathlib.Path(output).glob("events.out.tfevents.*"):
        earlier.unlink()
    count = 0
    with tensorboard.SummaryWriter(str(output)) as writer:
        for record in read_log(log):
            step = record.pop("step")
            for name, value in record.items():
                if isinstance(value, float | int):
                    writer.add_scalar(name, value, step)
                    count += 1
    return count
