"""One view of a data set as it is kept for training: cropped to what it shows, byte for byte as it was stored."""

import dataclasses

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.shards import CHANNELS, OCCUPANCIES
from rendernet_jax.errors import InputError

OUTSIDE = {"mask": 0.0, "normal": 0.0, "depth": -1.0, "ao": 1.0, "contour": 0.0, "albedo": 1.0}
COLOURS = ("colours", "texture")  # of the shape, if it is coloured and has a vector
_WIDTHS = {"normal": 3, "albedo": 3}  # channels, 1 of any other
_MARGIN = 2  # stored pixels around an object


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """``channels`` hold the pixels from ``(top, left)`` on, ``grids`` the shape's; encoded as in ``shards``."""

    pose: np.ndarray  # float32 [8], shards.POSE_COLUMNS
    top: int
    left: int
    channels: dict[str, np.ndarray]
    grids: dict[str, np.ndarray]


def crop_views(arrays: dict[str, np.ndarray], coloured: bool) -> list[View]:
    """The views of a shard, which share its grids; with what it has of colours, or without."""
    grids = {name: arrays[name] for name in (*OCCUPANCIES, *COLOURS * coloured) if name in arrays}
    channels = [name for name in (*CHANNELS, *("albedo",) * coloured) if name in arrays]
    count = len(arrays["poses"])
    return [View(arrays["poses"][index], *_crop(arrays, channels, index), grids) for index in range(count)]


def _crop(arrays: dict[str, np.ndarray], channels: list[str], index: int) -> tuple[int, int, dict]:
    shown = (arrays["mask"][index] > 0) | (arrays["contour"][index] > 0)
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(shown.any(axis))
        first, last = (used[0], used[-1]) if len(used) else (0, -1)
        spans.append((max(int(first) - _MARGIN, 0), int(last) + 1 + _MARGIN))
    box = (slice(*spans[0]), slice(*spans[1]))
    return spans[0][0], spans[1][0], {name: np.ascontiguousarray(arrays[name][index][box]) for name in channels}


def paste(view: View, name: str, top: int, left: int, side: int) -> np.ndarray:
    """Pixels ``[side, side, C]`` of a view's channel, decoded, with what is outside where nothing is stored."""
    stored = view.channels[name]
    rows, columns = stored.shape[:2]
    first = max(view.top, top), max(view.left, left)
    last = min(view.top + rows, top + side), min(view.left + columns, left + side)
    result = np.full((side, side, _WIDTHS.get(name, 1)), OUTSIDE[name], np.float32)
    if first[0] < last[0] and first[1] < last[1]:
        part = stored[first[0] - view.top : last[0] - view.top, first[1] - view.left : last[1] - view.left]
        result[first[0] - top : last[0] - top, first[1] - left : last[1] - left] = shards.decode_view(name, part)
    return result


def decode_grid(view: View, kind: str) -> np.ndarray:
    """The view's object grid of a kind, float32 ``[G, G, G, 1]``."""
    if kind == "coverage":
        return shards.decode_coverage(view.grids[kind])
    return shards.decode_bits(view.grids[kind], len(view.grids["coverage"]))


def decode_colours(view: View, vector: int) -> dict[str, np.ndarray]:
    """Of a coloured shape ``colours`` ``[G, G, G, 3]``, ``texture`` ``[vector]`` (0 if it has none) and ``textured``.

    Raises:
        InputError: it has no colours, or a vector of another length.
    """
    if "colours" not in view.grids:
        raise InputError("data set: expected coloured shapes, got one without colours; build it of coloured ones")
    texture = view.grids.get("texture")
    if texture is not None and texture.shape != (vector,):
        raise InputError(f"data set: expected texture vectors of {vector} numbers, got {len(texture)}; use another set")
    return {
        "colours": shards.decode_view("albedo", view.grids["colours"]),
        "texture": np.zeros(vector, np.float32) if texture is None else texture,
        "textured": np.float32(texture is not None),
    }
