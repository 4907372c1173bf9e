"""What a fit finds, and where it may start, as fit.json has it: degrees and plain numbers."""

import json
import pathlib

import numpy as np

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.unknowns import Unknowns

NAMES = ("pose", "light", "albedo", "shape")
_LIGHT = ("azimuth_deg", "elevation_deg", "ambient")


def read_start(path: str | None, fixed: tuple[str, ...]) -> dict:
    """Start of a fit from a JSON file with any of the keys :data:`NAMES`, as fit.json has them.

    Raises:
        InputError: not such a file, an unknown key, a bad value, or an unknown in ``fixed`` that the file lacks.
    """
    if unknown := [name for name in fixed if name not in NAMES]:
        raise InputError(f"fix: expected some of {', '.join(NAMES)}, got {unknown[0]!r}; correct the name")
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
    if unknown := sorted(content.keys() - set(NAMES)):
        raise InputError(f"init {path}: unknown key {unknown[0]!r}; known are {', '.join(NAMES)}")
    start = {}
    for name, keys in (("pose", camera.POSE_KEYS), ("light", (*_LIGHT, "intensity"))):
        if name in content:
            given = content[name]
            if not isinstance(given, dict) or (unknown := sorted(given.keys() - set(keys))):
                what = f"unknown key {unknown[0]!r}" if isinstance(given, dict) else "another structure"
                wanted = f"an object of {', '.join(keys)}"
                raise InputError(f"init {path}: {name}: expected {wanted}, got {what}; write it as fit.json does")
            start[name] = _read_pose(given) if name == "pose" else _read_light(given)
    if "albedo" in content:
        albedo = _read_numbers(content["albedo"])
        if albedo.size not in (1, 3) or (albedo < 0).any():
            got = repr(content["albedo"])
            raise InputError(f"init {path}: albedo: expected 1 or 3 numbers from 0 on, got {got}; correct it")
        start["albedo"] = np.broadcast_to(albedo, 3)
    if "shape" in content:
        start["shape"] = _read_numbers(content["shape"])
        if not start["shape"].size:
            raise InputError(f"init {path}: shape: expected the numbers of a latent, got others; see fit.json")
    return start


def _read_numbers(given) -> np.ndarray:
    """Finite numbers ``[N]``, none where it is anything else."""
    try:
        numbers = np.asarray(given, np.float32).reshape(-1)
    except (TypeError, ValueError):
        return np.zeros(0, np.float32)
    return numbers if np.isfinite(numbers).all() else np.zeros(0, np.float32)


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
    shape = {} if point.latent is None else {"shape": [float(value) for value in point.latent]}
    return {
        "pose": camera.pose_to_degrees(unknowns.to_pose(point.pose)),
        "light": {
            "azimuth_deg": angles["light_azimuth_deg"],
            "elevation_deg": angles["light_elevation_deg"],
            "ambient": float(light.ambient),
            "intensity": float(light.intensity),
        },
        "albedo": [float(value) for value in point.albedo],
        **shape,
    }
