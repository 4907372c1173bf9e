"""Scores of a network on meshes, beside marching cubes of the same voxels, both against ray-traced references."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import camera, metrics, rendering, shading, weights
from rendernet_jax.config import Config
from rendernet_jax.data.marching_cubes import marching_cubes
from rendernet_jax.data.meshes import SUFFIXES, load_mesh, normalise
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_json

VIEWS = ((20.0, 0.0), (110.0, 15.0), (200.0, 30.0), (290.0, 45.0))  # azimuth, elevation in degrees
OUTPUTS = ("phong", "normal", "mask", "contour")
_SHEET_ROWS = 12


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score."""

    meshes: pathlib.Path
    output: pathlib.Path
    weights: str = "compact"
    occupancies: tuple[str, ...] = ("coverage", "binary")
    size: int = 512
    up: str = "y"


def view_pose(index: int) -> camera.Pose:
    """Pose of one of :data:`VIEWS`."""
    azimuth, elevation = VIEWS[index]
    return camera.pose_from_degrees(azimuth_deg=azimuth, elevation_deg=elevation)


def run(plan: Plan) -> dict:
    """Score every mesh under a folder; writes report.json and sheet.png into the output folder, returns the report.

    Every figure is the mean over views, then over meshes, None (null) where there is nothing to compare. Marching
    cubes see the same grid and are shaded by the same ray tracer as the references. A mesh that can't be used is
    listed with the reason, and passed over.

    Raises:
        InputError: no mesh could be used, no occupancy, or weights that can't make the pictures.
    """
    if not plan.occupancies:
        raise InputError("occupancies: expected coverage, binary or both, got none; name one")
    params, config = weights.load_weights(plan.weights)
    rendering.check_size(config, plan.size)
    check_outputs(config, OUTPUTS)
    rows, sheet, skipped = {}, [], {}
    for path in sorted(p for p in plan.meshes.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        name = path.relative_to(plan.meshes).as_posix()
        try:
            scores, pictures = _score_mesh(plan, normalise(load_mesh(path, plan.up)), params, config)
        except InputError as error:
            skipped[name] = str(error)
            continue
        rows[name] = scores
        sheet.append(pictures)
        print(f"{name}: " + ", ".join(f"{m} {show(figures['phong'])}" for m, figures in scores.items()), flush=True)
    if not rows:
        reason = f": {next(iter(skipped.values()))}" if skipped else ""
        wanted = f"expected {', '.join(SUFFIXES)} files"
        raise InputError(f"meshes {plan.meshes}: {wanted}, found none that can be used{reason}")
    methods = list(next(iter(rows.values())))
    report = {
        "weights": plan.weights,
        "weights_sha256": weights.read_card(plan.weights)["sha256"],
        "size": plan.size,
        "views": [list(view) for view in VIEWS],
        "mean": {method: mean_figures([row[method] for row in rows.values()]) for method in methods},
        "meshes": rows,
        "skipped": skipped,
    }
    chosen = sheet[:: math.ceil(len(sheet) / _SHEET_ROWS)]
    save_png(plan.output / "sheet.png", picture_sheet(chosen, column_labels=["reference", *methods], cell=200))
    write_json(plan.output / "report.json", report)
    return report


def _score_mesh(plan: Plan, mesh, params, config) -> tuple[dict, list]:
    """Figures by method, and one row of the sheet: the first view's reference, then each method's picture."""
    scene = build_scene(mesh)
    grids = {occupancy: voxelise(mesh, 64, occupancy) for occupancy in plan.occupancies}
    surfaces = {occupancy: _surface(grid) for occupancy, grid in grids.items()}
    light = rendering.DEFAULT_LIGHT
    scores, row = {}, []
    for pose in map(view_pose, range(len(VIEWS))):
        wanted = reference_pictures(scene, pose, light, plan.size, OUTPUTS)
        methods = {}
        for occupancy, grid in grids.items():
            _, drawn = draw_view(params, config, grid[None], pose, light, plan.size, OUTPUTS)
            cubes = {output: np.full_like(wanted[output], 0.0 if output == "mask" else 1.0) for output in OUTPUTS}
            if surfaces[occupancy] is not None:
                cubes = reference_pictures(surfaces[occupancy], pose, light, plan.size, OUTPUTS)
            methods |= {f"network {occupancy}": drawn, f"marching cubes {occupancy}": cubes}
        for method, pictures in methods.items():
            scores.setdefault(method, []).append(_figures(pictures, wanted))
        row = row or [pictures["phong"] for pictures in (wanted, *methods.values())]
    return {method: mean_figures(each) for method, each in scores.items()}, row


def _surface(grid):
    """Marching cubes' scene, or None: nothing reaches the level, and an empty picture is what it draws."""
    try:
        surface = marching_cubes(grid)
    except InputError:
        return None
    return build_scene(surface)


def _figures(pictures: dict, wanted: dict) -> dict:
    figures = {}
    for output, reference in wanted.items():
        a, b = pictures[output][None], reference[None]
        if output == "mask":
            figures["mask_iou"] = float(metrics.mask_iou(a, b)[0])
            continue
        figures[output] = finite_psnr(pictures[output], reference)
        if output == "phong":
            figures["phong_foreground"] = finite_psnr(pictures[output], reference, wanted["mask"])
            figures["phong_ssim"] = float(metrics.ssim(a, b)[0])
    return figures


# --- what rendering files shares ------------------------------------------------------------------------------------


def check_outputs(config: Config, outputs: Sequence[str], buffers: Sequence[str] = ()) -> None:
    """Raise InputError unless the network has the heads for the outputs, of which one at least, and the buffers."""
    known = config.shader or "image" if config.draws_images else ", ".join(shading.OUTPUTS)
    if not outputs:
        raise InputError(f"outputs: expected one or more of {known}, got none; name what to draw")
    heads = [name for name, _ in config.heads]
    for output in outputs:
        if config.draws_images:
            rendering.check_output(config, output)
            continue
        if output not in shading.OUTPUTS:
            raise InputError(f"output: expected one of {known}, got {output!r}; correct the name")
        if missing := [name for name in shading.NEEDS[output] if name not in heads]:
            raise InputError(f"output {output!r}: these weights lack the head {', '.join(missing)}; use other weights")
    if missing := [name for name in buffers if name not in heads]:
        raise InputError(
            f"weights: expected the heads {', '.join(buffers)} for what is to be written, got {', '.join(heads)} "
            f"without {', '.join(missing)}; use other weights"
        )


@functools.partial(jax.jit, static_argnames=("config", "size", "outputs"))
def _draw(params, config, grid, pose, light, size, outputs):
    # Parameters are an argument: captured, they would be constants of the program and of its entry in the cache.
    buffers = rendering.render_buffers(params, config, grid, pose, size)
    finite = jnp.stack([jnp.isfinite(buffer).all() for buffer in buffers.values()]).all()
    return buffers, {output: rendering.shade(config, buffers, light, output) for output in outputs}, finite


def draw_view(params, config: Config, grid, pose, light, size: int, outputs: tuple[str, ...]) -> tuple[dict, dict]:
    """One view of one grid ``[1, X, Y, Z, C]``, in one compiled program -> (G-buffer, pictures), each [H, W, c] a name.

    The G-buffer stays on the device, the pictures are NumPy.

    Raises:
        InputError: the network's pictures hold NaN or infinity, the grid does not fit it, or an image network is asked
            for another light or output than its own.
    """
    rendering.check_light(config, light)
    light = None if config.draws_images else light  # checked here, where it is no tracer yet
    buffers, pictures, finite = _draw(params, config, grid, pose, light, size, tuple(outputs))
    if not finite:
        raise InputError(
            "picture: expected finite numbers, the network drew NaN or infinity; correct the pose, the voxels or the "
            "weights"
        )
    return {name: buffer[0] for name, buffer in buffers.items()}, {o: np.asarray(pictures[o][0]) for o in outputs}


def finite_psnr(picture, reference, mask=None) -> float | None:
    """PSNR in dB of two pictures ``[H, W, C]``, over the pixels the mask ``[H, W, 1]`` touches if there is one.

    None, which is JSON's null, where the figure is infinite: the pictures are equal, or there are no such pixels.
    """
    weight = None if mask is None else (np.asarray(mask) > 0).astype(np.float32)[None]
    value = float(metrics.psnr(picture[None], reference[None], weight)[0])
    return None if value == math.inf else value


def mean_figures(figures: Sequence[dict]) -> dict:
    """Mean of each key over dicts of the same keys; a None is left out, and the mean of nothing is None."""
    present = {key: [each[key] for each in figures if each[key] is not None] for key in figures[0]}
    return {key: float(np.mean(values)) if values else None for key, values in present.items()}


def show(figure: float | None, digits: int = 2) -> str:
    """A figure as text."""
    return "-" if figure is None else f"{figure:.{digits}f}"
