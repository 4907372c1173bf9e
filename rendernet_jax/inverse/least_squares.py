"""Damped Gauss-Newton: few unknowns, many residuals, and a derivative by each unknown in one forward pass."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_FIRST_DAMPING = 1e-2
_RELAX, _TIGHTEN = 0.2, 6.0
_FLOOR = 1e-6  # of the normal matrix's diagonal: an unknown that nothing depends on does not move


def minimise(
    linearise: Callable,
    start: jax.Array,
    steps: jax.Array | int,
    project: Callable = lambda x: x,
    free: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Levenberg-Marquardt (Marquardt 1963) from one start; ``vmap`` it over many.

    Args:
        linearise: point ``[P]`` -> (residuals ``[M]``, derivatives ``[P, M]``).
        start: ``[P]``.
        steps: linearisations beside that of the start; may be traced.
        project: moves a point to the nearest allowed one.
        free: ``[P]``, 1 for unknowns that may move, 0 for those that are held; all may if None.

    Returns:
        the best point ``[P]`` and half the mean square of its residuals; no worse than those of the allowed point next
        to the start. What is held stays as it is, allowed or not.
    """
    free = jnp.ones_like(start) if free is None else free

    def assess(point):
        residuals, derivatives = linearise(point)
        derivatives = derivatives * free[:, None] / residuals.size
        normal = jnp.matmul(derivatives, derivatives.T, precision="highest") * residuals.size
        gradient = jnp.matmul(derivatives, residuals, precision="highest")
        return 0.5 * jnp.mean(residuals**2), normal, gradient

    def step(_, state):
        point, (cost, normal, gradient), damping = state
        diagonal = jnp.diagonal(normal)
        damped = normal + jnp.diag(damping * diagonal + _FLOOR + (1.0 - free))
        trial = jnp.where(free > 0, project(point - jnp.linalg.solve(damped, gradient) * free), point)
        trial = jnp.where(jnp.isfinite(trial), trial, point)
        assessed = assess(trial)
        better = assessed[0] < cost
        choose = lambda new, old: jnp.where(better, new, old)  # noqa: E731
        damping = jnp.clip(damping * jnp.where(better, _RELAX, _TIGHTEN), 1e-6, 1e4)
        return choose(trial, point), jax.tree.map(choose, assessed, (cost, normal, gradient)), damping

    # The start is assessed as the trial that follows a step from nowhere: linearisations are compiled once.
    nowhere = jnp.inf, jnp.zeros((len(start),) * 2), jnp.zeros_like(start)
    state = (start, nowhere, jnp.asarray(_FIRST_DAMPING / _RELAX, start.dtype))
    point, (cost, _, _), _ = jax.lax.fori_loop(0, steps + 1, step, state)
    return point, cost
