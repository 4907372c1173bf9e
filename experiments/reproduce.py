"""Reproduce the results: data, training, baselines, evaluation and figures, in one command.

    python -m experiments.reproduce --output=out/reproduction
    python -m experiments.reproduce --output=out/reproduction --meshes=DIR --up=z
    python -m experiments.reproduce --scale=paper --dry_run

OUTPUT/report.md has every table and picture, report.json every figure, logs/ what each stage printed. The same command
goes on where an interrupted one stopped. --scale=small takes about an hour on two CPU cores; --scale=paper is meant for
a machine with eight large GPUs and takes days.
"""

import pathlib
import signal

from absl import flags

from . import _launch as launch

_SCALE = flags.DEFINE_enum("scale", "small", ["small", "paper"], "How much is made, trained and scored.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of the reproduction, required but for --dry_run; an interrupted one there goes on."
)
_MESHES = flags.DEFINE_string("meshes", None, "Folder of your own meshes, which are scored as well.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of the files of --meshes; never guessed.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the commands in order, and run none.")


def main():
    """Flags to one reproduction."""
    if not _DRY_RUN.value:
        launch.require(output=_OUTPUT.value)
    from rendernet_jax import reproduction, reproduction_plan
    from rendernet_jax.errors import InputError
    from rendernet_jax.provenance import command, machine

    output = pathlib.Path(_OUTPUT.value or "OUTPUT")
    meshes = None
    if _MESHES.value:
        meshes = pathlib.Path(_MESHES.value)
        if not meshes.is_dir():
            raise InputError(f"--meshes: expected a folder, got {_MESHES.value!r}; correct the path")
        meshes = reproduction.relative_meshes(meshes, output)
    plan = reproduction_plan.Plan(reproduction_plan.SCALES[_SCALE.value], meshes, _UP.value)
    if _DRY_RUN.value:
        print(reproduction_plan.show_commands(plan, str(output)))
        return
    launch.prepare_output(str(output))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the running stage, too, as Ctrl-C does
    reproduction.run(plan, output, {"command": command(), **machine()})
    print(f"wrote {output}/report.md and report.json")


if __name__ == "__main__":
    launch.run(main)
