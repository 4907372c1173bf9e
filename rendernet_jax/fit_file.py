"""What a fit finds, and where it may start, as fit.json has it: degrees and plain numbers."""

import json
import math
import pathlib

import numpy as np

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.unknowns import Unknowns

NAMES = ("pose", "light", "albedo", "shape", "texture")
_TURNS = 2.0 * math.pi + 1e-3  # radians: angles beyond it are mistaken for degrees, or lose their digits
_WHOLE = {"pose", "light", "albedo", "candidates"}  # by which fit.json is known
_LIGHT = ("azimuth_deg", "elevation_deg", "ambient")


def read_start(path: str | None, fixed: tuple[str, ...]) -> dict:
    """Start of a fit from fit.json, or a JSON file with any of its keys :data:`NAMES`.

    Raises:
        InputError: not such a file, an unknown key unless it is fit.json, a bad value, or an unknown in ``fixed`` that
            the file lacks.
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
    whole = content.keys() >= _WHOLE  # fit.json: what it tells beside the unknowns is left aside
    if not whole and (unknown := sorted(content.keys() - set(NAMES))):
        raise InputError(f"init {path}: unknown key {unknown[0]!r}; known are {', '.join(NAMES)}; leave it out")
    start = {}
    for name, keys in (("pose", camera.POSE_KEYS), ("light", (*_LIGHT, "intensity"))):
        if name in content:
            given = content[name]
            if not isinstance(given, dict) or (unknown := sorted(given.keys() - set(keys))):
                what = f"unknown key {unknown[0]!r}" if isinstance(given, dict) else "another structure"
                wanted = f"an object of {', '.join(keys)}"
                raise InputError(f"init {path}: {name}: expected {wanted}, got {what}; write it as fit.json does")
            try:
                start[name] = _read_pose(given) if name == "pose" else _read_light(given)
            except InputError as error:
                raise InputError(f"init {path}: {error}") from error
    if "albedo" in content:
        albedo, (low, high) = _read_numbers(content["albedo"]), unknowns.ALBEDO
        if albedo.size not in (1, 3) or not ((albedo >= low) & (albedo <= high)).all():
            wanted, got = f"1 or 3 numbers from {low} to {high}", repr(content["albedo"])
            raise InputError(f"init {path}: albedo: expected {wanted}, got {got}; correct it")
        start["albedo"] = np.broadcast_to(albedo, 3)
    for name in ("shape", "texture"):
        if name in content:
            start[name] = _read_numbers(content[name])
            if not start[name].size:
                raise InputError(f"init {path}: {name}: expected the numbers of a vector, got others; see fit.json")
    return start


def _read_numbers(given) -> np.ndarray:
    """Numbers ``[N]``, none where it is anything else, or none that could be meant."""
    try:
        numbers = np.atleast_1d(np.asarray(given))
    except ValueError:  # lists of several lengths
        numbers = np.zeros(0)
    if numbers.dtype.kind not in "iuf" or numbers.ndim != 1 or not (np.abs(numbers) < 1e6).all():
        return np.zeros(0, np.float32)
    return numbers.astype(np.float32)


def _read_pose(given: dict) -> Pose:
    """A pose that can be held: the depth of an object is none of the unknowns."""
    pose = camera.pose_from_degrees(**given)
    vector = unknowns.from_pose(pose)
    within = np.allclose(unknowns.clip_pose(vector), vector) and np.abs(vector[:3]).max() < _TURNS
    if pose.translation[2] or not within:
        raise InputError(
            "pose: expected angles within -360 and 360 degrees, a translation within -1 and 1 without depth, a scale "
            f"from 0.09 to 4.4 and an inverse distance up to 0.8, got {given}; correct it"
        )
    return pose


def _read_light(given: dict) -> Light:
    """A light whose ambient part and intensity add up to 1, as those of fits do; either may be left out."""
    light = camera.light_from_degrees(given.get("azimuth_deg", 35.0), given.get("elevation_deg", 40.0))
    if max(abs(light.azimuth), abs(light.elevation)) >= _TURNS:
        raise InputError(f"light: expected angles within -360 and 360 degrees, got {given}; correct it")
    parts = {name: _read_numbers(given[name]) for name in ("ambient", "intensity") if name in given}
    for name, numbers in parts.items():
        if numbers.size != 1 or not 0 <= numbers[0] <= 1:
            raise InputError(f"{name}: expected a number from 0 to 1, got {given[name]!r}; correct the light")
    if len(parts) == 2 and abs(sum(parts.values())[0] - 1.0) > 1e-3:
        raise InputError(f"light: expected ambient + intensity = 1, got {given}; the albedo carries the scale")
    ambient = float(np.squeeze(parts.get("ambient", 1.0 - parts.get("intensity", 0.9))))
    return light.replace(ambient=ambient, intensity=1.0 - ambient)


def describe(point: Unknowns) -> dict:
    """Unbatched unknowns as fit.json has them: degrees, plain numbers, ambient + intensity = 1.

    A fit may go over the pole and around: elevations are told within -90 and 90 degrees, other angles within -180 and
    180, whichever way they were found.
    """
    pose, light = camera.pose_to_degrees(unknowns.to_pose(point.pose)), unknowns.to_light(point.light)
    angles = ("azimuth_deg", "elevation_deg", "roll_deg")
    pose |= zip(angles, _reduce(*(pose[name] for name in angles)))
    azimuth, elevation, _ = _reduce(*camera.light_to_degrees(light).values())
    vectors = {"shape": point.latent, "texture": point.texture}
    return {
        "pose": pose,
        "light": {
            "azimuth_deg": azimuth,
            "elevation_deg": elevation,
            "ambient": float(light.ambient),
            "intensity": float(light.intensity),
        },
        "albedo": [float(value) for value in point.albedo],
        **{name: [float(value) for value in vector] for name, vector in vectors.items() if vector is not None},
    }


def _reduce(azimuth: float, elevation: float, roll: float = 0.0) -> tuple[float, float, float]:
    """The same rotation, in degrees, on the near side of the pole."""
    elevation = _wrap(elevation)
    if abs(elevation) > 90.0:
        azimuth, elevation, roll = azimuth + 180.0, math.copysign(180.0, elevation) - elevation, roll + 180.0
    return _wrap(azimuth), elevation, _wrap(roll)


def _wrap(angle: float) -> float:
    return (angle + 180.0) % 360.0 - 180.0
