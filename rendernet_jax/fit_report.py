"""Fits of many targets by several methods, side by side: what ``evaluate_fit`` runs, its tables and its sheet."""

import dataclasses
import json
import math
import pathlib
import shutil

import numpy as np

from rendernet_jax import camera, weights
from rendernet_jax.array_files import read_arrays
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data import shards
from rendernet_jax.data.families import FAMILIES
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import check_outputs, show
from rendernet_jax.files import lock_folder, remove_leftovers, write_atomically, write_json
from rendernet_jax.fit_methods import load_methods
from rendernet_jax.fit_scores import FAILED, Method, score, summarise
from rendernet_jax.fit_targets import (
    NEW_VIEWS,
    SYMMETRY_IOU,
    SYMMETRY_STEP,
    Subject,
    Target,
    keep_target,
    load_target,
    mesh_subjects,
    shape_subjects,
)
from rendernet_jax.mesh_references import GRID
from rendernet_jax.mesh_scores import Network, load_networks
from rendernet_jax.report import table

REPORT, TEXT, SHEET = "report.json", "report.md", "sheet.png"
METHODS = ("default", "one-start", "silhouette")  # those that take seconds a target
COLUMNS = {  # heading of each figure of a summary, and its digits
    "targets": ("targets", 0),
    "failed": ("failed", 0),
    "rotation_median_deg": ("rotation", 2),
    "rotation_mean_deg": ("rotation, mean", 2),
    "below_5_deg": ("below 5, %", 0),
    "below_10_deg": ("below 10, %", 0),
    "light_median_deg": ("light", 2),
    "mask_iou": ("mask IoU", 3),
    "psnr": ("PSNR", 2),
    "new_mask_iou": ("new views, mask IoU", 3),
    "new_psnr": ("new views, PSNR", 2),
    "voxel_iou": ("voxel IoU", 3),
    "seconds_median": ("seconds", 1),
    "seconds_first": ("seconds, first", 1),
}
_TARGETS = "targets"
_FITS = "fits"  # those that are done, until the report is written
_SHEET_ROWS = 12
_SHOWN = 2  # which of the new views
_ROW = "report"  # among the pictures of a kept fit
_CELL = 160  # pixels
_LABEL = 30  # characters


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to fit, and how."""

    output: pathlib.Path
    meshes: pathlib.Path | None = None  # folder
    shapes: int = 0  # procedural ones of each family
    families: tuple[str, ...] = FAMILIES
    methods: tuple[str, ...] = METHODS
    weights: str = "compact"
    prior: str = "shape_prior"
    single_view: str = "single_view"
    training: pathlib.Path | None = None  # grids that the prior was trained on
    size: int = 256  # side of the pictures, pixels
    seed: int = 0  # of poses, lights and random starts
    limit: int | None = None  # of the meshes, this many at most
    up: str = "y"
    provenance: dict = dataclasses.field(default_factory=dict)


def run(plan: Plan) -> dict:
    """Fit every target by every method.

    Writes report.json, report.md and sheet.png into the output folder, and the targets into targets/, from where the
    next command takes them. What was fitted before an interruption waits in fits/ for the same command. A mesh that
    can't be used is listed with the reason and passed over; a fit that fails is counted, and its reason listed with
    the target.

    Returns:
        the report.

    Raises:
        InputError: neither meshes nor shapes, none that can be used, an unknown method or family, or weights without
            normals and mask.
    """
    subjects = _list_subjects(plan)
    network = _load_network(plan)
    methods = load_methods(
        network, plan.methods, seed=plan.seed, prior=plan.prior, single_view=plan.single_view, training=plan.training
    )
    with lock_folder(plan.output):
        remove_leftovers(plan.output)
        for name in (_TARGETS, _FITS):
            remove_leftovers(plan.output / name)
        rows, skipped, pictures = _fit_all(plan, subjects, network, methods)
        if not rows:
            reason = next(iter(skipped.values()))
            raise InputError(f"targets: expected one that can be used, got none: {reason}; add others")
        report = {
            **plan.provenance,
            "settings": _settings(plan),
            "weights": network.describe(),
            "summary": _summaries(list(rows.values()), list(methods)),
            "categories": _by_category(rows, list(methods)),
            "targets": rows,
            "skipped": skipped,
        }
        save_png(plan.output / SHEET, sheet(pictures, list(methods)))
        write_atomically(plan.output / TEXT, markdown(report).encode())
        write_json(plan.output / REPORT, report)
        shutil.rmtree(plan.output / _FITS, ignore_errors=True)
    return report


def _list_subjects(plan: Plan) -> list[Subject]:
    if plan.meshes is None and not plan.shapes:
        raise InputError(
            "meshes, shapes: expected a folder of meshes, a number of procedural shapes or both, got neither; give one"
        )
    found = [] if plan.meshes is None else mesh_subjects(plan.meshes, plan.up, plan.limit)
    return found + (shape_subjects(plan.shapes, plan.families) if plan.shapes else [])


def _load_network(plan: Plan) -> Network:
    (network,) = load_networks((plan.weights,), plan.size)
    check_outputs(network.config, ("phong",), ("normal", "mask"))
    return network


def _digests(plan: Plan) -> dict:
    """Prior and single-view network, where a method uses them."""
    used = {"prior": {"prior"}, "single_view": {"shape"}}
    named = {name: getattr(plan, name) for name, methods in used.items() if methods & set(plan.methods)}
    return {name: {"weights": value, "sha256": weights.read_card(value)["sha256"]} for name, value in named.items()}


def _settings(plan: Plan) -> dict:
    return {
        "methods": list(plan.methods),
        **_digests(plan),
        "training": None if plan.training is None else str(plan.training),
        "size": plan.size,
        "grid": GRID,
        "new_views": NEW_VIEWS,
        "seed": plan.seed,
        "meshes": None if plan.meshes is None else str(plan.meshes),
        "up": plan.up,
        "limit": plan.limit,
        "shapes": plan.shapes,
        "families": list(plan.families) if plan.shapes else [],
    }


# --- fits -------------------------------------------------------------------------------------------------------------


def _fit_all(plan: Plan, subjects: list[Subject], network: Network, methods: dict[str, Method]) -> tuple:
    """Rows by target, reasons by subject that was passed over, and some rows of the sheet, spread over the targets."""
    rows, skipped, pictures, fitted = {}, {}, {}, 0
    made_by = [plan.provenance.get("packages"), network.describe(), _settings(plan)]
    for subject in subjects:
        try:
            file = keep_target(plan.output / _TARGETS, subject, plan.size, plan.seed)
            target = load_target(file, subject)
        except InputError as error:
            skipped[subject.name] = str(error)
            print(f"{subject.name}: skipped: {error}", flush=True)
            continue
        kept = plan.output / _FITS / f"{shards.sha256(json.dumps([file.stem, *made_by]).encode())[:32]}.npz"
        if not kept.exists():
            _keep_fit(kept, *_fit_target(target, fitted, network, methods))
            fitted += 1
        row, drawn = _load_fit(kept)
        if len(rows) % math.ceil(len(subjects) / _SHEET_ROWS) == 0:
            pictures[target.name] = _sheet_row(target, drawn, list(methods))
        rows[target.name] = row
        told = (
            f"{method} {show(each['rotation_deg'], 1)} degrees, {show(each['seconds'], 1)} s"
            for method, each in row["scores"].items()
        )
        print(f"{target.name} ({len(rows)} of {len(subjects)}): {'; '.join(told)}", flush=True)
    return rows, skipped, pictures


def _keep_fit(path: pathlib.Path, row: dict, drawn: dict[str, np.ndarray]) -> None:
    """Write a target's row of the report, and by method the pictures ``[2, S, S, C]`` that the sheet shows."""
    row = np.frombuffer(json.dumps(row).encode(), np.uint8)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, shards.pack_shard({_ROW: row, **drawn}))


