"""Training batches and validation views from a data set that is held in memory, byte for byte as it was stored."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import pathlib

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.shards import CHANNELS
from rendernet_jax.errors import InputError

GRIDS = {"coverage": 0.6, "binary": 0.25, "sampled": 0.15}  # how often a training sample sees each kind
HALF_SIZE = 0.25  # share of the training samples whose view is box-filtered to half its size
NOISY = 0.1  # share of the training samples in whose grid some voxels are flipped
MOST_FLIPPED = 0.02  # of a noisy grid's voxels
TARGETS = (*CHANNELS, "albedo", "image")  # what of a batch a network is to draw: a G-buffer, or a picture as it is
ALIGNMENT = 8  # pixel offsets of patches are multiples of it: whole camera-grid columns
_PATCH = 192  # pixels
_JITTER = 0.25  # of the patch, by which its centre leaves the covered pixel that was drawn
_MARGIN = 2  # stored pixels around an object
_OUTSIDE = {"mask": 0.0, "normal": 0.0, "depth": -1.0, "ao": 1.0, "contour": 0.0, "albedo": 1.0}
_WIDTHS = {"normal": 3, "albedo": 3}  # channels, 1 of any other


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One view, cropped to what it shows: ``channels`` hold the pixels from ``(top, left)`` on, as stored."""

    shape: int
    pose: np.ndarray  # float32 [8], shards.POSE_COLUMNS
    top: int
    left: int
    channels: dict[str, np.ndarray]


