"""Convolution, sub-pixel rearrangement and loops over pictures; the only file that may choose by platform.

Every function equals its ``jax.lax`` counterpart up to rounding. On a CPU, XLA runs some of them slowly, and others
are lowered there (measured by ``experiments.benchmark --kernels``); GPUs and TPUs get the native ones.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from rendernet_jax.errors import InputError

_LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}
_NARROW = 28  # channels below which XLA's kernel gradient is at least as fast as one product for each tap


def conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...] | None = None) -> jax.Array:
    """Convolution with zero padding that keeps the size (divided by the strides, rounded up).

    Args:
        x: ``[B, H, W, C]`` or ``[B, H, W, D, C]``.
        kernel: ``[kh, kw, C, O]`` or ``[kh, kw, kd, C, O]``.
        strides: one for each spatial axis; 1 if None.

    Returns:
        ``[B, H', W', O]`` or ``[B, H', W', D', O]``.
    """
    strides = strides or (1,) * (x.ndim - 2)
    padding = tuple(jax.lax.padtype_to_pads(x.shape[1:-1], kernel.shape[:-2], strides, "SAME"))
    if x.ndim == 4:
        return _conv(x, kernel, strides, padding)
    native = functools.partial(_native, strides=strides, padding=padding)
    folded = functools.partial(_folded, strides=strides, padding=padding)
    return jax.lax.platform_dependent(x, kernel, cpu=jax.checkpoint(folded), default=native)


def conv_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 2D convolution with stride 2: ``[B, H, W, C]``, ``[kh, kw, C, O]`` -> ``[B, 2H, 2W, O]``.

    Raises:
        InputError: a kernel of less than two taps a side, with which some pixels would meet none.
    """
    if min(kernel.shape[:2]) < 2:
        raise InputError(
            f"transposed convolution: expected a kernel of 2 taps a side or more, got {kernel.shape[:2]}; widen it"
        )
    native = functools.partial(jax.lax.conv_transpose, strides=(2, 2), padding="SAME", dimension_numbers=_LAYOUT[2])
    return jax.lax.platform_dependent(x, kernel, cpu=_phases, default=native)


# --- forms ----------------------------------------------------------------------------------------------------------


def _native(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT[x.ndim - 2])


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _conv(x, kernel, strides, padding):
    """2D convolution whose kernel gradient is fast on a CPU."""
    if _is_pointwise(kernel, strides):
        return x @ kernel[0, 0]
    return _native(x, kernel, strides, padding)


@functools.partial(_conv.defjvp, symbolic_zeros=True)
def _conv_jvp(strides, padding, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _conv(x, kernel, strides, padding)
    total = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        total += dx @ kernel[0, 0] if _is_pointwise(kernel, strides) else _native(dx, kernel, strides, padding)
    if not isinstance(dkernel, SymbolicZero):
        by_kernel = functools.partial(_native, strides=strides, padding=padding)
        if _is_pointwise(kernel, strides) or min(kernel.shape[2:]) >= _NARROW:
            taps = functools.partial(_sum_of_taps, strides=strides, padding=padding, shape=y.shape)
            by_kernel = functools.partial(jax.lax.platform_dependent, cpu=taps, default=by_kernel)
        # Checkpointed: what a form makes of the input is made again for the backward pass, not kept until then.
        total += jax.checkpoint(by_kernel, prevent_cse=False)(x, dkernel)
    return y, total


def _is_pointwise(kernel, strides):
    return kernel.shape[:2] == strides == (1, 1)


def _sum_of_taps(x, kernel, strides, padding, shape):
    """2D convolution as the sum of one matrix product for each tap; here for its adjoint by the kernel alone.

    Pixels come last, so that the adjoint has a contiguous left side: of the layouts of a product over all pixels, the
    one that XLA's CPU backend runs at full rate. The barrier holds XLA from choosing another.
    """
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    sides, channels = kernel.shape[:2], kernel.shape[2]
    each = jax.lax.split(kernel.reshape(-1, *kernel.shape[2:]).swapaxes(1, 2), (1,) * math.prod(sides))
    total = 0.0
    for tap, weights in zip(itertools.product(*map(range, sides)), each, strict=True):
        seen = _tap(padded, tap, strides, shape[1:3]).reshape(-1, channels)
        total += jax.lax.dot_general(weights[0], seen, (((1,), (1,)), ((), ())))
    return jax.lax.optimization_barrier(total).T.reshape(shape)


def _tap(padded, tap, strides, sizes):
    """What one tap of a kernel meets: ``[B, *sizes, ...]`` of an input padded along the axes after the first."""
    for axis, (start, stride, size) in enumerate(zip(tap, strides, sizes, strict=True), 1):
        padded = jax.lax.slice_in_dim(padded, start, start + stride * (size - 1) + 1, stride, axis)
    return padded


def _folded(x, kernel, strides, padding):
    """3D convolution as a 2D one over (W, D): rows join the batch, the rows that a kernel spans join the channels."""
    rows = (x.shape[1] + sum(padding[0]) - kernel.shape[0]) // strides[0] + 1
    padded = jnp.pad(x, ((0, 0), padding[0], (0, 0), (0, 0), (0, 0)))
    taps = [_tap(padded, (i,), strides[:1], (rows,)) for i in range(kernel.shape[0])]
    stacked = jnp.concatenate(taps, axis=-1)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
    y = _conv(stacked.reshape(-1, *stacked.shape[2:]), kernel, strides[1:], padding[1:])
    return y.reshape(x.shape[0], rows, *y.shape[1:])


def _phases(x, kernel):
    """Transposed convolution as one small convolution for each of the four pixels that a cell becomes.

    No product with the zeros between the cells (Shi et al. 2016, "Is the deconvolution layer the same as a
    convolutional layer?").
    """
    axes = [[_phase(side, which) for which in range(2)] for side in kernel.shape[:2]]
    rows = []
    for first_row, *row_padding in axes[0]:
        columns = [
            _conv(x, kernel[first_row::2, first_column::2], (1, 1), (tuple(row_padding), tuple(column_padding)))
            for first_column, *column_padding in axes[1]
        ]
        rows.append(jnp.stack(columns, axis=3))
    y = jnp.stack(rows, axis=2)
    return y.reshape(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], kernel.shape[-1])


def _phase(side: int, which: int) -> tuple[int, int, int]:
    """First tap that meets a cell, of every second, and the padding before and after, for even or odd outputs."""
    before = side - 1 if side < 3 else (side + 1) // 2  # of lax.conv_transpose, padding "SAME", stride 2
    first = (before + which) % 2
    taps = len(range(first, side, 2))
    low = (before - which - first) // 2
    return first, low, taps - 1 - low


# --- loops ----------------------------------------------------------------------------------------------------------


def one_by_one(function, xs):
    """``jax.vmap(function)(xs)`` over the leading axis; on a CPU one element after the other.

    What one element leaves on the way then stays in the cache, and takes the memory of one element. A loop has no axis
    to shard: split work over several CPU devices by ``pmap`` or ``shard_map``, not by the sharding of ``jit``.
    """
    if jax.tree.leaves(xs)[0].shape[0] == 1:  # neither a loop nor a choice to trace
        return jax.tree.map(lambda y: y[None], function(jax.tree.map(lambda x: x[0], xs)))
    loop = functools.partial(jax.lax.map, function)
    return jax.lax.platform_dependent(xs, cpu=loop, default=jax.vmap(function))


# --- rearrangement --------------------------------------------------------------------------------------------------


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
