"""What is fitted, as vectors that an optimiser may move freely, and the bounds they are held to."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.camera import Light, Pose, direction

POSE = ("azimuth", "elevation", "roll", "log_scale", "right", "up", "inverse_distance")
LIGHT = ("azimuth", "elevation", "ambient")
FIRST_DISTANCE = 0.15  # inverse, of poses to begin with: between orthographic and a wide angle
# Least and largest numbers of poses.
BOUNDS = (
    np.float32([-np.inf, -np.inf, -np.inf, -2.5, -1.0, -1.0, 0.0]),
    np.float32([np.inf, np.inf, np.inf, 1.5, 1.0, 1.0, 0.8]),
)
_AMBIENT = (0.0, 1.0)
ALBEDO = (0.02, 2.0)


@flax.struct.dataclass
class Unknowns:
    """Pose, light, colour and, unless it is known, shape of one object, or of several with leading axes ``[...]``.

    The depth of an orthographic object can't be seen, and that of another is hardly told from its scale: it stays 0.
    Ambient light and intensity add up to 1; the albedo carries the scale.
    """

    pose: jax.Array  # [..., 7], in the order of POSE; angles in radians
    light: jax.Array  # [..., 3], in the order of LIGHT
    albedo: jax.Array  # [..., C]
    latent: jax.Array | None = None  # [..., L] of the shape prior; None where the shape is known, or told by cells
    texture: jax.Array | None = None  # [..., V], texture vector; None where the object is of one colour
    cells: jax.Array | None = None  # [..., G, G, G, 1], coverage, where the shape is not told by a latent


def stacked(point: Unknowns) -> Unknowns:
    """One point as a list of one."""
    return jax.tree.map(lambda x: x[None], point)


def to_pose(vector: jax.Array) -> Pose:
    """Pose of a vector ``[..., 7]``."""
    azimuth, elevation, roll, log_scale, right, up, inverse_distance = jnp.moveaxis(vector, -1, 0)
    translation = jnp.stack([right, up, jnp.zeros_like(up)], axis=-1)
    return Pose(azimuth, elevation, roll, jnp.exp(log_scale), translation, inverse_distance)


def to_light(vector: jax.Array) -> Light:
    """Light of a vector ``[..., 3]``."""
    azimuth, elevation, ambient = jnp.moveaxis(vector, -1, 0)
    return Light(azimuth, elevation, ambient, 1.0 - ambient)


def from_pose(pose: Pose) -> jax.Array:
    """Vector ``[7]`` of an unbatched pose, whose depth is left out."""
    numbers = [pose.azimuth, pose.elevation, pose.roll, jnp.log(jnp.asarray(pose.scale, jnp.float32))]
    numbers += [pose.translation[0], pose.translation[1], pose.inverse_distance]
    return jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers])


def from_light(light: Light) -> jax.Array:
    """Vector ``[3]`` of an unbatched light, whose brightness is left to the albedo."""
    share = light.ambient / (light.ambient + light.intensity)
    return jnp.stack([jnp.asarray(number, jnp.float32) for number in (light.azimuth, light.elevation, share)])


def clip_pose(vector: jax.Array) -> jax.Array:
    """The nearest vector ``[..., 7]`` within bounds."""
    return jnp.clip(vector, *(bound.reshape((1,) * (vector.ndim - 1) + (-1,)) for bound in BOUNDS))


def clip(unknowns: Unknowns) -> Unknowns:
    """The nearest unknowns within bounds."""
    ambient = jnp.clip(unknowns.light[..., 2:], *_AMBIENT)
    light = jnp.concatenate([unknowns.light[..., :2], ambient], axis=-1)
    return unknowns.replace(pose=clip_pose(unknowns.pose), light=light, albedo=jnp.clip(unknowns.albedo, *ALBEDO))


def light_angles(toward_light: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Azimuth and elevation ``[...]`` of directions ``[..., 3]`` of any length."""
    unit = toward_light / jnp.maximum(jnp.linalg.norm(toward_light, axis=-1, keepdims=True), 1e-9)
    return jnp.arctan2(unit[..., 0], unit[..., 2]), jnp.arcsin(jnp.clip(unit[..., 1], -1.0, 1.0))


def sphere(count: int) -> tuple[jax.Array, jax.Array]:
    """Azimuth and elevation ``[count]`` of directions spread evenly over the sphere (a Fibonacci lattice)."""
    index = jnp.arange(count, dtype=jnp.float32)
    elevation = jnp.arcsin(1.0 - (2.0 * index + 1.0) / count)
    azimuth = jnp.mod(index * (jnp.pi * (3.0 - jnp.sqrt(5.0))), 2.0 * jnp.pi)
    return light_angles(direction(azimuth, elevation))
