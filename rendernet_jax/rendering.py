"""Grid, pose and light -> picture: the only path from voxels to pixels.

Training, fitting, the launchers and the viewer all call these two functions. They are pure: jit, vmap and grad them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import network, shading
from rendernet_jax.camera import Light, Pose, light_from_degrees
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.voxels import Window, camera_grid, check_grid, over_poses

DEFAULT_LIGHT = light_from_degrees()


def check_size(config: Config, size: int) -> None:
    """Raise InputError unless the network can make pictures of this side."""
    if config.size not in (None, size):
        raise InputError(
            f"size: expected {config.size} for network {config.name!r}, got {size}; an encoder-decoder draws pictures "
            "of one size alone"
        )
    if not isinstance(size, int | np.integer) or size < config.multiple or size % config.multiple:
        near = max(config.multiple, round(size / config.multiple) * config.multiple)
        raise InputError(
            f"size: expected a multiple of {config.multiple} for network {config.name!r}, got {size}; use {near}"
        )


def fixed_light(config: Config) -> Light:
    """The light that an image network's pictures were made under; :data:`DEFAULT_LIGHT` stands for an unknown one."""
    return light_from_degrees(*(config.light_deg or ()))


def check_output(config: Config, output: str) -> None:
    """Raise InputError unless an image network draws this."""
    if config.draws_images and output not in ("image", config.shader):
        raise InputError(
            f"output: network {config.name!r} draws {config.shader or 'image'!r} alone, got {output!r}; use "
            "weights with G-buffer heads, which draw every shader"
        )


def check_light(config: Config, light: Light) -> None:
    """Raise InputError unless an image network's pictures are made under this light."""
    if not config.draws_images:
        return
    wanted = fixed_light(config)
    given = [getattr(light, field.name) for field in dataclasses.fields(wanted)]
    known = [getattr(wanted, field.name) for field in dataclasses.fields(wanted)]
    if any(isinstance(g, jax.core.Tracer) or not np.allclose(g, k, atol=1e-4) for g, k in zip(given, known)):
        own = f"azimuth and elevation {config.light_deg} degrees" if config.light_deg else "that of what it learnt from"
        raise InputError(
            f"light: network {config.name!r} draws pictures under its own light alone, {own}; leave the light out, or "
            "use weights with G-buffer heads"
        )


def shade(config: Config, buffers: dict[str, jax.Array], light: Light | None, output: str | None) -> jax.Array:
    """Picture of what a network drew: shaded if that is a G-buffer, as it is if that is an image.

    None stands for :data:`DEFAULT_LIGHT` and ``phong``, or what an image network has of its own.
    """
    if not config.draws_images:
        return shading.shade(buffers, DEFAULT_LIGHT if light is None else light, output or "phong")
    check_output(config, output or "image")
    if light is not None:
        check_light(config, light)
    return buffers["image"]


