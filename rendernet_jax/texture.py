"""Texture vector -> channels of an object grid (Nguyen-Phuoc et al. 2018, section 4.2).

What comes out is put beside the occupancy, and moved by the same pose. Colours ``[0, 1]`` are albedo, so that any grid
of colours may stand in for what is made here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.config import Texture
from rendernet_jax.layers import Conv, Dense, PReLU

_DENSE_WIDTH = 4  # channels of the dense layer's grid, and 8 of the next, in the code of 2018


class CylinderDecoder(nnx.Module):
    """Vectors ``[B, V]`` -> colours ``[B, G, G, G, 3]`` in [0, 1], by a map around the y axis, linear in the vector.

    So heads are coloured in Blanz and Vetter 1999, "A morphable model for the synthesis of 3D faces", section 3: one
    colour for each height and angle, at whatever distance from the axis.
    """

    def __init__(self, config: Texture, *, rngs: nnx.Rngs):
        self.config = config
        shape = (config.grid, config.columns, config.channels)  # a row for each height
        self.mean = nnx.Param(jnp.full(shape, 0.5, jnp.float32))
        self.basis = nnx.Param(jnp.zeros((config.vector, *shape), jnp.float32))

    def __call__(self, vector):
        config = self.config
        rows, columns, channels = self.mean[...].shape
        flat = self.mean[...].reshape(1, -1) + vector @ self.basis[...].reshape(config.vector, -1)
        around = jnp.moveaxis(flat.reshape(-1, rows, columns, channels), 2, 3) @ _unroll(config.grid, columns)
        grid = around.reshape(-1, rows, channels, config.grid, config.grid).transpose(0, 3, 1, 4, 2)
        # Clipped, but for derivatives: a colour out of range finds back.
        return jax.lax.stop_gradient(jnp.clip(grid, 0.0, 1.0)) + (grid - jax.lax.stop_gradient(grid))


@functools.cache
def _unroll(side: int, columns: int) -> np.ndarray:
    """Share ``[columns, side * side]`` that each column of a map has in the colour over each (x, z), between two.

    Column 0 looks to +z, from which columns go to +x. A matrix: the adjoint of a gather is slow.
    """
    axis = (np.arange(side) + 0.5) / side - 0.5
    x, z = np.meshgrid(axis, axis, indexing="ij")
    place = np.mod(np.arctan2(x, z) / (2.0 * np.pi), 1.0).reshape(-1) * columns
    first, cells = np.floor(place).astype(int), np.arange(side * side)
    shares = np.zeros((columns, side * side), np.float32)
    np.add.at(shares, (first % columns, cells), 1.0 - (place - first))
    np.add.at(shares, ((first + 1) % columns, cells), place - first)
    return shares


class DenseDecoder(nnx.Module):
    """Vectors ``[B, V]`` -> features ``[B, G, G, G, C]``: the network of 2018, whose grid is twice as fine."""

    def __init__(self, config: Texture, *, rngs: nnx.Rngs):
        self.side, width = config.dense, _DENSE_WIDTH
        self.dense = Dense(config.vector, width * config.dense**3, rngs=rngs)
        self.act = PReLU(width * config.dense**3)
        for i, (inputs, outputs) in enumerate([(width, width), (width, 2 * width), (2 * width, config.channels)]):
            setattr(self, f"conv{i}", Conv(3, inputs, outputs, 3, rngs=rngs))
            setattr(self, f"act{i}", PReLU(outputs))

    def __call__(self, vector):
        x = self.act(self.dense(vector)).reshape(-1, self.side, self.side, self.side, _DENSE_WIDTH)
        x = self.act0(self.conv0(x))
        for axis in (1, 2, 3):
            x = jnp.repeat(x, 2, axis=axis)
        x = self.act1(self.conv1(x))
        return self.act2(self.conv2(x))


def make_decoder(config: Texture, *, rngs: nnx.Rngs) -> nnx.Module:
    """The decoder that the config describes."""
    return (DenseDecoder if config.dense else CylinderDecoder)(config, rngs=rngs)
