"""Runs a reproduction: each stage once, in order, and on from where an earlier command stopped.

The folder holds stages.json (the plan, and a record of each finished stage), logs/, data/, meshes/, runs/, scores/ and,
in the end, report.md and report.json.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np

from rendernet_jax import reproduction_plan, reproduction_report
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import save_mesh
from rendernet_jax.data.tasks import FIRST_TEST_SEED
from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder, remove_leftovers, write_json
from rendernet_jax.reproduction_plan import MESHES, Plan, Scale, Stage
from rendernet_jax.training.run_folder import CARD, CHECKPOINTS, LOG

RECORDS, LOGS = "stages.json", "logs"
_PROGRAM = (sys.executable, "-m", "rendernet_jax")
_WRITTEN = (LOGS, "data", MESHES, "runs", "scores", reproduction_report.TEXT, reproduction_report.REPORT)


def run(plan: Plan, output: pathlib.Path, provenance: dict) -> dict:
    """Run every stage of a plan that the folder has no record of, then write the report.

    Args:
        output: folder that exists: empty, or of an unfinished or finished reproduction of the same plan.
        provenance: the ``command`` and what ``provenance.machine`` tells, for the report.

    Returns:
        what report.json holds.

    Raises:
        InputError: the folder holds something else, or another process works there; or a stage failed, which ends the
            command. The next one begins with that stage.
    """
    with lock_folder(output):
        records = _open(plan, output)
        for number, stage in enumerate(stages := reproduction_plan.make_stages(plan), 1):
            flags = reproduction_plan.complete_flags(plan, stage, records)
            if stage.name in records:
                _check_same(output, stage, flags, records[stage.name])
                continue
            print(f"[{number}/{len(stages)}] {time.strftime('%H:%M:%S')} {stage.name}", flush=True)
            began = time.monotonic()
            figures = _run_stage(plan.scale, stage, flags, output)
            records[stage.name] = {
                "launcher": stage.launcher,
                "flags": flags,
                "seconds": round(time.monotonic() - began, 1),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "figures": figures,
            }
            write_json(output / RECORDS, {"plan": _as_json(plan), "stages": records})
        return reproduction_report.write_report(plan, output, records, provenance)


def _open(plan: Plan, output: pathlib.Path) -> dict[str, dict]:
    """Records by stage of what was done in a folder, which belongs to the plan from now on."""
    path = output / RECORDS
    remove_leftovers(output)
    if not path.exists():
        if present := [name for name in _WRITTEN if (output / name).exists()]:
            raise InputError(
                f"output {output}: expected an empty folder or one with {RECORDS}, got {', '.join(present)}; choose "
                "another --output"
            )
        write_json(path, {"plan": _as_json(plan), "stages": {}})
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, records = content["plan"], content["stages"]
        differing = _differences(found, _as_json(plan))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"output: expected the stages of a reproduction in {path}, got {error!r}; choose another"
        ) from (error)
    if differing:
        raise InputError(
            f"output {output}: holds a reproduction with other flags (differs in {', '.join(differing)}); choose "
            "another --output, or give the same flags to continue it"
        )
    return records


def _as_json(plan: Plan) -> dict:
    """A plan as it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(plan)))


def _differences(found: dict, wanted: dict) -> list[str]:
    if found["scale"]["name"] != wanted["scale"]["name"]:
        return [f"scale, {found['scale']['name']}"]
    inner = [name for name in wanted["scale"] if found["scale"].get(name) != wanted["scale"][name]]
    return [f"{name} of the scale" for name in inner] + [n for n in ("meshes", "up") if found.get(n) != wanted[n]]


def _check_same(output: pathlib.Path, stage: Stage, flags: list[str], record: dict) -> None:
    if [stage.launcher, flags] != [record["launcher"], record["flags"]]:
        raise InputError(
            f"output {output}: stage {stage.name} was run as {' '.join([record['launcher'], *record['flags']])}, by "
            f"another version; expected {' '.join([stage.launcher, *flags])}; choose another --output"
        )


# --- one stage ------------------------------------------------------------------------------------------------------


def _run_stage(scale: Scale, stage: Stage, flags: list[str], output: pathlib.Path) -> dict:
    """Run one stage, and return the figures of its record."""
    if not stage.launcher:
        return {"meshes": write_meshes(scale, output / MESHES)}
    if stage.references:
        _share_files(output / stage.references / "references", output / stage.folder / "references")
    code, log = _run_launcher(stage, flags, output)
    folder = output / stage.training.run if stage.training else None
    tried = folder and stage.training.rate is not None and stage.training.seconds is not None
    if code and folder and not tried and _diverged(folder):
        raise InputError(
            f"stage {stage.name}: expected a finite loss at the rate {_flag(flags, 'rate')}, got none, and the same "
            "command would end alike; choose another --output"
        )
    if code and not (tried and _diverged(folder)):
        raise InputError(
            f"stage {stage.name}: expected it to finish, got exit code {code}: {_last_error(log)} (all of it: {log}); "
            "remove the cause, then give the same command"
        )
    if not folder:
        return {}
    figures = run_figures(folder)
    if stage.training.rate is not None:  # a probe, or a rate that was tried: nobody trains on from there
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return figures


