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
from rendernet_jax.layers import Conv, Dense, PReLU
from rendernet_jax.parameters import Wall

SIZE = 48  # pixels on a side of what it looks at
MARGIN = 0.06  # of the frame, on each side of the object's longer side
CHANNELS = 2  # the mask, and brightness as a share of twice its mean over the object
_ANGLES = 3  # azimuth within the sector, elevation, roll


@dataclasses.dataclass(frozen=True)
class GuessConfig:
    """Everything that fixes the parameters; hashable."""

    name: str = "first_guess"
    latent: int = 200
    widths: tuple[int, ...] = (32, 64, 128, 256)  # of convolutions, before each of which the picture is halved
    hidden: int = 512
    sectors: int = 24


@flax.struct.dataclass
class Guess:
    """What pictures seem to show; N sectors of azimuth, the first centred on azimuth 0."""

    latent: jax.Array  # [B, L], in deviations from the usual: see shape_prior.usual
    log_odds: jax.Array  # [B, N], of the sectors, not normalised
    angles: jax.Array  # [B, N, 3], azimuth, elevation and roll in each sector, radians


class Guesser(nnx.Module):
    """Pictures ``[B, SIZE, SIZE, CHANNELS]`` -> latents and sectors, as one row of numbers each."""

    def __init__(self, config: GuessConfig, *, rngs: nnx.Rngs):
        self.count, inputs = len(config.widths), CHANNELS
        for i, width in enumerate(config.widths):
            setattr(self, f"conv{i}", Conv(2, 4 * inputs, width, 3, rngs=rngs))
            setattr(self, f"act{i}", PReLU(width))
            inputs = width
        self.dense = Dense(inputs * (SIZE >> self.count) ** 2, config.hidden, rngs=rngs)
        self.act = PReLU(config.hidden)
        self.head = Dense(config.hidden, config.latent + config.sectors * (1 + _ANGLES), rngs=rngs, gain=0.1)

    def __call__(self, x):
        for i in range(self.count):
            x = getattr(self, f"act{i}")(getattr(self, f"conv{i}")(space_to_depth(x)))
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


def sector(config: GuessConfig, azimuth: jax.Array) -> jax.Array:
    """Number of the sector ``[...]`` that an azimuth in radians lies in."""
    return jnp.round(azimuth * (config.sectors / (2.0 * math.pi))).astype(jnp.int32) % config.sectors


def crop(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the network looks at, ``[SIZE, SIZE, CHANNELS]``, of a picture ``[S, S, C]`` and a mask ``[S, S, 1]``.

    The mask must not be empty. Colour, albedo and brightness leave no trace but relative brightness.
    """
    rows, columns = (np.flatnonzero((mask[..., 0] > 0.5).any(axis)) for axis in (1, 0))
    middle = [0.5 * (side[0] + side[-1] + 1) for side in (rows, columns)]
    side = max(len_of(rows), len_of(columns)) / (1.0 - 2.0 * MARGIN)
    scale = SIZE / side
    grey = np.asarray(picture, np.float32).mean(-1, keepdims=True)
    both = np.concatenate([mask, mask * grey], axis=-1).astype(np.float32)
    shift = np.asarray([SIZE / 2 - scale * m for m in middle], np.float32)
    shape, axes = (SIZE, SIZE, CHANNELS), (0, 1)
    cut = jax.image.scale_and_translate(both, shape, axes, jnp.full(2, scale), jnp.asarray(shift), "linear")
    return relative(np.asarray(cut))


def len_of(filled: np.ndarray) -> int:
    """How many rows or columns lie between the first and the last filled one, both included."""
    return int(filled[-1] - filled[0] + 1)


def relative(cut: np.ndarray) -> np.ndarray:
    """Brightness that is premultiplied by the mask ``[S, S, 2]`` as a share of twice its mean over the object."""
    covered, shade = cut[..., :1], cut[..., 1:]
    mean = shade.sum() / max(float(covered.sum()), 1e-6)
    return np.concatenate([covered, np.clip(shade / max(2.0 * mean, 1e-6), 0.0, 2.0)], axis=-1)
