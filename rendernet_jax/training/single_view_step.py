"""Pictures, losses and the pure training step of what sees and carves single views."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from rendernet_jax import single_view, squares
from rendernet_jax.camera import direction, half_turn
from rendernet_jax.data.single_views import LEVELS
from rendernet_jax.errors import InputError
from rendernet_jax.single_view import DEVIATIONS, Seen, SingleViewConfig
from rendernet_jax.training.shape_prior_step import count_occupied, soft_overlap, sum_cells
from rendernet_jax.training.step import AXIS, advance, make_keys, make_optimizer

_BLURRED = 0.35  # share of the pictures that are blurred, as small photos are once they are enlarged
_CHANGED = 0.4  # share of those whose shading no light of ours makes: cameras bend it, and rooms are darker on one side
_SHADELESS = 0.15  # share of those that show a silhouette alone
# Light: azimuth, elevation, and the share that comes from everywhere; what changes it: exponent, and slopes.
_LIGHT = (-1.2, -0.3, 0.05), (1.2, 1.3, 0.5)
_CHANGE = (0.6, -0.3, -0.3), (1.6, 0.3, 0.3)
_GRAIN = 0.02  # standard deviation of the noise of those that are changed
_GUESSED = 0.7  # share of the shapes that are carved in the guessed pose itself
_NEAR = 0.2  # deviations: what is missed by less counts by squares, as it would waver about 0 otherwise
_MOST_CARVED = 5  # one in so many
_POSE_WEIGHT, _OVERLAP_WEIGHT = 0.5, 5.0


@dataclasses.dataclass(frozen=True)
class SingleViewRecipe:
    """What fixes a training run of what sees single views beside its layers and the shapes.

    Carving takes longest, so that it is trained on some of a batch. ``carved`` is how many, by default the most of
    which the batch is a multiple, up to a fifth.

    Raises:
        InputError: the batch is no multiple of ``carved``.
    """

    steps: int = 4000
    batch: int = 48
    carved: int | None = None
    rate: float = 1.2e-3
    warmup: int = 300
    weight_decay: float = 1e-4
    ema: float = 0.998
    clip: float = 1.0  # global gradient norm
    bf16: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.carved is None:
            apart = next((n for n in range(_MOST_CARVED, self.batch) if self.batch % n == 0), self.batch)
            object.__setattr__(self, "carved", self.batch // apart)
        if not 1 <= self.carved <= self.batch or self.batch % self.carved:
            raise InputError(f"carved: expected a divisor of the batch, {self.batch}, got {self.carved}; change one")


# --- pictures -------------------------------------------------------------------------------------------------------


def light_up(key: jax.Array, view: jax.Array) -> jax.Array:
    """Picture ``[S, S, 2]`` of a view under a random light, as :func:`rendernet_jax.squares.crop` makes it.

    The view is one of ``data.single_views.Views``, float32 ``[S, S, 4]``.
    """
    return _relative(view[..., :1], _shade(key, view))


def photograph(key: jax.Array, view: jax.Array) -> jax.Array:
    """:func:`light_up`, but as photos are: some blurred, some with a shading of their own, some with none."""
    blur, light, change, bend, hide = jax.random.split(key, 5)
    blurred = _blur(_blur(view).swapaxes(0, 1)).swapaxes(0, 1)
    view = jnp.where(jax.random.bernoulli(blur, _BLURRED), blurred, view)
    covered, shade = view[..., :1], _shade(light, view)
    shade = jnp.where(jax.random.bernoulli(bend, _CHANGED), _change(change, covered, shade), shade)
    shadeless = jnp.concatenate([covered, 0.5 * covered], axis=-1)
    return jnp.where(jax.random.bernoulli(hide, _SHADELESS), shadeless, _relative(covered, shade))


def _blur(view: jax.Array) -> jax.Array:
    """Each row of a view ``[S, S, C]`` as a weighted mean of three."""
    padded = jnp.pad(view, ((1, 1), (0, 0), (0, 0)), "edge")
    return 0.25 * padded[:-2] + 0.5 * view + 0.25 * padded[2:]


def _shade(key: jax.Array, view: jax.Array) -> jax.Array:
    """Brightness ``[S, S, 1]`` of a view, times coverage."""
    azimuth, elevation, ambient = _uniform(key, _LIGHT)
    lit = jnp.maximum(jnp.einsum("xyk,k->xy", view[..., 1:], direction(azimuth, elevation)), 0.0)[..., None]
    return ambient * view[..., :1] + (1.0 - ambient) * lit


def _change(key: jax.Array, covered: jax.Array, shade: jax.Array) -> jax.Array:
    """Brightness by another curve, with a slope across the picture and noise."""
    curve, grain = jax.random.split(key)
    exponent, down, right = _uniform(curve, _CHANGE)
    line = jnp.linspace(-1.0, 1.0, len(shade))
    slopes = 1.0 + down * line[:, None, None] + right * line[None, :, None]
    bent = jnp.clip(shade / jnp.maximum(covered, 1e-3), 1e-3, 1.0) ** exponent
    return jnp.maximum(covered * (bent * slopes + _GRAIN * jax.random.normal(grain, shade.shape)), 0.0)


def _relative(covered: jax.Array, shade: jax.Array) -> jax.Array:
    """:func:`rendernet_jax.squares.relative` on a device."""
    mean = jnp.sum(shade) / jnp.maximum(jnp.sum(covered), 1e-6)
    return jnp.concatenate([covered, jnp.clip(shade / jnp.maximum(2.0 * mean, 1e-6), 0.0, 2.0)], axis=-1)


def _uniform(key: jax.Array, ends: tuple) -> jax.Array:
    low, high = (jnp.asarray(end, jnp.float32) for end in ends)
    return low + (high - low) * jax.random.uniform(key, low.shape)


def unpack_views(views: jax.Array) -> jax.Array:
    """Views as they are kept, int8 ``[B, S, S, 4]``, in float32."""
    return views.astype(jnp.float32) / LEVELS


def unpack_cells(packed: jax.Array, grid: int) -> jax.Array:
    """Packed bits ``[B, G^3 / 8]`` as float32 ``[B, G, G, G]``, 0 or 1."""
    return jnp.unpackbits(packed, axis=1).reshape(-1, grid, grid, grid).astype(jnp.float32)


def prepare(keys: jax.Array, batch: dict) -> dict:
    """What a step needs of a batch that ``single_view_loop.Samples`` makes, half of it mirrored.

    Returns:
        ``picture`` ``[B, S, S, 2]``, ``pose`` ``[B, 7]``; of every so-manieth example, the L that are carved, set
        ``cells`` and ``coverage``, ``[L, G, G, G]``.
    """
    turn, draw = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    mirrored, views = jax.vmap(jax.random.bernoulli)(turn), unpack_views(batch["view"])
    opposite = views[:, :, ::-1] * jnp.asarray([1.0, -1.0, 1.0, 1.0]).reshape(1, 1, 1, -1)
    views = jnp.where(_wide(mirrored, views), opposite, views)
    coverage = batch["coverage"].astype(jnp.float32) / 64.0
    cells = unpack_cells(batch["cells"], coverage.shape[1])
    turned = _wide(every(mirrored, len(coverage)), coverage)
    return {
        "picture": jax.vmap(photograph)(draw, views),
        "pose": jnp.where(mirrored[:, None], squares.mirror(batch["pose"]), batch["pose"]),
        "cells": jnp.where(turned, cells[:, ::-1], cells),
        "coverage": jnp.where(turned, coverage[:, ::-1], coverage),
    }


def every(leaf: jax.Array, count: int) -> jax.Array:
    """So many of the examples ``[B, ...]``, evenly spread, so that each device that holds a share has as many."""
    return leaf[:: len(leaf) // count]


def _wide(chosen: jax.Array, like: jax.Array) -> jax.Array:
    """``[B]`` with as many axes as another array."""
    return chosen.reshape(-1, *(1,) * (like.ndim - 1))


# --- losses ---------------------------------------------------------------------------------------------------------


def pose_losses(seen: Seen, config: SingleViewConfig, poses: jax.Array) -> dict[str, jax.Array]:
    """Means over a batch, of what is told of poses ``[B, 7]``.

    ``pose``: negative log-likelihood of what the pose in the true sector misses, by Laplace's distribution, but for
    constants (as in Kendall and Gal 2017, section 3); ``sector``: cross-entropy.
    """
    sector = single_view.sector(config, poses[:, 0])
    usual = jnp.asarray([DEVIATIONS], jnp.float32)
    missed, spread = jnp.abs(pose_missed(seen, sector, poses)) / usual, seen.deviations / usual
    missed = jnp.where(missed < _NEAR, missed**2 / (2.0 * _NEAR) + 0.5 * _NEAR, missed)
    return {
        "pose": jnp.mean(jnp.sum(missed / spread + jnp.log(spread), axis=1)),
        "sector": jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(seen.log_odds, sector)),
    }


def pose_missed(seen: Seen, sector: jax.Array, poses: jax.Array) -> jax.Array:
    """By how much the poses ``[B, 7]`` in the sectors ``[B]`` are off, azimuths by half a turn at most."""
    missed = jnp.take_along_axis(seen.poses, sector[:, None, None], axis=1)[:, 0] - poses
    return missed.at[:, 0].set(half_turn(missed[:, 0]))


def cell_losses(logits: jax.Array, cells: jax.Array, coverage: jax.Array) -> dict[str, jax.Array]:
    """Means over a batch, of what :func:`rendernet_jax.single_view.carve` returns: ``[B, G, G, G, 2]``.

    ``overlap``: one minus the soft overlap of the chances with the set cells ``[B, G, G, G]``; ``set`` and
    ``coverage``: cross-entropies for each occupied cell, so that a shape of thin rods counts as much as a block.
    """
    cells, coverage, chance, covered = (
        x.reshape(len(x), -1) for x in (cells, coverage, logits[..., 0], logits[..., 1])
    )
    entropy = lambda x, target: sum_cells(optax.losses.sigmoid_binary_cross_entropy(x, target))  # noqa: E731
    return {
        "overlap": jnp.mean(1.0 - soft_overlap(chance, cells, 0.5)),
        "set": jnp.mean(entropy(chance, cells) / count_occupied(cells)),
        "coverage": jnp.mean(entropy(covered, coverage) / count_occupied(cells)),
    }


def between(keys: jax.Array, seen: Seen, config: SingleViewConfig, poses: jax.Array) -> jax.Array:
    """Poses ``[B, 7]`` in which shapes are carved: that in the true sector, or one on the way to it from the true one.

    Carved in the true pose alone, shapes would not learn to stand in for what a guessed one misses.
    """
    missed = pose_missed(seen, single_view.sector(config, poses[:, 0]), poses)
    choose, place = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    guessed = jax.vmap(functools.partial(jax.random.bernoulli, p=_GUESSED))(choose)
    share = jnp.where(guessed, 1.0, jax.vmap(jax.random.uniform)(place))
    return jax.lax.stop_gradient(poses + share[:, None] * missed)


def make_loss(config: SingleViewConfig, recipe: SingleViewRecipe):
    """``loss(params, batch, keys) -> (loss, figures)``, means over a batch; see :func:`make_step` and ``make_keys``."""
    dtype = jnp.bfloat16 if recipe.bf16 else jnp.float32

    def loss_fn(params, batch, keys):
        draw, place = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        batch = prepare(draw, batch)
        some = functools.partial(every, count=len(batch["cells"]))
        seen = single_view.see(params, config, batch["picture"], dtype)
        carved = jax.tree.map(some, seen)
        poses = between(some(place), carved, config, some(batch["pose"]))
        logits = single_view.carve(params, config, some(batch["picture"]), carved, poses, dtype)
        parts = pose_losses(seen, config, batch["pose"]) | cell_losses(logits, batch["cells"], batch["coverage"])
        loss = _POSE_WEIGHT * parts["pose"] + parts["sector"] + _OVERLAP_WEIGHT * parts["overlap"]
        loss = loss + parts["set"] + parts["coverage"]
        return loss, {"loss": loss, **parts}

    return loss_fn


def make_step(config: SingleViewConfig, recipe: SingleViewRecipe, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given.

    A batch is what ``single_view_loop.Samples`` makes. Randomness comes from the seed, the step and the example's place
    in the whole batch alone.
    """
    optimizer, loss_fn = make_optimizer(recipe), make_loss(config, recipe)

    def step(state, batch):
        count = len(batch["pose"])
        first = 0 if axis is None else jax.lax.axis_index(axis) * count
        keys = make_keys(recipe, state["step"], first + jnp.arange(count))
        (_, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state["params"], batch, keys)
        if axis is not None:
            gradient, metrics = jax.lax.pmean((gradient, metrics), axis)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return advance(optimizer, recipe, state, gradient), metrics

    return step
