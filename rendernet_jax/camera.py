"""Pose and light: the one camera convention of the project (see WORKSPACE.md, "Conventions").

World: right-handed, y up. The camera sits on the direction ``back = (cos e sin a, sin e, cos e cos a)`` for azimuth
``a`` and elevation ``e``; ``right = (cos a, 0, -sin a)``, ``up = back x right``; roll then turns the picture
counter-clockwise. An object point p maps into the camera cube ``[-1, 1]^3`` (right, up, toward the viewer) as
``q = scale * R p + translation``; ``q_xy`` is then divided by ``1 - inverse_distance * q_z``.
Angles are radians; degrees exist only in files and flags, in names that end in ``_deg``.
"""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.errors import InputError


@flax.struct.dataclass
class Pose:
    """Rigid pose, scale and perspective of an object in front of the camera.

    Every field may carry the same leading batch axes ``[...]``; ``jax.vmap`` and ``jax.grad`` see a plain pytree.
    """

    azimuth: jax.Array | float = 0.0  # [...], radians
    elevation: jax.Array | float = 0.0  # [...], radians
    roll: jax.Array | float = 0.0  # [...], radians, counter-clockwise in the picture
    scale: jax.Array | float = 1.0  # [...], camera-cube units per object unit
    translation: jax.Array | tuple = (0.0, 0.0, 0.0)  # [..., 3], camera-cube units (right, up, toward the viewer)
    inverse_distance: jax.Array | float = 0.0  # [...], 0 <= d < 1; 0 is orthographic

    def __getitem__(self, index):
        """Select along the leading batch axis of every field. Raises IndexError beyond its end, which ends a loop."""
        pose = broadcast(self)
        if isinstance(index, (int, np.integer)) and not -len(pose.azimuth) <= index < len(pose.azimuth):
            raise IndexError(f"pose {index} of {len(pose.azimuth)}")
        return jax.tree.map(lambda x: x[index], pose)


@flax.struct.dataclass
class Light:
    """One directional light in camera axes: azimuth = elevation = 0 is a headlight."""

    azimuth: jax.Array | float = 0.0  # [...], radians
    elevation: jax.Array | float = 0.0  # [...], radians
    ambient: jax.Array | float = 0.1  # [...]
    intensity: jax.Array | float = 0.9  # [...]


POSE_KEYS = ("azimuth_deg", "elevation_deg", "roll_deg", "scale", "translation", "inverse_distance")
LIGHT_KEYS = ("light_azimuth_deg", "light_elevation_deg")


def broadcast(pose: Pose) -> Pose:
    """Pose whose fields are float32 arrays sharing one batch shape ``[...]`` (translation ``[..., 3]``).

    Raises:
        InputError: translation does not end in an axis of 3, or the batch axes do not broadcast.
    """
    translation = jnp.asarray(pose.translation, jnp.float32)
    scalars = {
        f.name: jnp.asarray(getattr(pose, f.name), jnp.float32)
        for f in dataclasses.fields(pose)
        if f.name != "translation"
    }
    shapes = {name: s.shape for name, s in scalars.items()}
    try:
        shape = jnp.broadcast_shapes(translation.shape[:-1], *shapes.values())
    except ValueError:
        shape = None
    if shape is None or translation.shape[-1:] != (3,):
        raise InputError(
            f"pose: expected fields of one batch shape [...] and translation [..., 3], got {shapes} and translation "
            f"{translation.shape}; repeat or stack them"
        )
    scalars = {name: jnp.broadcast_to(s, shape) for name, s in scalars.items()}
    return Pose(translation=jnp.broadcast_to(translation, (*shape, 3)), **scalars)


def stack(items: list):
    """A list of poses or lights -> one pytree with a leading axis."""
    items = [broadcast(i) if isinstance(i, Pose) else i for i in items]
    return jax.tree.map(lambda *xs: jnp.stack([jnp.asarray(x, jnp.float32) for x in xs]), *items)


