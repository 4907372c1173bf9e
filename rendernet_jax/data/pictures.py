"""Training batches and validation views from pictures of known poses and the grids of what they show."""

import dataclasses
import hashlib

import numpy as np

from rendernet_jax.data import shards
from rendernet_jax.data.picture_poses import Shot
from rendernet_jax.data.source import check_patch, hold_back, place_patch, stack, window
from rendernet_jax.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """One picture ``[S, S, 1|3]``, uint8, and what it shows."""

    name: str
    shot: Shot
    pixels: np.ndarray


class Pictures:
    """Pictures and the grids of their objects, in memory, split by object: a source for ``training.loop.train``.

    Attributes:
        size: pixels on a picture's side.
        channels: 1 if every picture is grey, else 3.
        grid_channels: of the object grids.
        kinds: of voxels to validate on: each object has one grid only.
        training, validation: indices of pictures; an object's pictures are all on the same side, which its name alone
            decides, as in ``data.source.Source``.
        identity, description: what must be the same for a run to be continued; what the weights' card says.

    Raises:
        InputError: no pictures, not all of one size, grids of several shapes, or fewer than two objects.
    """

    kinds = ("given",)

    def __init__(self, pictures: list[Picture], grids: dict[str, np.ndarray], validation: float = 0.04):
        """Hold ``pictures`` of the objects ``grids``, ``[X, Y, Z, C]`` by name; ``validation``: share of objects."""
        _check_alike(pictures, grids)
        self.size = len(pictures[0].pixels)
        self.channels = max(picture.pixels.shape[2] for picture in pictures)
        self.grid_channels = next(iter(grids.values())).shape[3]
        self._pictures = pictures
        self._grids = {name: _pack(grid) for name, grid in grids.items()}
        names = sorted(grids)
        held_back = dict(zip(names, hold_back(names, validation), strict=True))
        aside = np.array([held_back[picture.shot.object] for picture in pictures])
        self.validation, self.training = np.flatnonzero(aside), np.flatnonzero(~aside)
        self.identity = {"pictures": len(pictures), "sha256": self._digest()}
        self.description = {**self.identity, "objects": len(grids), "size": self.size, "channels": self.channels}

    def batch(self, rng: np.random.Generator, count: int, patch: int = 192) -> dict:
        """Random patches of training pictures, each about something that is not white.

        Args:
            rng: the only source of chance.
            count: samples, B.
            patch: pixels on a side, P, a multiple of 8.

        Returns:
            Float32 arrays: ``grid``, ``pose``, ``left``, ``top``, ``extent`` as ``Source.batch`` has them, and
            ``image`` ``[B, P, P, channels]``.

        Raises:
            InputError: the patch is larger than a picture, or no multiple of 8.
        """
        check_patch(patch, self.size)
        samples = []
        for index in rng.choice(self.training, count):
            shown = (self._pictures[index].pixels < 255).any(axis=2)
            samples.append(self._cut(index, *place_patch(rng, shown, patch, self.size), patch))
        return stack(samples)

    def views(self, indices, occupancy: str = "given") -> dict:
        """Whole pictures by index, in the form of :meth:`batch` with P = size. Raises InputError but for "given"."""
        if occupancy not in self.kinds:
            raise InputError(f"occupancy: expected 'given', the only grid an object here has, got {occupancy!r}")
        return stack([self._cut(index, 0, 0, self.size) for index in indices])

    def _cut(self, index: int, top: int, left: int, patch: int) -> dict:
        picture = self._pictures[index]
        pixels = picture.pixels[top : top + patch, left : left + patch]
        return {
            "grid": _unpack(self._grids[picture.shot.object]),
            "pose": shards.decode_poses(picture.shot.pose),
            **window(top, left, patch, self.size),
            "image": np.broadcast_to(pixels, (patch, patch, self.channels)) * np.float32(1.0 / 255.0),
        }

    def _digest(self) -> str:
        """SHA-256 of everything that training sees."""
        total = hashlib.sha256()
        for name, grid in sorted(self._grids.items()):
            total.update(f"{name}\n{grid.shape}{grid.dtype}\n".encode() + grid.tobytes())
        for picture in self._pictures:
            header = f"{picture.name}\n{picture.shot.object}\n{picture.pixels.shape}\n"
            total.update(header.encode() + picture.shot.pose.tobytes() + picture.pixels.tobytes())
        return total.hexdigest()


def _check_alike(pictures: list[Picture], grids: dict[str, np.ndarray]) -> None:
    if not pictures:
        raise InputError("pictures: expected one or more, got none")
    first = pictures[0]
    for picture in pictures:
        if picture.pixels.shape[:2] != first.pixels.shape[:2]:
            raise InputError(
                f"pictures: expected all of one size, got {len(first.pixels)} pixels a side ({first.name}) and "
                f"{len(picture.pixels)} ({picture.name}); resize them"
            )
    one = next(iter(grids))
    for name, grid in grids.items():
        if grid.shape != grids[one].shape:
            raise InputError(
                f"objects: expected grids of one shape, got {grids[one].shape} ({one}) and {grid.shape} ({name}); "
                "voxelise them alike"
            )
    if len(grids) < 2:
        raise InputError(f"objects: expected two or more, one of them to validate on, got {one} alone; add another")


def _pack(grid: np.ndarray) -> np.ndarray:
    """Bytes of 64ths where they hold the grid exactly, as those of both rules; else the grid itself."""
    steps = np.rint(grid * np.float32(64.0)).astype(np.uint8)
    return steps if np.array_equal(_unpack(steps), grid) else grid


def _unpack(stored: np.ndarray) -> np.ndarray:
    return stored * np.float32(1.0 / 64.0) if stored.dtype == np.uint8 else stored
