"""Train :mod:`small_task` in a process of its own, which takes a second.

python tests/small_run.py --output=DIR [--steps=40] [--pause=0.01] [--parallel=sharding] [--coordinator=...]
"""

import pathlib
import resource
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from absl import flags  # noqa: E402
from small_task import train_line  # noqa: E402

from experiments import _hosts  # noqa: E402
from experiments import _launch as launch  # noqa: E402

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run.")
_STEPS = flags.DEFINE_integer("steps", 40, "Steps.")
_EVERY = flags.DEFINE_integer("every", 4, "Steps between evaluations.")
_PAUSE = flags.DEFINE_float("pause", 0.0, "Seconds to make an example.")
_WORKERS = flags.DEFINE_integer("workers", 0, "Processes that make batches.")
_PARALLEL = flags.DEFINE_string("parallel", "pmap", "pmap or sharding.")
_LARGEST = flags.DEFINE_integer("largest_file", 0, "Bytes beyond which no file grows; 0 for no limit.")
_SIZE = flags.DEFINE_integer("size", 64, "Numbers in the train state.")


def main():
    """Flags to one run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    if _LARGEST.value:  # Python ignores the signal that comes, and sees an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST.value, _LARGEST.value))
    leads = _hosts.join()
    output = launch.prepare_output(_OUTPUT.value) if leads else pathlib.Path(_OUTPUT.value)
    train_line(output, _STEPS.value, _PAUSE.value, _EVERY.value, _PARALLEL.value, _SIZE.value, _WORKERS.value)
    print("done")


if __name__ == "__main__":
    launch.run(main)