def direction(azimuth, elevation) -> jax.Array:
    """Unit vector(s) ``(cos e sin a, sin e, cos e cos a)`` of shape ``[..., 3]`` for angles ``[...]`` in radians."""
    a, e = jnp.broadcast_arrays(jnp.asarray(azimuth, jnp.float32), jnp.asarray(elevation, jnp.float32))
    return jnp.stack([jnp.cos(e) * jnp.sin(a), jnp.sin(e), jnp.cos(e) * jnp.cos(a)], axis=-1)


def half_turn(angle: jax.Array) -> jax.Array:
    """The same angles ``[...]``, radians, from minus half a turn to half a turn."""
    return jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi


def rotation(pose: Pose) -> jax.Array:
    """World-to-camera rotation ``[..., 3, 3]`` of a pose; rows are right, up and back (roll included)."""
    pose = broadcast(pose)
    a, r = pose.azimuth, pose.roll
    back = direction(a, pose.elevation)
    right = jnp.stack([jnp.cos(a), jnp.zeros_like(a), -jnp.sin(a)], axis=-1)
    up = jnp.cross(back, right)
    cos, sin = jnp.cos(r)[..., None], jnp.sin(r)[..., None]
    return jnp.stack([cos * right - sin * up, sin * right + cos * up, back], axis=-2)


def to_camera(points: jax.Array, pose: Pose) -> jax.Array:
    """Object points ``[..., N, 3]`` -> picture position and depth ``(q_x, q_y, q_z)``, perspective applied."""
    pose = broadcast(pose)
    q = jnp.einsum("...ij,...nj->...ni", rotation(pose), points, precision="highest")
    q = pose.scale[..., None, None] * q + pose.translation[..., None, :]
    divisor = 1.0 - pose.inverse_distance[..., None, None] * q[..., 2:]
    return jnp.concatenate([q[..., :2] / divisor, q[..., 2:]], axis=-1)


def rays(x, y, pose: Pose) -> tuple[list[jax.Array], list[jax.Array]]:
    """Columns of the frame in the object frame: origin and direction, by components, of ``origin + q_z * direction``.

    A column is straight under perspective too. ``x`` and ``y`` are q_x and q_y after perspective, arrays that broadcast
    against each other; the pose is unbatched. Written elementwise so that XLA fuses it into whatever reads the result.
    """
    pose = broadcast(pose)
    matrix = rotation(pose)
    start = [(q - pose.translation[i]) / pose.scale for i, q in enumerate((x, y, jnp.zeros(())))]
    step = [q / pose.scale for q in (-pose.inverse_distance * x, -pose.inverse_distance * y, jnp.ones(()))]
    turn = lambda q: [matrix[0, i] * q[0] + matrix[1, i] * q[1] + matrix[2, i] * q[2] for i in range(3)]  # noqa: E731
    return turn(start), turn(step)