def targets(config: Config, buffers: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What a network's heads are compared with: the G-buffer, or the picture that an image network is to draw of it.

    Args:
        buffers: ``[B, H, W, c]`` by name, a G-buffer or an ``image`` already.

    Raises:
        InputError: an image network's shader or light is one that no G-buffer can show.
    """
    if not config.draws_images or "image" in buffers:
        return buffers
    if config.shader not in shading.OUTPUTS or config.light_deg is None:
        raise InputError(
            f"heads: expected some of what the data holds ({', '.join(buffers)}), got image of shader "
            f"{config.shader!r}, which only its own pictures show; train on those"
        )
    return {"image": shading.shade(buffers, fixed_light(config), config.shader)}


def render_buffers(
    params: dict,
    config: Config,
    grid: jax.Array,
    pose: Pose,
    size: int = 512,
    *,
    window: Window | None = None,
    keys: jax.Array | None = None,
    dtype=jnp.float32,
) -> dict[str, jax.Array]:
    """G-buffer pictures of object grids.

    Args:
        params, config: from ``load_weights`` or ``network.init``.
        grid: ``[B, X, Y, Z, C]``, B being 1 or the number of poses: occupancy in [0, 1], and for a network of coloured
            objects the colours in [0, 1] of every cell with occupancy, see :func:`textured`.
        pose: fields ``[N]`` or scalars.
        size: side of the picture in pixels.
        window: for a patch of ``size`` pixels, the part of the frame it shows; the whole frame if None. An
            encoder-decoder draws whole frames alone.
        keys: dropout keys of the examples, ``[N]`` (training only).
        dtype: of the network's arithmetic.

    Returns:
        for each head of the network ``[N, size, size, c]`` float32.

    Raises:
        InputError: a grid of the wrong shape, or a size the network can't make.
    """
    check_size(config, size)
    if jnp.ndim(grid) == 5 and jnp.shape(grid)[-1] != config.channels:
        raise InputError(
            f"grid: expected {config.channels} channels for network {config.name!r}, got {jnp.shape(grid)[-1]}; "
            "use other weights or keep only those channels"
        )
    if config.encoder:
        check_grid(grid)
        return network.encode_decode(params, config, grid, pose, keys=keys, dtype=dtype)
    side = size // config.upsample

    grid = jnp.asarray(grid, jnp.float32)
    if config.paint and config.analytic:
        grid = jnp.concatenate([grid[..., :1], grid[..., :1] * grid[..., 1:]], axis=-1)

    def draw(grid, pose, window):
        camera = camera_grid(grid, pose, (side, side, config.depth), window)
        # As many as would cross what is as wide as the camera grid is deep.
        columns = side if window is None else 2.0 * side * window.depth / window.extent
        return network.apply(params, config, camera, columns, keys=keys, dtype=dtype)

    if window is not None or keys is not None:  # patches are small, and drawn together
        return draw(grid, pose, window)
    # A whole picture keeps every core of a CPU busy; one after the other, many take the memory of one.
    return over_poses(lambda grid, pose, _: jax.tree.map(lambda x: x[0], draw(grid[None], pose, None)), grid, pose)


def textured(params: dict, config: Config, grid: jax.Array, vector: jax.Array) -> jax.Array:
    """Object grids ``[B, X, Y, Z, 1]`` with the channels made of texture vectors ``[B, V]``: ``[B, X, Y, Z, 1 + C]``.

    Differentiable in all. B of either may be 1.

    Raises:
        InputError: the network has no textures, or grids or vectors of another shape.
    """
    colours = network.decode_texture(params, config, vector)
    check_grid(grid)
    count = max(len(grid), len(colours))
    if grid.shape[1:] != (*colours.shape[1:4], 1) or {len(grid), len(colours)} - {1, count}:
        raise InputError(
            f"grid: expected [{len(colours)}, {', '.join(map(str, colours.shape[1:4]))}, 1] as of the textures, got "
            f"{grid.shape}; voxelise with as many cells, one grid for each vector"
        )
    spread = lambda x: jnp.broadcast_to(x, (count, *x.shape[1:]))  # noqa: E731
    return jnp.concatenate([spread(jnp.asarray(grid, jnp.float32)), spread(colours)], axis=-1)


def render(
    params: dict,
    config: Config,
    grid: jax.Array,
    pose: Pose,
    light: Light | None = None,
    *,
    size: int = 512,
    output: str | None = None,
) -> jax.Array:
    """Picture(s) ``[N, size, size, c]`` in [0, 1] of object grids ``[B, X, Y, Z, C]``.

    Pure, and differentiable in params, grid, pose and light. ``output`` is one of ``shading.OUTPUTS`` (Phong if None)
    for a G-buffer network, under any light (:data:`DEFAULT_LIGHT` if None). An image network draws its own shader under
    its own light: leave both out, or name the same. See :func:`render_buffers` for the other arguments and what is
    raised.
    """
    return shade(config, render_buffers(params, config, grid, pose, size), light, output)
