"""RenderNet: camera grid -> G-buffer or image, by 3D convolutions, a projection unit and 2D convolutions.

Nguyen-Phuoc, Li, Balaban, Yang, "RenderNet: A deep convolutional network for differentiable rendering from 3D shapes",
NeurIPS 2018, section 3. Flax modules stand behind :func:`init` and :func:`apply`; callers see plain nested dicts.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax import composite
from rendernet_jax.baselines import EncoderDecoder
from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.conv import depth_to_space, upsample
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Blocks, Conv, PReLU, StageModule, dropout, finish_heads
from rendernet_jax.parameters import Wall


class Projection(nnx.Module):
    """Projection unit (section 3.2 of the paper): depth becomes channels, then an MLP as 1x1 convolutions."""

    def __init__(self, inputs, widths, *, rngs):
        self.count = len(widths)
        for i, width in enumerate(widths):
            setattr(self, f"conv{i}", Conv(2, inputs, width, 1, rngs=rngs))
            setattr(self, f"act{i}", PReLU(width))
            inputs = width

    def __call__(self, x):
        x = x.reshape(*x.shape[:3], -1)
        for i in range(self.count):
            x = getattr(self, f"act{i}")(getattr(self, f"conv{i}")(x))
        return x


class RenderNet(nnx.Module):
    """The whole network; see :class:`Config`."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.config = config
        inputs, depth = config.channels, config.depth
        for i, layer in enumerate(config.volume):
            setattr(self, f"volume{i}", Conv(3, inputs, layer.width, layer.kernel, rngs=rngs, strides=layer.strides))
            setattr(self, f"volume_act{i}", PReLU(layer.width))
            inputs, depth = layer.width, -(-depth // layer.strides[2])
        if config.volume_blocks:
            self.volume_blocks = Blocks(3, inputs, config.volume_blocks, rngs=rngs)
        self.projection = Projection(inputs * depth, config.projection, rngs=rngs)
        inputs = config.projection[-1] + (composite.CHANNELS if config.analytic else 0)
        remembered = []
        for i, stage in enumerate(config.stages):
            if stage.resample < 0:
                remembered.append(inputs)
            join = remembered.pop() if stage.resample > 0 and remembered else 0
            setattr(self, f"stage{i}", StageModule(inputs, stage, config, join, rngs=rngs))
            inputs = stage.width
        outputs = sum(count for _, count in config.heads) * config.subpixel**2
        self.head = Conv(2, inputs, outputs, config.head_kernel, rngs=rngs, gain=0.1)

    def __call__(self, grid, columns, keys, dtype):
        analytic = composite.analytic_features(grid[..., 0], columns) if self.config.analytic else None
        x = self.project(self.read(grid.astype(dtype)), analytic)
        return self.finish(self.draw(x, keys), analytic, grid)

    def read(self, x):
        """3D convolutions: camera grid ``[B, H, W, D, C]`` -> volume of features."""
        for i in range(len(self.config.volume)):
            x = getattr(self, f"volume_act{i}")(getattr(self, f"volume{i}")(x))
        return self.volume_blocks(x) if self.config.volume_blocks else x

    def project(self, x, analytic):
        """Projection unit: volume of features -> flat ones, joined by the analytic ones if there are any."""
        x = self.projection(x)
        return x if analytic is None else jnp.concatenate([x, analytic[0].astype(x.dtype)], axis=-1)

    def draw(self, x, keys):
        """2D convolutions: flat features -> raw pictures, float32, all heads in one array."""
        remembered = []
        for i, stage in enumerate(self.config.stages):
            if stage.resample < 0:
                remembered.append(x)
            joined = remembered.pop() if stage.resample > 0 and remembered else None
            x = getattr(self, f"stage{i}")(x, joined)
            x = dropout(keys, i, x, self.config.dropout)
        return depth_to_space(self.head(x), self.config.subpixel).astype(jnp.float32)

    def finish(self, x, analytic, grid):
        """Raw pictures -> each head's, within its range."""
        known = {}
        if analytic is not None:  # heads with an analytic counterpart learn the difference
            known = {"normal": analytic[2], "depth": analytic[1]}
            known = {name: upsample(picture, self.config.upsample) for name, picture in known.items()}
        buffers = finish_heads(x, self.config.heads, known)
        # Zero padding makes a convolution answer faintly along the frame; where nothing is, nothing is drawn.
        drawn = upsample(composite.near_something(jnp.max(grid, axis=-1)), self.config.upsample)
        return {name: v * drawn if name in ("mask", "contour") else v for name, v in buffers.items()}


# --- functional wall ------------------------------------------------------------------------------------------------


def _build(config: Config, rngs: nnx.Rngs) -> nnx.Module:
    return (EncoderDecoder if config.encoder else RenderNet)(config, rngs=rngs)


_wall = Wall(_build)
shapes, init, check_params = _wall.shapes, _wall.init, _wall.check
bind = _wall.bind  # ``read``, ``project`` and ``draw`` of a RenderNet may be run one by one


def apply(params: dict, config: Config, grid: jax.Array, columns=None, *, keys=None, dtype=jnp.float32) -> dict:
    """Run the network on a camera grid.

    Args:
        params: from :func:`init`.
        grid: ``[B, H, W, D, C]`` with D = ``config.depth``, C = ``config.channels``.
        columns: ``[B]`` or a number: columns of this width across the whole frame; W if None (no window).
        keys: dropout keys of the examples, ``[B]``; no dropout if None.
        dtype: of the arithmetic (float32 or bfloat16); results are float32.

    Returns:
        for each head ``[B, upsample*H, upsample*W, c]``: normals of length up to 1, q_z unbounded,
        everything else in [0, 1].

    Raises:
        InputError: the grid or the parameters do not fit the config.
    """
    if config.encoder:
        raise InputError(f"network {config.name!r} reads object grids, no camera grid; call rendering.render_buffers")
    side = config.multiple // config.upsample
    if grid.ndim != 5 or grid.shape[3:] != (config.depth, config.channels) or any(n % side for n in grid.shape[1:3]):
        raise InputError(
            f"camera grid: expected [B, H, W, {config.depth}, {config.channels}] with H and W multiples of {side}, "
            f"got {grid.shape}; sample it with camera_grid and the config's depth"
        )
    check_params(params, config)
    columns = jnp.broadcast_to(jnp.asarray(grid.shape[2] if columns is None else columns, jnp.float32), grid.shape[:1])
    return bind(params, config, dtype)(jnp.asarray(grid, jnp.float32), columns, keys, dtype)


def encode_decode(params: dict, config: Config, grid: jax.Array, pose: Pose, *, keys=None, dtype=jnp.float32) -> dict:
    """Run an encoder-decoder (:mod:`rendernet_jax.baselines`) on object grids.

    Args:
        params: from :func:`init`.
        config: one with an ``encoder``.
        grid: ``[B, X, Y, Z, C]``; B is 1 or the number of poses.
        pose: fields ``[N]`` or scalars.
        keys, dtype: as in :func:`apply`.

    Returns:
        for each head ``[N, size, size, c]``, within the ranges of :func:`apply`, size being ``config.size``.

    Raises:
        InputError: the parameters do not fit the config.
    """
    check_params(params, config)
    return bind(params, config, dtype)(jnp.asarray(grid, jnp.float32), pose, keys, dtype)