def _load_fit(path: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What :func:`_keep_fit` wrote."""
    try:
        drawn = read_arrays(path.read_bytes())
        return json.loads(drawn.pop(_ROW).tobytes()), drawn
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: expected a kept fit, got {error}; remove the file to fit it again") from error


def _fit_target(target: Target, index: int, network: Network, methods: dict[str, Method]) -> tuple[dict, dict]:
    """The report's row of one target, and by method the pictures ``[2, S, S, C]`` that the sheet shows."""
    scores, told, failed, drawn = {}, {}, {}, {}
    for method, fit in methods.items():
        try:
            found = fit(target, index)
            scores[method], views = score(network.params, network.config, found, target)
            drawn[method] = views[[0, 1 + _SHOWN]]
        except InputError as error:
            scores[method], failed[method] = dict(FAILED), str(error)
            print(f"{target.name}: {method} failed: {error}", flush=True)
            continue
        albedo = [float(channel) for channel in found.albedo]
        told[method] = _describe(found.pose, found.light) | {"albedo": albedo}
    row = {
        "category": target.category,
        "symmetries_deg": list(target.symmetries),
        "true": _describe(target.pose, target.light),
        "scores": scores,
        "found": told,
        "failed": failed,
    }
    return row, drawn


def _describe(pose: Pose, light: Light | None) -> dict:
    numbers = camera.pose_to_degrees(pose)
    if light is not None:
        numbers |= camera.light_to_degrees(light)
        numbers |= {"ambient": float(light.ambient), "intensity": float(light.intensity)}
    return numbers


def _summaries(rows: list[dict], methods: list[str]) -> dict[str, dict]:
    return {method: summarise([row["scores"][method] for row in rows]) for method in methods}


def _by_category(rows: dict[str, dict], methods: list[str]) -> dict[str, dict]:
    groups = {}
    for row in rows.values():
        groups.setdefault(row["category"], []).append(row)
    return {name: _summaries(members, methods) for name, members in sorted(groups.items())}


# --- text -------------------------------------------------------------------------------------------------------------


def markdown(report: dict) -> str:
    """Tables of a report (see :func:`run`): all targets, categories, and every target with its symmetries."""
    settings, weights = report["settings"], report["weights"]
    lines = [
        "# Fits",
        "",
        f"Ray-traced pictures of {settings['size']} x {settings['size']} pixels under random poses and lights, fitted "
        f"through {weights['network']} ({weights['weights']}, sha256 {weights['sha256'][:12]}).",
        "",
        "Rotation and light: degrees, medians. Where turns about y leave a target's voxels as they are, rotation is "
        "told by the nearest of them; below 5 and 10 degrees are shares of all targets. Mask IoU, PSNR (dB, Phong, "
        f"full frame) at the fitted view and at {settings['new_views']} new ones, and voxel IoU, where the shape was "
        "not given: means. Seconds: median of all targets but the first, whose fit includes compilation of all that "
        "no method before it has compiled. Failed fits are below no angle, and left out of medians and means.",
        "",
        "## All targets",
        "",
        *_summary_table(report["summary"]),
        "## By category",
        "",
    ]
    for name, summaries in report["categories"].items():
        lines += [f"### {name}", "", *_summary_table(summaries)]
    lines += ["## Targets", "", *_targets_section(report["targets"])]
    failed = [
        f"- {name}, {method}: {reason}"
        for name, row in report["targets"].items()
        for method, reason in row["failed"].items()
    ]
    passed = [f"- {name}: {reason}" for name, reason in report["skipped"].items()]
    for title, items in (("Failed", failed), ("Passed over", passed)):
        lines += [f"## {title}", "", *items, ""] if items else []
    return "\n".join([*lines, "![some targets and what was found](sheet.png)", ""])


def _summary_table(summaries: dict[str, dict]) -> list[str]:
    rows = [
        [method, *(show(each[name], digits) for name, (_, digits) in COLUMNS.items())]
        for method, each in summaries.items()
    ]
    return table(["method", *(heading for heading, _ in COLUMNS.values())], rows)


def _targets_section(targets: dict[str, dict]) -> list[str]:
    methods = list(next(iter(targets.values()))["scores"])
    cells = [
        [name, _show_turns(row["symmetries_deg"]), *(show(row["scores"][method]["rotation_deg"]) for method in methods)]
        for name, row in targets.items()
    ]
    return [
        f"Symmetries: turns about y, multiples of {SYMMETRY_STEP} degrees, at which the IoU of the {GRID}^3 binary "
        f"voxels with themselves is {SYMMETRY_IOU} or more. Then each method's rotation error in degrees.",
        "",
        *table(["target", "symmetries", *methods], cells),
    ]


def _show_turns(angles: list[int]) -> str:
    step = angles[1] if len(angles) > 1 else 360
    return f"every {step}" if len(angles) > 2 and angles == list(range(0, 360, step)) else ", ".join(map(str, angles))


# --- pictures ---------------------------------------------------------------------------------------------------------


def _sheet_row(target: Target, drawn: dict[str, np.ndarray], methods: list[str]) -> list[np.ndarray | None]:
    """The target and what each method's fit looks like, then one new view of each; None where a fit failed."""
    row = []
    for index, wanted in enumerate((target.picture, target.new_pictures[_SHOWN])):
        row += [wanted, *(drawn[method][index] if method in drawn else None for method in methods)]
    return row


def sheet(rows: dict[str, list], methods: list[str]) -> np.ndarray:
    """Sheet of rows by target, each of the target's picture, the fits' by method, and the same in a new view."""
    columns = ["target", *methods, "new view", *(f"{method}, new view" for method in methods)]
    return picture_sheet(list(rows.values()), [name[-_LABEL:] for name in rows], columns, _CELL)