class Source:
    """Every view of a data set, in memory (a view of 512 x 512 takes about 1 MB), split by shape.

    Attributes:
        size: pixels on a view's side.
        grid: cells on an object grid's side.
        training, validation: indices of views; a shape's views are all on the same side, which its name alone
            decides (each side gets the shape nearest to it if it would have none; a single shape is trained on).
        identity: what must be the same for a run to be continued, wherever the folder lies; JSON values by name.
        description: what the card of weights trained on it says of it.

    Raises:
        InputError: no finished data set in the folder, or a damaged one.
    """

    def __init__(self, folder, upsample: int = 2, validation: float = 0.04, vector: int | None = None):
        """Load ``folder``.

        Args:
            upsample: the number of pixels a camera-grid column covers.
            validation: share of the shapes that is held back.
            vector: numbers of a texture vector, for a network of coloured objects: colours are read, too.
        """
        manifest = shards.read_manifest(folder)
        settings = manifest["settings"]
        digests = "\n".join(entry["sha256"] for entry in manifest["shards"])
        named = {key: manifest.get(key) for key in ("settings", "names_sha256")}
        self.identity = {**named, "shards_sha256": shards.sha256(digests.encode())}
        self.description = {key: manifest.get(key) for key in ("arguments", "settings", "counts", "names_sha256")}
        if upsample < 1 or ALIGNMENT % upsample or settings["size"] % (2 * upsample):
            wanted = f"a divisor of {ALIGNMENT} and of half the {settings['size']} pixels of a view"
            raise InputError(f"upsample: expected {wanted}, got {upsample}")
        self.size, self.grid, self.upsample = settings["size"], settings["grid"], upsample
        self.names = [entry["name"] for entry in manifest["shards"]]
        self._channels = (*CHANNELS, *(("albedo",) if vector else ()))
        self._grids, self._views = [], []
        load = functools.partial(_load, pathlib.Path(folder), self._channels, vector)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for shape, (grids, views) in enumerate(threads.map(load, manifest["shards"])):
                self._grids.append(grids)
                self._views += [View(shape, **view) for view in views]
        held_back = hold_back(self.names, validation)
        shapes = np.array([view.shape for view in self._views])
        self.validation = np.flatnonzero(held_back[shapes])
        self.training = np.flatnonzero(~held_back[shapes])

    def batch(self, rng: np.random.Generator, count: int, patch: int = 192) -> dict:
        """Random patches of training views; a function of the generator's state alone.

        Args:
            rng: for example ``np.random.default_rng([seed, step])``, so that training resumes exactly.
            count: samples, B.
            patch: pixels on a side, P, a multiple of 8.

        Returns:
            Float32 arrays:

            - ``grid`` ``[B, G, G, G, 1]``, of the kinds and frequencies of :data:`GRIDS`; some are noisy. With colours
              ``[B, G, G, G, 4]``.
            - ``pose``: dict of the fields of :class:`~rendernet_jax.camera.Pose`, ``[B]`` and ``[B, 3]``.
            - ``left``, ``top``, ``extent`` ``[B]``: the patch in the frame ``[-1, 1]^2`` (smallest q_x, largest q_y,
              side).
            - ``mask``, ``depth`` (q_z), ``ao``, ``contour`` ``[B, P, P, 1]`` and ``normal`` ``[B, P, P, 3]``, with the
              outside values of :func:`~rendernet_jax.data.references.trace`; with colours ``albedo`` ``[B, P, P, 3]``.
            - with colours: ``texture`` ``[B, V]``, and ``textured`` ``[B]``, 1 where the shape has such a vector.

        Raises:
            InputError: the patch is larger than a view, or no multiple of 8.
        """
        check_patch(patch, self.size)
        samples = []
        for index in rng.choice(self.training, count):
            view = self._views[index]
            step = 2 if rng.random() < HALF_SIZE and patch * 2 <= self.size else 1
            kind = str(rng.choice(list(GRIDS), p=list(GRIDS.values())))
            corner = (view.top, view.left)
            top, left = place_patch(rng, view.channels["mask"], patch, self.size // step, corner, step)
            sample = self._cut(view, kind, top, left, patch, step)
            if rng.random() < NOISY:
                sample["grid"][..., :1] = flip(rng, sample["grid"][..., :1], rng.uniform(0.0, MOST_FLIPPED))
            samples.append(sample)
        return stack(samples)

    def views(self, indices, occupancy: str = "coverage") -> dict:
        """Whole views by index, in the form of :meth:`batch` with P = size.

        Raises:
            InputError: an unknown occupancy.
        """
        if occupancy not in GRIDS:
            raise InputError(f"occupancy: expected one of {', '.join(GRIDS)}, got {occupancy!r}")
        return stack([self._cut(self._views[index], occupancy, 0, 0, self.size, 1) for index in indices])

    def _cut(self, view: View, kind: str, top: int, left: int, patch: int, step: int) -> dict:
        """One sample: a patch of the view at 1/step of its size."""
        targets = {name: _paste(view, name, top * step, left * step, patch * step) for name in self._channels}
        fields = {
            **_decode_grid(self._grids[view.shape], kind),
            "pose": shards.decode_poses(view.pose),
            **window(top, left, patch, self.size // step),
        }
        return {**fields, **(box_filter(targets, step) if step > 1 else targets)}


def flip(rng: np.random.Generator, grid: np.ndarray, share: float) -> np.ndarray:
    """The grid with about that share of its voxels v replaced by 1 - v; same shape and type."""
    return np.where(rng.random(grid.shape, np.float32) < share, 1 - grid, grid)


def check_patch(patch: int, size: int) -> None:
    """Raise InputError unless patches of that side can be cut from views of ``size`` pixels a side."""
    if patch < ALIGNMENT or patch % ALIGNMENT or patch > size:
        raise InputError(f"patch: expected a multiple of {ALIGNMENT} up to {size}, got {patch}")


def choose_patch(size: int) -> int:
    """Side of the patches that suit most networks, or the largest that views of ``size`` pixels a side have."""
    return min(_PATCH, size // ALIGNMENT * ALIGNMENT)


def place_patch(
    rng: np.random.Generator, shown: np.ndarray, patch: int, size: int, corner=(0, 0), step: int = 1
) -> tuple[int, int]:
    """Top left pixel of a patch about some pixel that is shown, in a view of ``size`` pixels a side.

    ``shown`` [H, W] marks pixels of the view at ``step`` times that size, from its pixel ``corner`` on.
    """
    covered = np.flatnonzero(shown)
    pick = int(covered[rng.integers(len(covered))]) if len(covered) else 0
    row, column = np.divmod(pick, max(shown.shape[1], 1))
    centre = np.array([corner[0] + row, corner[1] + column]) / step
    first = centre + rng.uniform(-_JITTER, _JITTER, 2) * patch - patch / 2
    last = (size - patch) // ALIGNMENT
    top, left = np.clip(np.rint(first / ALIGNMENT), 0, last).astype(int) * ALIGNMENT
    return int(top), int(left)


def window(top: int, left: int, patch: int, size: int) -> dict[str, np.float32]:
    """Where a patch lies in the frame ``[-1, 1]^2``, from its top left pixel in a view of ``size`` pixels a side."""
    return {
        "left": np.float32(2.0 * left / size - 1.0),
        "top": np.float32(1.0 - 2.0 * top / size),
        "extent": np.float32(2.0 * patch / size),
    }


def box_filter(targets: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    """G-buffer ``[H, W, C]`` at 1/step of its size; what the object has is averaged over its covered part only."""
    pool = lambda x: x.reshape(len(x) // step, step, -1, step, x.shape[2]).mean((1, 3), dtype=np.float32)  # noqa: E731
    mask = targets["mask"]
    small = {"mask": pool(mask), "contour": pool(targets["contour"])}
    covered = small["mask"] > 0
    divisor = np.where(covered, small["mask"], np.float32(1.0))
    for name in targets.keys() & {"normal", "depth", "ao", "albedo"}:
        small[name] = np.where(covered, pool(targets[name] * mask) / divisor, np.float32(_OUTSIDE[name]))
    return small


def _load(folder: pathlib.Path, channels, vector: int | None, entry: dict) -> tuple[dict, list[dict]]:
    arrays = shards.read_shard(folder / entry["file"], entry["sha256"])
    grids = {name: arrays[name] for name in GRIDS}
    if vector:
        grids |= _texture(arrays, vector, entry["name"])
    return grids, [_crop(arrays, channels, index) for index in range(len(arrays["poses"]))]


def _texture(arrays: dict[str, np.ndarray], vector: int, name: str) -> dict:
    """Colours and texture vector of a shard."""
    if "colours" not in arrays:
        raise InputError(f"data set: expected coloured shapes, got {name} without colours; build it of coloured ones")
    texture = arrays.get("texture")
    if texture is not None and texture.shape != (vector,):
        raise InputError(f"data set: expected texture vectors of {vector} numbers, got {len(texture)} of {name}")
    has_vector = texture is not None
    return {
        "colours": arrays["colours"],
        "texture": texture if has_vector else np.zeros(vector, np.float32),
        "textured": np.float32(has_vector),
    }


def _crop(arrays: dict[str, np.ndarray], channels, index: int) -> dict:
    shown = (arrays["mask"][index] > 0) | (arrays["contour"][index] > 0)
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(shown.any(axis))
        first, last = (used[0], used[-1]) if len(used) else (0, -1)
        spans.append((max(int(first) - _MARGIN, 0), int(last) + 1 + _MARGIN))
    box = (slice(*spans[0]), slice(*spans[1]))
    channels = {name: np.ascontiguousarray(arrays[name][index][box]) for name in channels}
    return {"pose": arrays["poses"][index], "top": spans[0][0], "left": spans[1][0], "channels": channels}


def _paste(view: View, name: str, top: int, left: int, side: int) -> np.ndarray:
    """Pixels [side, side, C] of a view's channel, decoded."""
    stored = view.channels[name]
    rows, columns = stored.shape[:2]
    first = max(view.top, top), max(view.left, left)
    last = min(view.top + rows, top + side), min(view.left + columns, left + side)
    result = np.full((side, side, _WIDTHS.get(name, 1)), _OUTSIDE[name], np.float32)
    if first[0] < last[0] and first[1] < last[1]:
        part = stored[first[0] - view.top : last[0] - view.top, first[1] - view.left : last[1] - view.left]
        result[first[0] - top : last[0] - top, first[1] - left : last[1] - left] = shards.decode_view(name, part)
    return result


def _decode_grid(stored: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Object grid of a kind, with its colours if there are any, and what its texture vector is."""
    if kind == "coverage":
        grid = shards.decode_coverage(stored[kind])
    else:
        grid = shards.decode_bits(stored[kind], len(stored["coverage"]))
    if "colours" not in stored:
        return {"grid": grid}
    grid = np.concatenate([grid, shards.decode_view("albedo", stored["colours"])], axis=-1)
    return {"grid": grid, "texture": stored["texture"], "textured": stored["textured"]}


def hold_back(names: list[str], share: float) -> np.ndarray:
    """Which shapes are held back for validation, [N]."""
    places = np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2.0**48 for name in names])
    held_back = places < share
    held_back[places.argmin()] = True
    held_back[places.argmax()] = False  # after the other: a single shape is trained on
    return held_back


def stack(samples: list[dict]) -> dict:
    """Samples of the same keys, arrays or dicts of arrays, with a new leading axis."""
    first = samples[0]
    return {k: stack([s[k] for s in samples]) if isinstance(first[k], dict) else np.stack([s[k] for s in samples])
            for k in first}  # fmt: skip
