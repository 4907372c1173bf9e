"""Fit a photo and write what was found: pose, light, pictures, mesh, and one page with all of it."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from rendernet_jax import inverse, metrics, reconstruction_report, weights
from rendernet_jax.data.inputs import Object, read_object
from rendernet_jax.data.marching_cubes import coloured_surface, with_thin_parts
from rendernet_jax.data.meshes import save_mesh
from rendernet_jax.data.photo import Photo, load_photo, paste_back
from rendernet_jax.data.references import surface_of
from rendernet_jax.data.sheet import save_gif, save_png, to_bytes
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import finite_psnr
from rendernet_jax.files import lock_folder, remove_leftovers, write_atomically, write_json
from rendernet_jax.fit_file import describe, read_start
from rendernet_jax.inverse import textured, unknowns
from rendernet_jax.inverse.photometric import draw
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.rendering import render_buffers
from rendernet_jax.shape_prior import SET_FROM

FIT, HISTORY, REPORT = "fit.json", "history.jsonl", "report.html"
_PICTURES = ("render.png", "overlay.png", "normals.png", "mask.png", "object.png", "turntable.gif", "progress.gif")
WRITTEN = (FIT, HISTORY, REPORT, *_PICTURES, "voxels.binvox", "mesh.ply", "mesh.glb")
UNFINISHED = ".unfinished"  # is there while files are being written: those of a killed process may be replaced
_FRAMES = 36  # of a turntable
_SMALL = 128  # pixels, of the frames of progress.gif
SCHEDULES = ("default", "paper")
CATEGORIES = {"object": ("compact", "shape_prior"), "head": ("compact-texture", "head_prior")}  # weights and prior
SEARCH = "none"  # no single-view network: the prior's gallery is searched instead
_TOLD = 5  # candidates in fit.json


@dataclasses.dataclass(frozen=True)
class Job:
    """What to fit; see ``experiments.reconstruct`` for the meaning of each."""

    image: str
    output: pathlib.Path
    shape: str | None = None  # mesh or voxel file; None: it is found, too
    mask: str | None = None
    up: str = "y"
    category: str = "object"  # or one of CATEGORIES, whose shape and texture are found together
    weights: str | None = None  # those of the category
    prior: str | None = None  # the category's
    single_view: str = "single_view"  # or SEARCH
    schedule: str = SCHEDULES[0]
    seed: int = 0
    starts: int = 256
    init: str | None = None
    fixed: tuple[str, ...] = ()
    size: int = 256


def run(job: Job, provenance: dict) -> dict:
    """Fit one photo, and write :data:`WRITTEN` into the output folder.

    Ctrl-C or SIGTERM ends the fit early: the best so far is written, and ``fit.json`` says so.

    Returns:
        what fit.json holds.

    Raises:
        InputError: the photo, the mask, the shape, the weights or the start can't be used.
        KeyboardInterrupt: nothing was found yet when the fit was interrupted; nothing is written.
    """
    with lock_folder(job.output), _terminable():
        return _run(job, provenance)


def _run(job: Job, provenance: dict) -> dict:
    began = time.perf_counter()
    problem = _prepare(job)
    photo = problem.photo
    told, interrupted = _follow(problem.steps, problem.reports, began)
    for each in (signal.SIGINT, signal.SIGTERM):  # until _terminable ends: what was found gets written
        signal.signal(each, signal.SIG_IGN)
    seconds = time.perf_counter() - began
    found = told[-1][0]
    drawn, normals, covered = pictures = problem.look(found.best, job.size)
    target = photo.mask * photo.picture + (1.0 - photo.mask)
    best = found.candidates
    fit = {
        **describe(found.best),
        "loss": float(found.losses[0]),
        "mask_iou": float(metrics.mask_iou(covered[None], photo.mask[None])[0]),
        "psnr": finite_psnr(drawn, target),
        "seconds": round(seconds, 2),
        "interrupted": interrupted,
        "candidates": [
            {**describe(jax.tree.map(lambda x, i=i: x[i], best)), "loss": float(found.losses[i])}
            for i in range(min(_TOLD, len(found.losses)))
        ],
        "photo": {"padding": _padding(photo), "mask": photo.source, "size": job.size},
        **provenance,
    }
    _write(job, problem, fit, told, pictures)
    return fit


@dataclasses.dataclass(frozen=True)
class _Problem:
    """One fit before it runs."""

    photo: Photo
    steps: Iterator[inverse.Fit]
    reports: int  # that ``steps`` gives
    shape: Object | None  # None: unknown
    voxels: Callable[[Unknowns], jax.Array]  # point -> grid [1, X, Y, Z, C]
    network: tuple
    occupancy: str = "file"  # rule of the voxels of an unknown shape

    def look(self, point: Unknowns, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture, normals as a picture, and mask, ``[size, size, c]``."""
        buffers = _buffers(*self.network, self.voxels(point), unknowns.to_pose(point.pose[None]), size)
        if point.texture is not None:
            buffers["tint"] = buffers["albedo"]
        picture = draw(buffers, point.light[None], point.albedo[None])
        mask = buffers["mask"]
        normals = mask * (0.5 * buffers["normal"] + 0.5) + (1.0 - mask)
        return tuple(np.asarray(jnp.clip(x[0], 0.0, 1.0)) for x in (picture, normals, mask))


