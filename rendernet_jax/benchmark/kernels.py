"""Convolution by convolution, and resampling: the library's forms against the ones of JAX."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import conv, voxels
from rendernet_jax.benchmark import plain_flax, stages, timing

_LAYOUT = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}
# name -> input, kernel, strides (None: transposed). About 10^9 multiplications and additions each, but for the strided
# one: some of the forms of jax.lax take minutes at its size in a network.
CASES = {
    "2D 3x3, 32": ((1, 256, 256, 32), (3, 3, 32, 32), (1, 1)),
    "2D 3x3, 64": ((1, 128, 128, 64), (3, 3, 64, 64), (1, 1)),
    "2D 3x3, 128": ((1, 64, 64, 128), (3, 3, 128, 128), (1, 1)),
    "2D 3x3, 256": ((1, 32, 32, 256), (3, 3, 256, 256), (1, 1)),
    "2D 3x3, 512": ((1, 16, 16, 512), (3, 3, 512, 512), (1, 1)),
    "3D 3x3x3, 8": ((1, 64, 64, 64, 8), (3, 3, 3, 8, 8), (1, 1, 1)),
    "3D 3x3x3, 16": ((1, 40, 40, 40, 16), (3, 3, 3, 16, 16), (1, 1, 1)),
    "3D 3x3x3, 32": ((1, 32, 32, 16, 32), (3, 3, 3, 32, 32), (1, 1, 1)),
    "3D 5x5x5 / 2, 1 to 8": ((1, 32, 32, 32, 1), (5, 5, 5, 1, 8), (2, 2, 2)),
    "2D 4x4 transposed, 128": ((1, 32, 32, 128), (4, 4, 128, 128), None),
}


def compare_resampling(rounds: int, grid_side: int = 64, side: int = 128) -> dict:
    """One row as :func:`compare_kernels` yields: forward, and the gradients by ``grid``, by ``pose`` and by ``both``.

    Against ``map_coordinates`` with JAX's derivatives.
    """
    rng = np.random.default_rng(0)
    grid = jnp.asarray(rng.random((1, *[grid_side] * 3, 1)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(1, *[side] * 3, 1)), jnp.float32)
    made = {}
    for who, sample in (("ours", voxels.camera_grid), ("jax", plain_flax.camera_grid)):
        forward = functools.partial(_sample, sample, (side,) * 3)
        parts = {"forward": forward}
        for part, arguments in (("grid", 0), ("pose", 1), ("both", (0, 1))):
            parts[part] = jax.grad(lambda g, p, f=forward: jnp.vdot(f(g, p), weights), arguments)
        made[who] = {part: _ready(jax.jit(f), grid, stages.poses(1)) for part, f in parts.items()}
    row = {"name": f"resample {grid_side}^3 to {side}^3"}
    return row | {part: _compare({who: parts[part] for who, parts in made.items()}, rounds) for part in made["ours"]}


def compare_kernels(rounds: int, cases=CASES) -> Iterator[dict]:
    """Yield one row for each case: ``name``, and a dict for ``forward`` and the gradients by ``input`` and ``kernel``.

    A dict holds ``seconds`` of ours and ``ratio``, the median of (theirs / ours) over interleaved rounds.
    """
    rng = np.random.default_rng(0)
    for name, (x_shape, kernel_shape, strides) in cases.items():
        x, kernel = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in (x_shape, kernel_shape))
        row = {"name": name}
        made = {"ours": _passes(_ours(strides), x, kernel), "lax": _passes(_lax(strides), x, kernel)}
        for part in made["ours"]:
            row[part] = _compare({who: passes[part] for who, passes in made.items()}, rounds)
        yield row


def _compare(functions: dict, rounds: int) -> dict:
    seconds = timing.interleave(functions, rounds)
    (ratio,) = timing.ratios(seconds, "ours").values()
    return {"seconds": float(np.median(seconds["ours"])), "ratio": ratio}


def _sample(camera_grid, shape, grid, pose):
    return camera_grid(grid, pose, shape)


def _ready(function, *arguments):
    return lambda: jax.block_until_ready(function(*arguments))


def _ours(strides):
    if strides is None:
        return conv.conv_transposed
    return functools.partial(conv.conv, strides=strides)


def _lax(strides):
    def convolve(x, kernel):
        layout = _LAYOUT[x.ndim - 2]
        if strides is None:
            return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=layout)
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout)

    return convolve


def _passes(convolve, x, kernel) -> dict:
    forward = jax.jit(convolve)
    given = forward(x, kernel)
    by_input = jax.jit(lambda x, kernel, g: jax.vjp(lambda x: convolve(x, kernel), x)[1](g)[0])
    by_kernel = jax.jit(lambda x, kernel, g: jax.vjp(lambda k: convolve(x, k), kernel)[1](g)[0])
    return {
        "forward": _ready(forward, x, kernel),
        "input": _ready(by_input, x, kernel, given),
        "kernel": _ready(by_kernel, x, kernel, given),
    }
