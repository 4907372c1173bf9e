"""Texture vector -> channels of an object grid (Nguyen-Phuoc et al. 2018, section 4.2).

What comes out is put beside the occupancy, and moved by the same pose. Colours ``[0, 1]`` are albedo, so that any grid
of colours may stand in for what is made here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.config import Texture
from rendernet_jax.layers import Conv, Dense, PReLU
from rendernet_jax.vector_matrix import Pictures, Profiles, multiply

_DENSE_WIDTH = 4  # channels of the dense layer's grid, and 8 of the next, in the code of 2018


class ColourDecoder(nnx.Module):
    """Vectors ``[B, V]`` -> colours ``[B, G, G, G, C]`` in [0, 1], in vector-matrix form."""

    def __init__(self, config: Texture, *, rngs: nnx.Rngs):
        self.config = config
        self.dense0 = Dense(config.vector, config.hidden, rngs=rngs)
        self.dense1 = Dense(config.hidden, config.hidden, rngs=rngs)
        self.act1 = PReLU(config.hidden)
        self.pictures = Pictures(config, rngs=rngs)
        self.profiles = Profiles(config, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((config.channels,)))

    def __call__(self, vector):
        config = self.config
        hidden = self.dense0(vector)  # linear: what is linear in the vector may stay so
        hidden = hidden + self.act1(self.dense1(hidden))
        factors = (jnp.split(part(hidden), config.channels, axis=-1) for part in (self.profiles, self.pictures))
        channels = [multiply(config, *pair) for pair in zip(*factors, strict=True)]
        raw = jnp.stack(channels, axis=-1) / np.sqrt(config.products)
        return jax.nn.sigmoid(raw + self.bias[...].reshape(1, 1, 1, 1, -1))


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
    return (DenseDecoder if config.dense else ColourDecoder)(config, rngs=rngs)
