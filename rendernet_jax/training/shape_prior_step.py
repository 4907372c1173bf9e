"""Loss, train state and the pure training step of the shape prior."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax

from rendernet_jax import shape_prior
from rendernet_jax.shape_prior import PriorConfig
from rendernet_jax.training.step import AXIS, advance, fresh_state, make_optimizer

_BINARY = 0.25  # share of the shapes of which a prior of coverage sees set cells alone, so that it reads these, too
_SHARPNESS = 2.0  # of the edge from which a cell counts as set, in the loss: so steep, coverage is not pushed beyond it
_FEWEST = 0.008  # of a grid's cells, added to the occupied ones by which a shape's error is divided


@dataclasses.dataclass(frozen=True)
class PriorRecipe:
    """What fixes a training run of the shape prior beside its layers and the shapes."""

    steps: int = 4000
    batch: int = 8
    rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 1e-4
    ema: float = 0.999
    clip: float = 1.0  # global gradient norm
    kl: float = 0.03  # weight of the latent's divergence from a unit normal, 1 for the evidence lower bound
    seed: int = 0


def init_state(config: PriorConfig, recipe: PriorRecipe, params: dict | None = None) -> dict:
    """Train state before the first step, see :func:`rendernet_jax.training.step.fresh_state`; warm from ``params``."""
    if params is None:
        params = shape_prior.init(jax.random.key(recipe.seed), config)
    return fresh_state(params, make_optimizer(recipe))


def grid_losses(logits: jax.Array, target: jax.Array, edge: float) -> jax.Array:
    """What grids ``[B, G, G, G, 1]`` lack: ``[B]``, the sum of three parts.

    Cross-entropy for each occupied cell; one minus Dice's coefficient; and one minus the soft overlap of the cells that
    are set, from ``edge`` on. All are relative to the occupied cells, so that a shape of thin rods counts as much as a
    block. Dice's is that of squares (Milletari et al. 2016, section 3), which is best where a partly covered cell is
    drawn as such.
    """
    logits, target = (x.reshape(len(x), -1) for x in (logits, target))
    small = jnp.exp(-jnp.abs(logits))
    entropy = jnp.maximum(logits, 0.0) - logits * target + jnp.log(1.0 + small)
    probability = jnp.where(logits >= 0.0, 1.0, small) / (1.0 + small)
    dice = (2.0 * sum_cells(probability * target) + 1.0) / (sum_cells(probability**2) + sum_cells(target**2) + 1.0)
    overlap = soft_overlap(logits, (target >= edge).astype(jnp.float32), edge, _SHARPNESS)
    return sum_cells(entropy) / count_occupied(target) + 2.0 - dice - overlap


def soft_overlap(logits: jax.Array, cells: jax.Array, edge: float, sharpness: float = 1.0) -> jax.Array:
    """Overlap ``[B]`` of set cells ``[B, N]``, 0 or 1, with the chances that decoded ones are set, from ``edge`` on.

    Chances are logistic in logits ``[B, N]``, as steep as ``sharpness`` says.
    """
    chance = jax.nn.sigmoid(sharpness * (logits - math.log(edge / (1.0 - edge))))
    both = sum_cells(chance * cells)
    return (both + 1.0) / (sum_cells(chance) + sum_cells(cells) - both + 1.0)


def count_occupied(target: jax.Array) -> jax.Array:
    """Occupied cells ``[B]`` of grids ``[B, N]``, and a few more, so that the thinnest shapes do not outweigh all."""
    return sum_cells(target) + _FEWEST * target.shape[1]


def sum_cells(cells: jax.Array) -> jax.Array:
    """``[B, N] -> [B]`` as a matrix product: what XLA merges into a sum on a CPU, it computes one number at a time."""
    return cells @ jnp.ones((cells.shape[1],), cells.dtype)


def as_given(config: PriorConfig, grid: jax.Array, key: jax.Array) -> jax.Array:
    """Grids ``[B, G, G, G, 1]`` as the encoder gets them: some of coverage as binary ones."""
    if config.occupancy == "binary":
        return grid
    binary = jax.random.bernoulli(key, _BINARY, (len(grid), 1, 1, 1, 1))
    return jnp.where(binary, grid >= shape_prior.SET_FROM["coverage"], grid)


def divergence(mean: jax.Array, log_noise: jax.Array) -> jax.Array:
    """Kullback-Leibler divergence of N(mean, noise^2) from the unit normal, nats: ``[B, L]``, ``[L]`` -> ``[B]``."""
    log_noise = log_noise[None]
    return 0.5 * jnp.sum(mean**2 + jnp.exp(2.0 * log_noise) - 2.0 * log_noise - 1.0, axis=1)


def make_loss(config: PriorConfig, recipe: PriorRecipe):
    """``loss(params, batch, key) -> (loss, figures)``, means over a batch of grids; see :func:`make_step`."""
    edge = shape_prior.SET_FROM[config.occupancy]

    def loss_fn(params, batch, key):
        choose, key = jax.random.split(key)
        mean = shape_prior.encode(params, config, as_given(config, batch, choose))
        noise = jax.random.normal(key, mean.shape) * jnp.exp(params["log_noise"])[None]
        logits = shape_prior.decode_logits(params, config, mean + noise)
        parts = {"cells": grid_losses(logits, batch, edge), "nats": divergence(mean, params["log_noise"])}
        # The cross-entropy was divided by the occupied cells; what it is weighed against is, too.
        parts["loss"] = parts["cells"] + recipe.kl * parts["nats"] / count_occupied(batch.reshape(len(mean), -1))
        figures = {name: jnp.mean(part) for name, part in parts.items()}
        return figures["loss"], figures

    return loss_fn


def make_step(config: PriorConfig, recipe: PriorRecipe, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given.

    A batch is what :meth:`rendernet_jax.data.shape_grids.GridSet.batch` makes. Randomness comes from the seed and the
    step alone.
    """
    optimizer, loss_fn = make_optimizer(recipe), make_loss(config, recipe)

    def step(state, batch):
        key = jax.random.fold_in(jax.random.key(recipe.seed), state["step"])
        if axis is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))
        (_, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state["params"], batch, key)
        if axis is not None:
            gradient, metrics = jax.lax.pmean((gradient, metrics), axis)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return advance(optimizer, recipe, state, gradient), metrics

    return step
