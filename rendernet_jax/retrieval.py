"""What a fit of an unknown shape must beat: the mean shape, and the shape whose silhouette comes nearest.

Host side, NumPy. Silhouettes are compared within their bounding boxes, so that size and place in the frame are free.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from rendernet_jax.camera import Pose
from rendernet_jax.data.raycast import camera_axes

_SIDE = 32  # cells of a silhouette's box
_AZIMUTHS = 24
_ELEVATIONS = (-0.2, 0.05, 0.3, 0.55, 0.9)  # radians
_COUNTS = np.asarray([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclasses.dataclass(frozen=True)
class Match:
    """A shape that looks like a mask from somewhere."""

    shape: int  # index
    pose: Pose  # orthographic
    iou: float  # of the silhouettes in their boxes


class Bank:
    """Silhouettes of many shapes from all around, as objects stand that are upright."""

    def __init__(self, grids: Sequence[np.ndarray]):
        """``grids`` are ``[X, Y, Z, 1]``; a cell above one half is set, and one at least must be."""
        self._views = [
            Pose(azimuth=2.0 * math.pi * turn / _AZIMUTHS, elevation=elevation)
            for elevation, turn in itertools.product(_ELEVATIONS, range(_AZIMUTHS))
        ]
        axes = np.concatenate([camera_axes(view)[:2] for view in self._views])  # right and up of each
        bits, boxes = zip(*(_silhouettes(grid, axes) for grid in grids), strict=True)
        self._bits, self._boxes = np.stack(bits), np.stack(boxes)  # [N, V, bytes], [N, V, 4]

    def find(self, mask: np.ndarray) -> Match:
        """The shape and view with the silhouette most like a mask ``[S, S, 1]`` that is not empty."""
        size = len(mask)
        rows, columns = np.nonzero(mask[..., 0] > 0.5)
        points = np.stack([(columns + 0.5) * 2 / size - 1, 1 - (rows + 0.5) * 2 / size], axis=-1)
        wanted, box = _pack(points[:, None], 2.0 / size)
        both = _COUNTS[self._bits & wanted[0]].sum(-1, dtype=np.int32)
        either = _COUNTS[self._bits | wanted[0]].sum(-1, dtype=np.int32)
        iou = both / np.maximum(either, 1)
        shape, view = np.unravel_index(iou.argmax(), iou.shape)
        middle, extent = self._boxes[shape, view, :2], self._boxes[shape, view, 2:].max()
        scale = float(box[0, 2:].max() / extent)
        offset = box[0, :2] - scale * middle
        pose = dataclasses.replace(self._views[view], scale=scale, translation=(*map(float, offset), 0.0))
        return Match(int(shape), pose, float(iou[shape, view]))


def mean_shape(grids: Sequence[np.ndarray]) -> np.ndarray:
    """Cells ``[X, Y, Z, 1]`` that enough of the shapes have: as many as overlap the shapes best."""
    grids = np.stack([grid > 0.5 for grid in grids])
    mean = grids.mean(0)
    levels = [mean > level for level in np.linspace(0.1, 0.5, 9)]
    overlap = lambda cells: np.mean([(cells & g).sum() / max((cells | g).sum(), 1) for g in grids[:200]])  # noqa: E731
    return max(levels, key=overlap).astype(np.float32)


def _silhouettes(grid: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packed silhouettes ``[V, bytes]`` of a grid, by picture axes ``[2 V, 3]``, and their boxes, see :func:`_pack`."""
    points = _surface_points(grid)
    seen = (points @ axes.T.astype(np.float32)).reshape(len(points), -1, 2)
    return _pack(seen, 1.0 / len(grid))


def _surface_points(grid: np.ndarray) -> np.ndarray:
    """Centres ``[N, 3]`` of set cells, above one half, that have an empty neighbour; float32, object space."""
    cells = np.pad(grid[..., 0] > 0.5, 1)
    index = np.argwhere(cells & ~scipy.ndimage.binary_erosion(cells))
    return ((index - 0.5) / grid.shape[:3] - 0.5).astype(np.float32)


def _pack(points: np.ndarray, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of points ``[N, V, 2]`` in their own squares, packed ``[V, bytes]``; boxes ``[V, 4]``: middle, sides.

    Args:
        pitch: by which a box is wider than its points are apart.
    """
    low, high = points.min(0), points.max(0)
    middle, sides = 0.5 * (low + high), high - low + pitch
    square = np.maximum(sides.max(-1, keepdims=True), 1e-6)
    cells = np.floor(((points - middle) / square + 0.5) * (_SIDE - 1e-3)).astype(np.int32).clip(0, _SIDE - 1)
    views = points.shape[1]
    flat = (np.arange(views) * _SIDE + cells[..., 1]) * _SIDE + cells[..., 0]
    covered = np.zeros(views * _SIDE * _SIDE, bool)
    covered[flat.reshape(-1)] = True
    return np.packbits(covered.reshape(views, -1), axis=1), np.concatenate([middle, sides], axis=-1)
