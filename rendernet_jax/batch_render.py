"""Render files to files: meshes and voxels in; pictures, turntables, figures and ``render.json`` out."""

import dataclasses
import io
import json
import math
import numbers
import pathlib
import time

import numpy as np
from tqdm import tqdm

from rendernet_jax import camera, rendering, weights
from rendernet_jax.config import Config
from rendernet_jax.data.inputs import Object, list_inputs, read_object
from rendernet_jax.data.sheet import save_gif, save_mp4, save_png
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import check_outputs, draw_view, finite_psnr, mean_figures
from rendernet_jax.files import write_atomically, write_json

_KEYS = camera.POSE_KEYS + camera.LIGHT_KEYS


@dataclasses.dataclass(frozen=True)
class View:
    """One pose and light in the units of files and flags, kept as they were given (radians would round them).

    Raises:
        InputError: a value is no finite number, or out of its range.
    """

    azimuth_deg: float = 30.0
    elevation_deg: float = 20.0
    roll_deg: float = 0.0
    scale: float = 1.0
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    inverse_distance: float = 0.0
    light_azimuth_deg: float = 35.0
    light_elevation_deg: float = 40.0

    def __post_init__(self):
        for name in _KEYS:
            value = getattr(self, name)
            number = tuple(_number(name, v) for v in _three(value)) if name == "translation" else _number(name, value)
            object.__setattr__(self, name, number)
        self.pose, self.light  # noqa: B018  (their ranges)

    @property
    def pose(self) -> camera.Pose:
        """The pose in radians."""
        return camera.pose_from_degrees(**{key: getattr(self, key) for key in camera.POSE_KEYS})

    @property
    def light(self) -> camera.Light:
        """The light in radians."""
        return camera.light_from_degrees(**{key: getattr(self, key) for key in camera.LIGHT_KEYS})


@dataclasses.dataclass(frozen=True)
class Job:
    """What to draw, and how; see ``experiments.render`` for the meaning of each."""

    input: str
    output: pathlib.Path
    views: tuple[View, ...]
    weights: str = "compact"
    outputs: tuple[str, ...] | None = None  # Phong, in colour if the network has it, or what an image network draws
    size: int = 512
    up: str = "y"
    occupancy: str = "coverage"
    grid: int = 64
    turntable: int = 0
    film: str = "gif"  # or mp4: of the turntable
    transparent: bool = False
    arrays: bool = False
    reference: bool = False
    overwrite: bool = False


def read_views(path: str | None, default: View) -> tuple[View, ...]:
    """Views of a ``--poses`` file, a JSON list of objects; a key left out takes its default. One view without a file.

    Raises:
        InputError: not such a file, an unknown key, or a value that is no number or out of range.
    """
    if path is None:
        return (default,)
    try:
        entries = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"poses {path}: expected a JSON list of objects, got {error}; correct the file") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"poses {path}: expected a JSON list of one or more objects, got another structure")
    views = []
    for index, entry in enumerate(entries):
        if unknown := sorted(entry.keys() - set(_KEYS)):
            raise InputError(f"poses {path}, entry {index}: unknown {', '.join(unknown)}; known are {', '.join(_KEYS)}")
        try:
            views.append(dataclasses.replace(default, **entry))
        except InputError as error:
            raise InputError(f"poses {path}, entry {index}: {error}") from error
    return tuple(views)


def _number(name: str, value) -> float:
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond any float
            number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name}: expected a finite number, got {_brief(value)}; correct the pose")
    return number


def _three(value) -> tuple:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise InputError(f"translation: expected a list of 3 numbers, got {_brief(value)}; correct the pose")
    return tuple(value)


def _brief(value) -> str:
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return "an integer too large for a float"  # whose digits Python may refuse to print
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def run(job: Job) -> dict[str, dict]:
    """Draw every input of a job; returns the content of each ``render.json`` by the input's name.

    A file goes to ``job.output``; the files of a folder each to a sub-folder of it, beside one ``render.json`` for all.
    A file of a folder that can't be used is reported there with its error, and passed over.

    Raises:
        InputError: bad input; nothing that existed is overwritten unless the job says so.
    """
    paths = list_inputs(job.input)
    params, config = weights.load_weights(job.weights)
    rendering.check_size(config, job.size)
    if job.outputs is None:
        job = dataclasses.replace(job, outputs=(_default_output(config),))
    check_outputs(config, job.outputs, ("normal", "depth", "mask") if job.arrays else ("mask",) * job.transparent)
    many = pathlib.Path(job.input).is_dir()
    folders = {name: job.output / name if many else job.output for name in paths}
    _refuse_existing(job, [*folders.values(), job.output])

    def draw(grid, view):
        return draw_view(params, config, grid, view.pose, view.light, job.size, job.outputs)

    reports, compiled = {}, set()
    with tqdm(total=len(paths) * (len(job.views) + job.turntable), disable=None, unit="picture", leave=False) as bar:

        def draw_counted(grid, view):
            bar.update()
            return draw(grid, view)

        for name, path in paths.items():
            try:
                thing = read_object(path, job.up, job.occupancy, job.grid, config.channels)
                if job.reference and thing.mesh is None:
                    raise InputError(f"--reference: expected a mesh, got the voxel file {path}; leave out --reference")
                if thing.grid.shape not in compiled:  # outside what is timed
                    draw(thing.grid, job.views[0])
                    compiled.add(thing.grid.shape)
                reports[name] = _render_object(job, thing, folders[name], draw_counted)
            except InputError as error:
                if not many:
                    raise
                reports[name] = {"input": str(path), "error": str(error)}
    if all("error" in report for report in reports.values()):
        raise InputError(f"input {job.input}: none of its files could be used; {next(iter(reports.values()))['error']}")
    if many:
        write_json(job.output / "render.json", {"objects": reports, **mean_scores(reports.values())})
    return reports


