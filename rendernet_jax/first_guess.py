"""A first guess of an upright object's shape and view, from one small picture: where a fit may begin.

Views are told as a choice between sectors of azimuth, each with an elevation and a roll of its own, since a silhouette
alone often leaves two of them (front and back) open. Shape is a latent of the prior.
"""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.conv import space_to_depth
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Block, Conv, Dense, PReLU
from rendernet_jax.parameters import Wall

SIZE = 96  # pixels on a side of what it looks at
MARGIN = 0.06  # of the frame, on each side of the object's longer side
CHANNELS = 2  # the mask, and brightness as a share of twice its mean over the object
_ANGLES = 3  # azimuth within the sector, elevation, roll


@dataclasses.dataclass(frozen=True)
class GuessConfig:
    """Everything that fixes the parameters; hashable."""

    name: str = "first_guess"
    latent: int = 200
    patch: int = 4  # pixels on a side of what the first convolution reads as one
    widths: tuple[int, ...] = (48, 96, 160, 192)  # of stages; before each but the first the picture is halved
    blocks: tuple[int, ...] = (0, 1, 1, 1)  # residual blocks in each
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
    angles: jax.Array  # [B, N, 3], azimuth, elevation and roll in each sector, radians


class Guesser(nnx.Module):
    """Pictures ``[B, SIZE, SIZE, CHANNELS]`` -> latents and sectors, as one row of numbers each."""

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

    def _stages(self):
        """By what each shrinks the picture, its width, and its number of residual blocks."""
        factors = (self.config.patch, *[2] * (len(self.config.widths) - 1))
        return zip(factors, self.config.widths, self.config.blocks, strict=True)

    def __call__(self, x):
        for i, (factor, _, blocks) in enumerate(self._stages()):
            x = getattr(self, f"act{i}")(getattr(self, f"conv{i}")(space_to_depth(x, factor)))
            for j in range(blocks):
                x = getattr(self, f"block{i}_{j}")(x)
        return self.head(self.act(self.dense(x.reshape(len(x), -1))))


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
    rows = bind(params, config)(pictures)
    latent, log_odds, angles = jnp.split(rows, [config.latent, config.latent + config.sectors], axis=1)
    angles = angles.reshape(-1, config.sectors, _ANGLES)
    centres = jnp.arange(config.sectors, dtype=jnp.float32) * (2.0 * math.pi / config.sectors)
    return Guess(latent, log_odds, angles.at[..., 0].add(centres[None]))


def guess_symmetric(params: dict, config: GuessConfig, pictures: jax.Array) -> Guess:
    """:func:`guess` of things that are alike on both sides: means of what pictures and their mirror images show.

    Pictures ``[B, SIZE, SIZE, CHANNELS]``, angles in radians.
    """
    one, other = guess(params, config, pictures), guess(params, config, pictures[:, :, ::-1])
    back = -jnp.arange(config.sectors) % config.sectors
    angles = other.angles[:, back] * jnp.asarray([[[-1.0, 1.0, -1.0]]])
    angles = angles + 2.0 * jnp.pi * jnp.round((one.angles - angles) / (2.0 * jnp.pi))  # azimuths beyond half a turn
    pairs = (one.latent, other.latent), (one.log_odds, other.log_odds[:, back]), (one.angles, angles)
    return Guess(*(0.5 * (a + b) for a, b in pairs))


def sector(config: GuessConfig, azimuth: jax.Array) -> jax.Array:
    """Number of the sector ``[...]`` that an azimuth in radians lies in."""
    return jnp.round(azimuth * (config.sectors / (2.0 * math.pi))).astype(jnp.int32) % config.sectors


def crop(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the network looks at, ``[SIZE, SIZE, CHANNELS]``, of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``.

    The mask must not be empty. Colour, albedo and brightness leave no trace but relative brightness.
    """
    grey = np.asarray(picture, np.float32).mean(-1, keepdims=True)
    return relative(cut(np.concatenate([mask, mask * grey], axis=-1), mask))


def cut(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The square of a picture ``[S, S, C]`` that a mask ``[S, S, 1]`` fills but for margins, ``[SIZE, SIZE, C]``."""
    rows, columns = (np.flatnonzero((mask[..., 0] > 0.5).any(axis)) for axis in (1, 0))
    middle = [0.5 * (side[0] + side[-1] + 1) for side in (rows, columns)]
    scale = SIZE * (1.0 - 2.0 * MARGIN) / max(side[-1] - side[0] + 1 for side in (rows, columns))
    shift = jnp.asarray([SIZE / 2 - scale * m for m in middle], jnp.float32)
    shape, picture = (SIZE, SIZE, picture.shape[-1]), np.asarray(picture, np.float32)
    return np.asarray(jax.image.scale_and_translate(picture, shape, (0, 1), jnp.full(2, scale), shift, "linear"))


def relative(picture: np.ndarray) -> np.ndarray:
    """Brightness that is premultiplied by the mask ``[S, S, 2]`` as a share of twice its mean over the object."""
    covered, shade = picture[..., :1], picture[..., 1:]
    mean = shade.sum() / max(float(covered.sum()), 1e-6)
    return np.concatenate([covered, np.clip(shade / max(2.0 * mean, 1e-6), 0.0, 2.0)], axis=-1)
