"""What the mouse means: the browser's camera as a pose, and back; a place in the picture as a light."""

import math

import numpy as np

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose

INVERSE_DISTANCE = 0.3  # of the first view: half the tangent of what a portrait lens sees
_LEAST_DISTANCE = 0.05  # inverse; a browser's camera cannot be orthographic
_STEEP = 0.05  # cosine of the elevation below which a camera looks along the object's y axis
SCALES = (0.25, 1.15)  # beyond the larger, corners of the object leave the camera cube


def field_of_view(inverse_distance: float) -> float:
    """Vertical field of view in radians."""
    return 2.0 * math.atan(max(inverse_distance, _LEAST_DISTANCE))


def distances(inverse_distance: float = INVERSE_DISTANCE) -> tuple[float, float]:
    """Nearest and farthest camera, in object units from the object's centre, for :data:`SCALES`."""
    return 1.0 / (inverse_distance * SCALES[1]), 1.0 / (inverse_distance * SCALES[0])


def pose_of_camera(wxyz, position, fov: float) -> Pose:
    """Pose of plain numbers that a camera sees the object in.

    Args:
        wxyz: unit quaternion that turns camera axes (x right, y down, z forward) into the object's.
        position: ``[3]`` of the camera, object units.
        fov: vertical field of view in radians.

    Raises:
        InputError: the camera does not look at the object, or lies in it.
    """
    w, x, y, z = np.asarray(wxyz, np.float64)
    turn = np.array(  # columns: the camera's axes
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.T, -turn.T @ np.asarray(position, np.float64)
    pose = camera.pose_from_opencv(matrix, fov)
    return pose.replace(scale=min(max(pose.scale, SCALES[0]), SCALES[1]))


def light_under(x: float, y: float, light: Light) -> Light:
    """``light`` with the direction of one that is held over a place in the picture; plain numbers.

    Over the middle it is a headlight; half the picture's height away it comes from that side, and further out more and
    more from behind, until it is right behind the object at twice that.

    Args:
        x, y: right and up from the picture's middle, in halves of its height.
        light: gives the rest.
    """
    distance = math.hypot(x, y)
    angle = 0.5 * math.pi * min(distance, 2.0)  # from the line of sight
    sideways = math.sin(angle) / max(distance, 1e-9)
    azimuth = math.atan2(sideways * x, math.cos(angle))
    return light.replace(azimuth=azimuth, elevation=math.asin(min(1.0, max(-1.0, sideways * y))))


def camera_of_pose(pose: Pose) -> dict[str, np.ndarray | float]:
    """``position``, ``look_at``, ``up_direction`` ``[3]`` and ``fov`` of a camera that sees the object in this pose.

    One with (nearly) no perspective gets a little. ``up_direction`` is the axis that the mouse orbits about: the
    object's y axis, tilted by the roll.
    """
    d = max(float(pose.inverse_distance), _LEAST_DISTANCE)
    position, look_at, up, fov = camera.pose_to_look_at(pose.replace(inverse_distance=d))
    back = (position - look_at) / np.linalg.norm(position - look_at)
    if abs(math.cos(pose.elevation)) > _STEEP:  # else the axis points at the camera
        up = math.cos(pose.elevation) * up + math.sin(pose.elevation) * back
    return {"position": position, "look_at": look_at, "up_direction": up, "fov": fov}
