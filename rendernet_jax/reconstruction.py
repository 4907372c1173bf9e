"""Fit a photo and write what was found: pose, light, pictures, mesh, and one page with all of it."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from rendernet_jax import camera, inverse, metrics, reconstruction_report, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.inputs import Object, read_object
from rendernet_jax.data.marching_cubes import marching_cubes
from rendernet_jax.data.meshes import save_mesh
from rendernet_jax.data.photo import Photo, load_photo, paste_back
from rendernet_jax.data.sheet import save_gif, save_png, to_bytes
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import finite_psnr
from rendernet_jax.files import lock_folder, write_atomically, write_json
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.photometric import draw
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.rendering import render_buffers

FIT, HISTORY, REPORT = "fit.json", "history.jsonl", "report.html"
_PICTURES = ("render.png", "overlay.png", "normals.png", "mask.png", "object.png", "turntable.gif", "progress.gif")
WRITTEN = (FIT, HISTORY, REPORT, *_PICTURES, "voxels.binvox", "mesh.ply", "mesh.glb")
UNKNOWNS = ("pose", "light", "albedo")
_LIGHT_KEYS = ("azimuth_deg", "elevation_deg", "ambient")
_FRAMES = 36  # of a turntable
_SMALL = 128  # pixels, of the frames of progress.gif
_TOLD = 5  # candidates in fit.json


@dataclasses.dataclass(frozen=True)
class Job:
    """What to fit; see ``experiments.reconstruct`` for the meaning of each."""

    image: str
    shape: str  # mesh or voxel file
    output: pathlib.Path
    mask: str | None = None
    up: str = "y"
    weights: str = "compact"
    starts: int = 64
    init: str | None = None
    fixed: tuple[str, ...] = ()
    size: int = 256


def run(job: Job, provenance: dict) -> dict:
    """Fit one photo, and write :data:`WRITTEN` into the output folder.

    Ctrl-C or SIGTERM ends the fit early: the best so far is written, and ``fit.json`` says so.

    Returns:
        what fit.json holds.

    Raises:
        InputError: the photo, the mask, the shape, the weights or the start can't be used; or nothing was found yet
            when the fit was interrupted.
    """
    with lock_folder(job.output), _terminable():
        return _run(job, provenance)


def _run(job: Job, provenance: dict) -> dict:
    began = time.perf_counter()
    start = read_start(job.init, job.fixed)
    photo = load_photo(job.image, job.mask, job.size)
    shape = read_object(pathlib.Path(job.shape), job.up)
    params, config = weights.load_weights(job.weights)
    _check_network(config, shape.grid, job.weights)
    settings = dataclasses.replace(inverse.Settings(), starts=job.starts)
    steps = inverse.fit_steps(
        params, config, photo.picture, photo.mask, shape.grid, settings, start=start, fixed=job.fixed
    )
    told, interrupted = _follow(steps, inverse.count_reports(settings), began)
    seconds = time.perf_counter() - began
    look = lambda point, size: _look(params, config, jnp.asarray(shape.grid), point, size)  # noqa: E731
    found = told[-1][0]
    drawn, normals, covered = pictures = look(found.best, job.size)
    target = photo.mask * photo.picture + (1.0 - photo.mask)
    fit = {
        **describe(found.best),
        "loss": float(found.losses[0]),
        "mask_iou": float(metrics.mask_iou(covered[None], photo.mask[None])[0]),
        "psnr": finite_psnr(drawn, target),
        "seconds": round(seconds, 2),
        "interrupted": interrupted,
        "candidates": [
            {**describe(jax.tree.map(lambda x, i=i: x[i], found.candidates)), "loss": float(found.losses[i])}
            for i in range(min(_TOLD, len(found.losses)))
        ],
        "photo": {"padding": _padding(photo), "mask": photo.source, "size": job.size},
        **provenance,
    }
    _write(job, photo, shape, fit, told, pictures, look)
    return fit


def read_start(path: str | None, fixed: tuple[str, ...]) -> dict:
    """Start of a fit from a JSON file with any of the keys ``pose``, ``light`` and ``albedo`` that fit.json has.

    Raises:
        InputError: not such a file, an unknown key, a bad value, or an unknown in ``fixed`` that the file lacks.
    """
    if unknown := [name for name in fixed if name not in UNKNOWNS]:
        raise InputError(f"fix: expected some of {', '.join(UNKNOWNS)}, got {unknown[0]!r}; correct the name")
    start = {} if path is None else _read_init(path)
    if missing := [name for name in fixed if name not in start]:
        raise InputError(f"fix: expected a value of {missing[0]} to hold, got none; give one with --init=FILE.json")
    return start


def _read_init(path: str) -> dict:
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"init {path}: expected a JSON object, got {error}; correct the file") from error
    if not isinstance(content, dict):
        raise InputError(f"init {path}: expected a JSON object, got another structure; see fit.json")
    if unknown := sorted(content.keys() - set(UNKNOWNS)):
        raise InputError(f"init {path}: unknown key {unknown[0]!r}; known are {', '.join(UNKNOWNS)}")
    start = {}
    for name, keys in (("pose", camera.POSE_KEYS), ("light", _LIGHT_KEYS)):
        if name in content:
            given = content[name]
            if not isinstance(given, dict) or (unknown := sorted(given.keys() - {*keys, "intensity"})):
                what = f"unknown key {unknown[0]!r}" if isinstance(given, dict) else "another structure"
                wanted = f"an object of {', '.join(keys)}"
                raise InputError(f"init {path}: {name}: expected {wanted}, got {what}; write it as fit.json does")
            start[name] = _read_pose(given) if name == "pose" else _read_light(given)
    if "albedo" in content:
        start["albedo"] = _read_albedo(path, content["albedo"])
    return start


def _read_albedo(path: str, given) -> np.ndarray:
    try:
        albedo = np.asarray(given, np.float32).reshape(-1)
    except (TypeError, ValueError):
        albedo = np.zeros(0)
    if albedo.size not in (1, 3) or not np.isfinite(albedo).all() or (albedo < 0).any():
        raise InputError(f"init {path}: albedo: expected 1 or 3 numbers from 0 on, got {given!r}; correct it")
    return np.broadcast_to(albedo, 3)


def _read_pose(given: dict) -> Pose:
    """A pose that can be held: the depth of an object is none of the unknowns."""
    pose = camera.pose_from_degrees(**given)
    vector = unknowns.from_pose(pose)
    if pose.translation[2] or not np.allclose(unknowns.clip_pose(vector), vector):
        raise InputError(
            "pose: expected a translation within -1 and 1 without depth, a scale from 0.09 to 4.4 and an inverse "
            f"distance up to 0.8, got {given}; correct it"
        )
    return pose


def _read_light(given: dict) -> Light:
    light = camera.light_from_degrees(given.get("azimuth_deg", 35.0), given.get("elevation_deg", 40.0))
    ambient = given.get("ambient", 0.1)
    if not isinstance(ambient, int | float) or not 0 <= ambient <= 1:
        raise InputError(f"ambient: expected a number from 0 to 1, got {ambient!r}; correct the light")
    return light.replace(ambient=float(ambient), intensity=1.0 - float(ambient))


def describe(point: Unknowns) -> dict:
    """Unbatched unknowns as fit.json has them: degrees, plain numbers, ambient + intensity = 1."""
    light = unknowns.to_light(point.light)
    angles = camera.light_to_degrees(light)
    return {
        "pose": camera.pose_to_degrees(unknowns.to_pose(point.pose)),
        "light": {
            "azimuth_deg": angles["light_azimuth_deg"],
            "elevation_deg": angles["light_elevation_deg"],
            "ambient": float(light.ambient),
            "intensity": float(light.intensity),
        },
        "albedo": [float(value) for value in point.albedo],
    }


def _check_network(config, grid: np.ndarray, name: str) -> None:
    if grid.shape[-1] != config.channels:
        wanted = f"{config.channels} channels, as weights {name} read"
        raise InputError(f"voxels: expected {wanted}, got {grid.shape[-1]}; use other voxels or weights")


def _padding(photo: Photo) -> dict:
    height, width = photo.original.shape[:2]
    return {"left": -photo.left, "top": -photo.top, "side": photo.side, "width": width, "height": height}


# --- the fit ----------------------------------------------------------------------------------------------------------


def _follow(steps: Iterator[inverse.Fit], count: int, began: float) -> tuple[list, bool]:
    """All that a fit tells, each with its record for history.jsonl, and whether it was interrupted."""
    told, interrupted = [], False
    with tqdm(total=count, disable=None, unit="stage") as bar:
        try:
            for found in steps:
                seconds = round(time.perf_counter() - began, 2)
                record = {"stage": found.stage, "seconds": seconds, "loss": float(found.losses[0])}
                told.append((found, record | describe(found.best)))
                bar.update()
                bar.set_postfix_str(f"{found.stage}, loss {record['loss']:.2e}")
        except KeyboardInterrupt:
            interrupted = True
    if not told:
        raise InputError("fit: expected time to find something, was interrupted before; start it again")
    return told, interrupted


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a fit as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _look(params, config, grid, point: Unknowns, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, normals as a picture, and mask, ``[size, size, c]``."""
    buffers = _buffers(params, config, grid, unknowns.to_pose(point.pose[None]), size)
    picture = draw(buffers, point.light[None], point.albedo[None])
    mask = buffers["mask"]
    normals = mask * (0.5 * buffers["normal"] + 0.5) + (1.0 - mask)
    return tuple(np.asarray(jnp.clip(x[0], 0.0, 1.0)) for x in (picture, normals, mask))


