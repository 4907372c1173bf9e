"""The same network on Flax's own convolutions, and resampling by JAX's own: what there would be without our forms.

Everything else is the library's code, and the parameters have the same names and shapes.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.scipy.ndimage import map_coordinates

from rendernet_jax import camera, layers, network, voxels
from rendernet_jax.config import Config
from rendernet_jax.voxels import Window, frame_axes


@functools.cache
def _structure(config: Config):
    return nnx.split(nnx.eval_shape(lambda: _plain(network.RenderNet(config, rngs=nnx.Rngs(0)))))


def _plain(module):
    """Replace every convolution in the module, at any depth, by Flax's."""
    for name, part in list(vars(module).items()):
        if isinstance(part, layers.Conv):
            *sides, inputs, outputs = part.kernel.shape
            layer = nnx.ConvTranspose if part.transposed else nnx.Conv
            strides = 2 if part.transposed else part.strides or 1
            setattr(module, name, layer(inputs, outputs, tuple(sides), strides, padding="SAME", rngs=nnx.Rngs(0)))
        elif isinstance(part, nnx.Module):
            _plain(part)
    return module


def bind(params: dict, config: Config, dtype=jnp.float32) -> network.RenderNet:
    """As :func:`network.bind`, on ``nnx.Conv`` and ``nnx.ConvTranspose``."""
    return nnx.merge(_structure(config)[0], jax.tree.map(lambda p: p.astype(dtype), params))


def camera_grid(grid: jax.Array, pose: camera.Pose, shape: tuple, window: Window | None = None) -> jax.Array:
    """As :func:`voxels.camera_grid`, by ``map_coordinates`` under ``vmap``; the poses ``[N]`` are batched."""

    def sample(one_grid, one_pose, one_window):
        points = camera.unproject(*frame_axes(shape, one_window), one_pose)
        index = [(p + 0.5) * size - 0.5 for p, size in zip(points, grid.shape[1:4], strict=True)]
        channels = [map_coordinates(one_grid[..., c], index, order=1, mode="constant") for c in range(grid.shape[4])]
        return jnp.stack(channels, axis=-1)

    over_windows = None if window is None else 0
    window = Window() if window is None else window
    if grid.shape[0] == 1:
        return jax.vmap(lambda p, w: sample(grid[0], p, w), in_axes=(0, over_windows))(pose, window)
    return jax.vmap(sample, in_axes=(0, 0, over_windows))(grid, pose, window)


def render_buffers(
    params: dict, config: Config, grid: jax.Array, pose: camera.Pose, size: int, *, window=None, dtype=jnp.float32
) -> dict[str, jax.Array]:
    """As :func:`rendering.render_buffers`, without its checks, resampled by ours: convolutions alone differ."""
    side = size // config.upsample
    cells = voxels.camera_grid(grid, pose, (side, side, config.depth), window)
    columns = side if window is None else 2.0 * side / window.extent
    columns = jnp.broadcast_to(jnp.asarray(columns, jnp.float32), cells.shape[:1])
    return bind(params, config, dtype)(cells, columns, None, dtype)
