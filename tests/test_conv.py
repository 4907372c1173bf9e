"""Convolution against nested loops, and the sub-pixel rearrangements against their definition."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax.conv import conv, conv_transposed, depth_to_space, space_to_depth, upsample

RNG = np.random.default_rng(0)


def numpy_conv(x, kernel, strides):
    """Zero-padded so that sizes become ceil(n / stride); the odd cell of padding goes behind, as TensorFlow does."""
    sides, steps = kernel.shape[:-2], np.array(strides)
    out = -(-np.array(x.shape[1:-1]) // steps)
    total = np.maximum((out - 1) * steps + sides - x.shape[1:-1], 0)
    padded = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    result = np.zeros((len(x), *out, kernel.shape[-1]))
    for cell in itertools.product(*map(range, out)):
        box = tuple(slice(c * s, c * s + k) for c, s, k in zip(cell, strides, sides, strict=True))
        axes = list(range(1, x.ndim))
        result[:, *cell] = np.tensordot(padded[:, *box], kernel, axes=(axes, [a - 1 for a in axes]))
    return result


@pytest.mark.parametrize(
    "spatial, sides, strides",
    [
        ((5, 6), (3, 3), None),
        ((5, 6), (4, 4), None),
        ((5, 6), (1, 1), None),
        ((4, 5, 6), (3, 3, 3), None),
        ((4, 6, 8), (3, 3, 3), (1, 1, 2)),
        ((6, 6, 5), (5, 5, 5), (2, 2, 2)),
        ((4, 6, 4), (1, 1, 1), (2, 2, 2)),
    ],
)
def test_equals_nested_loops(spatial, sides, strides):
    x, kernel = RNG.normal(size=(2, *spatial, 3)), RNG.normal(size=(*sides, 3, 5))
    found = conv(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), strides)
    np.testing.assert_allclose(found, numpy_conv(x, kernel, strides or (1,) * len(spatial)), atol=2e-5)


def test_transposed_spreads_each_pixel_over_its_patch():
    """Doubling by a 4x4 kernel: input pixel i reaches output pixels 2i-1 to 2i+2."""
    x, kernel = RNG.normal(size=(1, 3, 4, 2)), RNG.normal(size=(4, 4, 2, 3))
    expected = np.zeros((1, 3 * 2 + 2, 4 * 2 + 2, 3))
    for i, j in np.ndindex(3, 4):
        spread = np.einsum("c,hwco->hwo", x[0, i, j], kernel[::-1, ::-1])
        expected[0, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += spread
    found = conv_transposed(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose(found, expected[:, 1:-1, 1:-1], atol=2e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_rearrangements_invert_each_other_and_keep_neighbours(factor):
    picture = RNG.random((2, 2 * factor, 4 * factor, 5)).astype(np.float32)
    folded = space_to_depth(jnp.asarray(picture), factor)
    assert folded.shape == (2, 2, 4, factor * factor * 5)
    np.testing.assert_array_equal(depth_to_space(folded, factor), picture)
    patch = picture[1, factor : 2 * factor, 2 * factor : 3 * factor]
    np.testing.assert_array_equal(folded[1, 1, 2].reshape(factor, factor, 5), patch)


def test_upsample_repeats_pixels():
    picture = RNG.random((2, 3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(upsample(jnp.asarray(picture), 3), picture.repeat(3, axis=1).repeat(3, axis=2))