_buffers = jax.jit(render_buffers, static_argnums=(1, 4))


# --- files ------------------------------------------------------------------------------------------------------------


def _write(job: Job, photo: Photo, shape: Object, fit: dict, told: list, pictures: tuple, look) -> None:
    folder, best = job.output, told[-1][0].best
    drawn, normals, covered = pictures
    history = [record for _, record in told]
    for name in WRITTEN:  # of another fit
        (folder / name).unlink(missing_ok=True)
    records = [json.dumps(record, allow_nan=False) for record in history]
    write_atomically(folder / HISTORY, "".join(f"{record}\n" for record in records).encode())
    write_json(folder / FIT, fit)
    save_png(folder / "render.png", drawn)
    save_png(folder / "normals.png", normals)
    save_png(folder / "overlay.png", _overlay(photo, drawn, covered))
    save_png(folder / "mask.png", paste_back(photo, photo.mask))
    save_png(folder / "object.png", _cut_out(photo))
    turned = [best.pose.at[0].add(2 * np.pi * i / _FRAMES) for i in range(_FRAMES)]
    save_gif(folder / "turntable.gif", [look(best.replace(pose=pose), job.size)[0] for pose in turned])
    save_gif(folder / "progress.gif", [look(found.best, _SMALL)[0] for found, _ in told], seconds=3.0)
    write_atomically(folder / REPORT, reconstruction_report.page(folder, fit, history, photo.original).encode())
    for write in (_write_voxels, _write_meshes):
        try:
            write(folder, shape)
        except InputError as error:  # the fit stands without them
            print(f"not written: {error}", file=sys.stderr)


