"""What one benchmark measures, as a dict ready for JSON."""

import dataclasses
import importlib.metadata
import itertools
import platform
import statistics
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rendernet_jax import provenance, rendering
from rendernet_jax.benchmark import growth, kernels, processes, rivals, stages, timing
from rendernet_jax.config import preset
from rendernet_jax.errors import InputError

RATIOS = [f"ratio_vs_{name}_{what}" for name in ("nnx", "torch", "torch_compile") for what in ("forward", "train")]
FIGURES = [*RATIOS, "seconds_per_picture", "peak_mib", "cold_start_seconds", "matmul_gflops"]
TABLES = ["stages", "growth", "kernels"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One network, and what it draws and trains on."""

    preset: str = "compact"
    size: int = 512  # of pictures, pixels
    batch: int = 1
    patch: int = 160  # of training patches, pixels
    train_batch: int = 8
    repeats: int = 7
    bf16: bool = False
    torch: bool = True
    render: tuple[str, ...] | None = None  # command that draws one picture; a folder to draw into is added


@dataclasses.dataclass(frozen=True)
class GrowthPlan:
    """Pictures to draw in fresh processes."""

    preset: str = "compact"
    sizes: tuple[int, ...] = (128, 256, 512, 1024)
    batches: tuple[int, ...] = (1, 4, 16)
    repeats: int = 5
    limit_mib: float = 4096.0


def measure(plan: Plan) -> dict:
    """Time the stages of a network, hold it against other foundations, and draw a picture in a fresh process.

    Returns:
        the keys of :data:`FIGURES` and :data:`TABLES`, None for what was not measured; ``arguments``, ``machine``,
        ``device``, ``versions`` and ``threads``.

    Raises:
        InputError: an unknown preset, a size the network can't make, PyTorch asked for but not installed, or
            foundations that disagree.
    """
    config = preset(plan.preset)
    if plan.torch and not rivals.torch_is_installed():
        raise InputError("torch: expected PyTorch to be installed, found none; run `make bench`, or use --notorch")
    for size in (plan.size, plan.patch):
        rendering.check_size(config, size)
    dtype = jnp.dtype(jnp.bfloat16 if plan.bf16 else jnp.float32)
    params = stages.random_params(config)
    inputs = stages.make_inputs(config, params, plan.size, plan.batch, plan.patch, plan.train_batch, dtype)
    report = _describe(plan) | measure_command(plan.render)
    report["matmul_gflops"] = timing.matmul_gflops(dtype)
    comparison_report, training = _compare(inputs, plan)
    report |= comparison_report
    function, arguments = stages.picture(config, params, plan.size, plan.batch, dtype)
    report["seconds_per_picture"] = timing.measure(function, arguments, plan.repeats)["seconds"] / plan.batch
    report["stages"] = _measure_stages(inputs, plan.repeats, training, report["matmul_gflops"])
    return report


def measure_growth(plan: GrowthPlan, told: Callable[[dict], None]) -> dict:
    """Time and memory over sizes and batches, see :func:`growth.measure_growth`; ``told`` hears of each row.

    Raises:
        InputError: an unknown preset, a size the network can't make, or a process that failed.
    """
    for size in plan.sizes:
        rendering.check_size(preset(plan.preset), size)
    rows = []
    for row in growth.measure_growth(plan.preset, plan.sizes, plan.batches, plan.repeats, plan.limit_mib):
        told(row)
        rows.append(row)
    return _describe(plan) | {"growth": rows, "largest": growth.largest(rows)}


def measure_kernels(repeats: int, told: Callable[[dict], None]) -> dict:
    """Resampling, then convolution by convolution, see :mod:`kernels`; ``told`` hears of each row."""
    rows = []
    for row in itertools.chain([kernels.compare_resampling(repeats)], kernels.compare_kernels(repeats)):
        told(row)
        rows.append(row)
    return _describe(None) | {"kernels": rows}


def measure_command(command: tuple[str, ...] | None) -> dict:
    """``peak_mib`` and ``cold_start_seconds`` of the second of two runs of a command; empty for None.

    Raises:
        InputError: it failed.
    """
    if command is None:
        return {}
    for _ in range(2):  # the first fills the caches
        with tempfile.TemporaryDirectory() as folder:
            done = processes.run_fresh([*command, folder])
        if done["code"]:
            reason = (done["stderr"].strip().splitlines() or [f"exit status {done['code']}"])[-1]
            raise InputError(f"{' '.join(command)}: expected it to draw a picture, got {reason}")
    return {"peak_mib": done["peak_mib"], "cold_start_seconds": done["seconds"]}


def _describe(plan) -> dict:
    machine = provenance.machine()
    versions = {name: machine["packages"][name] for name in ("jax", "jaxlib", "flax")}
    arguments = {} if plan is None else dataclasses.asdict(plan)
    arguments.pop("render", None)  # holds paths of this machine
    torch = importlib.metadata.version("torch") if rivals.torch_is_installed() else None
    return dict.fromkeys([*FIGURES, *TABLES]) | {
        "arguments": arguments,
        "command": provenance.command(),
        "machine": machine,
        "device": jax.devices()[0].device_kind,
        "versions": versions | {"python": platform.python_version(), "torch": torch},
        "threads": processes.available_cpus(),
    }


def _compare(inputs: stages.Inputs, plan: Plan) -> tuple[dict, dict]:
    """Ratios and what they come from; and the training step's row of the table of stages, gflop excepted."""
    contenders = rivals.make_contenders(inputs, plan.torch)
    report = {"largest_difference": rivals.check_agreement(contenders, inputs.dtype), "seconds": {}}
    for what, seconds in rivals.time_contenders(contenders, plan.repeats).items():
        report["seconds"][what] = {name: statistics.median(values) for name, values in seconds.items()}
        for name, ratio in timing.ratios(seconds, "ours").items():
            report[f"ratio_vs_{name.replace('.', '_')}_{what}"] = ratio
    ours = contenders["ours"]
    training = {"first_seconds": ours.first_train_seconds, "memory_mib": ours.train_memory_mib}
    return report, training | {"seconds": report["seconds"]["train"]["ours"]}


def _measure_stages(inputs: stages.Inputs, repeats: int, training: dict, matmul_gflops: float) -> dict:
    """Name -> ``first_seconds``, ``seconds``, ``memory_mib``, ``gflop`` of the plain network, ``gflops``, ``share``."""
    rows = {}
    plain = stages.programs(inputs, stages.PLAIN)
    for name, (function, arguments) in stages.programs(inputs, stages.OURS).items():
        rows[name] = timing.measure(function, arguments, repeats)
        rows[name]["gflop"] = timing.count_gflop(*plain[name])
    rows["training step"] = training | {"gflop": timing.count_gflop(*stages.train_step(inputs, stages.PLAIN))}
    for row in rows.values():
        row["gflops"] = row["gflop"] / row["seconds"]
        row["share"] = row["gflops"] / matmul_gflops
    return rows
