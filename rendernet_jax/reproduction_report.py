"""What a reproduction found, from the records of its stages and its evaluations: report.md and report.json."""

import json
import pathlib
from collections.abc import Iterable

from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import mean_figures
from rendernet_jax.files import write_atomically, write_json
from rendernet_jax.mesh_references import OCCUPANCIES
from rendernet_jax.mesh_scores import CUBES
from rendernet_jax.reproduction_plan import CHAIR, CHAIRS_RUN, Plan, best_rate, image_run, make_stages
from rendernet_jax.reproduction_text import markdown
from rendernet_jax.scoreboard import robustness_cases

TEXT, REPORT = "report.md", "report.json"
_OTHERS = "all but chairs"


def write_report(plan: Plan, output: pathlib.Path, records: dict[str, dict], provenance: dict) -> dict:
    """Write report.md and report.json; returns what the latter holds.

    Raises:
        InputError: the report of an evaluation can't be read.
    """
    report = make_report(plan, output, records, provenance)
    write_atomically(output / TEXT, markdown(plan, report).encode())
    write_json(output / REPORT, report)
    return report


def make_report(plan: Plan, output: pathlib.Path, records: dict[str, dict], provenance: dict) -> dict:
    """All figures of a finished reproduction, JSON values.

    Raises:
        InputError: the report of an evaluation can't be read.
    """
    stages = make_stages(plan)
    scores = {stage.folder: _read_scores(plan, output / stage.folder) for stage in stages if stage.folder}
    return {
        **provenance,
        "scale": plan.scale.name,
        "stages": {stage.name: records[stage.name] for stage in stages},
        "rates": {contender.name: best_rate(plan.scale, contender, records) for contender in plan.scale.contenders},
        "scores": scores,
        "generalisation": {
            folder: compare_families(each["meshes"].values())
            for folder, each in scores.items()
            if folder.startswith("scores/generalisation")
        },
    }


def _read_scores(plan: Plan, folder: pathlib.Path) -> dict:
    """What an evaluation found, in the order of the plan: a JSON file has none."""
    path = folder / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = {name: report[name] for name in ("mean", "meshes", "skipped")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: expected the report of an evaluation, got {error!r}; remove it and stages.json"
        ) from (error)
    found["mean"] = _in_order(plan, found["mean"])
    if "robustness" in report:
        cases = report["robustness"]["cases"]
        order = [title for title in robustness_cases(plan.scale.size) if title in cases]
        found["robustness"] = {title: _in_order(plan, cases[title]["mean"]) for title in order}
    return found


def _in_order(plan: Plan, means: dict[str, dict]) -> dict[str, dict]:
    scale = plan.scale
    runs = [contender.name for contender in scale.contenders] + [CHAIRS_RUN, *map(image_run, scale.shaders)]
    labels = [CUBES, *scale.shipped, *runs]
    return {
        f"{label} {occupancy}": means[f"{label} {occupancy}"]
        for occupancy in OCCUPANCIES
        for label in labels
        if f"{label} {occupancy}" in means
    }


def compare_families(rows: Iterable[dict]) -> dict[str, dict]:
    """By category, chairs first, then all others together: the number of meshes, and means by method, by figure.

    Args:
        rows: of meshes, each with its ``category`` and ``scores``.
    """
    groups = {}
    for row in rows:
        is_chair = row["category"].lower().rstrip("s") == CHAIR
        for name in {row["category"]} | (set() if is_chair else {_OTHERS}):
            groups.setdefault(name, []).append(row["scores"])
    order = sorted(groups, key=lambda name: (name.lower().rstrip("s") != CHAIR, name != _OTHERS, name))
    return {
        name: {
            "meshes": len(groups[name]),
            "mean": {method: mean_figures([each[method] for each in groups[name]]) for method in groups[name][0]},
        }
        for name in order
    }
