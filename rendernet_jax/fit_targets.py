"""Targets of fits: ray-traced pictures of meshes, and of procedural shapes that no data set holds, kept in files.

A target's pose and light come by chance from the seed and its own name, so that it does not depend on which others are
asked for. A file's name is a hash of all that makes it: an interrupted command goes on, and loses one target at most.
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import scipy.ndimage

from rendernet_jax.camera import Light, Pose
from rendernet_jax.data import shards
from rendernet_jax.data.families import COLOURED, FAMILIES, expand, make_shape
from rendernet_jax.data.meshes import Mesh, load_mesh, normalise
from rendernet_jax.data.raycast import camera_axes
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.tasks import FIRST_TEST_SEED
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_atomically
from rendernet_jax.mesh_references import GRID, find_meshes, load_references, none_usable

NEW_VIEWS = 8
SYMMETRY_STEP = 15  # degrees
SYMMETRY_IOU = 0.97
_SCHEMA = 1  # of the files; another one after a change of what they hold, or of how it is made


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a target shows: a mesh file, or a procedural shape."""

    name: str
    category: str
    digest: str  # of the file, or what the shape is made from
    make: Callable[[], Mesh]  # normalised; raises InputError if it can't be used


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """One object, a picture of it to fit, and the truth. S pixels and G voxels on a side; arrays are float32."""

    name: str
    category: str
    picture: np.ndarray  # [S, S, 1] Phong under the light, white background
    mask: np.ndarray  # [S, S, 1]
    pose: Pose
    light: Light
    grid: np.ndarray  # [1, G, G, G, 1] coverage
    binary: np.ndarray  # [1, G, G, G, 1]
    new_pictures: np.ndarray  # [8, S, S, 1] from new_views(pose), under the same light in camera axes
    new_masks: np.ndarray  # [8, S, S, 1]
    symmetries: tuple[int, ...]  # degrees, see symmetries()
    make: Callable[[], Mesh] | None = None  # as the subject's, if there is a mesh


# --- what is shown ----------------------------------------------------------------------------------------------------


