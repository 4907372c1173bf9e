"""The sheet that shows what a data set holds."""

import pathlib

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.sheet import picture_sheet

_ROWS = 24
_CELL = 128  # pixels
_MORE_VIEWS = 2  # besides the first


def contact_sheet(folder: pathlib.Path, manifest: dict) -> np.ndarray:
    """Some shapes, evenly spread over the set: the first view's channels, the other views' normals, the voxels."""
    entries = manifest["shards"]
    chosen = [entries[i * len(entries) // _ROWS] for i in range(_ROWS)]
    chosen = chosen if len(entries) > _ROWS else entries
    rows, labels = [], []
    others = min(manifest["settings"]["views"] - 1, _MORE_VIEWS)
    names = ["normal", "light", "depth", "contour", "ao"]
    names += [f"view {i + 2}" for i in range(others)] + ["voxels"]
    for entry in chosen:
        arrays = shards.read_shard(folder / entry["file"])
        normals = [_normal_picture(arrays, view) for view in range(others + 1)]
        mask, light = arrays["mask"][0] / 255.0, np.maximum(arrays["normal"][0, ..., 2] / 127.0, 0.0)
        depth = arrays["depth"][0] / 65535.0
        first = [normals[0], 1 - mask + mask * (0.1 + 0.9 * light), depth]
        first += [1 - arrays["contour"][0] / 255.0, arrays["ao"][0] / 255.0]
        rows.append([*first, *normals[1:], _grid_picture(arrays["coverage"])])
        labels.append(entry["name"][-40:])
    return picture_sheet(rows, labels, names, _CELL)


def _normal_picture(arrays: dict, view: int) -> np.ndarray:
    mask = arrays["mask"][view][..., None] / 255.0
    return 1 - mask + mask * (arrays["normal"][view] / 254.0 + 0.5)


def _grid_picture(coverage: np.ndarray) -> np.ndarray:
    """Voxels seen from +z, nearer ones darker."""
    nearness = np.linspace(0.4, 1.0, coverage.shape[2])
    return 1 - (coverage / 64.0 * nearness).max(2).T[::-1]
