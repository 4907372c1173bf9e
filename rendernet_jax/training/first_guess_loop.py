"""Training of the first guess, on ray-traced views of shapes whose grids the shape prior reads."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from rendernet_jax import first_guess, shape_prior
from rendernet_jax.camera import half_turn
from rendernet_jax.data import guess_views
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import GuessConfig
from rendernet_jax.shape_prior import PriorConfig
from rendernet_jax.training.shape_prior_step import soft_overlap
from rendernet_jax.training.step import AXIS, advance, fresh_state, make_optimizer
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.weights import save_weights

_TOGETHER = 8  # grids that are encoded or decoded at once
_SCORED = 320  # pictures of unseen shapes
_SHADELESS = 0.15  # share of the pictures that show a silhouette alone
_BLURRED = 0.3  # share of the pictures that are blurred, as small photos are once they are enlarged
_DECODED = 3  # one in so many pictures of a batch is compared by the cells of its guess, too, which takes longest
# Of squares of what a pose misses, in the order of inverse.unknowns.POSE: a few degrees matter, or hundredths.
_POSE_WEIGHTS = (20.0, 20.0, 20.0, 100.0, 100.0, 100.0, 20.0)
_LATENT_WEIGHT, _CELLS_WEIGHT = 0.2, 5.0


@dataclasses.dataclass(frozen=True)
class GuessRecipe:
    """What fixes a training run of the first guess beside its layers, the shapes and the prior."""

    steps: int = 4000
    batch: int = 48
    rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 1e-4
    ema: float = 0.999
    clip: float = 1.0  # global gradient norm
    seed: int = 0


class Samples:
    """Pictures of shapes under random lights, with what is to be guessed."""

    def __init__(self, grids, views, prior: tuple):
        """``grids`` is a ``data.shape_grids.GridSet``, ``views`` its shapes', ``prior`` what ``load_prior`` returns."""
        self._views, self._grids = views, grids
        encode = jax.jit(functools.partial(shape_prior.encode, prior[0], prior[1]))
        mean, spread = map(np.asarray, shape_prior.usual(prior[0]))
        latents = []
        starts = range(0, len(grids), _TOGETHER)
        for first in tqdm(starts, "latents", unit=f" x {_TOGETHER} shapes", disable=None):
            some = grids.grids(np.arange(first, first + _TOGETHER).clip(max=len(grids) - 1))
            latents.append([encode(some), encode(some[:, ::-1])])
        latents = np.concatenate([np.stack(each, axis=1) for each in jax.device_get(latents)])[: len(grids)]
        self._latents = (latents - mean) / spread

    def batch(self, rng: np.random.Generator, indices, mirroring: bool = True) -> dict[str, np.ndarray]:
        """One picture of each shape by index, half of them mirrored in x; a function of the generator's state alone."""
        samples = []
        for index in map(int, indices):
            number = rng.integers(len(self._views[index]))
            view, pose = self._views[index][number], self._views[index].poses[number]
            mirrored = int(mirroring and rng.random() < 0.5)
            if mirrored:
                view, pose = guess_views.mirror(view, pose)
            if rng.random() < _BLURRED:
                view = _blur(_blur(view).swapaxes(0, 1)).swapaxes(0, 1)
            light = (rng.uniform(-1.2, 1.2), rng.uniform(-0.3, 1.3))
            picture = guess_views.light(view, light, rng.uniform(0.05, 0.5))
            if rng.random() < _SHADELESS:
                picture[..., 1] = 0.5 * picture[..., 0]
            cells = self._grids.cells(index)
            cells = np.packbits(cells[::-1] if mirrored else cells)
            samples.append({"picture": picture, "latent": self._latents[index, mirrored], "pose": pose, "cells": cells})
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _blur(picture: np.ndarray) -> np.ndarray:
    """Each row of a picture ``[S, S, C]`` as a weighted mean of three."""
    padded = np.pad(picture, ((1, 1), (0, 0), (0, 0)), "edge")
    return 0.25 * padded[:-2] + 0.5 * picture + 0.25 * padded[2:]


def losses(found: first_guess.Guess, config: GuessConfig, batch: dict, prior: tuple) -> dict[str, jax.Array]:
    """Parts of the loss, means over a batch.

    ``latent``: squares of what it misses, weighted by how much each number counts for. ``cells``: one minus the soft
    overlap of what is decoded from it with the set cells. The latter makes it one shape out of those that the picture
    may show, where squares alone make it their mean, which decodes fog. ``sector``: cross-entropy; ``pose``: weighted
    squares of what the pose in the true sector misses.
    """
    sector = first_guess.sector(config, batch["pose"][:, 0])
    missed = _pose_missed(found, sector, batch["pose"])
    importance, decoded = shape_prior.importance(prior[0])[None], -(-len(sector) // _DECODED)
    return {
        "latent": jnp.mean(importance * (found.latent - batch["latent"]) ** 2),
        "cells": jnp.mean(_cells_missed(*prior, found.latent[:decoded], batch["cells"][:decoded])),
        "sector": jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(found.log_odds, sector)),
        "pose": jnp.mean(jnp.sum(jnp.asarray([_POSE_WEIGHTS]) * missed**2, axis=1)),
    }


def _pose_missed(found: first_guess.Guess, sector, poses) -> jax.Array:
    """By how much poses ``[B, 7]`` guessed in the sectors ``[B]`` are off, azimuths by half a turn at most."""
    missed = jnp.take_along_axis(found.poses, sector[:, None, None], axis=1)[:, 0] - poses
    return missed.at[:, 0].set(half_turn(missed[:, 0]))


