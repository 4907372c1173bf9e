"""Networks side by side on a folder of meshes, beside marching cubes of the same voxels: report and sheet."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable

from rendernet_jax import report as text
from rendernet_jax.data.sheet import save_png
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import VIEWS, mean_figures, show, view_pose
from rendernet_jax.files import lock_folder, remove_leftovers, write_atomically, write_json
from rendernet_jax.mesh_references import OCCUPANCIES, Case, find_meshes, keep_mesh, none_usable
from rendernet_jax.mesh_scores import CUBES, OUTPUTS, Network, load_networks, score_case

REPORT, TEXT, SHEET = "report.json", "report.md", "sheet.png"
TWO_OBJECTS = "two objects"
_REFERENCES = "references"
_SHEET_ROWS = 12
_ROBUSTNESS_MESHES = 12


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score."""

    meshes: pathlib.Path
    output: pathlib.Path
    weights: tuple[str, ...] = ("compact",)
    occupancies: tuple[str, ...] = OCCUPANCIES
    views: int = len(VIEWS)  # of each mesh, the first ones of evaluation.VIEWS
    size: int = 512
    up: str = "y"
    robustness: bool = False  # score changed inputs, too
    provenance: dict = dataclasses.field(default_factory=dict)

    @property
    def references(self) -> pathlib.Path:
        """Folder of voxels and ray-traced pictures."""
        return self.output / _REFERENCES


def run(plan: Plan) -> dict:
    """Score every network on every mesh under a folder, and marching cubes, traced as the references are.

    Writes report.json, report.md and sheet.png into the output folder, and voxels and references into references/,
    from where the next command takes them. Every figure is the mean over views, then over meshes, None (null) where
    there is nothing to compare. A mesh that can't be used is listed with the reason, and passed over.

    Returns:
        the report.

    Raises:
        InputError: no mesh could be used, no occupancy or an unknown one, too many views, or weights that can't make
            the pictures.
    """
    networks = _check(plan)
    files = find_meshes(plan.meshes)
    with lock_folder(plan.output):
        remove_leftovers(plan.output)
        remove_leftovers(plan.references)
        case = Case(plan.size, VIEWS[: plan.views], OUTPUTS)
        rows, skipped, pictures = _score_meshes(plan, networks, files, case)
        if not rows:
            raise none_usable(plan.meshes, skipped)
        report = {
            **plan.provenance,
            "settings": _settings(plan, case),
            "weights": {network.label: network.describe() for network in networks},
            "mean": _mean([row["scores"] for row in rows.values()]),
            "categories": _group(rows.values(), lambda row: row["category"]),
            "surfaces": _group(rows.values(), lambda row: "closed" if row["closed"] else "open"),
            "meshes": rows,
            "skipped": skipped,
        }
        if plan.robustness:
            report["robustness"] = _score_robustness(plan, networks, files, list(rows))
        save_png(plan.output / SHEET, text.sheet(pictures))
        write_atomically(plan.output / TEXT, text.markdown(report).encode())
        write_json(plan.output / REPORT, report)
    return report


def _check(plan: Plan) -> list[Network]:
    unknown = sorted(set(plan.occupancies) - set(OCCUPANCIES))
    if unknown or not plan.occupancies:
        found = ", ".join(unknown) or "none"
        raise InputError(f"occupancies: expected coverage, binary or both, got {found}; name one")
    if not 1 <= plan.views <= len(VIEWS):
        raise InputError(f"views: expected 1 to {len(VIEWS)}, got {plan.views}")
    return load_networks(plan.weights, plan.size)


def _settings(plan: Plan, case: Case) -> dict:
    views = [list(view) for view in case.views]
    return {"size": case.size, "views": views, "grid": case.grid, "occupancies": list(plan.occupancies), "up": plan.up}


