"""A first guess of an upright object's shape and view, from one small picture: where a fit may begin.

Views are told as a choice between sectors of azimuth, each with a pose of its own, since a silhouette alone often
leaves two of them (front and back) open. Shape is a latent of the prior.

Poses are those in a square about the object (:func:`square`), which takes the place of the frame, and as if the camera
looked straight at the object's middle: the square tells nothing of where it lies in a photo. :func:`to_frame` leads
back.
"""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.camera import Pose, rotation
from rendernet_jax.conv import space_to_depth
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Block, Conv, Dense, PReLU
from rendernet_jax.parameters import Wall

SIZE = 96  # pixels on a side of what it looks at
MARGIN = 0.06  # of the frame, on each side of the object's longer side
CHANNELS = 2  # the mask, and brightness as a share of twice its mean over the object
_ANGLES = 3  # azimuth within the sector, elevation, roll
# Of logarithm of scale, place to the right, place up, and inverse distance, which together with the angles are what
# inverse.unknowns.POSE names.
_USUAL_PLACE = (0.5, 0.0, 0.0, 0.1)


@dataclasses.dataclass(frozen=True)
class GuessConfig:
    """Everything that fixes the parameters; hashable."""

    name: str = "first_guess"
    latent: int = 200
    patch: int = 4  # pixels on a side of what the first convolution reads as one
    widths: tuple[int, ...] = (48, 96, 160, 192)  # of stages; before each but the first the picture is halved
    blocks: tuple[int, ...] = (1, 2, 2, 2)  # residual blocks in each
    hidden: int = 512
    sectors: int = 24

    def __post_init__(self):
        """Raise InputError unless each stage has its number of blocks and halves the picture evenly."""
        stages = len(self.widths)
        if not stages or len(self.blocks) != stages or SIZE % (self.patch << (stages - 1)):
            raise InputError(
                f"guess config: expected as many blocks as widths, and {SIZE} pixels that patch and stages divide, got "
                f"widths {self.widths}, blocks {self.blocks} and patch {self.patch}; correct one"
            )


@flax.struct.dataclass
class Guess:
    """What pictures seem to show; N sectors of azimuth, the first centred on azimuth 0."""

    latent: jax.Array  # [B, L], in deviations from the usual: see shape_prior.usual
    log_odds: jax.Array  # [B, N], of the sectors, not normalised
    poses: jax.Array  # [B, N, 7], in each sector, in the square about the object


class Guesser(nnx.Module):
    """Pictures ``[B, SIZE, SIZE, CHANNELS]`` -> rows of latent, sectors and angles, and of places."""

    def __init__(self, config: GuessConfig, *, rngs: nnx.Rngs):
        self.config, inputs = config, CHANNELS
        for i, (factor, width, blocks) in enumerate(self._stages()):
            setattr(self, f"conv{i}", Conv(2, factor**2 * inputs, width, 3, rngs=rngs))
            setattr(self, f"act{i}", PReLU(width))
            for j in range(blocks):
                setattr(self, f"block{i}_{j}", Block(2, width, rngs=rngs))
            inputs = width
        side = SIZE // config.patch >> (len(config.widths) - 1)
        self.dense = Dense(inputs * side**2, config.hidden, rngs=rngs)
        self.act = PReLU(config.hidden)
        self.head = Dense(config.hidden, config.latent + config.sectors * (1 + _ANGLES), rngs=rngs, gain=0.1)
        self.place = Dense(config.hidden, config.sectors * len(_USUAL_PLACE), rngs=rngs, gain=0.1)

    def _stages(self):
        """By what each shrinks the picture, its width, and its number of residual blocks."""
        factors = (self.config.patch, *[2] * (len(self.config.widths) - 1))
        return zip(factors, self.config.widths, self.config.blocks, strict=True)

    def __call__(self, x):
        for i, (factor, _, blocks) in enumerate(self._stages()):
            x = getattr(self, f"act{i}")(getattr(self, f"conv{i}")(space_to_depth(x, factor)))
            for j in range(blocks):
                x = getattr(self, f"block{i}_{j}")(x)
        hidden = self.act(self.dense(x.reshape(len(x), -1)))
        return self.head(hidden), self.place(hidden)