def _prepare(job: Job) -> _Problem:
    """Read everything that a fit needs."""
    if job.schedule not in SCHEDULES:
        wanted = ", ".join(SCHEDULES)
        raise InputError(f"schedule: expected one of {wanted}, got {job.schedule!r}; correct the name")
    if job.category not in CATEGORIES:
        wanted = ", ".join(CATEGORIES)
        raise InputError(f"category: expected one of {wanted}, got {job.category!r}; correct the name")
    name, prior = CATEGORIES[job.category]
    job = dataclasses.replace(job, weights=job.weights or name, prior=job.prior or prior)
    start = read_start(job.init, job.fixed)
    if "texture" in start and job.category == "object":
        raise InputError("init: expected no texture of an object of one colour, got one; name its --category")
    photo = load_photo(job.image, job.mask, job.size)
    network = params, config = weights.load_weights(job.weights)
    if job.category != "object":
        return _prepare_textured(job, photo, network, start)
    if job.shape is None:
        return _prepare_unknown(job, photo, network, start)
    if "shape" in start:
        raise InputError("shape: expected it once, got a mesh or voxels and a latent in --init; leave either out")
    shape = read_object(pathlib.Path(job.shape), job.up)
    _check_network(config, shape.grid, job.weights)
    grid, target = jnp.asarray(shape.grid), (photo.picture, photo.mask)
    if job.schedule == "paper":
        if set(start) - {"light"} or job.fixed:
            raise InputError(
                "schedule: that of the paper starts from a light alone, got more; leave out the rest, and --fix"
            )
        known = {"light_elevation": start["light"].elevation} if start else {}
        steps = inverse.fit_2018(params, config, *target, grid, seed=job.seed, **known)
        return _Problem(photo, steps, inverse.ROUNDS, shape, lambda point: grid, network)
    settings = dataclasses.replace(inverse.Settings(), starts=job.starts)
    surface = None if shape.mesh is None else surface_of(shape.mesh)
    steps = inverse.fit_steps(params, config, *target, grid, settings, start=start, fixed=job.fixed, surface=surface)
    return _Problem(
        photo, steps, inverse.count_reports(settings, surface is not None), shape, lambda point: grid, network
    )


