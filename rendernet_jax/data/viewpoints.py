"""Where training views are taken from, and how training shapes are turned and opened."""

import dataclasses
import math

import numpy as np

from rendernet_jax.camera import Pose
from rendernet_jax.data.meshes import Mesh, normalise, take_faces
from rendernet_jax.data.raycast import camera_axes

AXIS_TURNS = 0.35  # share of the shapes turned by one of the 24 axis rotations: lying and z-up objects
FREE_TURNS = 0.1  # share turned by any rotation
OPENED = 0.25  # share of the shapes that lose some faces: real meshes are open more often than not
IN_FRAME = 0.85  # least share of the object's bounding rectangle that lies inside the frame


def random_pose(rng: np.random.Generator, points: np.ndarray) -> Pose:
    """Draw the pose of one training view; fields are Python floats, angles in radians.

    Most views look from where people stand (elevation -30 to 70 degrees, no roll), the rest from anywhere; half are
    orthographic. A pose that takes the object out of the camera cube's depth, or mostly out of the frame, is scaled
    down until it fits.

    Args:
        rng: the only source of chance.
        points: object points ``[N, 3]`` that must stay inside, for example a mesh's vertices.
    """
    azimuth = rng.uniform(-math.pi, math.pi)
    usual = math.radians(rng.uniform(-30.0, 70.0))
    anywhere = math.asin(rng.uniform(-1.0, 1.0))
    elevation = usual if rng.random() < 0.8 else anywhere
    roll = math.radians(rng.normal(0.0, 15.0)) * (rng.random() >= 0.7)
    log_scale = rng.uniform(math.log(0.75), math.log(1.35)) * (rng.random() >= 0.2)
    sideways = np.clip(rng.normal(0.0, 0.05, 2), -0.15, 0.15)
    forward = rng.normal(0.0, 0.03)
    inverse_distance = rng.uniform(0.0, 0.5) * (rng.random() >= 0.5)
    pose = Pose(
        azimuth=float(azimuth),
        elevation=float(elevation),
        roll=float(roll),
        scale=math.exp(log_scale),
        translation=(float(sideways[0]), float(sideways[1]), float(forward)),
        inverse_distance=float(inverse_distance),
    )
    turned = np.asarray(points, np.float64) @ camera_axes(pose).T
    while not _fits(turned, pose):
        pose = dataclasses.replace(pose, scale=pose.scale * 0.96)
    return pose


def _fits(turned: np.ndarray, pose: Pose) -> bool:
    q = pose.scale * turned + np.asarray(pose.translation)
    if np.abs(q[:, 2]).max() > 1.0:
        return False
    q = q[:, :2] / (1.0 - pose.inverse_distance * q[:, 2:])
    low, high = q.min(0), q.max(0)
    shown = np.clip(high, -1, 1) - np.clip(low, -1, 1)
    return bool(shown.prod() >= IN_FRAME * (high - low).prod())


def random_turn(rng: np.random.Generator, mesh: Mesh) -> Mesh:
    """Turn some meshes (see the shares above) about their centre and normalise them again; return most unchanged."""
    draw = rng.random()
    if draw < AXIS_TURNS:
        matrix = axis_rotation(int(rng.integers(24)))
    elif draw < AXIS_TURNS + FREE_TURNS:
        matrix = _random_rotation(rng)
    else:
        return mesh
    return normalise(dataclasses.replace(mesh, vertices=(mesh.vertices @ matrix.T).astype(np.float32)))


def random_opening(rng: np.random.Generator, mesh: Mesh) -> Mesh:
    """Take faces off some meshes (see the share above) and normalise them again; return most unchanged.

    Half of them lose what lies beyond a plane, as a vessel without a lid, half every face that looks one way, which
    makes boards single sheets. Either lets the outside in: what was solid becomes a skin thinner than a voxel.
    """
    if rng.random() >= OPENED:
        return mesh
    direction = rng.normal(size=3) if rng.random() < 0.5 else np.eye(3)[rng.integers(3)] * rng.choice((-1.0, 1.0))
    direction /= np.linalg.norm(direction)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    if rng.random() < 0.5:
        heights = corners.mean(1) @ direction
        span = heights.max() - heights.min()
        kept = heights < heights.max() - rng.uniform(0.0, 0.35) * span - 1e-6
    else:
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        kept = across @ direction < 0.5 * np.linalg.norm(across, axis=1)
    if not kept.any():
        return mesh
    return normalise(take_faces(mesh, kept))


def axis_rotation(index: int) -> np.ndarray:
    """One of the 24 rotations ``[3, 3]`` that map the axes onto each other; 0 is the identity."""
    permutation = [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)][index // 4]
    first, second = (1, -1)[index & 1], (1, -1)[index >> 1 & 1]
    matrix = np.zeros((3, 3))
    matrix[np.arange(3), permutation] = first, second, 1.0
    matrix[2] *= np.linalg.det(matrix)
    return matrix


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Uniform rotation ``[3, 3]``: a normally distributed quaternion, normalised."""
    w, x, y, z = (lambda q: q / np.linalg.norm(q))(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
