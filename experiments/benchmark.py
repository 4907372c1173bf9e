"""Measure time, memory and speed beside Flax's convolutions and PyTorch.

    python -m experiments.benchmark --preset=compact --size=512 --output=out/benchmark.json

--growth and --kernels measure something else instead: how cost grows with size and batch; resampling and each
convolution by themselves.
"""

import pathlib
import sys

from absl import flags

from . import _launch as launch

_PRESET = flags.DEFINE_string("preset", "compact", "Network: compact, paper or tiny.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the report; required.")
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_BATCH = flags.DEFINE_integer("batch", 1, "Pictures at a time.", 1)
_PATCH = flags.DEFINE_integer("patch", 160, "Side of the training patches, pixels.", 8, 1024)
_TRAIN_BATCH = flags.DEFINE_integer("train_batch", 8, "Training patches at a time.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 7, "Times each is run once compiled; the median counts.", 5)
_BF16 = flags.DEFINE_bool("bf16", False, "Compute in bfloat16.")
_TORCH = flags.DEFINE_bool("torch", None, "Measure PyTorch too; if it is installed, unless told.")
_GROWTH = flags.DEFINE_bool("growth", False, "Time and memory over --sizes and --batches, in fresh processes.")
_SIZES = flags.DEFINE_list("sizes", "128,256,512,1024", "Sides of the pictures for --growth.")
_BATCHES = flags.DEFINE_list("batches", "1,4,16", "Pictures at a time for --growth.")
_LIMIT = flags.DEFINE_float("limit_mib", 4096.0, "A process of --growth that outgrows this is ended.", 1.0)
_KERNELS = flags.DEFINE_bool("kernels", False, "Resampling and each convolution against those of JAX.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a report that is there already.")


def main():
    """Flags to one report."""
    launch.require(preset=_PRESET.value, output=_OUTPUT.value)
    import jax

    from rendernet_jax.benchmark import report, rivals, table
    from rendernet_jax.errors import InputError
    from rendernet_jax.files import write_json

    if _GROWTH.value and _KERNELS.value:
        raise InputError("--growth: expected alone or none, got --kernels too; run them one after the other")
    jax.config.update("jax_enable_compilation_cache", False)  # a first call is to show what compiling costs
    output = pathlib.Path(_OUTPUT.value)
    launch.prepare_output(output.parent)
    launch.refuse_existing([output], _OVERWRITE.value)
    if _GROWTH.value:
        plan = report.GrowthPlan(
            _PRESET.value,
            sizes=_numbers("sizes", _SIZES.value),
            batches=_numbers("batches", _BATCHES.value),
            repeats=_REPEATS.value,
            limit_mib=_LIMIT.value,
        )
        result = report.measure_growth(plan, lambda row: print(table.growth_line(row), flush=True))
        if largest := result["largest"]:
            print(f"largest within {_LIMIT.value:.0f} MiB: {largest['batch']} picture(s) of {largest['size']}")
    elif _KERNELS.value:
        result = report.measure_kernels(_REPEATS.value, lambda row: print(table.kernel_line(row), flush=True))
    else:
        plan = report.Plan(
            _PRESET.value,
            size=_SIZE.value,
            batch=_BATCH.value,
            patch=_PATCH.value,
            train_batch=_TRAIN_BATCH.value,
            repeats=_REPEATS.value,
            bf16=_BF16.value,
            torch=rivals.torch_is_installed() if _TORCH.value is None else _TORCH.value,
            render=_render_command(),
        )
        result = report.measure(plan)
        print("\n".join(table.stage_lines(result)))
    write_json(output, result)
    print(f"wrote {output}")


def _render_command() -> tuple[str, ...] | None:
    """The launcher `render` on the example, for the network whose weights it takes by default."""
    example = pathlib.Path(__file__).resolve().parent.parent / "docs" / "chair.npz"  # only a checkout has it
    if _PRESET.value != "compact" or not example.exists():
        return None
    flag_values = {"input": example, "outputs": "phong", "size": _SIZE.value}
    command = [f"--{name}={value}" for name, value in flag_values.items()]
    return (sys.executable, "-m", f"{__package__}.render", *command, "--output")


def _numbers(name: str, values: list[str]) -> tuple[int, ...]:
    """Whole numbers above 0 of a list flag; each once."""
    from rendernet_jax.errors import InputError

    if not values or not all(v.isdecimal() and int(v) > 0 for v in values):
        raise InputError(f"--{name}: expected whole numbers above 0, got {','.join(values) or 'nothing'}")
    return tuple(sorted({int(v) for v in values}))


if __name__ == "__main__":
    launch.run(main)
