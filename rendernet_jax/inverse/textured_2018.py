"""The schedule of 2018 for coloured objects, with which :mod:`rendernet_jax.inverse.textured` is compared."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import shape_prior
from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.inverse import candidates, photometric, textured, unknowns
from rendernet_jax.inverse.candidates import Fit, join, ranked, resize, take
from rendernet_jax.inverse.descent import descend_plainly
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.shape_prior import PriorConfig

ROUNDS, STEPS = 10, 200  # steps from each start of a round
_STARTS = 5
_SIZE = 64  # pixels
_CENTRE = Pose(elevation=0.1, inverse_distance=0.15)
_RANGE = (math.pi / 2, 0.5, 0.0, 0.25, 0.1, 0.1, 0.15)  # about it, in the order of unknowns.POSE
# Steps of plain descent are the gradient times these: about the largest at which it comes to rest.
_RATES = Unknowns(
    pose=np.asarray([0.3, 0.3, 0.3, 0.05, 0.05, 0.05, 0.05], np.float32),
    light=1.0,
    albedo=0.0,
    latent=20.0,
    texture=20.0,
)


def fit_textured_2018(
    params: dict,
    config: Config,
    prior: tuple[dict, PriorConfig],
    picture,
    mask,
    *,
    seed: int = 0,
    light_elevation: float = 0.7,
    rounds: int = ROUNDS,
    steps: int = STEPS,
) -> Fit:
    """Ten rounds from five starts of plain descent (Nguyen-Phuoc et al. 2018, section 4.4); light elevation is given.

    In each round starts are drawn about the best point so far, in half the range of the round before.

    Args:
        params, config, prior, picture, mask: as for :func:`rendernet_jax.inverse.fit_textured`.
        seed: of the starts.
        light_elevation: radians.
        rounds, steps: fewer for trying things out.

    Raises:
        InputError: what ``fit_textured`` raises.
    """
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_network(config)
    textured.check(config, prior[1], picture)
    drawn, rng = (resize(picture, _SIZE), resize(mask, _SIZE)), np.random.default_rng(seed)
    mean, spread = (np.asarray(x) for x in shape_prior.usual(prior[0]))
    best = Unknowns(
        unknowns.from_pose(_CENTRE),
        jnp.asarray([0.0, light_elevation, photometric.AMBIENT], jnp.float32),
        jnp.ones(3),
        jnp.asarray(mean),
        jnp.zeros(config.paint.texture.vector),
    )
    best, loss = jax.tree.map(lambda x: x[None], best), jnp.full(1, jnp.inf)
    ranges = Unknowns(np.asarray(_RANGE), np.asarray([math.pi / 2, 0.0, 0.0]), 0.0, 0.5 * spread, 0.5)
    for halved in range(rounds):
        draw = lambda x, wide: x + 0.5**halved * wide * rng.uniform(-1.0, 1.0, (_STARTS, x.shape[1]))  # noqa: B023, E731
        starts = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), jax.tree.map(draw, best, ranges))
        ends, losses = _descend(params, config, *prior, *drawn, unknowns.clip(starts), steps)
        joined = join((best, loss), (ends, losses))
        found = ranked(*joined, f"round {halved + 1}")
        best, loss = take((found.candidates, found.losses), slice(1))
    return found


@functools.partial(jax.jit, static_argnums=(1, 3, 7))
def _descend(params, config, prior, prior_config, picture, mask, starts, steps) -> tuple[Unknowns, jax.Array]:
    """Plain descent from each start: where it ends, and the loss there."""

    def loss(point):
        return textured.cost(params, config, prior, prior_config, picture, mask, point)

    return descend_plainly(loss, _RATES, starts, steps)
