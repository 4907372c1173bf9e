"""A shader of the user's own: the files they give -> a source to train on, and a network for it."""

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import re

import numpy as np

from rendernet_jax.config import Config, fit_size, preset
from rendernet_jax.data.inputs import read_object
from rendernet_jax.data.meshes import SUFFIXES as MESH_SUFFIXES
from rendernet_jax.data.picture_files import decode_picture, open_pictures
from rendernet_jax.data.picture_poses import Shot, parse_name, read_shots
from rendernet_jax.data.pictures import Picture, Pictures
from rendernet_jax.data.voxel_files import SUFFIXES as VOXEL_SUFFIXES
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import check_size

_TOLD = 3  # pictures that are named when some are passed over


def name_shader(pictures, name: str | None = None) -> str:
    """The given name, or that of the folder or tar of pictures, of letters, digits, ``_`` and ``-``.

    Raises:
        InputError: the given name has others: it becomes part of file names.
    """
    if name is None:
        path = pathlib.Path(pictures).absolute()
        return re.sub(r"[^A-Za-z0-9_-]+", "_", path.name.split(".tar")[0]).strip("_") or "image"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"shader: expected letters, digits, _ and -, got {name!r}; choose another name")
    return name


def picture_network(name: str, shader: str, source: Pictures) -> Config:
    """Config of the preset ``name`` that draws pictures like those of a source.

    Raises:
        InputError: an unknown preset, or pictures of a size that it can't make.
    """
    config = preset(name, (("image", source.channels),), source.grid_channels, shader)
    config = dataclasses.replace(config, light_deg=None)
    try:
        config = fit_size(config, source.size)
        check_size(config, source.size)
    except InputError as error:
        raise InputError(f"pictures: {error}, or resize the pictures") from error
    return config


def describe_pictures(source: Pictures, passed_over: dict[str, str]) -> str:
    """One line on what there is, and one on what is passed over."""
    found = source.description
    color = "grey" if source.channels == 1 else "RGB"
    line = f"{found['pictures']} {color} pictures of {found['objects']} objects, {source.size} pixels wide"
    if not passed_over:
        return line
    named = "; ".join(f"{name}: {reason}" for name, reason in list(passed_over.items())[:_TOLD])
    more = "; ..." if len(passed_over) > _TOLD else ""
    return f"{line}\npassed over {len(passed_over)} more ({named}{more})"


def load_pictures(
    pictures, objects, poses=None, up: str = "y", occupancy: str = "coverage", grid: int = 64
) -> tuple[Pictures, dict[str, str]]:
    """Read pictures and what they show -> source, and reason by name for each picture that is passed over.

    With a poses file every picture and object it names must be there and usable; pictures it does not name are passed
    over. Without one the pictures' names tell their poses, as those of the 2018 code
    (``{object}_p{azimuth}_t{polar}_r{radius}.png``), and whatever can't be used is passed over with its reason.

    Args:
        pictures: folder, or tar, of PNG or JPEG files; see ``data.picture_files``.
        objects: folder of voxel or mesh files; without a poses file found by their names' stems, in sub-folders too.
        poses: JSON file, see ``data.picture_poses.read_shots``, or None.
        up, occupancy, grid: how a mesh is voxelised, see ``data.inputs.read_object``.

    Raises:
        InputError: bad input, or nothing that can be used.
    """
    folder = pathlib.Path(objects)
    if not folder.is_dir():
        raise InputError(f"objects {folder}: expected a folder of voxel or mesh files, got none; check the path")
    read = functools.partial(read_object, up=up, occupancy=occupancy, grid=grid)
    with open_pictures(pictures) as (readers, passed_over):
        if poses is None:
            paths = _list_stems(folder)
            shots = _shots_by_name(readers, paths, passed_over)
        else:
            shots = read_shots(poses)
            paths = {shot.object: folder / shot.object for shot in shots.values()}
            _require_all(pictures, readers, shots, paths, poses, passed_over)
            passed_over |= dict.fromkeys((name for name in readers if name not in shots), f"no entry in {poses}")
        lost = None if poses else passed_over
        grids = _read_grids(read, {shot.object: paths[shot.object] for shot in shots.values()}, shots, lost)
        # In the order of the readers: a compressed tar is slow to go back in.
        taken = [(name, shots[name]) for name in readers if name in shots and shots[name].object in grids]
        found = [picture for name, shot in taken if (picture := _read_picture(name, shot, readers[name], lost))]
    if not found:
        name, reason = next(iter(passed_over.items()))
        raise InputError(f"pictures {pictures}: expected some that can be used, got none; {name}: {reason}")
    found.sort(key=lambda picture: picture.name)
    shown = {picture.shot.object for picture in found}
    return Pictures(found, {name: grid for name, grid in grids.items() if name in shown}), passed_over


def _read_picture(name: str, shot: Shot, read, passed_over: dict | None) -> Picture | None:
    """One picture; where it can't be used, and there is a list for that, None."""
    try:
        return Picture(name, shot, decode_picture(read()))
    except InputError as error:
        if passed_over is None:
            raise InputError(f"picture {name}: {error}") from error
        passed_over[name] = str(error)


def _read_grids(read, paths: dict, shots: dict, passed_over: dict | None) -> dict[str, np.ndarray]:
    """Grids ``[X, Y, Z, C]`` by object; with a list for what can't be used, only of those that can."""

    def attempt(path):
        try:
            return read(path).grid[0]
        except InputError as error:
            if passed_over is None:
                raise
            return error

    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        found = dict(zip(paths, threads.map(attempt, paths.values()), strict=True))
    for name, shot in shots.items():
        if isinstance(found[shot.object], InputError):
            passed_over[name] = str(found[shot.object])
    return {name: grid for name, grid in found.items() if not isinstance(grid, InputError)}


def _list_stems(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Voxel and mesh files of a folder and its sub-folders, by stem."""
    paths = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in VOXEL_SUFFIXES + MESH_SUFFIXES):
        if other := paths.get(path.stem):
            raise InputError(f"objects {folder}: expected one file named {path.stem}, got {other} and {path}")
        paths[path.stem] = path
    if not paths:
        raise InputError(f"objects {folder}: expected {', '.join(VOXEL_SUFFIXES + MESH_SUFFIXES)} files, found none")
    return paths


def _shots_by_name(readers: dict, paths: dict, passed_over: dict) -> dict[str, Shot]:
    shots = {}
    for name in readers:
        try:
            shot = parse_name(name)
        except InputError as error:
            passed_over[name] = str(error)
            continue
        if shot is None:
            passed_over[name] = "its name does not end in _p{azimuth}_t{polar}_r{radius}, and no --poses tells its pose"
        elif shot.object not in paths:
            passed_over[name] = f"no object {shot.object}.binvox"
        else:
            shots[name] = shot
    return shots


def _require_all(pictures, readers: dict, shots: dict, paths: dict, poses, passed_over: dict) -> None:
    """Raise InputError for the first picture or object of a poses file that is not there."""
    for index, (name, shot) in enumerate(shots.items()):
        where = f"poses {poses}, entry {index}"
        if name not in readers:
            reason = passed_over.get(name, "no such file")
            raise InputError(f"{where}: picture {name!r} of {pictures} can't be used ({reason}); correct the entry")
        if not paths[shot.object].is_file():
            raise InputError(f"{where}: expected an object {paths[shot.object]}, found none; correct the entry")
