"""What a reproduction consists of: scales, and the command of each stage, in order.

Every command is a launcher's, with paths relative to the reproduction's folder, in which it runs. How many steps a
training takes, and at which rate, follows from the records of earlier stages.
"""

import dataclasses
import math
import pathlib
import shlex
from collections.abc import Sequence

from rendernet_jax.data.families import FAMILIES
from rendernet_jax.errors import InputError

ALL, CHAIRS, MESHES = "data/all", "data/chairs", "meshes"
CHAIR = "chair"  # the family of data/chairs
CHAIRS_RUN = "chairs-only"
SHADERS = ("phong", "toon", "contour", "ao")
SCORES = {  # folder and title of each evaluation
    "baselines": "Network and baselines",
    "generalisation": "Trained on chairs alone",
    "image-mode": "Networks that draw shaded pictures themselves",
}
OWN = "-own"  # ends the name of an evaluation on the user's own meshes
_PROBE_WINDOWS = 3  # of which the first holds the compilation


@dataclasses.dataclass(frozen=True)
class Contender:
    """A network that is trained from nothing, under the name of its run."""

    name: str
    preset: str
    batch: int  # patches a step
    patch: int | None = None  # pixels; None: whole views


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is made, trained and scored."""

    name: str
    contenders: tuple[Contender, ...]  # the first is also trained on chairs alone, and on shaded pictures
    shapes: int  # in the data set of all families
    chairs: int  # in that of chairs
    views: int  # of each shape
    size: int  # side of every picture, pixels
    test_shapes: int  # of each family, to score on
    test_views: int
    probe_steps: int  # by which the seconds of a step are measured
    search_seconds: float  # of training at each rate
    train_seconds: float
    image_seconds: float
    rates: tuple[float, ...] = (5e-4, 1.5e-3, 4e-3)
    families: tuple[str, ...] = FAMILIES
    shaders: tuple[str, ...] = SHADERS
    evaluations: int = 6  # during each training; the search has the last one only
    ema: float = 0.99
    bf16: bool = False
    shipped: tuple[str, ...] = ("compact",)  # weights that are scored as they are


SCALES = {
    # Two CPU cores, about an hour.
    "small": Scale(
        name="small",
        contenders=(
            Contender("rendernet", "compact", batch=8, patch=160),
            Contender("ec", "ec", batch=8),
            Contender("ec-deep", "ec-deep", batch=4),  # a step takes as long as of the others
        ),
        shapes=240,
        chairs=120,
        views=3,
        size=256,
        test_shapes=2,
        test_views=2,
        probe_steps=24,
        search_seconds=25,
        train_seconds=4 * 60,
        image_seconds=240,
    ),
    # A node of eight GPUs of 80 GB, 32 CPU cores and 128 GB of memory (the views take 30 GB): about three days.
    "paper": Scale(
        name="paper",
        contenders=(
            Contender("rendernet", "paper", batch=64, patch=192),
            Contender("rendernet-compact", "compact", batch=64, patch=192),
            Contender("ec", "ec", batch=64),
            Contender("ec-deep", "ec-deep", batch=64),
        ),
        shapes=5000,
        chairs=2500,
        views=6,
        size=512,
        test_shapes=10,
        test_views=4,
        probe_steps=300,
        search_seconds=20 * 60,
        train_seconds=8 * 3600,
        image_seconds=4 * 3600,
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
        evaluations=50,
        ema=0.999,
        bf16=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A scale, and the user's own meshes to score on, if any; ``meshes`` is relative to the reproduction's folder."""

    scale: Scale
    meshes: str | None = None
    up: str = "y"


@dataclasses.dataclass(frozen=True)
class Training:
    """What completes the flags of a training."""

    contender: Contender  # whose speed and rate are used
    run: str  # folder
    seconds: float | None = None  # from which the steps follow; None: these are probe_steps
    rate: float | None = None  # None: the best one found
    evaluations: int = 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command; or, without a launcher, the writing of the meshes to score on."""

    name: str
    launcher: str = ""
    flags: tuple[str, ...] = ()
    training: Training | None = None
    folder: str = ""  # of what an evaluation writes
    references: str = ""  # folder of an earlier evaluation that ray traced the same meshes


def make_stages(plan: Plan) -> list[Stage]:
    """Every stage, in the order in which they run."""
    scale = plan.scale
    first = scale.contenders[0]
    stages = [
        _build("data", scale, ALL, scale.shapes, scale.families),
        _build("data-chairs", scale, CHAIRS, scale.chairs, (CHAIR,)),
        Stage("meshes"),
    ]
    for contender in scale.contenders:
        probe = Training(contender, f"runs/probe-{contender.name}", rate=min(scale.rates), evaluations=_PROBE_WINDOWS)
        stages.append(_train(probe_name(contender), scale, ALL, probe))
    for contender in scale.contenders:
        for rate in scale.rates:
            name = search_name(contender, rate)
            tried = Training(contender, f"runs/{name}", scale.search_seconds, rate)
            stages.append(_train(name, scale, ALL, tried))
    for contender in scale.contenders:
        stages.append(_train_long(scale, contender, contender.name, ALL, scale.train_seconds))
    stages.append(_train_long(scale, first, CHAIRS_RUN, CHAIRS, scale.train_seconds))
    for shader in scale.shaders:
        mode = ("--heads=image", f"--shader={shader}")
        stages.append(_train_long(scale, first, image_run(shader), ALL, scale.image_seconds, mode))
    return stages + _scores(plan)


def _scores(plan: Plan) -> list[Stage]:
    scale = plan.scale
    runs = lambda *names: tuple(f"runs/{name}" for name in names)  # noqa: E731
    network = scale.contenders[0].name
    weights = {
        "baselines": scale.shipped + runs(*(contender.name for contender in scale.contenders)),
        "generalisation": runs(network, CHAIRS_RUN),
        "image-mode": runs(network, *(image_run(shader) for shader in scale.shaders)),
    }
    more = {"baselines": ("--robustness",), "image-mode": ("--occupancy=coverage",)}
    stages = [_score(name, scale, MESHES, each, more.get(name, ())) for name, each in weights.items()]
    if plan.meshes is not None:
        for name in ("baselines", "generalisation"):
            stages.append(_score(name, scale, plan.meshes, weights[name], (f"--up={plan.up}",), OWN))
    return stages


def probe_name(contender: Contender) -> str:
    """Name of the stage that measures a contender's speed."""
    return f"probe-{contender.name}"


