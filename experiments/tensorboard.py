"""Turn the log of a training run into TensorBoard's event files.

    python -m experiments.tensorboard --run=runs/compact --output=out/tensorboard
    tensorboard --logdir=out/tensorboard

Every training run writes OUTPUT/log.jsonl; this reads it, of a run that has ended or that goes on, and writes every
figure by step. Call it again for what came since.
"""

from absl import flags

from . import _launch as launch

_RUN = flags.DEFINE_string("run", None, "Folder of the training run, its --output.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the event files; those of an earlier call are replaced.")


def main():
    """Flags to one conversion."""
    launch.require(run=_RUN.value, output=_OUTPUT.value)
    from rendernet_jax.training.event_files import write_events

    count = write_events(_RUN.value, launch.prepare_output(_OUTPUT.value))
    print(f"wrote {_OUTPUT.value}: {count} figures")


if __name__ == "__main__":
    launch.run(main)