def _prepare_unknown(job: Job, photo: Photo, network: tuple, start: dict) -> _Problem:
    if job.schedule == "paper":
        raise InputError("schedule: that of the paper is for a known shape, got none; give a mesh or voxels")
    target = photo.picture, photo.mask
    if job.single_view != SEARCH and "shape" not in start:
        sight, settings = weights.load_single_view(job.single_view), inverse.CarvedSettings()
        steps = inverse.fit_carved_steps(*network, sight, *target, settings, start=start, fixed=job.fixed)
        count = inverse.count_carved_reports(settings)
        return _Problem(photo, steps, count, None, lambda point: point.cells[None], network, "coverage")
    prior = weights.load_prior(job.prior)
    if "shape" in start and start["shape"].shape != (prior[1].latent,):
        got = len(start["shape"])
        raise InputError(f"shape: expected a latent of {prior[1].latent} numbers, got {got}; use that of this prior")
    settings = inverse.ShapeSettings(azimuths=max(1, job.starts // inverse.ELEVATIONS))
    steps = inverse.fit_shape_steps(*network, prior, *target, settings, start=start, fixed=job.fixed)
    voxels = lambda point: inverse.grids(prior, point.latent[None])  # noqa: E731
    count = inverse.count_shape_reports(settings)
    return _Problem(photo, steps, count, None, voxels, network, prior[1].occupancy)


def _prepare_textured(job: Job, photo: Photo, network: tuple, start: dict) -> _Problem:
    if job.shape or job.schedule == "paper":
        given = "a mesh or voxels" if job.shape else "the schedule of the paper"
        raise InputError(f"category: expected {job.category} without {given}, got both; leave either out")
    prior = weights.load_prior(job.prior)
    settings = dataclasses.replace(inverse.TextureSettings(), azimuths=max(1, job.starts // textured.ELEVATIONS))
    target = photo.picture, photo.mask
    fixed = (*job.fixed, *(() if "albedo" in (*start, *job.fixed) else ("albedo",)))
    steps = inverse.fit_textured_steps(*network, prior, *target, settings, start=start, fixed=fixed)
    voxels = lambda point: inverse.coloured_grids(*network, prior, unknowns.stacked(point))  # noqa: E731
    return _Problem(photo, steps, inverse.count_texture_reports(settings), None, voxels, network, prior[1].occupancy)


def _check_network(config, grid: np.ndarray, name: str) -> None:
    if grid.shape[-1] != config.channels:
        wanted = f"{config.channels} channels, as weights {name} read"
        raise InputError(f"voxels: expected {wanted}, got {grid.shape[-1]}; use other voxels or weights")
    if not grid.any():
        raise InputError("voxels: expected some that are filled, got none; use another file")


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
            if not told:
                raise
            interrupted = True
    if interrupted:
        print("interrupted: the best so far is being written", file=sys.stderr, flush=True)
    return told, interrupted


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a fit as Ctrl-C does; what either means is afterwards what it was before."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


_buffers = jax.jit(render_buffers, static_argnums=(1, 4))


# --- files ------------------------------------------------------------------------------------------------------------


def _write(job: Job, problem: _Problem, fit: dict, told: list, pictures: tuple) -> None:
    folder, photo, look, best = job.output, problem.photo, problem.look, told[-1][0].best
    drawn, normals, covered = pictures
    history = [record for _, record in told]
    remove_leftovers(folder)
    (folder / UNFINISHED).touch()
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
    voxels = np.asarray(problem.voxels(best))
    shape = problem.shape or Object(pathlib.Path(job.image), voxels, problem.occupancy, None)
    for write in (_write_voxels, _write_meshes):
        try:
            write(folder, shape)
        except InputError as error:  # the fit stands without them
            print(f"not written: {error}", file=sys.stderr)
    (folder / UNFINISHED).unlink()


def _write_voxels(folder: pathlib.Path, shape: Object) -> None:
    """The object as other software reads it: binary voxels."""
    side = shape.grid.shape[1]
    grid = _set_cells(shape) if shape.mesh is None else voxelise(shape.mesh, side, "binary")
    write_voxels(folder / "voxels.binvox", np.asarray(grid, np.float32))


def _set_cells(shape: Object) -> np.ndarray:
    """Cells of a shape's grid that the binary rule would set, bool ``[X, Y, Z, 1]``."""
    return shape.grid[0, ..., :1] >= SET_FROM.get(shape.occupancy, 0.5)


def _write_meshes(folder: pathlib.Path, shape: Object) -> None:
    mesh = shape.mesh
    if mesh is None:
        mesh = coloured_surface(with_thin_parts(shape.grid[0], _set_cells(shape)))
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
