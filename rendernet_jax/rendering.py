"""Grid, pose and light -> picture: the only path from voxels to pixels.

Training, fitting, the launchers and the viewer all call these two functions. They are pure: jit, vmap and grad them.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import network, shading
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.voxels import Window, camera_grid, over_poses

DEFAULT_LIGHT = Light(azimuth=math.radians(35.0), elevation=math.radians(40.0))


def check_size(config: Config, size: int) -> None:
    """Raise InputError unless the network can make pictures of this side."""
    if not isinstance(size, int | np.integer) or size < config.multiple or size % config.multiple:
        near = max(config.multiple, round(size / config.multiple) * config.multiple)
        raise InputError(
            f"size: expected a multiple of {config.multiple} for network {config.name!r}, got {size}; use {near}"
        )


def render_buffers(
    params: dict,
    config: Config,
    grid: jax.Array,
    pose: Pose,
    size: int = 512,
    *,
    window: Window | None = None,
    key: jax.Array | None = None,
    dtype=jnp.float32,
) -> dict[str, jax.Array]:
    """G-buffer pictures of object grids.

    Args:
        params, config: from ``load_weights`` or ``network.init``.
        grid: ``[B, X, Y, Z, C]`` occupancy in [0, 1]; B is 1 or the number of poses.
        pose: fields ``[N]`` or scalars.
        size: side of the picture in pixels.
        window: for a patch of ``size`` pixels, the part of the frame it shows; the whole frame if None.
        key: dropout key (training only).
        dtype: of the network's arithmetic.

    Returns:
        for each head of the network ``[N, size, size, c]`` float32.

    Raises:
        InputError: a grid of the wrong shape, or a size the network can't make.
    """
    check_size(config, size)
    if jnp.ndim(grid) == 5 and grid.shape[-1] != config.channels:
        raise InputError(
            f"grid: expected {config.channels} channels for network {config.name!r}, got {grid.shape[-1]}; "
            "use other weights or keep only those channels"
        )
    side = size // config.upsample

    def draw(grid, pose, window):
        camera = camera_grid(grid, pose, (side, side, config.depth), window)
        columns = side if window is None else 2.0 * side / window.extent
        return network.apply(params, config, camera, columns, key=key, dtype=dtype)

    grid = jnp.asarray(grid, jnp.float32)
    if window is not None or key is not None:  # patches are small, and drawn together
        return draw(grid, pose, window)
    # A whole picture keeps every core of a CPU busy; one after the other, many take the memory of one.
    return over_poses(lambda grid, pose, _: jax.tree.map(lambda x: x[0], draw(grid[None], pose, None)), grid, pose)


def render(
    params: dict,
    config: Config,
    grid: jax.Array,
    pose: Pose,
    light: Light = DEFAULT_LIGHT,
    *,
    size: int = 512,
    output: str = "phong",
) -> jax.Array:
    """Picture(s) ``[N, size, size, c]`` in [0, 1] of object grids ``[B, X, Y, Z, C]``.

    Pure, and differentiable in params, grid, pose and light. ``output`` is one of ``shading.OUTPUTS`` for a G-buffer
    network; see :func:`render_buffers` for the other arguments and what is raised.
    """
    return shading.shade(render_buffers(params, config, grid, pose, size), light, output)
