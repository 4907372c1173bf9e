"""Gradient descent on all unknowns together: by Adam (Kingma and Ba 2015), and plain, as in 2018."""

from collections.abc import Callable, Generator

import flax.struct
import jax
import jax.numpy as jnp
import optax

from rendernet_jax.conv import one_by_one
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.candidates import Fit, ranked
from rendernet_jax.inverse.unknowns import Unknowns

CHUNK = 10  # steps between two reports
MOMENTS = optax.scale_by_adam(b1=0.9, b2=0.98)


@flax.struct.dataclass
class State:
    """Descent of some candidates, leading axis ``[K]`` throughout."""

    point: Unknowns
    moments: tuple
    first: Unknowns
    best: Unknowns
    loss: jax.Array  # of the best


def descend(some_steps: Callable, first: Unknowns, free: Unknowns, steps: int, stage: str) -> Generator[Fit, None, Fit]:
    """Steps of every candidate, told from time to time; returns what was told last.

    Args:
        some_steps: ``(state, free, done, share)`` -> state after :data:`CHUNK` steps, by :func:`steps_of_all`.
        first: candidates ``[K, ...]``.
        free: 1 for what moves and 0 for what is held, scalars or as one candidate.
    """
    losses = jnp.full(len(first.pose), jnp.inf, jnp.float32)
    state = State(first, jax.vmap(MOMENTS.init)(first), first, first, losses)
    for done in range(0, steps, CHUNK):
        state = some_steps(state, free, done / steps, 1.0 / steps)
        found = ranked(state.best, state.loss, stage)
        yield found
    return found


def steps_of_all(loss: Callable, rates: Unknowns, state: State, free: Unknowns, done, share) -> State:
    """:data:`CHUNK` steps of every candidate; their rates fall by half a cosine from ``done`` 0 to 1, a share a step.

    Args:
        loss: ``(point, first) -> number`` of one candidate.
        rates: of the first steps, numbers or arrays as one candidate.
    """

    def steps(state):
        def step(state, index):
            value, gradient = jax.value_and_grad(loss)(state.point, state.first)
            gradient = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0.0), gradient)
            choose = lambda new, old: jnp.where(value < state.loss, new, old)  # noqa: E731
            updates, moments = MOMENTS.update(gradient, state.moments)
            rate = falling(done + share * index)
            move = lambda x, update, most, free: x - rate * most * free * update  # noqa: E731
            point = unknowns.clip(jax.tree.map(move, state.point, updates, rates, free))
            best = jax.tree.map(choose, state.point, state.best)
            return state.replace(point=point, moments=moments, best=best, loss=choose(value, state.loss)), None

        return jax.lax.scan(step, state, jnp.arange(CHUNK, dtype=jnp.float32))[0]

    return one_by_one(steps, state)


def falling(done: jax.Array) -> jax.Array:
    """Share of the first rate after a share of the steps is done: half a cosine from 1 to 0."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(done, 1.0)))


def descend_plainly(loss: Callable, rates: Unknowns, starts: Unknowns, steps: int) -> tuple[Unknowns, jax.Array]:
    """Plain descent from each start, the light's elevation and share held, as in 2018: ends and losses there ``[K]``.

    Args:
        loss: ``point -> number`` of one candidate.
        rates: by which gradients are multiplied, numbers or arrays as one candidate.
        starts: candidates ``[K, ...]``.
    """

    def step(point, _):
        gradient = jax.grad(loss)(point)
        moved = jax.tree.map(lambda x, rate, g: x - rate * jnp.where(jnp.isfinite(g), g, 0.0), point, rates, gradient)
        moved = unknowns.clip(moved)
        return moved.replace(light=point.light.at[0].set(moved.light[0])), None

    def descend(start):
        end, _ = jax.lax.scan(step, start, length=steps)
        return end, loss(end)

    return one_by_one(descend, starts)
