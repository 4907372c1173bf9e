"""2D and 3D convolution and sub-pixel rearrangement; the only file that may choose by platform."""

import jax
import jax.numpy as jnp

_LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}


def conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...] | None = None) -> jax.Array:
    """Convolution with zero padding that keeps the size (divided by the strides, rounded up).

    Args:
        x: ``[B, H, W, C]`` or ``[B, H, W, D, C]``.
        kernel: ``[kh, kw, C, O]`` or ``[kh, kw, kd, C, O]``.
        strides: one for each spatial axis; 1 if None.

    Returns:
        ``[B, H', W', O]`` or ``[B, H', W', D', O]``.
    """
    rank = x.ndim - 2
    if kernel.shape[:-2] == (1,) * rank and strides is None:
        return x @ kernel.reshape(kernel.shape[-2:])
    return jax.lax.conv_general_dilated(x, kernel, strides or (1,) * rank, "SAME", dimension_numbers=_LAYOUT[rank])


def conv_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 2D convolution with stride 2: ``[B, H, W, C]``, ``[kh, kw, C, O]`` -> ``[B, 2H, 2W, O]``."""
    return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=_LAYOUT[2])


def depth_to_space(x: jax.Array, factor: int = 2) -> jax.Array:
    """Sub-pixel rearrangement ``[B, H, W, f*f*C] -> [B, f*H, f*W, C]`` (Shi et al. 2016, section 3.2)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, factor, factor, c // factor**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * factor, w * factor, -1)


def space_to_depth(x: jax.Array, factor: int = 2) -> jax.Array:
    """Inverse of :func:`depth_to_space`: ``[B, f*H, f*W, C] -> [B, H, W, f*f*C]``."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // factor, factor, w // factor, factor, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // factor, w // factor, -1)


def upsample(x: jax.Array, factor: int) -> jax.Array:
    """Nearest-neighbour enlargement ``[B, H, W, C] -> [B, f*H, f*W, C]``."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, factor, w, factor, c)).reshape(b, h * factor, w * factor, c)
