"""Render files to files: meshes and voxels in; pictures, turntables, figures and ``render.json`` out."""

import dataclasses
import json
import pathlib
import time

import jax
import numpy as np
from PIL import Image

from rendernet_jax import camera, metrics, rendering, shading, weights
from rendernet_jax.data.files import write_json
from rendernet_jax.data.inputs import Object, list_inputs, read_object
from rendernet_jax.data.sheet import save_png, to_bytes
from rendernet_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class View:
    """One pose and light, as the files' degrees."""

    pose: dict
    light: dict


@dataclasses.dataclass(frozen=True)
class Job:
    """What to draw, and how; see ``experiments.render`` for the meaning of each."""

    input: str
    output: pathlib.Path
    views: tuple[View, ...]
    weights: str = "compact"
    outputs: tuple[str, ...] = ("phong",)
    size: int = 512
    up: str = "y"
    occupancy: str = "coverage"
    grid: int = 64
    turntable: int = 0
    transparent: bool = False
    arrays: bool = False
    reference: bool = False
    overwrite: bool = False


def read_views(path: str | None, defaults: dict) -> tuple[View, ...]:
    """Views of a ``--poses`` file, a JSON list of objects; a key left out takes its default. One view without a file.

    Raises:
        InputError: not such a file, an unknown key, or a value out of range.
    """
    entries = [{}]
    if path is not None:
        try:
            entries = json.loads(pathlib.Path(path).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"poses {path}: expected a JSON list of objects, got {error}") from error
        if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
            raise InputError(f"poses {path}: expected a JSON list of one or more objects, got another structure")
    known = camera.POSE_KEYS + camera.LIGHT_KEYS
    views = []
    for index, entry in enumerate(entries):
        if unknown := sorted(entry.keys() - set(known)):
            raise InputError(f"poses {path}, entry {index}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
        values = {**defaults, **entry}
        pose = {key: values[key] for key in camera.POSE_KEYS if key in values}
        light = {key: values[key] for key in camera.LIGHT_KEYS if key in values}
        try:
            camera.pose_from_degrees(**pose), camera.light_from_degrees(**light)
        except InputError as error:
            raise InputError(f"view {index}: {error}") from error
        views.append(View(pose, light))
    return tuple(views)


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
    _check_outputs(job, config)
    many = pathlib.Path(job.input).is_dir()
    folders = {name: job.output / name if many else job.output for name in paths}
    _refuse_existing(job, [*folders.values(), job.output])
    draw = jax.jit(lambda grid, pose: rendering.render_buffers(params, config, grid, pose, job.size))
    reports, compiled = {}, set()
    for name, path in paths.items():
        try:
            thing = read_object(path, job.up, job.occupancy, job.grid)
            if job.reference and thing.mesh is None:
                raise InputError(f"--reference: expected a mesh, got the voxel file {path}; leave out --reference")
            if thing.grid.shape not in compiled:  # outside what is timed
                jax.block_until_ready(draw(thing.grid, _pose(job.views[0])))
                compiled.add(thing.grid.shape)
        except InputError as error:
            if not many:
                raise
            reports[name] = {"input": str(path), "error": str(error)}
            continue
        folders[name].mkdir(parents=True, exist_ok=True)
        reports[name] = _render_object(job, thing, folders[name], draw)
    if all("error" in report for report in reports.values()):
        raise InputError(f"input {job.input}: none of its files could be used; {next(iter(reports.values()))['error']}")
    if many:
        write_json(job.output / "render.json", {"objects": reports, **_mean(reports.values())})
    return reports


def _mean(reports) -> dict:
    """Means over objects of the figures against references, where there are any."""
    drawn = [report for report in reports if "psnr" in report]
    figures = ("psnr", "psnr_foreground") if drawn else ()
    return {f: {o: float(np.mean([r[f][o] for r in drawn])) for o in drawn[0][f]} for f in figures}


def _check_outputs(job, config):
    heads = [name for name, _ in config.heads]
    for output in job.outputs:
        if output not in shading.OUTPUTS:
            raise InputError(f"output: expected one of {', '.join(shading.OUTPUTS)}, got {output!r}")
        if missing := [n for n in shading.NEEDS[output] if n not in heads]:
            raise InputError(f"output {output!r}: these weights lack the head {', '.join(missing)}; use other weights")


def _render_object(job: Job, thing: Object, folder: pathlib.Path, draw) -> dict:
    scene = None
    if job.reference:
        from rendernet_jax.data.references import build_scene

        scene = build_scene(thing.mesh)
    records, seconds = [], 0.0
    for index, view in enumerate(job.views):
        began = time.perf_counter()
        buffers = jax.block_until_ready(draw(thing.grid, _pose(view)))
        light = camera.light_from_degrees(**view.light)
        pictures = {o: np.asarray(shading.shade(buffers, light, o)[0]) for o in job.outputs}
        seconds += time.perf_counter() - began
        record = {**view.pose, **view.light, "files": []}
        for output, picture in pictures.items():
            name = f"{index:04d}_{output}.png"
            save_png(folder / name, _transparent(picture, buffers, output) if job.transparent else picture)
            record["files"].append(name)
        if job.arrays:
            _save_arrays(folder / f"{index:04d}.npz", buffers)
        if scene is not None:
            record |= _compare(scene, view, light, pictures, folder, index, job)
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
        **_mean(records),
    }
    if job.turntable:
        _turntable(job, thing, folder, draw)
    write_json(folder / "render.json", report)
    return report


