"""Encoder-decoder networks, what RenderNet is compared with: they get no help from geometry.

3D convolutions read the object grid into a vector, the pose is appended as numbers, and 2D convolutions draw a whole
picture from that: EC, and EC-Deep with residual blocks, after the baselines of Nguyen-Phuoc et al. 2018, section 4.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.conv import depth_to_space
from rendernet_jax.layers import Blocks, Conv, PReLU, StageModule, dropout, finish_heads

_GRID = 64  # cells on each side of what is encoded; other grids are resampled
_POSE = 11  # numbers that tell a pose


class EncoderDecoder(nnx.Module):
    """The whole network; see :class:`rendernet_jax.config.Encoder`."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.config = config
        encoder, inputs = config.encoder, config.channels
        for i, width in enumerate(encoder.widths):
            setattr(self, f"encode{i}", Conv(3, inputs, width, 3, rngs=rngs, strides=(2, 2, 2)))
            setattr(self, f"encode_act{i}", PReLU(width))
            if encoder.blocks:
                setattr(self, f"encode_blocks{i}", Blocks(3, width, encoder.blocks, rngs=rngs))
            inputs = width
        cells = math.ceil(_GRID / 2 ** len(encoder.widths)) ** 3
        self.vector = Conv(2, cells * inputs, encoder.vector, 1, rngs=rngs)
        self.vector_act = PReLU(encoder.vector)
        self.spread = Conv(2, encoder.vector + _POSE, encoder.side**2 * encoder.width, 1, rngs=rngs)
        self.spread_act = PReLU(encoder.width)
        inputs = encoder.width
        for i, stage in enumerate(config.stages):
            setattr(self, f"stage{i}", StageModule(inputs, stage, config, 0, rngs=rngs))
            inputs = stage.width
        outputs = sum(count for _, count in config.heads) * config.subpixel**2
        self.head = Conv(2, inputs, outputs, config.head_kernel, rngs=rngs, gain=0.1)

    def __call__(self, grid, pose, keys, dtype):
        known = pose_numbers(pose)
        vector = self.encode(grid.astype(dtype))
        count = max(len(known), len(vector))
        joined = [jnp.broadcast_to(x, (count, x.shape[1])).astype(dtype) for x in (vector, known)]
        x = self.decode(jnp.concatenate(joined, axis=-1), keys)
        return finish_heads(x, self.config.heads, {})

    def encode(self, x):
        """Object grid ``[B, X, Y, Z, C]`` -> vector ``[B, V]``."""
        x = jax.image.resize(x, (len(x), *(_GRID,) * 3, x.shape[-1]), "linear", antialias=False)
        for i in range(len(self.config.encoder.widths)):
            x = getattr(self, f"encode_act{i}")(getattr(self, f"encode{i}")(x))
            if self.config.encoder.blocks:
                x = getattr(self, f"encode_blocks{i}")(x)
        return self.vector_act(self.vector(x.reshape(len(x), 1, 1, -1)))[:, 0, 0]

    def decode(self, x, keys):
        """Vector with pose ``[N, V + 11]`` -> raw pictures, float32, all heads in one array."""
        side = self.config.encoder.side
        x = self.spread_act(self.spread(x[:, None, None]).reshape(len(x), side, side, -1))
        for i in range(len(self.config.stages)):
            x = getattr(self, f"stage{i}")(x, None)
            x = dropout(keys, i, x, self.config.dropout)
        return depth_to_space(self.head(x), self.config.subpixel).astype(jnp.float32)


def pose_numbers(pose: Pose) -> jax.Array:
    """A pose as numbers ``[N, 11]`` without a jump anywhere: sine and cosine of angles, log of the scale, the rest."""
    angles = [jnp.asarray(angle, jnp.float32) for angle in (pose.azimuth, pose.elevation, pose.roll)]
    turns = [function(angle) for angle in angles for function in (jnp.sin, jnp.cos)]
    translation = jnp.asarray(pose.translation, jnp.float32)
    lens = [jnp.log(jnp.asarray(pose.scale, jnp.float32)), jnp.asarray(pose.inverse_distance, jnp.float32)]
    numbers = [jnp.atleast_1d(x) for x in (*turns, *lens, *(translation[..., i] for i in range(3)))]
    return jnp.stack(jnp.broadcast_arrays(*numbers), axis=-1)