_wall = Wall(lambda config, rngs: Guesser(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> GuessConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    try:
        return GuessConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise InputError(f"weights: expected those of a first guess, got others ({error}); use others") from error


def guess(params: dict, config: GuessConfig, pictures: jax.Array) -> Guess:
    """What pictures ``[B, SIZE, SIZE, CHANNELS]`` seem to show; :func:`crop` makes them."""
    rows, places = bind(params, config)(pictures)
    latent, log_odds, angles = jnp.split(rows, [config.latent, config.latent + config.sectors], axis=1)
    centres = jnp.arange(config.sectors, dtype=jnp.float32) * (2.0 * math.pi / config.sectors)
    angles = angles.reshape(-1, config.sectors, _ANGLES).at[..., 0].add(centres[None])
    places = places.reshape(-1, config.sectors, len(_USUAL_PLACE)) + jnp.asarray([[_USUAL_PLACE]])
    return Guess(latent, log_odds, jnp.concatenate([angles, places], axis=-1))


def guess_symmetric(params: dict, config: GuessConfig, pictures: jax.Array) -> Guess:
    """:func:`guess` of things that are alike on both sides: means of what pictures and their mirror images show.

    Pictures ``[B, SIZE, SIZE, CHANNELS]``.
    """
    one, other = guess(params, config, pictures), guess(params, config, pictures[:, :, ::-1])
    back = -jnp.arange(config.sectors) % config.sectors
    poses = mirror(other.poses[:, back])
    beyond = jnp.round((one.poses[..., 0] - poses[..., 0]) / (2.0 * jnp.pi))  # half a turn
    poses = poses.at[..., 0].add(2.0 * jnp.pi * beyond)
    pairs = (one.latent, other.latent), (one.log_odds, other.log_odds[:, back]), (one.poses, poses)
    return Guess(*(0.5 * (a + b) for a, b in pairs))


def mirror(poses):
    """Pose vectors ``[..., 7]`` of things and pictures that are mirrored, left to right."""
    return poses * np.float32([-1, 1, -1, 1, -1, 1, 1]).reshape((1,) * (poses.ndim - 1) + (-1,))


def sector(config: GuessConfig, azimuth: jax.Array) -> jax.Array:
    """Number of the sector ``[...]`` that an azimuth in radians lies in."""
    return jnp.round(azimuth * (config.sectors / (2.0 * math.pi))).astype(jnp.int32) % config.sectors


def crop(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the network looks at, ``[SIZE, SIZE, CHANNELS]``, of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``.

    The mask must not be empty. Colour, albedo and brightness leave no trace but relative brightness.
    """
    grey = np.asarray(picture, np.float32).mean(-1, keepdims=True)
    return relative(cut(np.concatenate([mask, mask * grey], axis=-1), mask))


def square(mask: np.ndarray) -> np.ndarray:
    """Middle (x, y) and half the side, in the frame ``[-1, 1]^2``, of the square that :func:`cut` takes: ``[3]``.

    A mask ``[S, S, 1]``, which must not be empty, fills it but for margins.
    """
    rows, columns = (np.flatnonzero((mask[..., 0] > 0.5).any(axis)) for axis in (1, 0))
    x, y = (sign * ((side[0] + side[-1] + 1) / len(mask) - 1.0) for sign, side in ((1, columns), (-1, rows)))
    longer = max(side[-1] - side[0] + 1 for side in (rows, columns))
    return np.float32([x, y, longer / len(mask) / (1.0 - 2.0 * MARGIN)])


def cut(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The :func:`square` about the object of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``: ``[SIZE, SIZE, C]``."""
    x, y, half = square(mask)
    scale = SIZE / (half * len(mask))  # of pixels
    shift = jnp.asarray([SIZE / 2 - scale * len(mask) / 2 * (1.0 + place) for place in (-y, x)], jnp.float32)
    shape, picture = (SIZE, SIZE, picture.shape[-1]), np.asarray(picture, np.float32)
    return np.asarray(jax.image.scale_and_translate(picture, shape, (0, 1), jnp.full(2, scale), shift, "linear"))


def to_frame(poses: jax.Array, place: jax.Array) -> jax.Array:
    """Pose vectors ``[..., 7]`` in the frame, of those in a :func:`square` ``[3]``."""
    place = jnp.asarray(place, jnp.float32)
    scale, distance = poses[..., 3:4] + jnp.log(place[2]), poses[..., 6:] / place[2]
    moved = jnp.stack([place[axis] + place[2] * poses[..., 4 + axis] for axis in (0, 1)], axis=-1)
    return jnp.concatenate([_look_aside(poses[..., :3], distance * moved), scale, moved, distance], axis=-1)


def to_square(poses: jax.Array, place: jax.Array) -> jax.Array:
    """The way back from :func:`to_frame`."""
    place = jnp.asarray(place, jnp.float32)
    moved, distance = poses[..., 4:6], poses[..., 6:]
    angles = _look_aside(poses[..., :3], -distance * moved)
    middle = jnp.stack([(moved[..., axis] - place[axis]) / place[2] for axis in (0, 1)], axis=-1)
    return jnp.concatenate([angles, poses[..., 3:4] - jnp.log(place[2]), middle, distance * place[2]], axis=-1)


def _look_aside(angles: jax.Array, off: jax.Array) -> jax.Array:
    """Angles ``[..., 3]`` of what looks the same from a camera that looks past it, by ``off [..., 2]``, radians.

    To first order: a point at (x, y) from the middle and z nearer is then seen at (x, y) + off z.
    """
    right, up, back = jnp.moveaxis(rotation(Pose(*jnp.moveaxis(angles, -1, 0))), -2, 0)
    turned = back + off[..., :1] * right + off[..., 1:] * up
    right, up = right - off[..., :1] * back, up - off[..., 1:] * back
    azimuth = jnp.arctan2(turned[..., 0], turned[..., 2])
    azimuth = azimuth + 2.0 * jnp.pi * jnp.round((angles[..., 0] - azimuth) / (2.0 * jnp.pi))
    elevation = jnp.arctan2(turned[..., 1], jnp.hypot(turned[..., 0], turned[..., 2]))
    level = jnp.stack([jnp.cos(azimuth), jnp.zeros_like(azimuth), -jnp.sin(azimuth)], axis=-1)
    roll = jnp.arctan2(jnp.sum(up * level, -1), jnp.sum(right * level, -1))
    return jnp.stack([azimuth, elevation, roll], axis=-1)


def relative(picture: np.ndarray) -> np.ndarray:
    """Brightness that is premultiplied by the mask ``[S, S, 2]`` as a share of twice its mean over the object."""
    covered, shade = picture[..., :1], picture[..., 1:]
    mean = shade.sum() / max(float(covered.sum()), 1e-6)
    return np.concatenate([covered, np.clip(shade / max(2.0 * mean, 1e-6), 0.0, 2.0)], axis=-1)