def _pose(view: View) -> camera.Pose:
    return camera.broadcast(camera.pose_from_degrees(**view.pose))


def _compare(scene, view, light, pictures, folder, index, job) -> dict:
    from rendernet_jax.data.references import reference_pictures

    pose = camera.pose_from_degrees(**view.pose)
    wanted = reference_pictures(scene, pose, light, job.size, tuple(dict.fromkeys((*pictures, "mask"))))
    result = {"psnr": {}, "psnr_foreground": {}}
    for output, picture in pictures.items():
        reference = wanted[output]
        save_png(folder / f"{index:04d}_{output}_reference.png", reference)
        result["psnr"][output] = float(metrics.psnr(picture[None], reference[None])[0])
        weight = (wanted["mask"] > 0).astype(np.float32)[None]
        result["psnr_foreground"][output] = float(metrics.psnr(picture[None], reference[None], weight)[0])
    return result


def _transparent(picture, buffers, output) -> np.ndarray:
    """Take the white background out of a picture: RGBA ``[H, W, 4]`` that gives the picture back when laid on white."""
    mask = np.asarray(buffers["mask"][0])
    if output == "mask":
        return np.concatenate([np.repeat(np.ones_like(mask), 3, axis=2), mask], axis=2)
    alpha = mask
    if output in ("contour", "toon"):  # half of an outline lies outside the object
        alpha = 1.0 - (1.0 - mask) * (1.0 - np.asarray(buffers["contour"][0]))
    color = np.clip((picture - (1.0 - alpha)) / np.maximum(alpha, 1e-3), 0.0, 1.0)
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    return np.concatenate([color, alpha], axis=2)


def _save_arrays(path, buffers):
    """``normal`` [H, W, 3] of unit length, ``z`` [H, W] (q_z), ``mask`` [H, W]; 0 and -1 outside the object."""
    mask = np.asarray(buffers["mask"][0, ..., 0])
    normal = np.asarray(buffers["normal"][0])
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    inside = mask > 0.5
    z = np.where(inside, np.asarray(buffers["depth"][0, ..., 0]), np.float32(-1.0))
    np.savez_compressed(path, normal=normal * inside[..., None], z=z, mask=mask)


def _turntable(job, thing, folder, draw):
    """Animated GIF of the first output, the camera going once around from the first view."""
    first = job.views[0]
    light = camera.light_from_degrees(**first.light)
    frames = []
    for index in range(job.turntable):
        view = View({**first.pose, "azimuth_deg": first.pose["azimuth_deg"] + 360.0 * index / job.turntable}, {})
        picture = shading.shade(draw(thing.grid, _pose(view)), light, job.outputs[0])[0]
        frames.append(Image.fromarray(to_bytes(np.asarray(picture))))
    save_gif(folder / "turntable.gif", frames)


def save_gif(path: pathlib.Path, frames: list[Image.Image], seconds: float = 4.0) -> None:
    """Write frames as an endless GIF lasting about ``seconds`` a turn."""
    duration = max(20, round(1000 * seconds / len(frames) / 10) * 10)
    partial = path.with_name(path.name + ".partial")
    frames[0].save(partial, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    partial.replace(path)


def _refuse_existing(job: Job, folders: list[pathlib.Path]) -> None:
    names = ["render.json", "turntable.gif"]
    for index in range(len(job.views)):
        names += [f"{index:04d}_{output}{tail}.png" for output in job.outputs for tail in ("", "_reference")]
        names.append(f"{index:04d}.npz")
    present = [folder / name for folder in folders for name in names if (folder / name).exists()]
    if present and not job.overwrite:
        raise InputError(f"output: {present[0]} exists; choose another --output, or add --overwrite")
