"""What a network that sees single views is trained on: views of upright shapes, cut out as a fit cuts out its photo.

Normals and coverage are kept, so that one view is seen under many lights.
"""

import dataclasses
import functools
import math
import pathlib
import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from rendernet_jax.camera import Pose
from rendernet_jax.data import kept_files, references, shards
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.raycast import build_scene, camera_axes
from rendernet_jax.data.tasks import Task
from rendernet_jax.squares import MARGIN, cut, square, to_square

SIZE = 192  # pixels on a side
LEVELS = 127  # what stands for 1 in views as they are kept
_ELEVATION = (-0.4, 1.1)  # radians; how photos show what stands upright: a little from below to steeply from above
_ROLL = 0.09  # radians, standard deviation
_MOST_ROLL = 0.3  # of views in data sets, others are left out
# Standard deviations by which the square about an object is off, as shares of half its side, and of its side: the mask
# of a photo is known to a pixel only, and its edge is no sharper.
_MOVED, _GROWN = 0.004, 0.006
_CHANNELS = 4  # coverage, and the normal in camera axes times coverage


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """Views of one shape."""

    packed: tuple  # of each view: compressed int8 [SIZE, SIZE, 4], as bytes or a view of them
    poses: np.ndarray  # float32 [V, 7], in the square, see squares

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, view: int) -> np.ndarray:
        """Coverage, and the normal in camera axes times coverage, float32 ``[SIZE, SIZE, 4]``."""
        return self.stored(view) * np.float32(1.0 / LEVELS)

    def stored(self, view: int) -> np.ndarray:
        """The same as it is kept, int8; :data:`LEVELS` stands for 1."""
        return np.frombuffer(zlib.decompress(self.packed[view]), np.int8).reshape(SIZE, SIZE, _CHANNELS)


def random_view(rng: np.random.Generator) -> Pose:
    """From where, and how near, photos are taken; fields are Python floats."""
    return Pose(
        azimuth=rng.uniform(-math.pi, math.pi),
        elevation=rng.uniform(*_ELEVATION),
        roll=rng.normal(0.0, _ROLL),
        inverse_distance=rng.uniform(0.0, 0.55) * (rng.random() < 0.75),
    )


def trace(mesh: Mesh, poses: Sequence[Pose], jitter: np.random.Generator | None = None) -> Views:
    """Views of a mesh in ``[-.5, .5]^3`` that fill the picture: poses of scale 1 in the middle of the frame.

    ``jitter`` moves and grows the square about the object at random, a little; the pose that is told is the true one.

    Raises:
        InputError: the mesh is empty, or not finite.
    """
    scene, packed, told = build_scene(mesh), [], []
    for pose in poses:
        axes = camera_axes(pose)
        seen = mesh.vertices @ axes.T
        places = seen[:, :2] / (1.0 - pose.inverse_distance * seen[:, 2:])
        low, high = places.min(0), places.max(0)
        middle, half = 0.5 * (low + high), 0.5 * (high - low).max() / (1.0 - 2.0 * MARGIN)
        if jitter is not None:
            middle = middle + half * jitter.normal(0.0, _MOVED, 2)
            half = half * math.exp(jitter.normal(0.0, _GROWN))
        window = (*middle, half)
        traced = references.trace(scene, pose, SIZE, ("mask", "normal"), threads=1, window=window)
        packed.append(_pack(np.concatenate([traced["mask"], traced["mask"] * traced["normal"]], axis=-1)))
        angles = pose.azimuth, pose.elevation, pose.roll
        told.append((*angles, -math.log(half), *(-middle / half), half * pose.inverse_distance))
    return Views(tuple(packed), np.float32(told))


def _pack(picture: np.ndarray) -> bytes:
    return zlib.compress(np.rint(LEVELS * picture).astype(np.int8).tobytes(), 1)


# --- of procedural shapes, and of data sets ---------------------------------------------------------------------------


def make_procedural(tasks: Sequence[Task], folder, workers: int, count: int) -> list[Views]:
    """Views of procedural shapes, ``count`` of each; see :func:`rendernet_jax.data.kept_files.make`."""
    views = []
    for arrays in kept_files.make(functools.partial(_Job, count=count), tasks, folder, workers, "views"):
        content, ends = memoryview(arrays["packed"]), arrays["ends"].tolist()
        packed = [content[start:end] for start, end in zip([0, *ends], ends)]
        for number, poses in enumerate(arrays["poses"]):
            views.append(Views(tuple(packed[number * count : (number + 1) * count]), poses))
    return views


@dataclasses.dataclass(frozen=True)
class _Job:
    path: pathlib.Path
    tasks: tuple[Task, ...]
    count: int
    key: ClassVar[str] = "poses"

    def asked(self) -> list:
        return [SIZE, self.count, *(task.name for task in self.tasks)]

    def make(self) -> dict[str, np.ndarray]:
        made = [_make(task, self.count) for task in self.tasks]
        packed = [each for views in made for each in views.packed]
        return {
            "packed": np.frombuffer(b"".join(packed), np.uint8),
            "ends": np.cumsum([len(each) for each in packed]),
            "poses": np.stack([views.poses for views in made]),
        }


def _make(task: Task, count: int) -> Views:
    rng = np.random.default_rng([task.seed, 1])
    poses = [random_view(rng) for _ in range(count)]
    return trace(make_shape(task.family, task.seed), poses, jitter=rng)


def read_data_sets(folders: Sequence) -> list[Views]:
    """Views of every shape of data sets made by build_dataset, of those that photos might show; some have none.

    Raises:
        InputError: a folder without a finished data set, or a damaged one.
    """
    views = []
    for folder in folders:
        for entry in shards.read_manifest(folder)["shards"]:
            views.append(_choose(shards.read_shard(pathlib.Path(folder) / entry["file"], entry["sha256"])))
    return views


def _choose(arrays: dict) -> Views:
    """The views of a shard that photos might show: taken as photos are, and of a whole object."""
    poses = shards.decode_poses(arrays["poses"])
    scale, (right, up) = np.log(poses["scale"]), np.moveaxis(poses["translation"][:, :2], -1, 0)
    angles = [poses[name] for name in ("azimuth", "elevation", "roll")]
    every = np.stack([*angles, scale, right, up, poses["inverse_distance"]], axis=-1).astype(np.float32)
    packed, chosen = [], []
    for mask, normal, told in zip(arrays["mask"], arrays["normal"], every, strict=True):
        usual = _ELEVATION[0] <= told[1] <= _ELEVATION[1] and abs(told[2]) <= _MOST_ROLL
        mask, normal = shards.decode_view("mask", mask), shards.decode_view("normal", normal)
        shown = mask[..., 0] > 0.5
        if usual and shown.any() and not (shown[[0, -1]].any() or shown[:, [0, -1]].any()):
            packed.append(_pack(cut(np.concatenate([mask, mask * normal], axis=-1), mask, SIZE)))
            chosen.append(np.asarray(to_square(told, square(mask))))
    return Views(tuple(packed), np.reshape(chosen, (-1, 7)).astype(np.float32))
