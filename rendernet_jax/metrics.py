"""Figures of merit of pictures ``[B, H, W, C]`` in [0, 1]; each returns one number per picture, ``[B]``."""

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.errors import InputError


def _check(a, b):
    if jnp.shape(a) != jnp.shape(b) or jnp.ndim(a) != 4:
        raise InputError(f"pictures: expected two of one shape [B, H, W, C], got {jnp.shape(a)} and {jnp.shape(b)}")


def psnr(picture: jax.Array, reference: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Peak signal-to-noise ratio in dB over the full frame, or over ``weight`` ``[B, H, W, 1]`` (a foreground mask).

    Equal pictures give infinity; use it as a figure, never as a loss.
    """
    _check(picture, reference)
    error = jnp.mean((picture - reference) ** 2, axis=-1, keepdims=True)
    weight = jnp.ones_like(error) if weight is None else weight
    mean = jnp.sum(error * weight, axis=(1, 2, 3)) / jnp.maximum(jnp.sum(weight, axis=(1, 2, 3)), 1e-6)
    return -10.0 * jnp.log10(mean)


def ssim(picture: jax.Array, reference: jax.Array, sigma: float = 1.5, radius: int = 5) -> jax.Array:
    """Structural similarity (Wang et al. 2004, section III.B): Gaussian window 11x11, interior only, mean over it."""
    _check(picture, reference)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = jnp.asarray(taps / taps.sum(), jnp.float32)

    def blur(x):
        channels = x.shape[-1]
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = jnp.broadcast_to(taps.reshape(shape), (*taps.reshape(shape).shape[:3], channels))
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=channels
            )
        return x

    mean_a, mean_b = blur(picture), blur(reference)
    var_a, var_b = blur(picture**2) - mean_a**2, blur(reference**2) - mean_b**2
    covariance = blur(picture * reference) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return jnp.mean(similarity, axis=(1, 2, 3))


def mask_iou(mask: jax.Array, reference: jax.Array) -> jax.Array:
    """Intersection over union of two masks thresholded at one half; 1 where both are empty."""
    _check(mask, reference)
    a, b = mask > 0.5, reference > 0.5
    union = jnp.sum(a | b, axis=(1, 2, 3))
    return jnp.where(union > 0, jnp.sum(a & b, axis=(1, 2, 3)) / jnp.maximum(union, 1), 1.0)
