"""The CPU forms against XLA's own convolution: values and both gradients, odd and even sizes, kernels and strides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax.conv import conv, conv_transposed, one_by_one
from rendernet_jax.errors import InputError

WIDE = 64  # channels from which the kernel gradient has a form of its own
LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}


def reference(x, kernel, strides):
    strides = strides or (1,) * (x.ndim - 2)
    return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=LAYOUT[x.ndim - 2])


def normals(*shapes):
    """Random arrays by NumPy, which need no compilation."""
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def agree(found, expected, shapes):
    """Values and gradients, by input and kernel, of two functions at random arrays of these shapes."""
    result = jax.eval_shape(expected, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    x, kernel, weights = normals(*shapes, result.shape)
    outcomes = []
    for function in (found, expected):
        y, pull = jax.vjp(jax.jit(function), x, kernel)
        outcomes.append((y, *jax.jit(pull)(weights)))
    for a, b in zip(*outcomes, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=2e-6 * float(np.abs(b).max()) * np.sqrt(kernel.size / kernel.shape[-1]))


@pytest.mark.parametrize("channels", [(3, 5), (WIDE, WIDE)])
@pytest.mark.parametrize("side, strides", [(1, None), (1, (2, 2)), (2, (3, 2)), (3, None), (4, (2, 2)), (5, (1, 2))])
def test_two_dimensions(channels, side, strides):
    spatial = (7, 6) if side % 2 else (6, 9)
    shapes = (2, *spatial, channels[0]), (side, side, *channels)
    agree(functools.partial(conv, strides=strides), functools.partial(reference, strides=strides), shapes)


@pytest.mark.parametrize(
    "spatial, sides, strides, channels",
    [
        ((5, 6, 7), (3, 3, 3), None, (3, 5)),
        ((4, 3, 6), (3, 3, 3), None, (16, WIDE)),
        ((4, 6, 5), (1, 1, 1), None, (3, 5)),
        ((6, 5, 7), (2, 3, 4), None, (3, 5)),
        ((8, 5, 6), (5, 5, 5), (2, 2, 2), (1, 4)),
        ((5, 6, 7), (3, 3, 3), (1, 1, 2), (3, 5)),
    ],
)
def test_three_dimensions(spatial, sides, strides, channels):
    shapes = (2, *spatial, channels[0]), (*sides, *channels)
    agree(functools.partial(conv, strides=strides), functools.partial(reference, strides=strides), shapes)


@pytest.mark.parametrize(
    "sides, channels",
    [((2, 2), (3, 5)), ((3, 3), (3, 5)), ((4, 4), (WIDE, WIDE)), ((5, 5), (3, 5)), ((2, 5), (3, 5))],
)
def test_transposed(sides, channels):
    native = functools.partial(jax.lax.conv_transpose, strides=(2, 2), padding="SAME", dimension_numbers=LAYOUT[2])
    agree(conv_transposed, native, ((2, 5, 6, channels[0]), (*sides, *channels)))


@pytest.mark.parametrize("shape", [((3, 2, 5, 6, 4), (3, 3, 4, 5)), ((3, 2, 4, 5, 6, 2), (3, 3, 3, 2, 3))])
def test_maps_over_a_further_axis_and_differentiates_twice(shape):
    x, kernel = normals(*shape)
    mapped = jax.jit(jax.vmap(conv, (0, None)))(x, kernel)
    np.testing.assert_allclose(mapped[1], jax.jit(conv)(x[1], kernel), atol=1e-5)
    once = lambda x, f: jax.grad(lambda x: jnp.sum(f(x, kernel) ** 3))(x)  # noqa: E731
    twice = jax.jit(jax.grad(lambda x, f: jnp.sum(once(x, f) ** 2)), static_argnums=1)
    wanted = twice(x[0], lambda x, kernel: reference(x, kernel, None))
    np.testing.assert_allclose(twice(x[0], conv), wanted, rtol=2e-4, atol=2e-4 * float(np.abs(wanted).max()))


def test_forward_mode_equals_reverse_mode():
    """One Jacobian-vector product against one vector-Jacobian product, through both rules and both ranks."""
    for shape, side in (((2, 5, 6, WIDE), (3, 3)), ((1, 4, 5, 6, 3), (3, 3, 3))):
        kernels = (*side, shape[-1], WIDE)
        x, kernel, *moved, weights = normals(shape, kernels, shape, kernels, (*shape[:-1], WIDE))
        _, forward = jax.jit(lambda *inputs: jax.jvp(conv, inputs[:2], inputs[2:]))(x, kernel, *moved)
        reverse = jax.jit(lambda x, kernel, weights: jax.vjp(conv, x, kernel)[1](weights))(x, kernel, weights)
        total = sum(np.vdot(a, b) for a, b in zip(moved, reverse, strict=True))
        np.testing.assert_allclose(np.vdot(weights, forward), total, rtol=1e-4)


def test_one_by_one_is_vmap():
    xs = jnp.arange(6.0).reshape(3, 2), jnp.arange(3.0)
    function = lambda pair: (pair[0] * pair[1], jnp.sum(pair[0]))  # noqa: E731
    for found, expected in zip(one_by_one(function, xs), jax.vmap(function)(xs), strict=True):
        np.testing.assert_array_equal(found, expected)
    loops = lambda platform: (  # noqa: E731
        jax.jit(lambda xs: one_by_one(function, xs)).trace(xs).lower(lowering_platforms=(platform,)).as_text()
    )
    assert "stablehlo.while" in loops("cpu") and "stablehlo.while" not in loops("cuda")


def test_other_platforms_get_the_native_forms():
    """Lowered for a GPU, a 3D convolution is one 3D convolution, and a transposed one dilates its input."""
    x, kernel = jnp.zeros((1, 4, 4, 4, 2)), jnp.zeros((3, 3, 3, 2, 64))
    for platform, rank in (("cuda", 3), ("cpu", 2)):
        text = jax.jit(conv).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
        assert len(convolutions) == 1 and f"[b, {', '.join(map(str, range(rank)))}, f]" in convolutions[0]
    text = jax.jit(conv_transposed).trace(x[0], kernel[0]).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 1 and "lhs_dilate = [2, 2]" in text


def test_transposed_kernel_of_one_tap_is_refused():
    with pytest.raises(InputError, match="expected a kernel of 2 taps a side or more"):
        conv_transposed(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 1, 3, 3)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_stays_half(dtype):
    x, kernel = jnp.ones((1, 4, 4, WIDE), dtype), jnp.ones((3, 3, WIDE, WIDE), dtype)
    y, pull = jax.vjp(conv, x, kernel)
    assert {a.dtype for a in (y, *pull(y))} == {jnp.dtype(dtype)}