def _run_launcher(stage: Stage, flags: list[str], output: pathlib.Path) -> tuple[int, pathlib.Path]:
    """Exit code and log of a launcher that ran in the output folder."""
    log = output / LOGS / f"{stage.name}.log"
    log.parent.mkdir(exist_ok=True)
    package = str(pathlib.Path(__file__).resolve().parent.parent)  # a checkout need not be installed
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ {reproduction_plan.show_command(stage.launcher, flags)}\n")
        file.flush()
        process = subprocess.Popen(
            [*_PROGRAM, stage.launcher, *flags],
            cwd=output,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            return process.wait(), log
        finally:
            if process.poll() is None:  # this process is being ended
                process.terminate()
                with contextlib.suppress(KeyboardInterrupt):
                    process.wait()


def _last_error(log: pathlib.Path) -> str:
    """What a launcher's log tells of its end: its last ``error:`` line, else its last line."""
    text = log.read_text(encoding="utf-8", errors="replace").rpartition("\n$ ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines)[-1]


def _share_files(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give an evaluation the kept files of another; their names tell what they hold, so that none can be mistaken."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("[!.]*"):
        if not (target / file.name).exists():
            try:
                os.link(file, target / file.name)
            except OSError:  # a file system without hard links
                shutil.copyfile(file, target / file.name)


def write_meshes(scale: Scale, folder: pathlib.Path) -> int:
    """Write FAMILY/NUMBER.ply for some shapes of each family, of seeds that no data set reaches; returns how many."""
    for family in scale.families:
        (folder / family).mkdir(parents=True, exist_ok=True)
        for number in range(scale.test_shapes):
            save_mesh(folder / family / f"{number}.ply", make_shape(family, FIRST_TEST_SEED + number))
    return len(scale.families) * scale.test_shapes


# --- what a training run tells --------------------------------------------------------------------------------------


def run_figures(folder: pathlib.Path) -> dict:
    """Figures of a training run's folder.

    ``steps``; ``seconds`` of all of them, compilation included; ``steps_per_second``, the median over the log's windows
    but the first, which holds the compilation; ``psnr`` and the other scores of the last evaluation, ``psnr`` None if
    the training diverged; ``best_step`` and ``best_psnr`` of the weights that were kept, and their ``parameters``.
    """
    records = _read_log(folder)
    batch = json.loads((folder / CARD).read_text(encoding="utf-8"))["recipe"]["batch"]
    windows = [record for record in records if "patches_per_second" in record]
    ends = [0, *(record["step"] for record in windows)]
    speeds = [record["patches_per_second"] / batch for record in windows]
    seconds = [(end - start) / speed for start, end, speed in zip(ends[:-1], ends[1:], speeds, strict=True)]
    evaluations = [record for record in records if "psnr" in record and record["step"] > 0]
    figures = {
        "steps": ends[-1],
        "seconds": round(sum(seconds), 1),
        "steps_per_second": statistics.median(speeds[1:] or speeds or [0.0]),
    }
    if not evaluations or "not_finite" in records[-1]:
        return {**figures, "psnr": None}
    best = max(evaluations, key=lambda record: record["psnr"])
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        parameters = sum(arrays[name].size for name in arrays.files)
    scores = {name: value for name, value in evaluations[-1].items() if name != "step"}
    return {**figures, **scores, "best_step": best["step"], "best_psnr": best["psnr"], "parameters": parameters}


def _flag(flags: list[str], name: str) -> str:
    return next(flag.partition("=")[2] for flag in flags if flag.startswith(f"--{name}="))


def _diverged(folder: pathlib.Path) -> bool:
    records = _read_log(folder)
    return bool(records) and "not_finite" in records[-1]


def _read_log(folder: pathlib.Path) -> list[dict]:
    path = folder / LOG
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line that a full disk cut off
            records.append(json.loads(line))
    return records


def relative_meshes(meshes: pathlib.Path, output: pathlib.Path) -> str:
    """Path of the user's meshes as commands in the output folder name it."""
    return pathlib.Path(os.path.relpath(meshes.resolve(), output.resolve())).as_posix()