def unproject(x, y, z, pose: Pose) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Inverse of :func:`to_camera` by components: ``(q_x, q_y, q_z)`` after perspective -> object ``(x, y, z)``.

    The components are arrays that broadcast against each other; the pose is unbatched.
    """
    return tuple(origin + z * direction for origin, direction in zip(*rays(x, y, pose), strict=True))


# --- degrees, for flags and files -----------------------------------------------------------------------------------


def pose_from_degrees(
    azimuth_deg=0.0, elevation_deg=0.0, roll_deg=0.0, scale=1.0, translation=(0.0, 0.0, 0.0), inverse_distance=0.0
) -> Pose:
    """Pose from the keys that flags and files use.

    Raises:
        InputError: a value is not finite, ``scale <= 0``, or ``inverse_distance`` is outside [0, 1).
    """
    values = dict(
        azimuth_deg=azimuth_deg,
        elevation_deg=elevation_deg,
        roll_deg=roll_deg,
        scale=scale,
        inverse_distance=inverse_distance,
    )
    for name, value in values.items():
        values[name] = _finite(name, value, ())
    offset = _finite("translation", translation, (3,))
    if values["scale"] <= 0:
        raise InputError(f"scale: expected a number above 0, got {scale}; 1 shows the object at half the frame")
    if not 0 <= values["inverse_distance"] < 1:
        raise InputError(f"inverse_distance: expected 0 <= d < 1, got {inverse_distance}; 0 is orthographic")
    return Pose(
        azimuth=math.radians(values["azimuth_deg"]),
        elevation=math.radians(values["elevation_deg"]),
        roll=math.radians(values["roll_deg"]),
        scale=float(values["scale"]),
        translation=tuple(float(x) for x in offset),
        inverse_distance=float(values["inverse_distance"]),
    )


def pose_to_degrees(pose: Pose) -> dict:
    """Unbatched pose -> dict with the keys of :data:`POSE_KEYS`, plain Python numbers."""
    return {
        "azimuth_deg": math.degrees(float(pose.azimuth)),
        "elevation_deg": math.degrees(float(pose.elevation)),
        "roll_deg": math.degrees(float(pose.roll)),
        "scale": float(pose.scale),
        "translation": [float(x) for x in np.asarray(pose.translation)],
        "inverse_distance": float(pose.inverse_distance),
    }


def light_from_degrees(light_azimuth_deg=35.0, light_elevation_deg=40.0) -> Light:
    """Light from the keys that flags and files use. Raises InputError if an angle is not finite."""
    azimuth = _finite("light_azimuth_deg", light_azimuth_deg, ())
    elevation = _finite("light_elevation_deg", light_elevation_deg, ())
    return Light(azimuth=math.radians(azimuth), elevation=math.radians(elevation))


def light_to_degrees(light: Light) -> dict:
    """Unbatched light -> dict with the keys of :data:`LIGHT_KEYS`."""
    return {
        "light_azimuth_deg": math.degrees(float(light.azimuth)),
        "light_elevation_deg": math.degrees(float(light.elevation)),
    }


def pose_from_original(azimuth_deg: float, polar_deg: float, radius: float) -> Pose:
    """Pose from the 2018 code's file name ``..._p{azimuth}_t{polar}_r{radius}``.

    azimuth = 90 - p, elevation = 90 - t, scale = 3.3 / r. Its grid turned about voxel index 32, half a voxel off the
    centre of the grid; here an object always turns about its centre.

    Raises:
        InputError: a value is not finite, or ``radius <= 0``.
    """
    if _finite("radius", radius, ()) <= 0:
        raise InputError(f"radius: expected a number above 0, got {radius}; correct the file name")
    return pose_from_degrees(azimuth_deg=90.0 - azimuth_deg, elevation_deg=90.0 - polar_deg, scale=3.3 / radius)


def _finite(name: str, value, shape: tuple) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    # Neither words nor truths, nor whole numbers that no float holds.
    if array.dtype.kind not in "iuf" or array.shape != shape or not np.isfinite(array).all():
        wanted = f"{'x'.join(map(str, shape))} finite numbers" if shape else "a finite number"
        raise InputError(f"{name}: expected {wanted}, got {value!r}; correct the pose")
    return array.astype(np.float64)


# --- 4x4 matrices of other software ---------------------------------------------------------------------------------


def pose_to_opengl(pose: Pose) -> tuple[np.ndarray, float]:
    """Unbatched pose -> (world-to-camera matrix ``[4, 4]`` with x right, y up, z backward; field of view in radians).

    The pinhole stands at distance ``1/d`` before the camera cube's centre, so that ``tan(fov / 2) = d``. For an
    orthographic pose the field of view is 0, the camera stands 2 cube units away, and half the frame is ``1 / scale``.
    """
    distance = 1.0 / float(pose.inverse_distance) if float(pose.inverse_distance) > 0 else 2.0
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(rotation(pose), np.float64)
    matrix[:3, 3] = (np.asarray(pose.translation, np.float64) - [0, 0, distance]) / float(pose.scale)
    return matrix, 2.0 * math.atan(float(pose.inverse_distance))


def pose_from_opengl(matrix, fov: float = 0.0, half_height: float = 1.0) -> Pose:
    """Inverse of :func:`pose_to_opengl`, for any rigid world-to-camera matrix and a square picture.

    Args:
        matrix: ``[4, 4]``, x right, y up, z backward; the object is the unit cube about the world's origin.
        fov: full field of view in radians, below pi/2; 0 means orthographic.
        half_height: half the frame in world units, used by an orthographic camera only.

    The camera cube is centred in depth on the world's origin; this does not change the picture.

    Raises:
        InputError: the matrix is not rigid, the origin is not before a pinhole camera, or fov or half_height is out
            of range.
    """
    matrix = _finite("matrix", matrix, (4, 4))
    rigid = np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-4)
    if not rigid or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-4):
        raise InputError(
            f"matrix: expected a rigid world-to-camera matrix with last row 0 0 0 1, got {matrix.tolist()}; "
            "remove its scale, or transpose it"
        )
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise InputError("matrix: expected a right-handed rotation, got a reflection; flip one axis")
    if not 0 <= fov < math.pi / 2:
        raise InputError(f"fov: expected 0 <= fov < pi/2 radians, got {fov}; wider views leave the camera cube")
    back = matrix[2, :3]
    azimuth, elevation = math.atan2(back[0], back[2]), math.atan2(back[1], math.hypot(back[0], back[2]))
    unrolled = np.asarray(rotation(Pose(azimuth=azimuth, elevation=elevation)), np.float64)
    turn = matrix[:3, :3] @ unrolled.T
    d = math.tan(fov / 2)
    if d > 0 and matrix[2, 3] >= 0:
        raise InputError(f"matrix: expected the origin before the camera (z < 0), got z = {matrix[2, 3]:.3g}")
    if not 0 < half_height < math.inf:
        raise InputError(f"half_height: expected a number above 0, got {half_height}; it is half the frame's side")
    scale = -1.0 / (d * matrix[2, 3]) if d > 0 else 1.0 / half_height
    return Pose(
        azimuth=azimuth,
        elevation=elevation,
        roll=math.atan2(turn[1, 0], turn[0, 0]),
        scale=scale,
        translation=(scale * matrix[0, 3], scale * matrix[1, 3], 0.0),
        inverse_distance=d,
    )


_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y down, z forward


def pose_to_opencv(pose: Pose) -> tuple[np.ndarray, float]:
    """As :func:`pose_to_opengl`, with x right, y down, z forward."""
    matrix, fov = pose_to_opengl(pose)
    return _OPENCV @ matrix, fov


def pose_from_opencv(matrix, fov: float = 0.0, half_height: float = 1.0) -> Pose:
    """As :func:`pose_from_opengl`, for a matrix with x right, y down, z forward."""
    return pose_from_opengl(_OPENCV @ _finite("matrix", matrix, (4, 4)), fov, half_height)


def look_at_matrix(eye, target=(0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0)) -> np.ndarray:
    """World-to-camera OpenGL matrix ``[4, 4]`` of a camera at ``eye`` that looks at ``target``.

    Raises:
        InputError: not three finite numbers each, eye equals target, or ``up`` is parallel to the viewing direction.
    """
    eye, target, up = _finite("eye", eye, (3,)), _finite("target", target, (3,)), _finite("up", up, (3,))
    back = eye - target
    right = np.cross(up, back)
    if np.linalg.norm(back) < 1e-9 or np.linalg.norm(right) < 1e-9 * np.linalg.norm(back):
        raise InputError(f"look_at: eye {eye}, target {target} and up {up} leave no frame; choose another up or eye")
    back, right = back / np.linalg.norm(back), right / np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def pose_from_look_at(eye, target=(0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0), fov: float = 0.0, half_height=1.0) -> Pose:
    """Pose of a camera at ``eye`` (world units) looking at ``target``; see :func:`pose_from_opengl` for the rest."""
    return pose_from_opengl(look_at_matrix(eye, target, up), fov, half_height)


def pose_to_look_at(pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Unbatched pose -> (eye ``[3]``, target ``[3]``, up ``[3]``, field of view in radians)."""
    matrix, fov = pose_to_opengl(pose)
    rotation_, offset = matrix[:3, :3], matrix[:3, 3]
    eye = -rotation_.T @ offset
    distance = np.linalg.norm(offset)
    return eye, eye - distance * rotation_[2], rotation_[1], fov