def search_name(contender: Contender, rate: float) -> str:
    """Name of the stage that tries a learning rate."""
    return f"search-{contender.name}-{rate:g}"


def train_name(run: str) -> str:
    """Name of the stage that trains a run for long."""
    return f"train-{run}"


def image_run(shader: str) -> str:
    """Name of the run of a network that draws a shader's pictures itself."""
    return f"image-{shader}"


def _build(name: str, scale: Scale, folder: str, shapes: int, families: Sequence[str]) -> Stage:
    chosen = "all" if families == FAMILIES else ",".join(families)
    flags = (f"--shapes={shapes}", f"--families={chosen}", f"--views={scale.views}", f"--size={scale.size}")
    return Stage(name, "build_dataset", (f"--output={folder}", *flags))


def _train_long(scale: Scale, contender: Contender, run: str, data: str, seconds: float, mode=()) -> Stage:
    training = Training(contender, f"runs/{run}", seconds, evaluations=scale.evaluations)
    return _train(train_name(run), scale, data, training, mode)


def _train(name: str, scale: Scale, data: str, training: Training, mode: Sequence[str] = ()) -> Stage:
    contender = training.contender
    flags = [f"--data={data}", f"--output={training.run}", f"--preset={contender.preset}", f"--batch={contender.batch}"]
    flags += [f"--patch={contender.patch}"] * (contender.patch is not None)
    flags += [*mode, f"--ema={scale.ema:g}", *["--bf16"] * scale.bf16]
    return Stage(name, "train", tuple(flags), training)


def _score(name: str, scale: Scale, meshes: str, weights: Sequence[str], more: Sequence[str], ending="") -> Stage:
    folder = f"scores/{name}{ending}"
    flags = [f"--meshes={meshes}", f"--output={folder}", f"--weights={','.join(weights)}"]
    # What a killed command left of a report is no obstacle.
    flags += [f"--views={scale.test_views}", f"--size={scale.size}", *more, "--overwrite"]
    first = f"scores/baselines{ending}"
    return Stage(f"score-{name}{ending}", "evaluate", tuple(flags), None, folder, first if folder != first else "")


# --- what follows from earlier stages -------------------------------------------------------------------------------


def complete_flags(plan: Plan, stage: Stage, records: dict[str, dict] | None) -> list[str]:
    """A stage's flags, with those that depend on earlier stages.

    Args:
        records: of finished stages by name, with ``figures``; None: words in capitals stand for what is not known yet.

    Raises:
        InputError: no rate of the search led anywhere.
    """
    training = stage.training
    if training is None:
        return list(stage.flags)
    contender = training.contender
    if training.seconds is None:
        steps = plan.scale.probe_steps
    elif records is None:
        steps = "STEPS"
    else:
        steps = count_steps(training.seconds, records[probe_name(contender)]["figures"]["steps_per_second"])
    every = "STEPS" if records is None and training.seconds else max(1, math.ceil(steps / training.evaluations))
    if training.rate is not None:
        rate = f"{training.rate:g}"
    else:
        rate = "RATE" if records is None else f"{best_rate(plan.scale, contender, records):g}"
    return [*stage.flags, f"--rate={rate}", f"--steps={steps}", f"--eval_every={every}"]


def count_steps(seconds: float, steps_per_second: float) -> int:
    """Whole steps, one at least, that fit into some seconds."""
    return max(1, int(seconds * steps_per_second))


def best_rate(scale: Scale, contender: Contender, records: dict[str, dict]) -> float:
    """The rate whose search ended with the highest validation PSNR.

    Raises:
        InputError: training diverged at every rate.
    """
    scores = {rate: records[search_name(contender, rate)]["figures"]["psnr"] for rate in scale.rates}
    scores = {rate: psnr for rate, psnr in scores.items() if psnr is not None}
    if not scores:
        raise InputError(
            f"rates: expected one of {', '.join(f'{rate:g}' for rate in scale.rates)} at which {contender.name} can be "
            "trained, got a loss that is not finite at each; see logs/"
        )
    return max(scores, key=scores.get)


def show_commands(plan: Plan, output: str) -> str:
    """The commands of a plan as a user would type them, one a line."""
    lines = [f"cd {shlex.quote(pathlib.PurePath(output).as_posix())}"]
    for stage in make_stages(plan):
        if stage.launcher:
            lines.append(show_command(stage.launcher, complete_flags(plan, stage, None)))
        else:
            lines.append(f"# {plan.scale.test_shapes} shapes of each family are written into {MESHES}/")
    return "\n".join(lines)


def show_command(launcher: str, flags: Sequence[str]) -> str:
    """One command as a user would type it in the reproduction's folder."""
    return f"python -m rendernet_jax {launcher} {shlex.join(flags)}"
