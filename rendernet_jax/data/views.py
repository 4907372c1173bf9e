"""One view of a data set as it is kept for training: cropped to what it shows, byte for byte as it was stored."""

import dataclasses

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.shards import CHANNELS, OCCUPANCIES

OUTSIDE = {"mask": 0.0, "normal": 0.0, "depth": -1.0, "ao": 1.0, "contour": 0.0}
_MARGIN = 2  # stored pixels around an object


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """``channels`` hold the pixels from ``(top, left)`` on, ``grids`` the shape's; encoded as in ``shards``."""

    pose: np.ndarray  # float32 [8], shards.POSE_COLUMNS
    top: int
    left: int
    channels: dict[str, np.ndarray]
    grids: dict[str, np.ndarray]


def crop_views(arrays: dict[str, np.ndarray]) -> list[View]:
    """The views of a shard, which share its grids."""
    grids = {name: arrays[name] for name in OCCUPANCIES}
    return [View(arrays["poses"][index], *_crop(arrays, index), grids) for index in range(len(arrays["poses"]))]


def _crop(arrays: dict[str, np.ndarray], index: int) -> tuple[int, int, dict]:
    shown = (arrays["mask"][index] > 0) | (arrays["contour"][index] > 0)
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(shown.any(axis))
        first, last = (used[0], used[-1]) if len(used) else (0, -1)
        spans.append((max(int(first) - _MARGIN, 0), int(last) + 1 + _MARGIN))
    box = (slice(*spans[0]), slice(*spans[1]))
    return spans[0][0], spans[1][0], {name: np.ascontiguousarray(arrays[name][index][box]) for name in CHANNELS}


def paste(view: View, name: str, top: int, left: int, side: int) -> np.ndarray:
    """Pixels ``[side, side, C]`` of a view's channel, decoded, with what is outside where nothing is stored."""
    stored = view.channels[name]
    rows, columns = stored.shape[:2]
    first = max(view.top, top), max(view.left, left)
    last = min(view.top + rows, top + side), min(view.left + columns, left + side)
    result = np.full((side, side, 3 if name == "normal" else 1), OUTSIDE[name], np.float32)
    if first[0] < last[0] and first[1] < last[1]:
        part = stored[first[0] - view.top : last[0] - view.top, first[1] - view.left : last[1] - view.left]
        result[first[0] - top : last[0] - top, first[1] - left : last[1] - left] = shards.decode_view(name, part)
    return result


def decode_grid(view: View, kind: str) -> np.ndarray:
    """The view's object grid of a kind, float32 ``[G, G, G, 1]``."""
    if kind == "coverage":
        return shards.decode_coverage(view.grids[kind])
    return shards.decode_bits(view.grids[kind], len(view.grids["coverage"]))
