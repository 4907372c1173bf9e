"""A prior of shapes: a 3D autoencoder between object grids and latent vectors that are about unit normal.

It is a variational autoencoder (Kingma and Welling 2014) whose noise has one learned scale for each number of the
latent, not one for each shape, so that encoding is a function of the grid alone. The decoder writes a grid in the
vector-matrix form (:mod:`rendernet_jax.vector_matrix`). Grids are those of one rule (see
:mod:`rendernet_jax.data.voxelise`): the binary one, which keeps what is thin, or coverage, which says exactly where a
smooth surface lies.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.conv import space_to_depth
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Block, Dense, PReLU
from rendernet_jax.parameters import Wall, make_config
from rendernet_jax.vector_matrix import Pictures, Profiles, multiply

_NOISE = 0.5  # scale of the latent's noise before training
_LEAST_SPREAD = 1e-2  # of a number that no shape uses
# Number from which a cell is set by the binary rule: so read, the coverage of procedural chairs has an IoU of 0.98 with
# their binary grids.
SET_FROM = {"binary": 0.5, "coverage": 0.1}
_CORRECTIONS = 2  # of a latent, half of what is missed each: a third gains a tenth as much
_EMPTY = -3.0  # logit of every cell before training: one in twenty is occupied


@dataclasses.dataclass(frozen=True)
class PriorConfig:
    """Everything that fixes the parameters; hashable.

    The finest lattice has one point for each patch of ``patch`` cells a side; each coarser one has half its points on
    a side.
    """

    name: str = "shape_prior"
    grid: int = 64  # cells on a side
    occupancy: str = "binary"  # or "coverage": rule of the grids
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
        """Raise InputError for an unknown rule, or if the lattices do not divide the grid."""
        if self.occupancy not in SET_FROM:
            known = " or ".join(SET_FROM)
            raise InputError(f"prior config: expected occupancy {known}, got {self.occupancy!r}; correct it")
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
    # Of furniture: binary cells are up to half a cell too large, a third of a leg's width.
    "shape_prior": PriorConfig(occupancy="coverage"),
    # For smooth shapes much alike.
    "small": PriorConfig("small", 64, "coverage", 40, 4, (64, 64, 48), 96, 8, (48, 48), 32, 24, 64),
    "tiny": PriorConfig("tiny", 16, "binary", 12, 4, (24, 24, 16), 32, 4, (12, 12), 8, 8, 4),
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
        total = multiply(self.config, self.profiles(hidden), self.pictures(hidden))
        return (total / np.sqrt(self.config.rank))[..., None] + self.bias[...].reshape((1,) * 5)


class ShapePrior(nnx.Module):
    """Encoder, decoder, the logarithm of the latent's noise, and the gallery, which is chosen after training."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.log_noise = nnx.Param(jnp.full((config.latent,), np.log(_NOISE), jnp.float32))
        self.gallery = nnx.Param(jnp.zeros((config.gallery, config.latent), jnp.float32))


# --- functional wall ------------------------------------------------------------------------------------------------


_wall = Wall(lambda config, rngs: ShapePrior(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> PriorConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    return make_config(PriorConfig, "a shape prior", fields)


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


def encode_closely(params: dict, config: PriorConfig, grid: jax.Array) -> jax.Array:
    """Latents ``[B, L]`` of grids ``[B, G, G, G, 1]``, corrected by what is made of the grids that they decode as.

    Of a grid the encoder makes a latent that decodes as another one; how it misreads that is about how it misread the
    first. Of unseen chairs this keeps 1.2% more of the cells, in three times the time. Raises as :func:`encode` does.
    """
    first = latent = encode(params, config, grid)
    for _ in range(_CORRECTIONS):
        latent = latent + 0.5 * (first - encode(params, config, decode(params, config, latent)))
    return latent


def usual(params: dict) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation ``[L]`` of the latents of shapes that the prior knows, by its gallery."""
    return jnp.mean(params["gallery"], axis=0), jnp.std(params["gallery"], axis=0) + _LEAST_SPREAD


def principal_axes(params: dict) -> tuple[jax.Array, jax.Array]:
    """Mean ``[L]`` and axes ``[L, L]`` of the latents that the prior knows, by its gallery.

    A latent is ``mean + axes @ v`` with v about unit normal: axes are the eigenvectors of the latents' covariance, in
    columns, each as long as the deviation along it.
    """
    gallery = params["gallery"]
    mean = jnp.mean(gallery, axis=0)
    squares, axes = jnp.linalg.eigh(jnp.cov(gallery, rowvar=False, bias=True))
    return mean, axes * jnp.sqrt(jnp.maximum(squares, 0.0) + _LEAST_SPREAD**2)[None]


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
        ``[B, G, G, G, 1]``, float32: the probability that a cell is set by the binary rule, or its coverage.

    Raises:
        InputError: the latent has another shape.
    """
    return jax.nn.sigmoid(decode_logits(params, config, latent))


def overlap(config: PriorConfig, first: jax.Array, second: jax.Array) -> jax.Array:
    """Intersection over union ``[B]`` of the cells that are set in grids ``[B, G, G, G, 1]`` of the prior's rule."""
    first, second = (grid >= SET_FROM[config.occupancy] for grid in (first, second))
    axes = (1, 2, 3, 4)
    return (first & second).sum(axes) / (first | second).sum(axes)
