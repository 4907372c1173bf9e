"""Seconds, memory and arithmetic of compiled functions."""

import math
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend import core

_SETTLE = 0.02  # seconds; one library's idle threads spin for a while, and would be timed with the next


def measure(function: Callable, arguments: tuple, repeats: int) -> dict:
    """Compile and run a function.

    Args:
        function: of JAX arrays; arrays it closes over would be compiled in.
        arguments: what it is called with.
        repeats: how often it is timed once compiled.

    Returns:
        ``first_seconds`` (trace, compile, run once), ``seconds`` (median thereafter), ``memory_mib`` (arguments,
        results and temporaries of the compiled program; None where the backend can't tell).
    """
    began = time.perf_counter()
    # A new function each time: JAX remembers what it has compiled by the function.
    compiled = jax.jit(lambda *arguments: function(*arguments)).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    first = time.perf_counter() - began
    seconds = median_seconds(lambda: jax.block_until_ready(compiled(*arguments)), repeats)
    return {"first_seconds": first, "seconds": seconds, "memory_mib": memory_mib(compiled)}


def memory_mib(compiled) -> float | None:
    """MiB of arguments, results and temporaries of a compiled program; None where the backend can't tell."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    aliased = analysis.alias_size_in_bytes  # results that take an argument's place
    parts = (analysis.temp_size_in_bytes, analysis.argument_size_in_bytes, analysis.output_size_in_bytes)
    return (sum(parts) - aliased) / 2**20


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a function that returns when its work is done."""
    return statistics.median(_once(function) for _ in range(repeats))


def interleave(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall times of several functions, each once a round, so that a slow spell of the machine hits all alike.

    Each runs twice before the first round.
    """
    seconds = {name: [] for name in functions}
    for function in [*functions.values()] * 2:
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            time.sleep(_SETTLE)
            seconds[name].append(_once(function))
    return seconds


def ratios(seconds: dict[str, list[float]], ours: str) -> dict[str, float]:
    """Median over rounds of (their seconds / our seconds), for every other name; above 1 where we are faster."""
    return {
        name: statistics.median(theirs / mine for theirs, mine in zip(values, seconds[ours], strict=True))
        for name, values in seconds.items()
        if name != ours
    }


def matmul_gflops(dtype) -> float:
    """The machine's rate for square matrix products of this type: the best of several, GFLOP/s.

    The side doubles from 1024 to at most 8192 until a product takes a twentieth of a second.
    """
    side = 1024
    while True:
        a = jnp.ones((side, side), dtype)
        product = jax.jit(jnp.matmul)
        jax.block_until_ready(product(a, a))
        best = min(_once(lambda: jax.block_until_ready(product(a, a))) for _ in range(7))  # noqa: B023
        if best > 0.05 or side == 8192:
            return 2e-9 * side**3 / best
        side *= 2


def count_gflop(function: Callable, arguments: tuple) -> float:
    """10^9 multiplications and additions of a function's convolutions and matrix products; nothing is run.

    Zeros that a transposed or strided convolution inserts are not counted; zeros of padding are.
    """
    return 1e-9 * _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _once(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _count(jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel, numbers = equation.invars[1].aval.shape, parameters["dimension_numbers"]
            taps = math.prod(kernel) / kernel[numbers.rhs_spec[0]]
            total += 2.0 * equation.outvars[0].aval.size * taps / math.prod(parameters["lhs_dilation"])
        elif name == "dot_general":
            shape, (contracted, _) = equation.invars[0].aval.shape, parameters["dimension_numbers"][0]
            total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        elif name == "cond":  # of the forms for each platform, one is run
            total += max(_count(branch.jaxpr) for branch in parameters["branches"])
        else:
            repeats = parameters.get("length", 1) if name == "scan" else 1
            total += repeats * sum(_count(inner) for inner in _inner(parameters.values()))
    return total


def _inner(values):
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)
