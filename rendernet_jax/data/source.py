"""Training batches and validation views from a data set, byte for byte as it was stored."""

import concurrent.futures
import hashlib
import itertools
import pathlib

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.records import Records
from rendernet_jax.data.shards import CHANNELS
from rendernet_jax.data.views import OUTSIDE, View, crop_views, decode_colours, decode_grid, paste
from rendernet_jax.errors import InputError

GRIDS = {"coverage": 0.6, "binary": 0.25, "sampled": 0.15}  # how often a training sample sees each kind
HALF_SIZE = 0.25  # share of the training samples whose view is box-filtered to half its size
NOISY = 0.1  # share of the training samples in whose grid some voxels are flipped
MOST_FLIPPED = 0.02  # of a noisy grid's voxels
TARGETS = (*CHANNELS, "albedo", "image")  # what of a batch a network is to draw: a G-buffer, or a picture as it is
ALIGNMENT = 8  # pixel offsets of patches are multiples of it: whole camera-grid columns
_PATCH = 192  # pixels
_JITTER = 0.25  # of the patch, by which its centre leaves the covered pixel that was drawn


class Source:
    """Every view of a data set, split by shape: in memory (a view of 512 x 512 takes about 1 MB), or packed on a disk.

    Attributes:
        size: pixels on a view's side.
        grid: cells on an object grid's side.
        packed: whether views are read when they are wanted, see :mod:`records`; what comes of them is the same.
        training, validation: indices of views; a shape's views are all on the same side, which its name alone
            decides (each side gets the shape nearest to it if it would have none; a single shape is trained on).
        identity: what must be the same for a run to be continued, wherever the folder lies, packed or not; JSON values
            by name.
        description: what the card of weights trained on it says of it.

    Raises:
        InputError: no finished data set in the folder, or a damaged one.
    """

    def __init__(self, folder, upsample: int = 2, validation: float = 0.04, vector: int | None = None):
        """Open ``folder``.

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
        self._vector = vector
        self.packed = "records" in manifest
        if self.packed:
            self._views, counts = Records(folder, manifest), settings["views"]
        else:
            views = _load(pathlib.Path(folder), manifest["shards"], coloured=vector is not None)
            self._views, counts = list(itertools.chain(*views)), [len(some) for some in views]
        if vector:
            decode_colours(self._views[0], vector)  # before anything is trained
        held_back = np.repeat(hold_back(self.names, validation), counts)
        self.validation = np.flatnonzero(held_back)
        self.training = np.flatnonzero(~held_back)

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
            InputError: a shape lacks colours that are asked for; the patch is larger than a view, or no multiple of 8.
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
        names = (*CHANNELS, "albedo") if self._vector else CHANNELS
        grid, colours = decode_grid(view, kind), {}
        if self._vector:
            colours = decode_colours(view, self._vector)
            grid = np.concatenate([grid, colours.pop("colours")], axis=-1)
        targets = {name: paste(view, name, top * step, left * step, patch * step) for name in names}
        fields = {
            "grid": grid,
            **colours,
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
        small[name] = np.where(covered, pool(targets[name] * mask) / divisor, np.float32(OUTSIDE[name]))
    return small


def _load(folder: pathlib.Path, entries: list[dict], coloured: bool) -> list[list[View]]:
    """The views of every shard."""
    read = lambda entry: crop_views(shards.read_shard(folder / entry["file"], entry["sha256"]), coloured)  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        return list(threads.map(read, entries))


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