def _default_output(config: Config) -> str:
    if config.draws_images:
        return config.shader or "image"
    return "colour" if "albedo" in dict(config.heads) else "phong"


def mean_scores(reports) -> dict:
    """Means over reports of the figures against references by output, where there are any."""
    drawn = [report for report in reports if "psnr" in report]
    return {kind: mean_figures([r[kind] for r in drawn]) for kind in ("psnr", "psnr_foreground") if drawn}


def _render_object(job: Job, thing: Object, folder: pathlib.Path, draw) -> dict:
    scene = None
    if job.reference:
        from rendernet_jax.data.references import build_scene

        scene = build_scene(thing.mesh)
    folder.mkdir(parents=True, exist_ok=True)
    records, seconds = [], 0.0
    for index, view in enumerate(job.views):
        began = time.perf_counter()
        buffers, pictures = draw(thing.grid, view)
        seconds += time.perf_counter() - began
        record = {**dataclasses.asdict(view), "files": []}
        for output, picture in pictures.items():
            name = f"{index:04d}_{output}.png"
            save_png(folder / name, _on_background(job, picture, buffers, output))
            record["files"].append(name)
        if job.arrays:
            _save_arrays(folder / f"{index:04d}.npz", buffers)
        if scene is not None:
            record |= _compare(scene, view, pictures, folder, index, job)
        records.append(record)
    report = {
        "input": str(thing.path),
        "grid": list(thing.grid.shape[1:]),
        "occupancy": thing.occupancy,
        "size": job.size,
        "weights": job.weights,
        "weights_sha256": weights.read_card(job.weights)["sha256"],
        "seconds_per_picture": seconds / len(job.views),
        "poses": records,
        **mean_scores(records),
    }
    if job.turntable:
        _turntable(job, thing, folder, draw)
    write_json(folder / "render.json", report)
    return report


def _compare(scene, view, pictures, folder, index, job) -> dict:
    """Write the reference pictures; PSNR of each picture against its own."""
    from rendernet_jax.data.references import reference_pictures

    wanted = reference_pictures(
        scene, view.pose, view.light, job.size, tuple(dict.fromkeys((*pictures, "mask", "contour")))
    )
    buffers = {"mask": wanted["mask"], "contour": 1.0 - wanted["contour"]}
    result = {"psnr": {}, "psnr_foreground": {}}
    for output, picture in pictures.items():
        reference = wanted[output]
        save_png(folder / f"{index:04d}_{output}_reference.png", _on_background(job, reference, buffers, output))
        result["psnr"][output] = finite_psnr(picture, reference)
        result["psnr_foreground"][output] = finite_psnr(picture, reference, wanted["mask"])
    return result


def _on_background(job, picture, buffers, output) -> np.ndarray:
    """The picture as the job wants it: as it is, or RGBA ``[H, W, 4]`` that gives it back when laid on white."""
    if not job.transparent:
        return picture
    mask = np.asarray(buffers["mask"])
    if output == "mask":
        return np.concatenate([np.repeat(np.ones_like(mask), 3, axis=2), mask], axis=2)
    alpha = mask
    if output in ("contour", "toon"):  # half of an outline lies outside the object
        alpha = 1.0 - (1.0 - mask) * (1.0 - np.asarray(buffers["contour"]))
    # No colour is below black: what is darker than white behind so thin a cover needs a thicker one.
    alpha = np.maximum(alpha, 1.0 - picture.min(axis=2, keepdims=True))
    color = np.clip((picture - (1.0 - alpha)) / np.maximum(alpha, 1e-3), 0.0, 1.0)
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    return np.concatenate([color, alpha], axis=2)


def _save_arrays(path, buffers):
    """``normal`` [H, W, 3] of unit length, ``z`` [H, W] (q_z), ``mask`` [H, W]; 0 and -1 outside the object."""
    mask = np.asarray(buffers["mask"][..., 0])
    normal = np.asarray(buffers["normal"])
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    inside = mask > 0.5
    z = np.where(inside, np.asarray(buffers["depth"][..., 0]), np.float32(-1.0))
    content = io.BytesIO()
    np.savez_compressed(content, normal=normal * inside[..., None], z=z, mask=mask)
    write_atomically(path, content.getvalue())


def _turntable(job, thing, folder, draw):
    """GIF or film of the first output, the camera going once around from the first view."""
    first, frames = job.views[0], []
    for index in range(job.turntable):
        view = dataclasses.replace(first, azimuth_deg=first.azimuth_deg + 360.0 * index / job.turntable)
        buffers, pictures = draw(thing.grid, view)
        picture = pictures[job.outputs[0]]
        frames.append(_on_background(job, picture, buffers, job.outputs[0]))
    (save_mp4 if job.film == "mp4" else save_gif)(folder / f"turntable.{job.film}", frames)


def _refuse_existing(job: Job, folders: list[pathlib.Path]) -> None:
    names = ["render.json", f"turntable.{job.film}"]
    for index in range(len(job.views)):
        names += [f"{index:04d}_{output}{tail}.png" for output in job.outputs for tail in ("", "_reference")]
        names.append(f"{index:04d}.npz")
    present = [folder / name for folder in folders for name in names if (folder / name).exists()]
    if present and not job.overwrite:
        raise InputError(f"output: {present[0]} exists; choose another --output, or add --overwrite")
