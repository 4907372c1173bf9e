"""Scores of a network on meshes, beside marching cubes of the same voxels, both against ray-traced references."""

import dataclasses
import json
import pathlib

import jax
import numpy as np

from rendernet_jax import camera, metrics, rendering, shading, weights
from rendernet_jax.data.marching_cubes import marching_cubes
from rendernet_jax.data.meshes import SUFFIXES, load_mesh, normalise
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError

VIEWS = ((20.0, 0.0), (110.0, 15.0), (200.0, 30.0), (290.0, 45.0))  # azimuth, elevation in degrees


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score."""

    meshes: pathlib.Path
    output: pathlib.Path
    weights: str = "compact"
    outputs: tuple[str, ...] = ("phong", "normal", "mask", "contour")
    occupancies: tuple[str, ...] = ("coverage", "binary")
    views: tuple[tuple[float, float], ...] = VIEWS
    size: int = 512
    up: str = "y"


def run(plan: Plan) -> dict:
    """Score every mesh under a folder; writes report.json and sheet.png into the output folder, returns the report.

    Every figure is the mean over views, then over meshes. Marching cubes see the same grid and are shaded by the same
    ray tracer as the references.

    Raises:
        InputError: no mesh could be used, or weights that can't make the pictures.
    """
    params, config = weights.load_weights(plan.weights)
    rendering.check_size(config, plan.size)
    paths = sorted(p for p in plan.meshes.rglob("*") if p.suffix.lower() in SUFFIXES)
    draw = jax.jit(lambda grid, pose: rendering.render_buffers(params, config, grid, pose, plan.size))
    rows, sheet, skipped = {}, [], {}
    for path in paths:
        name = str(path.relative_to(plan.meshes))
        try:
            mesh = normalise(load_mesh(path, plan.up))
        except InputError as error:
            skipped[name] = str(error)
            continue
        rows[name], pictures = _score_mesh(plan, mesh, draw)
        sheet.append(pictures)
        print(f"{name}: " + ", ".join(f"{method} {v['phong']:.2f}" for method, v in rows[name].items()), flush=True)
    if not rows:
        raise InputError(f"meshes {plan.meshes}: expected {', '.join(SUFFIXES)} files, found none that can be used")
    methods = list(next(iter(rows.values())))
    report = {
        "weights": plan.weights,
        "weights_sha256": weights.read_card(plan.weights)["sha256"],
        "size": plan.size,
        "views": [list(v) for v in plan.views],
        "mean": {m: {k: float(np.mean([r[m][k] for r in rows.values()])) for k in rows[name][m]} for m in methods},
        "meshes": rows,
        "skipped": skipped,
    }
    (plan.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    columns = ["reference", *methods]
    chosen = sheet[:: max(1, len(sheet) // 12)]
    save_png(plan.output / "sheet.png", picture_sheet(chosen, column_labels=columns, cell=200))
    return report


def _score_mesh(plan: Plan, mesh, draw) -> tuple[dict, list]:
    scene = build_scene(mesh)
    grids = {o: voxelise(mesh, 64, o) for o in plan.occupancies}
    surfaces = {}
    for occupancy, grid in grids.items():
        try:
            surfaces[occupancy] = build_scene(marching_cubes(grid))
        except InputError:  # nothing reaches the level: it draws an empty picture
            surfaces[occupancy] = None
    light = rendering.DEFAULT_LIGHT
    scores, row = {}, []
    for azimuth, elevation in plan.views:
        pose = camera.pose_from_degrees(azimuth_deg=azimuth, elevation_deg=elevation)
        wanted = reference_pictures(scene, pose, light, plan.size, plan.outputs)
        if not row:
            row.append(wanted["phong"])
        for occupancy, grid in grids.items():
            buffers = draw(grid[None], camera.broadcast(pose))
            drawn = {o: np.asarray(shading.shade(buffers, light, o)[0]) for o in plan.outputs}
            cubes = {o: np.full_like(wanted[o], 0.0 if o == "mask" else 1.0) for o in plan.outputs}
            if surfaces[occupancy] is not None:
                cubes = reference_pictures(surfaces[occupancy], pose, light, plan.size, plan.outputs)
            for method, pictures in ((f"network {occupancy}", drawn), (f"marching cubes {occupancy}", cubes)):
                scores.setdefault(method, []).append(_figures(pictures, wanted))
                if len(row) <= 2 * len(grids):
                    row.append(pictures["phong"])
    return {m: {k: float(np.mean([s[k] for s in each])) for k in each[0]} for m, each in scores.items()}, row


def _figures(pictures: dict, wanted: dict) -> dict:
    figures = {}
    for output, reference in wanted.items():
        a, b = pictures[output][None], reference[None]
        if output == "mask":
            figures["mask_iou"] = float(metrics.mask_iou(a, b)[0])
            continue
        figures[output] = float(metrics.psnr(a, b)[0])
        if output == "phong":
            foreground = (wanted["mask"] > 0).astype(np.float32)[None]
            figures["phong_foreground"] = float(metrics.psnr(a, b, foreground)[0])
            figures["phong_ssim"] = float(metrics.ssim(a, b)[0])
    return figures
