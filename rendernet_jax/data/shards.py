"""The files of a data set: one compressed, pickle-free ``.npz`` shard for each shape, and ``manifest.json``.

A shard holds, for a shape with V views of S x S pixels and grids of G cells on a side:

======== ================== ========================================================================================
coverage uint8 [G, G, G]    object grid, occupancy in 64ths
binary   uint8 [G^3 / 8]    object grid of the binary rule, packed bits in C order
sampled  uint8 [G^3 / 8]    object grid by points on the surface, as other software makes it, packed bits
poses    float32 [V, 8]     :data:`POSE_COLUMNS`, radians
mask     uint8 [V, S, S]    covered fraction, 255ths
normal   int8 [V, S, S, 3]  mean normal in camera axes, 127ths
depth    uint16 [V, S, S]   (1 - q_z) / 2, 65535ths
contour  uint8 [V, S, S]    line fraction, 255ths
ao       uint8 [V, S, S]    unoccluded fraction, 255ths
albedo   uint8 [V, S, S, 3] colour, 255ths; only if the mesh has colours, and then:
colours  uint8 [G, G, G, 3] of the object grid's cells, 255ths
texture  float32 [T]        texture vector, if the shape is of a morphable family, and then:
shape    float32 [S]        shape vector
======== ================== ========================================================================================
"""

import hashlib
import io
import json
import pathlib
import re
import zipfile

import numpy as np

from rendernet_jax.array_files import read_arrays
from rendernet_jax.camera import Pose
from rendernet_jax.errors import InputError
from rendernet_jax.files import unseal

SCHEMA = 1
CHANNELS = ("mask", "normal", "depth", "ao", "contour")  # of the G-buffer that every view stores
OCCUPANCIES = ("coverage", "binary", "sampled")  # the object grids of every shape
POSE_COLUMNS = ("azimuth", "elevation", "roll", "scale", "x", "y", "z", "inverse_distance")
_COMPRESSION = 6
_FILE = re.compile(r"shards/[0-9]+\.npz")
_RECORDS = re.compile(r"records/[0-9a-f]+-[0-9]+\.array_record")
_MANIFEST = ("schema", "generator", "arguments", "settings", "names_sha256")  # and, once it is finished:
_FINISHED = ("counts", "packages", "shards", "skipped", "records")  # the last where it is packed


def encode_view(channel: str, value: np.ndarray) -> np.ndarray:
    """Float channel of a G-buffer, shapes ``[..., C]``, to its stored bytes; the last axis goes where C is 1."""
    if channel == "normal":
        return np.rint(127.0 * value).astype(np.int8)
    if channel == "depth":
        return np.rint((1.0 - value[..., 0]) * (0.5 * 65535.0)).astype(np.uint16)
    stored = np.rint(255.0 * np.clip(value, 0.0, 1.0)).astype(np.uint8)
    return stored if channel == "albedo" else stored[..., 0]


def decode_view(channel: str, stored: np.ndarray) -> np.ndarray:
    """Inverse of :func:`encode_view`: float32 ``[..., C]``."""
    if channel == "normal":
        return stored * np.float32(1.0 / 127.0)
    if channel == "depth":
        return np.float32(1.0) - stored[..., None] * np.float32(2.0 / 65535.0)
    value = stored * np.float32(1.0 / 255.0)
    return value if channel == "albedo" else value[..., None]


def encode_coverage(grid: np.ndarray) -> np.ndarray:
    """Coverage grid ``[X, Y, Z, 1]`` to 64ths, uint8 ``[X, Y, Z]``."""
    return np.rint(64.0 * grid[..., 0]).astype(np.uint8)


def decode_coverage(stored: np.ndarray) -> np.ndarray:
    """Inverse of :func:`encode_coverage`, float32."""
    return stored[..., None] * np.float32(1.0 / 64.0)


def encode_bits(grid: np.ndarray) -> np.ndarray:
    """Binary grid ``[X, Y, Z, 1]`` to packed bits."""
    return np.packbits(grid.reshape(-1) > 0.5)


def decode_bits(stored: np.ndarray, side: int) -> np.ndarray:
    """Inverse of :func:`encode_bits`, float32 ``[side, side, side, 1]``."""
    return np.unpackbits(stored, count=side**3).reshape(side, side, side, 1).astype(np.float32)


def encode_pose(pose: Pose) -> np.ndarray:
    """Unbatched pose to float32 [8], :data:`POSE_COLUMNS`."""
    values = (pose.azimuth, pose.elevation, pose.roll, pose.scale, *pose.translation, pose.inverse_distance)
    return np.array(values, np.float32)


