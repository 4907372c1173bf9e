"""Reproductions: the order of stages, resuming, refusals, steps from a measured speed, and the report."""

import dataclasses
import json
import os
import sys

import launching
import numpy as np
import pytest

from rendernet_jax import reproduction
from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder
from rendernet_jax.report import COLUMNS, FOREGROUND
from rendernet_jax.reproduction_plan import (
    SCALES,
    Contender,
    Plan,
    Scale,
    best_rate,
    complete_flags,
    count_steps,
    make_stages,
    show_commands,
)
from rendernet_jax.reproduction_report import compare_families

TOY = Scale(
    name="toy",
    contenders=(Contender("rendernet", "tiny", batch=2, patch=32), Contender("baseline", "tiny", batch=1)),
    shapes=6,
    chairs=3,
    views=1,
    size=64,
    test_shapes=1,
    test_views=1,
    probe_steps=6,
    search_seconds=0.5,
    train_seconds=0.5,
    image_seconds=0.5,
    rates=(1e-3, 4e-3),
    families=("chair", "table"),
    shaders=("contour",),
    evaluations=2,
)
PROVENANCE = {"command": "reproduce", "machine": "a machine", "cores": 2, "packages": {"jax": "1"}}
# Stands in for `python -m rendernet_jax`: notes its arguments, and writes what a launcher leaves for the next stage.
# Training at 4e-3 scores higher, networks differ in speed, and a run named in the file "fail" ends with an error.
STAND_IN = """
import json, pathlib, shutil, sys

name, *arguments = sys.argv[1:]
flags = dict(argument[2:].split("=", 1) for argument in arguments if "=" in argument)
with open("calls.txt", "a") as file:
    file.write(flags["output"] + "\\n")
trouble = pathlib.Path("fail")
if trouble.exists() and flags["output"] in trouble.read_text().split():
    sys.exit("half a line\\nerror: disk: full\\nbye")
output = pathlib.Path(flags["output"])
output.mkdir(parents=True, exist_ok=True)
if name == "train":
    rate, steps = float(flags["rate"]), int(flags["steps"])
    (output / "run.json").write_text(json.dumps({"recipe": {"batch": int(flags["batch"])}}))
    window = {"patches_per_second": 20.0}
    log = [{"step": step, **window} for step in sorted({*range(2, steps, 2), steps})]
    nothing = trouble.exists() and "diverge " + flags["rate"] in trouble.read_text()
    log.append({"step": steps, "not_finite": ["loss"]} if nothing else {"step": steps, "psnr": 20.0 + 100 * rate})
    (output / "log.jsonl").write_text("".join(json.dumps(record) + "\\n" for record in log))
    shutil.copy("weights.npz", output)
    sys.exit("error: step 3: expected finite figures" if nothing else 0)
if name == "evaluate":
    kinds = flags.get("occupancy", "coverage,binary").split(",")
    labels = [pathlib.PurePath(source).name for source in flags["weights"].split(",")] + ["marching cubes"]
    figures = {figure: 20.0 for figure in json.loads(pathlib.Path("figures").read_text())}
    means = {f"{label} {kind}": {**figures, "phong": 20.0 + i} for i, label in enumerate(labels) for kind in kinds}
    rows = {f"{c}/0.ply": {"category": c, "closed": True, "scores": means} for c in ("table", "chair")}
    report = {"mean": means, "meshes": rows, "skipped": {}, "weights": {}}
    if "--robustness" in arguments:
        report["robustness"] = {"cases": {"usual": {"mean": means}, "1% flipped": {"mean": means}}}
    (output / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture
def output(tmp_path, monkeypatch):
    """Folder of a reproduction whose launchers and meshes are stood in for."""
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    monkeypatch.setattr(reproduction, "_PROGRAM", (sys.executable, "-S", str(program)))
    monkeypatch.setattr(reproduction, "write_meshes", lambda scale, folder: 2)
    folder = tmp_path / "out"
    folder.mkdir()
    np.savez(folder / "weights.npz", a=np.zeros((3, 4)), b=np.zeros(5))
    (folder / "figures").write_text(json.dumps([*COLUMNS, *FOREGROUND]))
    return folder


def calls(output):
    return (output / "calls.txt").read_text().split()


def test_runs_every_stage_once_and_writes_the_report(output):
    report = reproduction.run(Plan(TOY), output, PROVENANCE)
    made = calls(output)
    assert made[:2] == ["data/all", "data/chairs"] and len(made) == len(set(made)) == 15
    assert made.index("runs/search-baseline-0.004") < made.index("runs/rendernet") < made.index("scores/baselines")
    assert list(report["stages"]) == [stage.name for stage in make_stages(Plan(TOY))]
    text = (output / "report.md").read_text()
    assert "2 cores" in text and "| rendernet | 20.10 | **20.40** |" in text
    assert "At the edge of the search, so perhaps not the best there is: rendernet, baseline." in text
    assert "| rendernet | tiny | all families | 17 | 0.004 | 2 of 32 px | 5 |" in text
    assert "| chair | 1 | 21.00 | 20.00 | 21.00 | 20.00 | 20.000 | 20.000 |" in text
    assert "| all but chairs | 1 |" in text
    methods = [
        line.split(" | ")[0] for line in text.split("Over the object alone")[0].splitlines() if " | coverage" in line
    ]
    assert methods == ["| marching cubes", "| compact", "| rendernet", "| baseline"]
    assert "| method | voxels | usual | 1% flipped |" in text
    assert "(scores/generalisation/sheet.png)" in text and "(runs/image-contour/sheets/0000005.png)" in text
    assert "`python -m rendernet_jax train --data=data/all --output=runs/rendernet" in text
    assert json.loads((output / "report.json").read_text()) == json.loads(json.dumps(report))


def test_goes_on_where_a_stage_failed(output):
    (output / "fail").write_text("runs/baseline")
    with pytest.raises(InputError, match=r"stage train-baseline: .*exit code 1: disk: full .*train-baseline\.log"):
        reproduction.run(Plan(TOY), output, PROVENANCE)
    assert not (output / "report.md").exists()
    before = calls(output)
    assert before[-1] == "runs/baseline"
    (output / "fail").unlink()
    reproduction.run(Plan(TOY), output, PROVENANCE)
    after = calls(output)[len(before) :]
    assert after[0] == "runs/baseline" and "runs/rendernet" not in after and after[-1] == "scores/image-mode"
    log = (output / "logs" / "train-baseline.log").read_text()
    assert log.count("$ python -m rendernet_jax train") == 2 and "disk: full" in log
    reproduction.run(Plan(TOY), output, PROVENANCE)
    assert len(calls(output)) == len(before) + len(after)


def test_a_rate_at_which_training_diverges_is_not_chosen(output):
    (output / "fail").write_text("diverge 0.004")
    report = reproduction.run(Plan(dataclasses.replace(TOY, rates=(1e-3, 2e-3, 4e-3))), output, PROVENANCE)
    assert report["rates"] == {"rendernet": 2e-3, "baseline": 2e-3}
    assert "| rendernet | 20.10 | **20.20** | - |" in (output / "report.md").read_text()


def test_a_training_that_diverges_for_good_ends_the_command(output):
    (output / "fail").write_text("diverge 0.001 diverge 0.004")
    with pytest.raises(InputError, match="diverged|finite"):
        reproduction.run(Plan(TOY), output, PROVENANCE)
    assert "runs/rendernet" not in calls(output)


def test_own_meshes_are_scored_too_with_the_same_references(output):
    (output / "scores" / "baselines-own" / "references").mkdir(parents=True)
    (output / "scores" / "baselines-own" / "references" / "a.npz").write_text("traced")
    with pytest.raises(InputError, match="expected an empty folder"):
        reproduction.run(Plan(TOY), output, PROVENANCE)
    (output / "stages.json").write_text(
        json.dumps({"plan": reproduction._as_json(own := Plan(TOY, "../mine", "z")), "stages": {}})
    )
    report = reproduction.run(own, output, PROVENANCE)
    assert calls(output)[-2:] == ["scores/baselines-own", "scores/generalisation-own"]
    assert report["stages"]["score-baselines-own"]["flags"][0] == "--meshes=../mine"
    assert "--up=z" in report["stages"]["score-baselines-own"]["flags"]
    assert (output / "scores" / "generalisation-own" / "references" / "a.npz").read_text() == "traced"
    assert "## Trained on chairs alone, on your meshes" in (output / "report.md").read_text()


def test_one_command_at_a_time(output):
    with lock_folder(output), pytest.raises(InputError, match="another process is using it"):
        reproduction.run(Plan(TOY), output, PROVENANCE)
    assert not (output / "calls.txt").exists()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Plan(dataclasses.replace(TOY, shapes=7)), "differs in shapes of the scale"),
        (Plan(dataclasses.replace(TOY, name="paper")), "differs in scale, toy"),
        (Plan(TOY, "../mine"), "differs in meshes"),
    ],
)
def test_refuses_a_folder_of_another_plan(output, other, words):
    reproduction.run(Plan(TOY), output, PROVENANCE)
    before = (output / "stages.json").read_bytes(), (output / "report.md").read_bytes()
    with pytest.raises(InputError, match=words):
        reproduction.run(other, output, PROVENANCE)
    assert before == ((output / "stages.json").read_bytes(), (output / "report.md").read_bytes())


def test_refuses_damaged_records_and_those_of_another_version(output):
    reproduction.run(Plan(TOY), output, PROVENANCE)
    content = json.loads((output / "stages.json").read_text())
    content["stages"]["data"]["flags"][0] = "--output=elsewhere"
    (output / "stages.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="stage data was run as build_dataset --output=elsewhere"):
        reproduction.run(Plan(TOY), output, PROVENANCE)
    (output / "stages.json").write_text("[]")
    with pytest.raises(InputError, match=r"expected the stages of a reproduction in .*stages\.json"):
        reproduction.run(Plan(TOY), output, PROVENANCE)


def test_steps_follow_from_the_measured_speed():
    assert count_steps(30, 2.05) == 61 and count_steps(1, 0.1) == 1
    plan = Plan(TOY)
    records = {
        "probe-baseline": {"figures": {"steps_per_second": 40.0}},
        "search-baseline-0.001": {"figures": {"psnr": 21.0}},
        "search-baseline-0.004": {"figures": {"psnr": 20.0}},
    }
    stages = {stage.name: stage for stage in make_stages(plan)}
    assert complete_flags(plan, stages["train-baseline"], records)[-3:] == [
        "--rate=0.001",
        "--steps=20",
        "--eval_every=10",
    ]
    assert "--patch" not in " ".join(stages["train-baseline"].flags)
    records["search-baseline-0.001"]["figures"]["psnr"] = None
    assert best_rate(TOY, TOY.contenders[1], records) == 4e-3


def test_figures_of_a_run_leave_compilation_out_of_the_speed(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {"batch": 4}}))
    speeds = ((8, 0.8), (16, 8.0), (24, 16.0))
    log = [{"step": step, "patches_per_second": speed} for step, speed in speeds]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    figures = reproduction.run_figures(tmp_path)
    assert figures["steps_per_second"] == 3.0  # of 2 and 4; compilation made it 0.2 at first
    assert figures["seconds"] == 8 / 0.2 + 8 / 2 + 8 / 4 and figures["psnr"] is None


def test_test_meshes_are_no_training_shapes_and_are_grouped_by_family(tmp_path):
    pytest.importorskip("open3d", reason="meshes are written by open3d", exc_type=ImportError)
    assert reproduction.write_meshes(TOY, tmp_path) == 2
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.ply")) == ["chair/0.ply", "table/0.ply"]
    assert reproduction.FIRST_TEST_SEED > 1000 * max(scale.shapes for scale in SCALES.values())


def test_compares_chairs_with_all_others():
    row = lambda category, phong: {"category": category, "closed": True, "scores": {"a coverage": {"phong": phong}}}  # noqa: E731
    groups = compare_families([row("table", 10.0), row("chair", 30.0), row("lamp", 20.0), row("lamp", 30.0)])
    assert list(groups) == ["chair", "all but chairs", "lamp", "table"]
    assert groups["all but chairs"] == {"meshes": 3, "mean": {"a coverage": {"phong": 20.0}}}


def test_dry_run_lists_the_commands(tmp_path):
    lines = show_commands(Plan(SCALES["paper"]), "out/paper").splitlines()
    assert lines[0] == "cd out/paper" and sum("--heads=image" in line for line in lines) == 4
    done = launching.call("reproduce", "--dry_run", f"--output={tmp_path / 'new'}")
    assert done.returncode == 0 and not (tmp_path / "new").exists()
    assert "--preset=ec-deep" in done.stdout and "--rate=RATE --steps=STEPS" in done.stdout


def test_bad_input_is_one_line(tmp_path):
    nowhere = (f"--output={tmp_path / 'new'}", "--meshes=nowhere")
    for run, flags, words in ((launching.start, (), "--output"), (launching.call, nowhere, "--meshes")):
        done = run("reproduce", *flags)
        assert done.returncode == 1 and done.stderr.startswith(f"error: {words}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_whole_reproduction_with_a_toy_network(tmp_path, monkeypatch):
    pytest.importorskip("open3d", reason="ray tracing needs open3d", exc_type=ImportError)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    report = reproduction.run(Plan(TOY), tmp_path, PROVENANCE)
    text = (tmp_path / "report.md").read_text()
    links = [line.split("](")[1][:-1] for line in text.splitlines() if line.startswith("![")]
    assert len(links) == 4 and all((tmp_path / link).is_file() for link in links)
    assert report["scores"]["scores/baselines"]["mean"]["baseline binary"]["phong"] > 5
    assert report["stages"]["train-image-contour"]["figures"]["psnr"] > 5
    kept = [sorted(os.listdir(tmp_path / "scores" / name / "references")) for name in ("generalisation", "image-mode")]
    assert all(kept)
    again = reproduction.run(Plan(TOY), tmp_path, PROVENANCE)
    assert again["stages"] == report["stages"]