def _write_voxels(folder: pathlib.Path, shape: Object) -> None:
    """The object as other software reads it: binary voxels."""
    side = shape.grid.shape[1]
    grid = (shape.grid[0] > 0.5) if shape.mesh is None else voxelise(shape.mesh, side, "binary")
    write_voxels(folder / "voxels.binvox", np.asarray(grid, np.float32))


def _write_meshes(folder: pathlib.Path, shape: Object) -> None:
    mesh = marching_cubes(shape.grid[0]) if shape.mesh is None else shape.mesh
    for name in ("mesh.ply", "mesh.glb"):
        save_mesh(folder / name, mesh)


def _overlay(photo: Photo, drawn: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The drawing in place of the object, over the fainter photo, in the photo's own size."""
    cover = paste_back(photo, covered)
    object_alone = paste_back(photo, drawn - (1.0 - covered))  # without the white that shows behind it
    return np.clip(object_alone + (1.0 - cover) * (0.5 + 0.5 * photo.original / 255.0), 0.0, 1.0)


def _cut_out(photo: Photo) -> np.ndarray:
    """The photo with all that is not the object in green."""
    mask = paste_back(photo, photo.mask)
    return to_bytes(mask * photo.original / 255.0 + (1.0 - mask) * np.asarray([0.35, 0.85, 0.5], np.float32))