def mesh_subjects(folder: pathlib.Path, up: str = "y", limit: int | None = None) -> list[Subject]:
    """Mesh files in a folder and its sub-folders, the first of which is a mesh's category.

    Args:
        folder: where to look.
        up: upward axis of the files.
        limit: how many at most, spread over the sorted names; all if None.

    Raises:
        InputError: there is none.
    """
    files = find_meshes(folder)
    if not files:
        raise none_usable(folder, {})
    names = list(files)
    count = min(limit or len(names), len(names))
    subjects = []
    for name in (names[i * len(names) // count] for i in range(count)):
        parts = pathlib.PurePosixPath(name).parts
        category = parts[0] if len(parts) > 1 else "."
        subjects.append(Subject(name, category, f"{files[name]} {up}", functools.partial(_load, folder / name, up)))
    return subjects


def _load(path: pathlib.Path, up: str) -> Mesh:
    return normalise(load_mesh(path, up))


def shape_subjects(count: int, families: Sequence[str] = FAMILIES) -> list[Subject]:
    """Procedural shapes, ``count`` of each family, of seeds that no data set reaches.

    Raises:
        InputError: no family, or an unknown one.
    """
    families = expand(families)
    if coloured := sorted(set(families) & set(COLOURED)):
        raise InputError(f"families: expected those of one colour, got {coloured[0]}; leave it out")
    return [
        Subject(
            f"{family}-{seed}", f"procedural {family}", f"{family} {seed}", functools.partial(make_shape, family, seed)
        )
        for family in families
        for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count)
    ]


# --- targets ----------------------------------------------------------------------------------------------------------


def keep_target(folder: pathlib.Path, subject: Subject, size: int, seed: int) -> pathlib.Path:
    """File of a subject's target with pictures of ``size`` pixels a side, traced unless it is there.

    Raises:
        InputError: the subject can't be used.
    """
    key = [_SCHEMA, subject.name, subject.digest, size, seed]
    path = folder / f"{shards.sha256(json.dumps(key).encode())[:32]}.npz"
    if not path.exists():
        arrays = _trace(subject, size, seed)
        folder.mkdir(exist_ok=True)
        write_atomically(path, shards.pack_shard(arrays))
    return path


def load_target(path: pathlib.Path, subject: Subject) -> Target:
    """The target in a file of :func:`keep_target`. Raises InputError if the file is damaged."""
    kept = load_references(path)
    return Target(
        name=subject.name,
        category=subject.category,
        picture=kept["pictures"][0],
        mask=kept["masks"][0],
        pose=Pose(**shards.decode_poses(kept["pose"])),
        light=Light(*(float(number) for number in kept["light"])),
        grid=kept["coverage"][None],
        binary=kept["binary"][None],
        new_pictures=kept["pictures"][1:],
        new_masks=kept["masks"][1:],
        symmetries=tuple(int(angle) for angle in kept["symmetries"]),
        make=subject.make,
    )


def _trace(subject: Subject, size: int, seed: int) -> dict[str, np.ndarray]:
    mesh = subject.make()
    rng = np.random.default_rng(int(shards.sha256(f"{seed} {subject.name}".encode())[:16], 16))
    pose, light = random_pose(rng, mesh.vertices), random_light(rng)
    scene = build_scene(mesh)
    views = [reference_pictures(scene, view, light, size, ("phong", "mask")) for view in (pose, *new_views(pose))]
    coverage, binary = (voxelise(mesh, GRID, occupancy) for occupancy in ("coverage", "binary"))
    halves = {  # float16 holds voxels and masks exactly, and shades to -80 dB
        "pictures": np.stack([view["phong"] for view in views]),
        "masks": np.stack([view["mask"] for view in views]),
        "coverage": coverage,
        "binary": binary,
    }
    return {
        **{name: array.astype(np.float16) for name, array in halves.items()},
        "pose": shards.encode_pose(pose),
        "light": np.array([light.azimuth, light.elevation, light.ambient, light.intensity], np.float32),
        "symmetries": np.array(symmetries(binary[None]), np.float32),
    }


def random_pose(rng: np.random.Generator, points: np.ndarray) -> Pose:
    """Draw the pose of a target; fields are Python floats, angles in radians.

    The camera is held as people hold it. The object is scaled down until all of it is in the frame and in the camera
    cube's depth, in the new views too.

    Args:
        rng: the only source of chance.
        points: object points ``[N, 3]``, for example a mesh's vertices.
    """
    pose = Pose(
        azimuth=rng.uniform(-math.pi, math.pi),
        elevation=math.radians(rng.uniform(-20.0, 60.0)),
        roll=math.radians(rng.normal(0.0, 5.0)),
        scale=rng.uniform(0.8, 1.2),
        translation=(*rng.uniform(-0.1, 0.1, 2).tolist(), 0.0),
        inverse_distance=rng.uniform(0.0, 0.4),
    )
    points = np.asarray(points, np.float64)
    while not all(_in_frame(points, view) for view in (pose, *new_views(pose))):
        pose = dataclasses.replace(pose, scale=0.96 * pose.scale)
    return pose


def _in_frame(points: np.ndarray, pose: Pose) -> bool:
    q = pose.scale * points @ camera_axes(pose).T + np.asarray(pose.translation)
    picture = q[:, :2] / (1.0 - pose.inverse_distance * q[:, 2:])
    return bool(np.abs(q[:, 2]).max() <= 1.0 and np.abs(picture).max() <= 1.0)


def random_light(rng: np.random.Generator) -> Light:
    """Draw the light of a target, from the camera's side and not from below; fields are Python floats."""
    return Light(
        azimuth=math.radians(rng.uniform(-60.0, 60.0)),
        elevation=math.radians(rng.uniform(0.0, 60.0)),
        ambient=0.1,
        intensity=0.9,
    )


def new_views(pose: Pose) -> list[Pose]:
    """The pose with 8 other azimuths, evenly spread, of which none is its own."""
    turns = [math.radians((k + 0.5) * 360.0 / NEW_VIEWS) for k in range(NEW_VIEWS)]
    return [dataclasses.replace(pose, azimuth=pose.azimuth + turn) for turn in turns]


# --- symmetries -------------------------------------------------------------------------------------------------------


def symmetries(grid: np.ndarray) -> list[int]:
    """Turns about y that leave an object as it is: its voxels, turned, have an IoU of 0.97 or more with themselves.

    Args:
        grid: binary occupancy ``[1, G, G, G, 1]``.

    Returns:
        multiples of 15 degrees in [0, 360), 0 among them, sorted.
    """
    margin = len(grid[0]) // 4  # corners that turn out of the cube are compared, too
    solid = np.pad(grid[0, ..., 0], ((margin, margin), (0, 0), (margin, margin)))
    found = {0}
    for angle in range(SYMMETRY_STEP, 181, SYMMETRY_STEP):
        if voxel_iou(solid > 0.5, turn(solid, angle) > 0.5) >= SYMMETRY_IOU:
            found |= {angle, 360 - angle}  # the way back is a symmetry, too
    return sorted(found)


def turn(grid: np.ndarray, angle_deg: float) -> np.ndarray:
    """Turn what a grid ``[X, Y, Z]`` holds about the y axis through its centre, +z toward +x, sampled linearly.

    What comes from outside the grid is empty.
    """
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    back = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])  # the samplers go from new places to old
    centre = (np.array(grid.shape) - 1.0) / 2.0
    # Not "constant", which drops a border cell that rounding moves out of the grid.
    return scipy.ndimage.affine_transform(grid, back, centre - back @ centre, order=1, mode="grid-constant")


def voxel_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two grids of bools of one shape; 1 where both are empty."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0
