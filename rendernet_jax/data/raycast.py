"""Rays against a mesh: what each sub-sample of a view hits. Open3D casts them, on the CPU.

The ray of the frame point (u, v) runs from (u, v, q_z = +1) to (u, v, q_z = -1), both mapped to object space. The
camera map is affine in q_z before its perspective division, so that the pinhole's rays are straight lines too, and a
hit at the fraction t of the ray has q_z = 1 - 2t. What lies outside the camera cube is neither seen nor hides anything.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from rendernet_jax.camera import Pose
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Scene:
    """A mesh made ready for ray tracing; make it with :func:`build_scene`."""

    raycaster: Any  # open3d.t.geometry.RaycastingScene
    mesh: Mesh
    face_normals: np.ndarray  # float32 [F, 3], unit, object axes, either side
    longest_side: float  # of the bounding box, object units


@dataclasses.dataclass(frozen=True)
class Hits:
    """The N covered sub-samples of a picture of ``side`` x ``side`` sub-samples."""

    side: int
    index: np.ndarray  # [N], row-major position
    depth: np.ndarray  # [N], q_z
    normal: np.ndarray  # [N, 3], unit, object axes, facing the viewer
    point: np.ndarray  # [N, 3], object space
    face: np.ndarray  # [N]
    uv: np.ndarray  # [N, 2], weights of the face's second and third corner


def build_scene(mesh: Mesh) -> Scene:
    """Build the ray tracer of a mesh, in the mesh's own coordinates.

    Raises:
        InputError: the mesh is empty, or has a vertex that is not finite or an index out of range.
    """
    o3d = import_open3d()

    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if len(vertices) == 0 or len(faces) == 0:
        raise InputError(f"mesh: expected faces, got {len(vertices)} vertices and {len(faces)} faces; check the file")
    if not np.isfinite(vertices).all():
        raise InputError("mesh: expected finite vertices, got nan or inf; repair the file")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"mesh: expected indices in [0, {len(vertices)}), got {faces.min()} to {faces.max()}; repair the file"
        )
    raycaster = o3d.t.geometry.RaycastingScene()
    raycaster.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(faces, np.uint32)),
    )
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-300)
    return Scene(
        raycaster=raycaster,
        mesh=mesh,
        face_normals=normals.astype(np.float32),
        longest_side=float(np.ptp(vertices, axis=0).max()),
    )


FRAME = (0.0, 0.0, 1.0)  # as a window


def cast_view(scene: Scene, pose: Pose, size: int, supersample: int, threads: int, window=FRAME) -> Hits:
    """Cast ``size * supersample`` squared rays through one view; ``threads`` 0 uses every core.

    ``window`` is the square of the frame that they cover: u and v of its centre, and half its side.

    Raises:
        InputError: size or supersample is below 1, or the pose has batch axes.
    """
    o3d = import_open3d()

    if size < 1 or supersample < 1:
        raise InputError(f"size, supersample: expected 1 or more, got {size}, {supersample}")
    side = size * supersample
    rays = _make_rays(pose, side, window)
    answer = scene.raycaster.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=threads)
    t = answer["t_hit"].numpy().reshape(-1)
    index = np.flatnonzero(t <= 1.0)
    t, ray = t[index], rays.reshape(-1, 6)[index]
    face = answer["primitive_ids"].numpy().reshape(-1)[index]
    normal = scene.face_normals[face]
    away = np.einsum("ni,ni->n", normal, ray[:, 3:]) > 0
    normal[away] *= -1.0
    return Hits(
        side=side,
        index=index,
        depth=1.0 - 2.0 * t,
        normal=normal,
        point=ray[:, :3] + t[:, None] * ray[:, 3:],
        face=face,
        uv=answer["primitive_uvs"].numpy().reshape(-1, 2)[index],
    )


def _make_rays(pose: Pose, side: int, window) -> np.ndarray:
    """Rays [side, side, 6] (origin, direction) through the centres; t = 0 is q_z = 1 and t = 1 is q_z = -1."""
    # Both ends are affine in (u, v): three frame points settle them, and float64 is kept until the sum.
    ends = frame_to_object([[(u, v, z) for z in (1.0, -1.0)] for u, v in ((0, 0), (1, 0), (0, 1))], pose)
    ends[:, 1] -= ends[:, 0]
    middle, along_u, along_v = ends.reshape(3, 6)
    along_u, along_v = along_u - middle, along_v - middle
    centre_u, centre_v, half = window
    steps = half * ((2.0 * np.arange(side) + 1.0) / side - 1.0)
    rows, columns = middle + (centre_v - steps[:, None]) * along_v, (centre_u + steps[:, None]) * along_u
    rays = np.empty((side, side, 6), np.float32)
    return np.add(rows[:, None], columns[None], out=rays, casting="same_kind")


# --- the pose, in float64 -------------------------------------------------------------------------------------------


def camera_axes(pose: Pose) -> np.ndarray:
    """World-to-camera rotation [3, 3]; rows right, up, back. :func:`rendernet_jax.camera.rotation` in float64."""
    a, e, r = (scalar(f"pose.{name}", getattr(pose, name)) for name in ("azimuth", "elevation", "roll"))
    back = direction(a, e)
    right = np.array([math.cos(a), 0.0, -math.sin(a)])
    up = np.cross(back, right)
    cos, sin = math.cos(r), math.sin(r)
    return np.stack([cos * right - sin * up, sin * right + cos * up, back])


def frame_to_object(frame, pose: Pose) -> np.ndarray:
    """Inverse of :func:`rendernet_jax.camera.to_camera`, in float64: frame [..., 3] -> object points [..., 3]."""
    frame = np.asarray(frame, np.float64)
    scale, inverse_distance = (scalar(f"pose.{name}", getattr(pose, name)) for name in ("scale", "inverse_distance"))
    translation = np.asarray(pose.translation, np.float64)
    if translation.shape != (3,):
        raise InputError(f"pose.translation: expected 3 numbers, got {translation.shape}; trace one view at a time")
    q = frame.copy()
    q[..., :2] *= 1.0 - inverse_distance * frame[..., 2:]
    return (q - translation) / scale @ camera_axes(pose)


def direction(azimuth: float, elevation: float) -> np.ndarray:
    """:func:`rendernet_jax.camera.direction` in float64: unit vector [3]."""
    return np.array(
        [math.cos(elevation) * math.sin(azimuth), math.sin(elevation), math.cos(elevation) * math.cos(azimuth)]
    )


def scalar(name: str, value) -> float:
    """A pose's or light's field as a float. Raises InputError if it has batch axes."""
    value = np.asarray(value, np.float64)
    if value.ndim:
        raise InputError(f"{name}: expected one number, got shape {value.shape}; trace one view at a time")
    return float(value)
