"""RenderNet: camera grid -> G-buffer or image, by 3D convolutions, a projection unit and 2D convolutions.

Nguyen-Phuoc, Li, Balaban, Yang, "RenderNet: A deep convolutional network for differentiable rendering from 3D shapes",
NeurIPS 2018, section 3. Flax modules stand behind :func:`init` and :func:`apply`; callers see plain nested dicts.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax import composite, texture
from rendernet_jax.baselines import EncoderDecoder
from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.conv import depth_to_space, upsample
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Blocks, Conv, PReLU, StageModule, dropout, finish_heads
from rendernet_jax.parameters import Wall

TEXTURE = ("paint", "texture")  # what of the parameters draws colours; all else draws the shape
_COLOURS = (0.01, 0.99)  # beyond which composited colours tell a network nothing


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
        inputs, depth = (1 if config.paint and config.analytic else config.channels), config.depth
        for i, layer in enumerate(config.volume):
            setattr(self, f"volume{i}", Conv(3, inputs, layer.width, layer.kernel, rngs=rngs, strides=layer.strides))
            setattr(self, f"volume_act{i}", PReLU(layer.width))
            inputs, depth = layer.width, -(-depth // layer.strides[2])
        if config.volume_blocks:
            self.volume_blocks = Blocks(3, inputs, config.volume_blocks, rngs=rngs)
        self.projection = Projection(inputs * depth, config.projection, rngs=rngs)
        inputs = config.projection[-1] + (composite.CHANNELS if config.analytic else 0)
        outputs = sum(count for _, count in config.shape_heads) * config.subpixel**2
        _set_stages(self, inputs, config.stages, outputs, config, rngs)
        if config.paint:
            self.paint = Painter(inputs, config, rngs=rngs)
            self.texture = texture.make_decoder(config.paint.texture, rngs=rngs)

    def __call__(self, grid, columns, keys, dtype):
        config = self.config
        analytic = composite.analytic_features(grid[..., 0], columns) if config.analytic else None
        x = self.project(self.read(self.choose(grid).astype(dtype)), analytic)
        pictures = finish_heads(self.draw(x, keys), config.shape_heads, self.know(analytic))
        if config.paint:
            pictures |= self.colour(x, grid, keys)
        return self.cut(pictures, grid)

    def choose(self, grid):
        """Channels that the volume is read from: an analytic network's shape is told by the occupancy alone."""
        return grid[..., :1] if self.config.paint and self.config.analytic else grid

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
        """2D convolutions: flat features -> raw pictures of the shape's heads, float32, all in one array."""
        return _run_stages(self, x, self.config.stages, self.config.subpixel, keys, self.config.dropout)

    def colour(self, x, grid, keys):
        """The other branch: flat features and the camera grid's colours -> albedo."""
        config, begin = self.config, self.config.paint.begin
        if not config.analytic:
            shared = [getattr(self, f"stage{i}") for i in range(begin)]
            for i, stage in enumerate(shared):
                x = dropout(keys, i, stage(x, None), config.dropout)
            return {"albedo": jax.nn.sigmoid(self.paint(x, keys))}
        colours = composite.colour_features(grid)
        raw = self.paint(jnp.concatenate([x, colours.astype(x.dtype)], axis=-1), keys)
        known = jnp.clip(upsample(colours[..., :3], config.upsample), *_COLOURS)
        return {"albedo": jax.nn.sigmoid(raw + jnp.log(known) - jnp.log1p(-known))}

    def know(self, analytic):
        """Pictures of heads with an analytic counterpart, which learn the difference."""
        if analytic is None:
            return {}
        known = {"normal": analytic[2], "depth": analytic[1]}
        return {name: upsample(picture, self.config.upsample) for name, picture in known.items()}

    def cut(self, pictures, grid):
        """Nothing drawn where nothing is: zero padding makes a convolution answer faintly along the frame."""
        occupied = grid[..., :1] if self.config.paint else grid  # a texture may be anything where there is no object
        drawn = upsample(composite.near_something(jnp.max(occupied, axis=-1)), self.config.upsample)
        return {name: v * drawn if name in ("mask", "contour") else v for name, v in pictures.items()}


class Painter(nnx.Module):
    """2D stages that draw the albedo; see :class:`~rendernet_jax.config.Paint`."""

    def __init__(self, inputs, config: Config, *, rngs: nnx.Rngs):
        self.config, paint = config, config.paint
        inputs = config.stages[paint.begin - 1].width if paint.begin else inputs
        inputs += len(composite.FRONTS) * paint.texture.channels if config.analytic else 0
        _set_stages(self, inputs, paint.stages, 3 * config.paint_subpixel**2, config, rngs)

    def __call__(self, x, keys):
        config = self.config
        first = len(config.stages)  # dropout of its own
        return _run_stages(self, x, config.paint.stages, config.paint_subpixel, keys, config.dropout, first)


def _set_stages(module, inputs, stages, outputs, config, rngs):
    """Make 2D stages and a head attributes of a module."""
    remembered = []
    for i, stage in enumerate(stages):
        if stage.resample < 0:
            remembered.append(inputs)
        join = remembered.pop() if stage.resample > 0 and remembered else 0
        setattr(module, f"stage{i}", StageModule(inputs, stage, config, join, rngs=rngs))
        inputs = stage.width
    module.head = Conv(2, inputs, outputs, config.head_kernel, rngs=rngs, gain=0.1)


def _run_stages(module, x, stages, subpixel, keys, rate, first=0):
    """Flat features through what :func:`_set_stages` made -> raw pictures, float32, all in one array."""
    remembered = []
    for i, stage in enumerate(stages):
        if stage.resample < 0:
            remembered.append(x)
        joined = remembered.pop() if stage.resample > 0 and remembered else None
        x = getattr(module, f"stage{i}")(x, joined)
        x = dropout(keys, first + i, x, rate)
    return depth_to_space(module.head(x), subpixel).astype(jnp.float32)


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


def decode_texture(params: dict, config: Config, vector: jax.Array) -> jax.Array:
    """Texture channels ``[B, G, G, G, C]`` of texture vectors ``[B, V]``, of about unit normal numbers, differentiable.

    Of networks but that of 2018 the channels are colours in [0, 1].

    Raises:
        InputError: the network has no textures, or vectors of another length.
    """
    if config.paint is None:
        raise InputError(f"texture: network {config.name!r} draws no colours; use weights of one with an albedo branch")
    wanted = config.paint.texture.vector
    if jnp.ndim(vector) != 2 or jnp.shape(vector)[1] != wanted:
        raise InputError(
            f"texture: expected vectors [B, {wanted}], got {jnp.shape(vector)}; add an axis, or correct it"
        )
    return bind(params, config).texture(jnp.asarray(vector, jnp.float32))


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
