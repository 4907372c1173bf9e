"""Which object a picture shows, and from where: told by a poses file, or by names as those of the 2018 code."""

import dataclasses
import json
import math
import pathlib
import re

import numpy as np

from rendernet_jax.camera import POSE_KEYS, Pose, pose_from_degrees, pose_from_original
from rendernet_jax.data.shards import encode_pose
from rendernet_jax.errors import InputError

KEYS = ("picture", "object", *POSE_KEYS)
DEFAULTS = {"azimuth_deg": 30.0, "elevation_deg": 20.0}  # those of the render launcher; the rest are the camera's

_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?)"
_ORIGINAL = re.compile(rf"(.+)_p{_NUMBER}_t{_NUMBER}_r{_NUMBER}\.[a-z]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """What a picture shows: an object by name, and its pose, float32 [8], ``shards.POSE_COLUMNS``."""

    object: str
    pose: np.ndarray


def read_shots(path) -> dict[str, Shot]:
    """Picture -> shot, in the order of a poses file: a JSON list of objects with the keys of :data:`KEYS`.

    ``picture`` and ``object`` are paths within their folders, suffix included; a pose's key that is left out takes its
    default.

    Raises:
        InputError: not such a file, an unknown or missing key, a picture named twice, or a value that is no number or
            out of range; the message names the entry.
    """
    try:
        entries = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"poses {path}: expected a JSON list of objects, got {error}; correct the file") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"poses {path}: expected a JSON list of one or more objects, got another structure")
    shots, first = {}, {}
    for index, entry in enumerate(entries):
        try:
            picture, shot = _read_entry(entry)
            if picture in shots:
                raise InputError(f"picture {picture!r} is that of entry {first[picture]} too; name each once")
        except InputError as error:
            raise InputError(f"poses {path}, entry {index}: {error}") from error
        shots[picture], first[picture] = shot, index
    return shots


def parse_name(name: str) -> Shot | None:
    """Shot of a picture named ``{object}_p{azimuth}_t{polar}_r{radius}.png``; None for any other name.

    Raises:
        InputError: a number is out of range.
    """
    match = _ORIGINAL.fullmatch(pathlib.PurePosixPath(name).name)
    if match is None:
        return None
    return _make_shot(match[1], pose_from_original(*(float(number) for number in match.groups()[1:])))


def _read_entry(entry) -> tuple[str, Shot]:
    if not isinstance(entry, dict):
        raise InputError(f"expected an object with the keys {', '.join(KEYS)}, got {entry!r:.60}")
    if unknown := sorted(entry.keys() - set(KEYS)):
        raise InputError(f"unknown {', '.join(unknown)}; known are {', '.join(KEYS)}")
    names = [_read_name(entry, key) for key in ("picture", "object")]
    pose = {**DEFAULTS, **{key: _read_number(key, entry[key]) for key in POSE_KEYS if key in entry}}
    return names[0], _make_shot(names[1], pose_from_degrees(**pose))


def _read_name(entry: dict, key: str) -> str:
    """Path within a folder, as ``a/b.png``."""
    value = entry.get(key)
    name = pathlib.PurePosixPath(value) if isinstance(value, str) else None
    if not value or name is None or name.is_absolute() or ".." in name.parts:
        raise InputError(f"{key}: expected a path within its folder, got {value!r:.60}; correct the entry")
    return name.as_posix()


def _read_number(key: str, value):
    if key == "translation" and isinstance(value, list):
        return [_read_number("translation", each) if not isinstance(each, list) else math.nan for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{key}: expected a number, got {value!r:.60}; correct the entry")
    try:
        return float(value)
    except OverflowError:  # an integer beyond any float
        return math.inf


def _make_shot(name: str, pose: Pose) -> Shot:
    with np.errstate(over="ignore"):
        row = encode_pose(pose)
    if not np.isfinite(row).all():
        raise InputError("pose: expected numbers that float32 holds, got larger ones; correct the pose")
    return Shot(name, row)
