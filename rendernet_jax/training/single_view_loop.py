"""Training of what sees and carves single views, on ray-traced views of shapes and their grids of coverage."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import single_view
from rendernet_jax.data import shards, single_views
from rendernet_jax.errors import InputError
from rendernet_jax.shape_prior import SET_FROM
from rendernet_jax.single_view import SingleViewConfig
from rendernet_jax.training.single_view_step import (
    SingleViewRecipe,
    light_up,
    make_step,
    pose_missed,
    unpack_cells,
    unpack_views,
)
from rendernet_jax.training.step import fresh_state, make_optimizer
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.weights import save_weights

_SCORED = 192  # pictures of unseen shapes
_TOGETHER = 8  # of them that are seen and carved at once


class Samples:
    """Views of shapes, with what is to be told of them, as they are kept; a step makes pictures of them."""

    def __init__(self, grids, views):
        """``grids`` is a ``data.shape_grids.GridSet`` of coverage, ``views`` a list of ``data.single_views.Views``."""
        self._grids, self._views = grids, views

    def batch(self, rng: np.random.Generator, indices, carved: int) -> dict[str, np.ndarray]:
        """One view of each shape by index; a function of the generator's state alone.

        Returns:
            ``view`` int8 ``[B, S, S, 4]`` and ``pose`` float32 ``[B, 7]``; of the ``carved`` ones, evenly spread,
            ``coverage`` uint8 ``[L, G, G, G]`` in 64ths, and set ``cells``, packed, uint8 ``[L, G^3 / 8]``.
        """
        chosen = [(self._views[index], rng.integers(len(self._views[index]))) for index in indices]
        grids = self._grids.grids(indices[:: len(indices) // carved])
        return {
            "view": np.stack([views.stored(number) for views, number in chosen]),
            "pose": np.stack([views.poses[number] for views, number in chosen]),
            "coverage": np.stack([shards.encode_coverage(grid) for grid in grids]),
            "cells": np.stack([np.packbits(grid >= SET_FROM["coverage"]) for grid in grids]),
        }


def train_single_view(
    config: SingleViewConfig,
    collect,
    recipe: SingleViewRecipe,
    folder: pathlib.Path,
    *,
    eval_every: int = 500,
    warm_start: dict | None = None,
    inputs: dict | None = None,
    provenance: dict | None = None,
) -> dict:
    """Train ``recipe.steps`` steps, or the rest of them; see :func:`rendernet_jax.training.task_loop.train_task`.

    Args:
        collect: called without arguments once the folder is known to be this run's; returns the shapes, a
            :class:`rendernet_jax.data.shape_grids.GridSet` of coverage, and of each its
            :class:`rendernet_jax.data.single_views.Views`, one or more.
        warm_start: parameters to begin with.
        inputs: what identifies shapes and views, JSON values by name; a run is continued with equal ones only.
        provenance: kept in weights.json.

    Returns:
        the last evaluation's figures, see :func:`score`.

    Raises:
        InputError: layers for other pictures or grids than there are, there is nothing to validate on, a warm start of
            other layers, devices that can't share what is carved of a batch, or what ``train_task`` raises.
    """
    if config.size != single_views.SIZE:
        raise InputError(
            f"single-view config: expected pictures of {single_views.SIZE} pixels, got {config.size}; change its size"
        )
    if recipe.carved % jax.device_count():
        raise InputError(
            f"batch: expected a number to carve that {jax.device_count()} devices can share, got {recipe.carved} of "
            f"{recipe.batch}; change --batch"
        )
    first = {**single_view.init(jax.random.key(recipe.seed), config), **(warm_start or {})}
    single_view.check_params(first, config)

    def prepare() -> Task:
        grids, views = collect()
        if grids.grid != config.grid:
            raise InputError(f"shapes: expected grids of {config.grid} cells a side, got {grids.grid}; make others")
        if not len(grids.validation):
            raise InputError("shapes: expected at least one to validate on, got none; ask for two shapes or more")
        samples, training = Samples(grids, views), grids.training
        chosen = np.resize(grids.validation, _SCORED)
        unseen = show(config, samples.batch(np.random.default_rng([recipe.seed, 1]), chosen, _SCORED), recipe.seed)

        def batch(index, places):
            rng = np.random.default_rng([recipe.seed, 0, index])
            whole = samples.batch(rng, rng.choice(training, recipe.batch), recipe.carved)
            return {name: _share(leaf, places, recipe.batch) for name, leaf in whole.items()}

        return Task(
            state=lambda: fresh_state(first, make_optimizer(recipe)),
            make_step=functools.partial(make_step, config, recipe),
            batch=batch,
            examples=recipe.batch,
            score=lambda params, _: score(params, config, unseen),
            figure="both",
            save=lambda params, facts: save_weights(folder, params, config, {**(provenance or {}), **facts}),
        )

    description = {"config": dataclasses.asdict(config), "recipe": dataclasses.asdict(recipe), "inputs": inputs or {}}
    return train_task(folder, description, recipe.steps, eval_every, prepare)


def _share(leaf: np.ndarray, places: range, batch: int) -> np.ndarray:
    """What a leaf, of all examples of a batch or of some that are evenly spread, holds of those at some places."""
    return leaf[places.start * len(leaf) // batch : places.stop * len(leaf) // batch]


def show(config: SingleViewConfig, batch: dict, seed: int) -> dict[str, np.ndarray]:
    """What :func:`score` takes, of a batch that is carved as a whole: each view under one light."""
    keys = jax.random.split(jax.random.key(seed), len(batch["view"]))
    return {
        "picture": np.asarray(jax.jit(jax.vmap(light_up))(keys, unpack_views(batch["view"]))),
        "pose": batch["pose"],
        "cells": batch["cells"],
    }


def score(params: dict, config: SingleViewConfig, batch: dict) -> dict[str, float]:
    """Figures over pictures of unseen shapes.

    Args:
        batch: ``picture`` ``[B, S, S, 2]``, ``pose`` ``[B, 7]`` and packed set ``cells`` ``[B, G^3 / 8]``.

    Returns:
        ``iou`` of the cells that are carved in the pose of the likeliest sector with the true ones, and
        ``iou_true_pose``; ``first`` and ``first_four``, how often the true sector is the likeliest, or among four;
        ``both``, the sum of ``iou`` and ``first_four``, by which weights are chosen; of the pose in the true sector,
        medians of what it misses: ``azimuth`` and ``elevation`` in degrees, and of the ``scale`` the share.
    """
    found, count = [], len(batch["pose"])
    for start in range(0, count, _TOGETHER):
        some = np.arange(start, start + _TOGETHER).clip(max=count - 1)  # one compiled program
        found.append(jax.device_get(_judge(params, config, {name: leaf[some] for name, leaf in batch.items()})))
    found = {name: np.concatenate([each[name] for each in found])[:count] for name in found[0]}
    azimuth, elevation, _, scale, *_ = np.median(np.abs(found["missed"]), axis=0)
    iou, first_four = np.mean(found["iou"]), np.mean(found["rank"] < 4)
    return {
        "iou": float(iou),
        "iou_true_pose": float(np.mean(found["iou_true_pose"])),
        "first": float(np.mean(found["rank"] == 0)),
        "first_four": float(first_four),
        "both": float(iou + first_four),
        "azimuth": float(np.degrees(azimuth)),
        "elevation": float(np.degrees(elevation)),
        "scale": float(scale),
    }


@functools.partial(jax.jit, static_argnums=1)
def _judge(params: dict, config: SingleViewConfig, batch: dict) -> dict[str, jax.Array]:
    """Of each picture: both overlaps, how many sectors are likelier than the true one, and what its pose misses."""
    seen, cells = single_view.see(params, config, batch["picture"]), unpack_cells(batch["cells"], config.grid) > 0.5
    sector = single_view.sector(config, batch["pose"][:, 0])
    likeliest = jnp.argmax(seen.log_odds, axis=1)[:, None, None]

    def overlap(poses):
        chance = jax.nn.sigmoid(single_view.carve(params, config, batch["picture"], seen, poses)[..., 0])
        carved = chance >= single_view.SET_FROM
        return jnp.sum(carved & cells, (1, 2, 3)) / jnp.sum(carved | cells, (1, 2, 3))

    return {
        "iou": overlap(jnp.take_along_axis(seen.poses, likeliest, axis=1)[:, 0]),
        "iou_true_pose": overlap(batch["pose"]),
        "rank": jnp.sum(seen.log_odds > jnp.take_along_axis(seen.log_odds, sector[:, None], axis=1), axis=1),
        "missed": pose_missed(seen, sector, batch["pose"]),
    }
