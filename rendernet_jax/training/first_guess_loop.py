"""Training of the first guess, on splats of the grids that the shape prior knows."""

import dataclasses
import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rendernet_jax import first_guess, shape_prior
from rendernet_jax.camera import Pose
from rendernet_jax.data.splats import find_surface, splat, stretch, stretch_surface
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import GuessConfig
from rendernet_jax.training.step import AXIS, advance, fresh_state, make_optimizer
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.weights import save_weights

_VARIANTS = 4  # of each shape: as it is, and in other proportions
_STRETCH = 0.2  # largest logarithm of what an axis is stretched by, before all are scaled to fill the cube
_TOGETHER = 8  # grids that are encoded or decoded at once
_SCORED = 160  # pictures of unseen shapes
_SHADELESS = 0.15  # share of the pictures that show a silhouette alone
_ANGLE_WEIGHT = 5.0


@dataclasses.dataclass(frozen=True)
class GuessRecipe:
    """What fixes a training run of the first guess beside its layers, the shapes and the prior."""

    steps: int = 4000
    batch: int = 48
    rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 1e-4
    ema: float = 0.998
    clip: float = 1.0  # global gradient norm
    seed: int = 0


class Samples:
    """Pictures of shapes from random views, with what is to be guessed.

    Each shape is also seen in other proportions, some of them mirrored: a network soon knows thousands of shapes by
    heart, and what one picture tells of a shape's depth it must not know so.
    """

    def __init__(self, grids, prior: tuple):
        """``grids`` is a ``data.shape_grids.GridSet``, ``prior`` what ``weights.load_prior`` returns."""
        self._grids = grids
        encode = jax.jit(functools.partial(shape_prior.encode, prior[0], prior[1]))
        mean, spread = map(np.asarray, shape_prior.usual(prior[0]))
        self._stretches, latents = np.ones((len(grids), _VARIANTS, 3)), []
        for index in range(len(grids)):
            cells = grids.cells(index)
            self._stretches[index, 1:] = random_stretches(np.random.default_rng(index), cells, _VARIANTS - 1)
            latents.append(encode(np.stack([stretch(cells, factors) for factors in self._stretches[index]])))
        self._latents = (np.stack(jax.device_get(latents)) - mean) / spread
        self._surface = functools.cache(lambda index: find_surface(grids.cells(index)))

    def batch(self, rng: np.random.Generator, indices, variants: int = _VARIANTS) -> dict[str, np.ndarray]:
        """One picture of each shape by index, of one of its ``variants``; a function of the generator's state alone."""
        samples = []
        for index in map(int, indices):
            variant = rng.integers(variants)
            surface = stretch_surface(self._surface(index), self._stretches[index, variant])
            pose = random_view(rng)
            light = (rng.uniform(-1.2, 1.2), rng.uniform(-0.3, 1.3))
            picture = splat(surface, pose, light, rng.uniform(0.05, 0.5))
            if rng.random() < _SHADELESS:
                picture[..., 1] = 0.5 * picture[..., 0]
            angles = np.asarray([pose.azimuth, pose.elevation, pose.roll], np.float32)
            samples.append({"picture": picture, "latent": self._latents[index, variant], "angles": angles})
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def random_stretches(rng: np.random.Generator, cells: np.ndarray, count: int) -> np.ndarray:
    """Factors ``[count, 3]`` for the axes of set cells ``[G, G, G, 1]``, whose longest side fills the cube thereafter.

    Half of them mirror x.
    """
    filled = [np.flatnonzero(cells[..., 0].any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    sides = np.asarray([first_guess.len_of(each) for each in filled]) / len(cells)
    factors = np.exp(rng.uniform(-_STRETCH, _STRETCH, (count, 3)))
    factors /= (factors * sides).max(axis=1, keepdims=True)
    return factors * np.stack([rng.choice([-1, 1], count), *np.ones((2, count))], axis=1)


def random_view(rng: np.random.Generator) -> Pose:
    """How photos show what stands upright: from all around, a little from below to steeply from above."""
    return Pose(
        azimuth=rng.uniform(-math.pi, math.pi),
        elevation=rng.uniform(-0.4, 1.1),
        roll=rng.normal(0.0, 0.09),
        scale=rng.uniform(0.8, 1.2),
        inverse_distance=rng.uniform(0.0, 0.5) * (rng.random() < 0.75),
    )


def losses(found: first_guess.Guess, config: GuessConfig, batch: dict, importance: jax.Array) -> dict[str, jax.Array]:
    """Parts of the loss, means over a batch: squares of what latent and angles miss, cross-entropy of the sector.

    ``importance [L]`` is what each number of the latent counts for.
    """
    sector = first_guess.sector(config, batch["angles"][:, 0])
    angles = jnp.take_along_axis(found.angles, sector[:, None, None], axis=1)[:, 0]
    turned = angles - batch["angles"]
    turned = turned.at[:, 0].set(jnp.mod(turned[:, 0] + jnp.pi, 2.0 * jnp.pi) - jnp.pi)
    return {
        "latent": jnp.mean(importance[None] * (found.latent - batch["latent"]) ** 2),
        "sector": jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(found.log_odds, sector)),
        "angles": jnp.mean(jnp.sum(turned**2, axis=1)),
    }


def make_step(config: GuessConfig, recipe: GuessRecipe, importance: np.ndarray, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given.

    ``importance`` is that of :func:`losses`.
    """
    optimizer = make_optimizer(recipe)

    def loss_fn(params, batch):
        parts = losses(first_guess.guess(params, config, batch["picture"]), config, batch, importance)
        return parts["latent"] + parts["sector"] + _ANGLE_WEIGHT * parts["angles"], parts

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
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them; see :func:`rendernet_jax.training.task_loop.train_task`.

    Args:
        prior: what ``weights.load_prior`` returns: its latents are guessed.
        collect: called without arguments once the folder is known to be this run's; returns the shapes, see
            :class:`rendernet_jax.data.shape_grids.GridSet`.
        inputs: what identifies shapes and prior, JSON values by name; a run is continued with equal ones only.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures, see :func:`score`.

    Raises:
        InputError: there is nothing to validate on, or what ``train_task`` raises.
    """

    def prepare() -> Task:
        grids = collect()
        if not len(grids.validation):
            raise InputError("shapes: expected at least one to validate on, got none; ask for two shapes or more")
        samples = Samples(grids, prior)
        chosen = np.resize(grids.validation, _SCORED)
        unseen = samples.batch(np.random.default_rng([recipe.seed, 1]), chosen, 1)

        def batch(index, places):
            rng = np.random.default_rng([recipe.seed, 0, index])
            whole = samples.batch(rng, rng.choice(grids.training, recipe.batch))
            return {name: leaf[places.start : places.stop] for name, leaf in whole.items()}

        return Task(
            state=lambda: fresh_state(first_guess.init(jax.random.key(recipe.seed), config), make_optimizer(recipe)),
            make_step=functools.partial(make_step, config, recipe, np.asarray(shape_prior.importance(prior[0]))),
            batch=batch,
            examples=recipe.batch,
            score=lambda params, _: score(params, config, prior, unseen, grids.grids(chosen)),
            figure="both",
            save=lambda params, facts: save_weights(folder, params, config, {**(provenance or {}), **facts}),
        )

    description = {"config": dataclasses.asdict(config), "recipe": dataclasses.asdict(recipe), "inputs": inputs or {}}
    return train_task(folder, description, recipe.steps, eval_every, prepare)


def score(params: dict, config: GuessConfig, prior: tuple, batch: dict, grids: np.ndarray) -> dict[str, float]:
    """Figures over pictures of unseen shapes.

    Returns:
        ``iou`` of what is decoded from the guessed latents with the true ``grids [B, G, G, G, 1]``; ``latent``, the
        mean squared error; ``first`` and ``first_four``, how often the true sector is the likeliest, or among four;
        ``both``, the sum of ``iou`` and ``first_four``, by which weights are chosen.
    """
    found = _guess(params, config, batch["picture"])
    ious = []
    for first in range(0, len(grids), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        ious.append(_overlap(prior[0], prior[1], found.latent[some], grids[some]))
    sector = np.asarray(first_guess.sector(config, batch["angles"][:, 0]))
    likeliest = np.argsort(-np.asarray(found.log_odds), axis=1)
    iou, first_four = np.mean(np.concatenate(ious)), np.mean((likeliest[:, :4] == sector[:, None]).any(1))
    return {
        "iou": float(iou),
        "latent": float(np.mean((np.asarray(found.latent) - batch["latent"]) ** 2)),
        "first": float(np.mean(likeliest[:, 0] == sector)),
        "first_four": float(first_four),
        "both": float(iou + first_four),
    }


_guess = jax.jit(first_guess.guess, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def _overlap(params, config, latent, grid):
    mean, spread = shape_prior.usual(params)
    latent = mean[None] + spread[None] * latent
    return shape_prior.overlap(config, shape_prior.decode(params, config, latent), grid)
