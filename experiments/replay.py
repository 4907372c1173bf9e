"""Look into a batch that stopped a training run with numbers that are not finite.

    python -m experiments.replay --run=runs/compact

Training leaves OUTPUT/not_finite.npz: the batch, and the parameters and the step it met. Each example is run through
the network alone: its loss, and the names of what is not finite in it and in the gradient.
"""

from absl import flags

from . import _launch as launch

_RUN = flags.DEFINE_string("run", None, "Folder of the training run, its --output.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the findings to, beside printing them.")


def main():
    """Flags to one replay."""
    launch.require(run=_RUN.value)
    launch.keep_compiled_programs()
    import math
    import pathlib

    from rendernet_jax.files import write_json
    from rendernet_jax.training.replay import replay

    examples = replay(_RUN.value)
    for place, found in enumerate(examples):
        given = f", not finite in the batch: {', '.join(found['given'])}" if found["given"] else ""
        more = f" and {len(found['gradient']) - 3} more" if len(found["gradient"]) > 3 else ""
        gradient = f", in the gradient: {', '.join(found['gradient'][:3])}{more}" if found["gradient"] else ""
        print(f"example {place}: loss {found['loss']:.6g}{given}{gradient}")
    if _OUTPUT.value:
        told = [{**found, "loss": found["loss"] if math.isfinite(found["loss"]) else None} for found in examples]
        write_json(pathlib.Path(_OUTPUT.value), told)
        print(f"wrote {_OUTPUT.value}")


if __name__ == "__main__":
    launch.run(main)