def _score_meshes(plan: Plan, networks: list[Network], files: dict[str, str], case: Case) -> tuple[dict, dict, dict]:
    """Rows by mesh, reasons by mesh that was passed over, and some rows of the sheet, spread over the meshes."""
    shown = {f"{network.label} {occupancy}": network.shown for network in networks for occupancy in plan.occupancies}
    shown |= {f"{CUBES} {occupancy}": "phong" for occupancy in plan.occupancies}
    rows, skipped, pictures = {}, {}, {}
    for name in files:
        try:
            path = keep_mesh(plan.references, plan.meshes, files, name, case, plan.up)
            view = len(pictures) % plan.views
            scored = score_case(path, case, networks, plan.occupancies, plan.references, view)
            if scored.failed:
                raise InputError("; ".join(f"{method}: {reason}" for method, reason in scored.failed.items()))
        except InputError as error:
            skipped[name] = str(error)
            print(f"{name}: skipped: {error}", flush=True)
            continue
        if len(rows) % math.ceil(len(files) / _SHEET_ROWS) == 0:
            pictures[name] = text.sheet_row(scored, shown, view_pose(view))
        parts = pathlib.PurePosixPath(name).parts
        category = parts[0] if len(parts) > 1 else "."
        rows[name] = {"category": category, "closed": scored.closed, "scores": scored.scores}
        figures = ", ".join(f"{method} {show(each['phong'])}" for method, each in scored.scores.items())
        print(f"{name}: {figures}", flush=True)
    return rows, skipped, pictures


def _mean(scores: Iterable[dict]) -> dict[str, dict]:
    """Means over meshes of what each has by method, by figure."""
    scores = list(scores)
    return {method: mean_figures([each[method] for each in scores]) for method in scores[0]}


def _group(rows: Iterable[dict], key: Callable[[dict], str]) -> dict[str, dict]:
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row["scores"])
    return {name: {"meshes": len(members), "mean": _mean(members)} for name, members in sorted(groups.items())}


# --- robustness -----------------------------------------------------------------------------------------------------


def robustness_cases(size: int) -> dict[str, Case]:
    """Changed inputs by name; training saw scales up to 1.35 and inverse distances up to 0.5."""
    usual = Case(size, outputs=("phong", "mask"))
    change = dataclasses.replace
    return {
        "usual": usual,
        "1% flipped": change(usual, flipped=0.01),
        "32^3 voxels": change(usual, grid=32),
        TWO_OBJECTS: usual,
        "scale 1.5": change(usual, scale=1.5),
        "pinhole 0.6": change(usual, inverse_distance=0.6),
        **{f"{side} pixels": change(usual, size=side) for side in (size // 2, size * 3 // 4)},
    }


def _score_robustness(plan: Plan, networks: list[Network], files: dict[str, str], usable: list[str]) -> dict:
    """Some meshes, spread over the usable ones and each from another view than the one before, in every case."""
    chosen = usable[:: math.ceil(len(usable) / _ROBUSTNESS_MESHES)]
    cases = robustness_cases(plan.size)
    rows, skipped = {title: {} for title in cases}, {}
    for index, name in enumerate(chosen):
        for title, case in cases.items():
            case = dataclasses.replace(case, views=(VIEWS[index % len(VIEWS)],))
            beside = chosen[(index + 1) % len(chosen)] if title == TWO_OBJECTS else None
            try:
                path = keep_mesh(plan.references, plan.meshes, files, name, case, plan.up, beside)
                scored = score_case(path, case, networks, plan.occupancies, plan.references)
            except InputError as error:
                skipped[f"{name}, {title}"] = str(error)
                continue
            skipped |= {f"{name}, {title}, {method}": reason for method, reason in scored.failed.items()}
            rows[title][name] = {method: _robust_figures(each) for method, each in scored.scores.items()}
        print(f"{name}: {len(cases)} changed inputs", flush=True)
    return {
        "meshes": {name: list(VIEWS[index % len(VIEWS)]) for index, name in enumerate(chosen)},
        "cases": {title: {"mean": _mean(each.values()), "meshes": each} for title, each in rows.items() if each},
        "skipped": skipped,
    }


def _robust_figures(figures: dict) -> dict:
    return {name: figures[name] for name in ("phong", "mask_iou")}
