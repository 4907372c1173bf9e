"""Grids from vectors, as sums of products of pictures over two axes and profiles over the third.

This is the vector-matrix form of Chen et al. 2022, "TensoRF", section 3.2, for each of the three pairs of axes:
pictures are made by 2D convolutions, where CPUs are fast, and edges along an axis are told by its profile alone.

A ``config`` says the sizes: ``grid`` cells on a side, ``patch`` of them to each of the ``points`` of the finest
lattice, ``hidden`` numbers to begin with, ``seed`` channels with which a picture begins on a lattice half as fine,
``pictures``: channels on the two lattices, ``profile`` channels, ``rank`` products for each pair of axes.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax.conv import depth_to_space
from rendernet_jax.layers import Block, Conv, Dense, PReLU

AXES = 3
_PROFILE_SEED = 16  # numbers from which each patch of a profile grows


class Pictures(nnx.Module):
    """Hidden numbers ``[B, H]`` -> a picture over each pair of axes, ``[B, 3, G*G, rank]``, patch after patch."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        coarse, fine = config.pictures
        side = config.points // 2
        self.config = config
        self.seed = Dense(config.hidden, AXES * side**2 * config.seed, rngs=rngs)
        self.entry0 = Conv(2, config.seed, coarse, 3, rngs=rngs)
        self.place0 = nnx.Param(jnp.zeros((AXES, side, side, coarse)))
        self.act0 = PReLU(coarse)
        self.block0 = Block(2, coarse, rngs=rngs)
        self.entry1 = Dense(coarse, 4 * fine, rngs=rngs)
        self.place1 = nnx.Param(jnp.zeros((AXES, 2 * side, 2 * side, fine)))
        self.act1 = PReLU(fine)
        self.block1 = Block(2, fine, rngs=rngs)
        self.head = Dense(fine, config.patch**2 * config.rank, rngs=rngs)

    def __call__(self, hidden):
        config, count = self.config, len(hidden)
        side = config.points // 2
        x = self.entry0(self.seed(hidden).reshape(AXES * count, side, side, config.seed))
        x = self.block0(self.act0(_placed(x, self.place0[...])))
        x = depth_to_space(self.entry1(x))
        x = self.block1(self.act1(_placed(x, self.place1[...])))
        return self.head(x).reshape(count, AXES, config.grid**2, config.rank)


class Profiles(nnx.Module):
    """Hidden numbers ``[B, H]`` -> a profile over each axis, ``[B, 3, G, rank]``."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        self.config = config
        self.seed = Dense(config.hidden, AXES * config.points * _PROFILE_SEED, rngs=rngs)
        self.entry = Dense(3 * _PROFILE_SEED, config.profile, rngs=rngs)
        self.place = nnx.Param(jnp.zeros((AXES, config.points, config.profile)))
        self.act0 = PReLU(config.profile)
        self.dense = Dense(3 * config.profile, config.profile, rngs=rngs)
        self.act1 = PReLU(config.profile)
        self.head = Dense(config.profile, config.patch * config.rank, rngs=rngs)

    def __call__(self, hidden):
        config, count = self.config, len(hidden)
        x = self.seed(hidden).reshape(AXES * count, config.points, _PROFILE_SEED)
        x = self.act0(_placed(self.entry(with_neighbours(x)), self.place[...]))
        x = x + self.act1(self.dense(with_neighbours(x)))
        return self.head(x).reshape(count, AXES, config.grid, config.rank)


def multiply(config, profiles: jax.Array, pictures: jax.Array) -> jax.Array:
    """Sums of products: ``[B, 3, G, R]`` and ``[B, 3, G*G, R]``, patch after patch -> ``[B, G, G, G]``, not scaled."""
    products = jnp.einsum("baxr,bapr->baxp", profiles, pictures)
    along_x, along_y, along_z = (_unfold(config, products[:, axis]) for axis in range(AXES))
    return along_x + along_y.transpose(0, 2, 1, 3) + along_z.transpose(0, 2, 3, 1)


def _unfold(config, x: jax.Array) -> jax.Array:
    """``[B, G, G*G]``, pictures patch after patch, to ``[B, G, G, G]``."""
    side, points, patch = config.grid, config.points, config.patch
    x = x.reshape(-1, side, points, points, patch, patch).transpose(0, 1, 2, 4, 3, 5)
    return x.reshape(-1, side, side, side)


def _placed(x: jax.Array, place: jax.Array) -> jax.Array:
    """Pictures or profiles of all axes ``[B*3, ...]``, each moved by what its axis and place call for ``[3, ...]``."""
    return (x.reshape(-1, *place.shape) + place[None]).reshape(x.shape)


def with_neighbours(x: jax.Array) -> jax.Array:
    """``[B, N, C] -> [B, N, 3*C]``: the channels of the point before, each point's own, the next one's; 0 outside."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)