def _cells_missed(params: dict, config: PriorConfig, latent, packed) -> jax.Array:
    """One minus the overlap of set cells ``[B, G^3 / 8]``, packed, and the chances that what is decoded is set."""
    mean, spread = shape_prior.usual(params)
    logits = shape_prior.decode_logits(params, config, mean[None] + spread[None] * latent).reshape(len(latent), -1)
    cells = jnp.unpackbits(packed, axis=1)[:, : logits.shape[1]].astype(jnp.float32)
    return 1.0 - soft_overlap(logits, cells, shape_prior.SET_FROM[config.occupancy])


def make_step(config: GuessConfig, recipe: GuessRecipe, prior: tuple, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given."""
    optimizer = make_optimizer(recipe)

    def loss_fn(params, batch):
        parts = losses(first_guess.guess(params, config, batch["picture"]), config, batch, prior)
        weighted = _LATENT_WEIGHT * parts["latent"] + _CELLS_WEIGHT * parts["cells"]
        return weighted + parts["sector"] + parts["pose"], parts

    def step(state, batch):
        (loss, parts), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state["params"], batch)
        metrics = {"loss": loss, **parts}
        if axis is not None:
            gradient, metrics = jax.lax.pmean((gradient, metrics), axis)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return advance(optimizer, recipe, state, gradient), metrics

    return step


def train_guess(
    config: GuessConfig,
    prior: tuple,
    collect,
    recipe: GuessRecipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    warm_start: dict | None = None,
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them; see :func:`rendernet_jax.training.task_loop.train_task`.

    Args:
        prior: what ``weights.load_prior`` returns: its latents are guessed.
        collect: called without arguments once the folder is known to be this run's; returns the shapes, a
            :class:`rendernet_jax.data.shape_grids.GridSet`, and of each its
            :class:`rendernet_jax.data.guess_views.Views`, one or more.
        warm_start: parameters to begin with; what they lack begins anew.
        inputs: what identifies shapes, prior and warm start, JSON values by name; a run is continued with equal ones
            only.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures, see :func:`score`.

    Raises:
        InputError: there is nothing to validate on, a warm start of other layers, or what ``train_task`` raises.
    """
    first = {**first_guess.init(jax.random.key(recipe.seed), config), **(warm_start or {})}
    first_guess.check_params(first, config)

    def prepare() -> Task:
        grids, views = collect()
        if not len(grids.validation):
            raise InputError("shapes: expected at least one to validate on, got none; ask for two shapes or more")
        samples = Samples(grids, views, prior)
        training, chosen = grids.training, np.resize(grids.validation, _SCORED)
        truth = np.stack([grids.cells(index) for index in chosen])
        unseen = samples.batch(np.random.default_rng([recipe.seed, 1]), chosen, mirroring=False)

        def batch(index, places):
            rng = np.random.default_rng([recipe.seed, 0, index])
            whole = samples.batch(rng, rng.choice(training, recipe.batch))
            return {name: leaf[places.start : places.stop] for name, leaf in whole.items()}

        return Task(
            state=lambda: fresh_state(first, make_optimizer(recipe)),
            make_step=functools.partial(make_step, config, recipe, prior),
            batch=batch,
            examples=recipe.batch,
            score=lambda params, _: score(params, config, prior, unseen, truth),
            figure="both",
            save=lambda params, facts: save_weights(folder, params, config, {**(provenance or {}), **facts}),
        )

    description = {"config": dataclasses.asdict(config), "recipe": dataclasses.asdict(recipe), "inputs": inputs or {}}
    return train_task(folder, description, recipe.steps, eval_every, prepare)


def score(params: dict, config: GuessConfig, prior: tuple, batch: dict, cells: np.ndarray) -> dict[str, float]:
    """Figures over pictures of unseen shapes.

    Returns:
        ``iou`` of what is decoded from the guessed latents with the true set cells ``[B, G, G, G, 1]``; ``latent``, the
        mean squared error; ``first`` and ``first_four``, how often the true sector is the likeliest, or among four;
        ``both``, the sum of ``iou`` and ``first_four``, by which weights are chosen; of the pose in the true sector,
        medians of what it misses: ``azimuth`` and ``elevation`` in degrees, and of the ``scale`` the share.
    """
    found = _guess(params, config, batch["picture"])
    ious = []
    for first in range(0, len(cells), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        ious.append(_overlap(prior[0], prior[1], found.latent[some], cells[some]))
    sector = np.asarray(first_guess.sector(config, batch["pose"][:, 0]))
    azimuth, elevation, _, scale, *_ = np.median(np.abs(_pose_missed(found, sector, batch["pose"])), axis=0)
    likeliest = np.argsort(-np.asarray(found.log_odds), axis=1)
    iou, first_four = np.mean(np.concatenate(ious)), np.mean((likeliest[:, :4] == sector[:, None]).any(1))
    return {
        "iou": float(iou),
        "latent": float(np.mean((np.asarray(found.latent) - batch["latent"]) ** 2)),
        "first": float(np.mean(likeliest[:, 0] == sector)),
        "first_four": float(first_four),
        "both": float(iou + first_four),
        "azimuth": float(np.degrees(azimuth)),
        "elevation": float(np.degrees(elevation)),
        "scale": float(scale),
    }


_guess = jax.jit(first_guess.guess, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def _overlap(params, config, latent, grid):
    mean, spread = shape_prior.usual(params)
    latent = mean[None] + spread[None] * latent
    return shape_prior.overlap(config, shape_prior.decode(params, config, latent), grid)
