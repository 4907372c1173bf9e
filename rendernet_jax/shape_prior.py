"""A prior of shapes: a 3D autoencoder between object grids and latent vectors that are about unit normal.

It is a variational autoencoder (Kingma and Welling 2014) whose noise has one learned scale for each number of the
latent, not one for each shape, so that encoding is a function of the grid alone. The decoder writes a grid as sums of
products of a picture over two axes and a profile over the third, for each of the three pairs of axes (the vector-matrix
form of Chen et al. 2022, "TensoRF", section 3.2): pictures are made by 2D convolutions, where CPUs are fast, and edges
along an axis are told by its profile alone. Grids are those of the binary rule (see
:mod:`rendernet_jax.data.voxelise`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.conv import depth_to_space, space_to_depth
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Block, Conv, Dense, PReLU
from rendernet_jax.parameters import Wall

_NOISE = 0.5  # scale of the latent's noise before training
_LEAST_SPREAD = 1e-2  # of a number that no shape uses
_EMPTY = -3.0  # logit of every cell before training: one in twenty is occupied
_AXES = 3
_PROFILE_SEED = 16  # numbers from which each patch of a profile grows


@dataclasses.dataclass(frozen=True)
class PriorConfig:
    """Everything that fixes the parameters; hashable.

    The finest lattice has one point for each patch of ``patch`` cells a side; each coarser one has half its points on
    a side.
    """

    name: str = "shape_prior"
    grid: int = 64  # cells on a side
    latent: int = 200
    patch: int = 4
    encoder: tuple[int, int, int] = (128, 128, 96)  # channels on three lattices, fine to coarse
    hidden: int = 256  # numbers from which pictures and profiles are made
    seed: int = 16  # channels with which a picture begins, on the second lattice
    pictures: tuple[int, int] = (96, 96)  # channels on two lattices, coarse to fine
    profile: int = 64  # channels
    rank: int = 48  # products that are added up for each pair of axes
    gallery: int = 512  # latents of shapes it was trained on, far from each other, where a search may begin

    def __post_init__(self):
        """Raise InputError if the lattices do not divide the grid."""
        if self.grid % (4 * self.patch):
            raise InputError(
                f"prior config: {self.grid} cells do not divide into patches of {self.patch} on three lattices, each "
                "half as fine; change grid or patch"
            )

    @property
    def points(self) -> int:
        """Points on a side of the finest lattice."""
        return self.grid // self.patch


PRESETS = {
    "shape_prior": PriorConfig(),
    "tiny": PriorConfig("tiny", 16, 12, 4, (24, 24, 16), 32, 4, (12, 12), 8, 8, 4),
}


class Encoder(nnx.Module):
    """Grid ``[B, G, G, G, 1]`` -> mean of the latent ``[B, L]``: convolutions over (y, z), x among the channels."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.patch, inputs = config.patch, config.grid * config.patch**2
        for level, width in enumerate(config.encoder):
            setattr(self, f"entry{level}", Dense(inputs, width, rngs=rngs))
            setattr(self, f"act{level}", PReLU(width))
            inputs = 4 * width
        self.block0 = Block(2, config.encoder[0], rngs=rngs)
        self.block1 = Block(2, config.encoder[1], rngs=rngs)
        self.latent = Dense(config.encoder[2] * (config.points // 4) ** 2, config.latent, rngs=rngs, gain=0.5)

    def __call__(self, grid):
        x = space_to_depth(grid[..., 0].transpose(0, 2, 3, 1), self.patch)
        x = self.block0(self.act0(self.entry0(x)))
        x = self.block1(self.act1(self.entry1(space_to_depth(x))))
        x = self.act2(self.entry2(space_to_depth(x)))
        return self.latent(x.reshape(len(x), -1))


class Pictures(nnx.Module):
    """Hidden numbers ``[B, H]`` -> a picture over each pair of axes, ``[B, 3, G*G, rank]``, patch after patch."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        coarse, fine = config.pictures
        side = config.points // 2
        self.config = config
        self.seed = Dense(config.hidden, _AXES * side**2 * config.seed, rngs=rngs)
        self.entry0 = Conv(2, config.seed, coarse, 3, rngs=rngs)
        self.place0 = nnx.Param(jnp.zeros((_AXES, side, side, coarse)))
        self.act0 = PReLU(coarse)
        self.block0 = Block(2, coarse, rngs=rngs)
        self.entry1 = Dense(coarse, 4 * fine, rngs=rngs)
        self.place1 = nnx.Param(jnp.zeros((_AXES, 2 * side, 2 * side, fine)))
        self.act1 = PReLU(fine)
        self.block1 = Block(2, fine, rngs=rngs)
        self.head = Dense(fine, config.patch**2 * config.rank, rngs=rngs)

    def __call__(self, hidden):
        config, count = self.config, len(hidden)
        side = config.points // 2
        x = self.entry0(self.seed(hidden).reshape(_AXES * count, side, side, config.seed))
        x = self.block0(self.act0(_placed(x, self.place0[...])))
        x = depth_to_space(self.entry1(x))
        x = self.block1(self.act1(_placed(x, self.place1[...])))
        return self.head(x).reshape(count, _AXES, config.grid**2, config.rank)


class Profiles(nnx.Module):
    """Hidden numbers ``[B, H]`` -> a profile over each axis, ``[B, 3, G, rank]``."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.seed = Dense(config.hidden, _AXES * config.points * _PROFILE_SEED, rngs=rngs)
        self.entry = Dense(3 * _PROFILE_SEED, config.profile, rngs=rngs)
        self.place = nnx.Param(jnp.zeros((_AXES, config.points, config.profile)))
        self.act0 = PReLU(config.profile)
        self.dense = Dense(3 * config.profile, config.profile, rngs=rngs)
        self.act1 = PReLU(config.profile)
        self.head = Dense(config.profile, config.patch * config.rank, rngs=rngs)

    def __call__(self, hidden):
        config, count = self.config, len(hidden)
        x = self.seed(hidden).reshape(_AXES * count, config.points, _PROFILE_SEED)
        x = self.act0(_placed(self.entry(with_neighbours(x)), self.place[...]))
        x = x + self.act1(self.dense(with_neighbours(x)))
        return self.head(x).reshape(count, _AXES, config.grid, config.rank)


class Decoder(nnx.Module):
    """Latent ``[B, L]`` -> logits of cells ``[B, G, G, G, 1]``."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.dense0 = Dense(config.latent, config.hidden, rngs=rngs)
        self.act0 = PReLU(config.hidden)
        self.dense1 = Dense(config.hidden, config.hidden, rngs=rngs)
        self.act1 = PReLU(config.hidden)
        self.pictures = Pictures(config, rngs=rngs)
        self.profiles = Profiles(config, rngs=rngs)
        self.bias = nnx.Param(jnp.full((1,), _EMPTY, jnp.float32))

    def __call__(self, latent):
        hidden = self.act0(self.dense0(latent))
        hidden = hidden + self.act1(self.dense1(hidden))
        products = jnp.einsum("baxr,bapr->baxp", self.profiles(hidden), self.pictures(hidden))
        along_x, along_y, along_z = (self._unfold(products[:, axis]) for axis in range(_AXES))
        total = along_x + along_y.transpose(0, 2, 1, 3) + along_z.transpose(0, 2, 3, 1)
        return (total / np.sqrt(self.config.rank))[..., None] + self.bias[...].reshape((1,) * 5)

    def _unfold(self, x):
        """``[B, G, G*G]``, pictures patch after patch, to ``[B, G, G, G]``."""
        side, points, patch = self.config.grid, self.config.points, self.config.patch
        x = x.reshape(-1, side, points, points, patch, patch).transpose(0, 1, 2, 4, 3, 5)
        return x.reshape(-1, side, side, side)


class ShapePrior(nnx.Module):
    """Encoder, decoder, the logarithm of the latent's noise, and the gallery, which is chosen after training."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.log_noise = nnx.Param(jnp.full((config.latent,), np.log(_NOISE), jnp.float32))
        self.gallery = nnx.Param(jnp.zeros((config.gallery, config.latent), jnp.float32))


def _placed(x: jax.Array, place: jax.Array) -> jax.Array:
    """Pictures or profiles of all axes ``[B*3, ...]``, each moved by what its axis and place call for ``[3, ...]``."""
    return (x.reshape(-1, *place.shape) + place[None]).reshape(x.shape)


def with_neighbours(x: jax.Array) -> jax.Array:
    """``[B, N, C] -> [B, N, 3*C]``: the channels of the point before, each point's own, the next one's; 0 outside."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)


# --- functional wall ------------------------------------------------------------------------------------------------


_wall = Wall(lambda config, rngs: ShapePrior(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> PriorConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    try:
        return PriorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise InputError(f"weights: expected those of a shape prior, got others ({error}); use others") from error


def encode(params: dict, config: PriorConfig, grid: jax.Array) -> jax.Array:
    """Latents of grids.

    Args:
        grid: ``[B, G, G, G, 1]`` in [0, 1], by either rule, G = ``config.grid``.

    Returns:
        ``[B, L]``, float32; of shapes like those it was trained on about normal, mean 0 and deviation up to 1.

    Raises:
        InputError: the grid has another shape.
    """
    expected = (config.grid,) * 3 + (1,)
    if grid.ndim != 5 or grid.shape[1:] != expected:
        raise InputError(
            f"grid: expected [B, {', '.join(map(str, expected))}], got {grid.shape}; voxelise with {config.grid} cells"
        )
    return bind(params, config).encoder(jnp.asarray(grid, jnp.float32))


def usual(params: dict) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation ``[L]`` of the latents of shapes that the prior knows, by its gallery."""
    return jnp.mean(params["gallery"], axis=0), jnp.std(params["gallery"], axis=0) + _LEAST_SPREAD


def importance(params: dict) -> jax.Array:
    """What each number of a latent counts for ``[L]``, mean 1: how far shapes differ in it, in terms of its noise."""
    _, spread = usual(params)
    squares = (spread / jnp.exp(params["log_noise"])) ** 2
    return squares / jnp.mean(squares)


def decode_logits(params: dict, config: PriorConfig, latent: jax.Array) -> jax.Array:
    """Logits ``[B, G, G, G, 1]`` of the cells, for losses; raises as :func:`decode` does."""
    if latent.ndim != 2 or latent.shape[1] != config.latent:
        raise InputError(f"latent: expected [B, {config.latent}], got {latent.shape}; encode a grid, or add an axis")
    return bind(params, config).decoder(jnp.asarray(latent, jnp.float32))


def decode(params: dict, config: PriorConfig, latent: jax.Array) -> jax.Array:
    """Grids of latents, differentiable.

    Args:
        latent: ``[B, L]``; the zero vector is about the mean shape.

    Returns:
        ``[B, G, G, G, 1]``, the probability that a cell is set by the binary rule, float32.

    Raises:
        InputError: the latent has another shape.
    """
    return jax.nn.sigmoid(decode_logits(params, config, latent))
