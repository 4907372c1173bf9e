"""Pixel losses between pictures and G-buffers; each returns one number per example, ``[B]``; the caller reduces."""

import jax
import jax.numpy as jnp

from rendernet_jax import shading
from rendernet_jax.camera import Light
from rendernet_jax.errors import InputError
from rendernet_jax.layers import SATURATED

# What each shaded picture counts for beside Phong, which is drawn under a random light.
_ENTROPY = 0.1  # what the cross-entropy of an image counts for
_PICTURES = {"image": 1.0, "phong": 1.0, "normal": 0.5, "mask": 0.5, "ao": 0.5, "contour": 0.25, "albedo": 1.0, "texture": 1.0}


def squared_error(picture: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of pictures ``[B, H, W, C]``, ``[B]``. Raises InputError if the shapes differ."""
    if picture.shape != target.shape:
        raise InputError(f"target: expected shape {picture.shape}, got {target.shape}")
    return jnp.mean((picture - target) ** 2, axis=(1, 2, 3))


def cross_entropy(picture: jax.Array, target: jax.Array) -> jax.Array:
    """Mean binary cross-entropy of pictures ``[B, H, W, C]`` in [0, 1], ``[B]`` (Nguyen-Phuoc et al. 2018, section 4).

    Through a sigmoid its gradient does not vanish where a picture is white and ought to be black, as that of a squared
    error does: most of a picture is white background, and a network would otherwise learn that and no more. (Through
    :func:`rendernet_jax.layers.leaky_sigmoid` it is about picture - target everywhere.)
    """
    picture = SATURATED + (1.0 - 2.0 * SATURATED) * picture
    return -jnp.mean(target * jnp.log(picture) + (1.0 - target) * jnp.log1p(-picture), axis=(1, 2, 3))


def buffer_losses(predicted: dict, target: dict, light: Light) -> dict[str, jax.Array]:
    """Squared error of each picture that both can draw, cross-entropy of an image, absolute error of q_z on the object.

    Args:
        predicted, target: ``[B, H, W, c]`` by name: G-buffers, see :mod:`rendernet_jax.shading`, or an ``image``.
        light: fields ``[B]``; Phong pictures under it are compared.

    Returns:
        one entry ``[B]`` per picture.

    Raises:
        InputError: there is nothing that both can draw.
    """
    losses = {}
    if "image" in predicted and "image" in target:
        losses["image"] = squared_error(predicted["image"], target["image"])
        losses["image_entropy"] = cross_entropy(predicted["image"], target["image"])
    for name in [name for name in _PICTURES if name in shading.NEEDS]:
        needed = shading.NEEDS[name]
        if all(n in predicted and n in target for n in needed):
            losses[name] = squared_error(
                shading.shade(_only(predicted, needed), light, name), shading.shade(_only(target, needed), light, name)
            )
    if "depth" in predicted and "depth" in target:
        error = jnp.abs(predicted["depth"] - target["depth"]) * target["mask"]
        losses["depth"] = jnp.mean(error, axis=(1, 2, 3))
    if not losses:
        raise InputError(
            f"heads: expected some of what the data holds ({', '.join(target)}), got {', '.join(predicted)}; train a "
            "network with other heads"
        )
    return losses


def colour_error(colours: jax.Array, grid: jax.Array) -> jax.Array:
    """Mean squared error ``[B]`` of colours ``[B, X, Y, Z, C]`` where grids ``[B, X, Y, Z, 1 + C]`` hold something.

    Raises:
        InputError: the shapes do not fit.
    """
    if grid.shape != (*colours.shape[:-1], 1 + colours.shape[-1]):
        raise InputError(f"grid: expected occupancy and colours of {colours.shape}, got {grid.shape}; give both")
    somewhere = (grid[..., 0] > 0.0).astype(jnp.float32)
    error = jnp.mean((colours - grid[..., 1:]) ** 2, axis=-1) * somewhere
    return jnp.sum(error, axis=(1, 2, 3)) / jnp.maximum(jnp.sum(somewhere, axis=(1, 2, 3)), 1.0)


def total(losses: dict[str, jax.Array]) -> jax.Array:
    """Weighted sum ``[B]`` of :func:`buffer_losses`, of root mean squares where they are squared errors of pictures.

    The mean of PSNR over pictures falls with the logarithm of each picture's error; a root weighs hard pictures less
    than their squared error would, and has a finite gradient where a picture is exact.
    """
    pictures = sum(_PICTURES[name] * jnp.sqrt(loss + 1e-5) for name, loss in losses.items() if name in _PICTURES)
    return pictures + 0.25 * losses.get("depth", 0.0) + _ENTROPY * losses.get("image_entropy", 0.0)


def _only(buffers, names):
    return {name: buffers[name] for name in names}