def decode_poses(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows ``[..., 8]`` to the fields of :class:`Pose`, so that ``Pose(**decode_poses(rows))`` is the pose."""
    fields = {name: rows[..., i] for i, name in enumerate(POSE_COLUMNS) if name not in ("x", "y", "z")}
    return {**fields, "translation": rows[..., 4:7]}


# --- files ----------------------------------------------------------------------------------------------------------


def shard_path(folder, index: int) -> pathlib.Path:
    """Path of a data set's shard."""
    return pathlib.Path(folder) / "shards" / f"{index:06d}.npz"


def pack_shard(arrays: dict[str, np.ndarray], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Arrays to the bytes of an ``.npz``; equal arrays give equal bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: no time stamp gets in
            entry.compress_type = compression
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=_COMPRESSION)
    return file.getvalue()


def read_shard(path, digest: str | None = None) -> dict[str, np.ndarray]:
    """Arrays of a shard, every checksum verified; ``digest`` is the SHA-256 that the manifest gives.

    Raises:
        InputError: the file is missing, damaged, not a shard of this schema, or not the one of that digest.
    """
    try:
        content = pathlib.Path(path).read_bytes()
        if digest is not None and sha256(content) != digest:
            raise ValueError(f"a file whose SHA-256 is not the manifest's {digest[:12]}...")
        arrays = read_arrays(content)
        check_shard(arrays)
    except (OSError, ValueError, IndexError) as error:
        wanted = "expected a shard of a data set"
        raise InputError(f"{path}: {wanted}, got {error}; repeat the command that built it") from error
    return arrays


def check_shard(arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless names, types and shapes are those of one shard."""
    for name in (*OCCUPANCIES, "poses", *CHANNELS):
        if name not in arrays:
            raise ValueError(f"no array {name!r}")
    for name in ("coverage", "mask"):
        if arrays[name].ndim != 3:
            raise ValueError(f"array {name!r} with {arrays[name].ndim} axes")
    cells, views = arrays["coverage"].shape[:1] * 3, arrays["mask"].shape
    bits = (-(-(cells[0] ** 3) // 8),)
    expected = {
        "coverage": (np.uint8, cells),
        "binary": (np.uint8, bits),
        "sampled": (np.uint8, bits),
        "poses": (np.float32, (views[0], len(POSE_COLUMNS))),
        "mask": (np.uint8, (views[0], views[1], views[1])),
        "normal": (np.int8, (*views, 3)),
        "depth": (np.uint16, views),
        "contour": (np.uint8, views),
        "ao": (np.uint8, views),
        "albedo": (np.uint8, (*views, 3)),
        "colours": (np.uint8, (*cells, 3)),
        **{name: (np.float32, arrays[name].shape[:1]) for name in ("texture", "shape") if name in arrays},
    }
    for name, array in arrays.items():
        if name not in expected or array.dtype != expected[name][0] or array.shape != expected[name][1]:
            raise ValueError(f"array {name!r} of {array.dtype} {array.shape}")


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(folder) -> dict:
    """The manifest of a finished data set.

    Raises:
        InputError: there is none, or it is not one of this schema.
    """
    path = pathlib.Path(folder) / "manifest.json"
    if not path.exists():
        raise InputError(f"data set: no {path}; build it with `python -m experiments.build_dataset --output={folder}`")
    manifest = read_description(path)
    if reason := _find_fault(manifest):
        raise InputError(f"{path}: expected a manifest of a data set, got {reason}; build the data set again")
    return manifest


def _find_fault(manifest: dict) -> str:
    """What a finished data set's manifest lacks of what is read of it; empty if nothing."""
    settings, entries = manifest.get("settings"), manifest.get("shards")
    if not isinstance(settings, dict) or not all(type(settings.get(key)) is int for key in ("views", "size", "grid")):
        return "no settings views, size and grid"
    if not isinstance(entries, list) or not entries:
        return "no shards"
    for index, entry in enumerate(entries):
        named = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "file", "sha256"))
        if not named or not _FILE.fullmatch(entry["file"]):  # no path leads out of the folder
            return f"shard {index} without name, sha256, and a file shards/NUMBER.npz"
    return _find_fault_of_records(manifest) if "records" in manifest else ""


def _find_fault_of_records(manifest: dict) -> str:
    entries = manifest["records"] if isinstance(manifest["records"], list) else []
    for index, entry in enumerate(entries):
        sound = isinstance(entry, dict) and all(type(entry.get(key)) is int for key in ("bytes", "views"))
        sound = sound and entry["views"] > 0 and all(isinstance(entry.get(key), str) for key in ("file", "sha256"))
        if not sound or not _RECORDS.fullmatch(entry["file"]):
            return f"record file {index} without bytes, views, sha256, and a file records/NAME.array_record"
    expected, found = len(manifest["shards"]) * manifest["settings"]["views"], sum(e["views"] for e in entries)
    return "" if found == expected else f"{found} views in record files, not {expected}"


def read_description(path: pathlib.Path) -> dict:
    """A manifest, or the plan of a data set that is not finished.

    Raises:
        InputError: it is not of this schema, or not as it was written.
    """
    try:
        description = unseal(json.loads(path.read_text(encoding="utf-8")))
        if unknown := sorted(description.keys() - {*_MANIFEST, *_FINISHED}):
            raise ValueError(f"the unknown key {unknown[0]!r}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, got {error}; remove it to build the data set again") from error
    if not isinstance(description, dict) or description.get("schema") != SCHEMA:
        raise InputError(f"{path}: expected a data set of schema {SCHEMA}; remove it to build the data set again")
    return description
