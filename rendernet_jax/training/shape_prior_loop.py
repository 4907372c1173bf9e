"""Training of the shape prior: grids in, weights out."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from rendernet_jax import shape_prior
from rendernet_jax.errors import InputError
from rendernet_jax.shape_prior import PriorConfig
from rendernet_jax.training.shape_prior_step import PriorRecipe, init_state, make_step
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.weights import save_weights

_TOGETHER = 8  # grids that are encoded at once
_GALLERY_FROM = 4096  # training shapes


def train_prior(
    config: PriorConfig,
    collect,
    recipe: PriorRecipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    warm_start: dict | None = None,
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them; see :func:`rendernet_jax.training.task_loop.train_task`.

    Args:
        collect: called without arguments once the folder is known to be this run's; returns the shapes, see
            :class:`rendernet_jax.data.shape_grids.GridSet`.
        warm_start: parameters to begin with.
        inputs: what identifies the shapes, JSON values by name; a run is continued with equal ones only.
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
        reconstruct = jax.jit(lambda params, grid: reconstruction(params, config, grid))

        def save(params, facts):
            params = {**params, "gallery": find_gallery(reconstruct, params, config, grids)}
            save_weights(folder, params, config, {**(provenance or {}), **facts})

        return Task(
            state=lambda: init_state(config, recipe, warm_start),
            make_step=functools.partial(make_step, config, recipe),
            batch=lambda index, places: make_batch(grids, recipe, index)[places.start : places.stop],
            examples=recipe.batch,
            score=lambda params, _: score(reconstruct, params, grids),
            figure="iou",
            save=save,
        )

    description = {
        "config": dataclasses.asdict(config),
        "recipe": dataclasses.asdict(recipe),
        "inputs": inputs or {},
    }
    return train_task(folder, description, recipe.steps, eval_every, prepare)


def make_batch(grids, recipe: PriorRecipe, index: int) -> np.ndarray:
    """Batch number ``index``: a function of the seed and the index alone."""
    return grids.batch(np.random.default_rng([recipe.seed, index]), recipe.batch)


def reconstruction(params: dict, config: PriorConfig, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Close latents ``[B, L]`` of grids, and IoU ``[B]`` of the set cells with those that are decoded from them."""
    latent = shape_prior.encode_closely(params, config, grid)
    return latent, shape_prior.overlap(config, shape_prior.decode(params, config, latent), grid)


def score(reconstruct, params: dict, grids) -> dict[str, float]:
    """Figures over the shapes held back.

    Args:
        reconstruct: ``(params, grid)`` -> what :func:`reconstruction` returns.

    Returns:
        ``iou``, the mean over shapes; ``iou_{family}``; ``deviation``, the root mean square of the latents, about 1
        where each number is in use.
    """
    found = {family: [] for family in grids.families}
    latents, ious = _reconstruct(reconstruct, params, grids, grids.validation)
    for index, iou in zip(grids.validation, ious, strict=True):
        found[grids.family(index)].append(float(iou))
    mean = float(np.mean([value for values in found.values() for value in values]))
    by_family = {f"iou_{family}": float(np.mean(values)) for family, values in found.items() if values}
    return {"iou": mean, **by_family, "deviation": float(np.sqrt(np.mean(latents**2)))}


def find_gallery(reconstruct, params: dict, config: PriorConfig, grids) -> np.ndarray:
    """Latents ``[config.gallery, L]`` of training shapes: each the nearest to one mean of k (Lloyd 1982)."""
    latents, _ = _reconstruct(reconstruct, params, grids, grids.training[:_GALLERY_FROM])
    means = latents[np.arange(config.gallery) % len(latents)]
    squares = lambda: (means**2).sum(1) - 2.0 * latents @ means.T + (latents**2).sum(1, keepdims=True)  # noqa: E731
    for _ in range(20):
        nearest = squares().argmin(1)
        means = np.stack([latents[nearest == k].mean(0) if (nearest == k).any() else m for k, m in enumerate(means)])
    return latents[squares().argmin(0)]


def _reconstruct(reconstruct, params: dict, grids, indices) -> tuple[np.ndarray, np.ndarray]:
    """Latents ``[N, L]`` and IoU ``[N]`` of shapes by index."""
    latents, ious = [], []
    for first in range(0, len(indices), _TOGETHER):
        some = [*indices[first : first + _TOGETHER]]
        padded = some + some[-1:] * (_TOGETHER - len(some))  # one compiled program
        latent, iou = jax.device_get(reconstruct(params, grids.grids(padded)))
        latents.append(latent[: len(some)])
        ious.append(iou[: len(some)])
    return np.concatenate(latents), np.concatenate(ious)
