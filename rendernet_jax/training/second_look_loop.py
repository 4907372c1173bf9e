"""Training of the second look: on what a first guess makes of pictures, and on better guesses, that come later."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from rendernet_jax import first_guess, second_look, shape_prior
from rendernet_jax.array_files import read_arrays
from rendernet_jax.camera import half_turn
from rendernet_jax.data import guess_views, shards
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_atomically
from rendernet_jax.second_look import LookConfig
from rendernet_jax.training.first_guess_loop import GuessRecipe, Samples, cells_missed, show
from rendernet_jax.training.step import AXIS, advance, fresh_state, make_optimizer
from rendernet_jax.training.task_loop import Task, train_task
from rendernet_jax.weights import save_weights

_TOGETHER = 16  # pictures
_SCORED = 320  # pictures of unseen shapes
_DECODED = 3  # one in so many of a batch is compared by the cells, too, which takes longest
_LATENT_WEIGHT, _CELLS_WEIGHT = 0.2, 5.0
# By how much poses may be off, in the order of inverse.unknowns.POSE, before it counts by its size, not its square:
# half of what a first guess misses.
_POSE_SCALES = (0.015, 0.025, 0.01, 0.015, 0.004, 0.004, 0.04)
_AS_GUESSED = 0.5  # share of shapes whose guess is taken as it is; others are moved towards the truth,
_LEFT = (0.2, 1.0)  # and this share of what was missed is left
_SHAKEN = (0.02, 0.03, 0.015, 0.02, 0.008, 0.008, 0.03)  # deviation of what is added to poses, at most
_ESTIMATES = "estimates.npz"


class LookSamples:
    """Pictures of shapes, each with a guess that is drawn beside it, and the truth."""

    def __init__(self, samples: Samples, count: int, guess: tuple, prior: tuple, seed: int, exact, folder):
        """Guess, or read what was guessed before.

        Args:
            samples: of ``count`` shapes.
            guess, prior: what ``weights.load_guess`` and ``load_prior`` return.
            seed: of views and lights, and of how near the truth a guess is moved.
            exact: indices of shapes whose guess is always taken as it is.
            folder: where guesses are kept.
        """
        self._samples = samples
        path = folder / _ESTIMATES
        if path.exists():
            kept = read_arrays(path.read_bytes())
        else:
            kept = _estimate(samples, count, guess, prior, seed, set(map(int, exact)))
            write_atomically(path, shards.pack_shard(kept))
        self._numbers, self._left, self._latents, self._poses = (kept[n] for n in ("number", "left", "latent", "pose"))
        content, ends = memoryview(kept["packed"]), kept["ends"].tolist()
        self._packed = [content[start:end] for start, end in zip([0, *ends], ends)]

    def batch(self, rng: np.random.Generator, indices, mirroring: bool = True) -> dict[str, np.ndarray]:
        """One picture of each shape by index, half of them mirrored in x; a function of the generator's state alone."""
        samples = []
        for index in map(int, indices):
            mirrored = bool(mirroring and rng.random() < 0.5)
            view, pose = self._samples.view(index, self._numbers[index], mirrored)
            truth, left = self._samples.latents[index], self._left[index]
            drawn, begun = guess_views.unpack(self._packed[index]), self._poses[index]
            latent = truth[0] + left * (self._latents[index] - truth[0])
            if mirrored:
                drawn, begun = second_look.mirror_drawn(drawn), first_guess.mirror(begun)
                latent = latent + (1.0 - left) * (truth[1] - truth[0])
            samples.append(
                {
                    "picture": show(rng, view),
                    "drawn": drawn,
                    "begun_latent": latent.astype(np.float32),
                    "begun_pose": begun,
                    "latent": truth[int(mirrored)],
                    "pose": pose,
                    "cells": self._samples.cells(index, mirrored),
                }
            )
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _estimate(samples: Samples, count: int, guess: tuple, prior: tuple, seed: int, exact: set) -> dict:
    """Of one view of each shape what is guessed, how much of its error is left, and what is then drawn."""

    @jax.jit
    def see(pictures, truths):
        found = first_guess.guess_symmetric(*guess, pictures)
        sector = first_guess.sector(guess[1], truths[:, 0])
        return found.latent, jnp.take_along_axis(found.poses, sector[:, None, None], axis=1)[:, 0]

    draw = jax.jit(functools.partial(second_look.draw, *prior))
    kept = {name: [] for name in ("number", "left", "latent", "pose", "packed")}
    for first in tqdm(range(0, count, _TOGETHER), "guesses", unit=f" x {_TOGETHER} shapes", disable=None):
        indices = np.arange(first, first + _TOGETHER).clip(max=count - 1)
        rngs = [np.random.default_rng([seed, 2, int(index)]) for index in indices]
        numbers = [int(rng.integers(samples.views_of(index))) for rng, index in zip(rngs, indices, strict=True)]
        seen = [samples.view(int(index), number, False) for index, number in zip(indices, numbers, strict=True)]
        pictures = np.stack([show(rng, view) for rng, (view, _) in zip(rngs, seen, strict=True)])
        truths = np.stack([pose for _, pose in seen])
        latents, poses = map(np.asarray, see(pictures, truths))
        plain = np.asarray([int(index) in exact or rng.random() < _AS_GUESSED for rng, index in zip(rngs, indices)])
        left = np.where(plain, 1.0, [rng.uniform(*_LEFT) for rng in rngs]).astype(np.float32)[:, None]
        shaken = np.stack([rng.uniform(0.0, 1.0) * rng.normal(0.0, _SHAKEN) for rng in rngs])
        still = np.asarray([int(index) in exact for index in indices])[:, None]
        missed = np.asarray(poses - truths)
        missed[:, 0] = np.asarray(half_turn(missed[:, 0]))
        poses = (truths + left * missed + np.where(still, 0.0, shaken)).astype(np.float32)
        known = samples.latents[indices, 0]
        drawn = np.asarray(draw(known + left * (latents - known), poses))
        rows = {"number": numbers, "left": left[:, 0], "latent": latents, "pose": poses}
        rows["packed"] = map(guess_views.pack, drawn)
        for name, values in rows.items():
            kept[name] += list(values)[: count - first]
    packed = kept.pop("packed")
    return {
        **{name: np.stack(values) for name, values in kept.items()},
        "packed": np.frombuffer(b"".join(packed), np.uint8),
        "ends": np.cumsum([len(each) for each in packed]),
    }


def losses(found: tuple, batch: dict, prior: tuple) -> dict[str, jax.Array]:
    """Parts of the loss of latents ``[B, L]`` and poses ``[B, 7]``, means over a batch.

    ``latent`` and ``cells``: see ``first_guess_loop.losses``. ``pose``: a Huber loss of what it misses, which a few
    that are far off do not rule.
    """
    latents, poses = found
    importance, decoded = shape_prior.importance(prior[0])[None], -(-len(latents) // _DECODED)
    missed = pose_missed(poses, batch["pose"]) / jnp.asarray([_POSE_SCALES])
    return {
        "latent": jnp.mean(importance * (latents - batch["latent"]) ** 2),
        "cells": jnp.mean(cells_missed(*prior, latents[:decoded], batch["cells"][:decoded])),
        "pose": jnp.mean(jnp.sum(jnp.sqrt(1.0 + missed**2) - 1.0, axis=1)),
    }


def pose_missed(poses, truth) -> jax.Array:
    """By how much poses ``[B, 7]`` are off, azimuths by half a turn at most."""
    missed = poses - truth
    return missed.at[:, 0].set(half_turn(missed[:, 0]))


def make_step(config: LookConfig, recipe: GuessRecipe, prior: tuple, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given."""
    optimizer = make_optimizer(recipe)

    def loss_fn(params, batch):
        begun = batch["begun_latent"], batch["begun_pose"]
        parts = losses(second_look.look(params, config, batch["picture"], batch["drawn"], *begun), batch, prior)
        return _LATENT_WEIGHT * parts["latent"] + _CELLS_WEIGHT * parts["cells"] + parts["pose"], parts

    def step(state, batch):
        (loss, parts), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state["params"], batch)
        metrics = {"loss": loss, **parts}
        if axis is not None:
            gradient, metrics = jax.lax.pmean((gradient, metrics), axis)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return advance(optimizer, recipe, state, gradient), metrics

    return step


def train_look(
    config: LookConfig,
    prior: tuple,
    guess: tuple,
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
        prior, guess: what ``weights.load_prior`` and ``load_guess`` return.
        collect, inputs, provenance: as for :func:`rendernet_jax.training.first_guess_loop.train_guess`.
        warm_start: parameters to begin with; without, the first guess's convolutions, see :func:`second_look.begin`.

    Returns:
        the last evaluation's figures, see :func:`score`.

    Raises:
        InputError: there is nothing to validate on, a warm start of other layers, or what ``train_task`` raises.
    """
    first = warm_start or second_look.begin(jax.random.key(recipe.seed), config, guess[0])
    second_look.check_params(first, config)

    def prepare() -> Task:
        grids, views = collect()
        if not len(grids.validation):
            raise InputError("shapes: expected at least one to validate on, got none; ask for two shapes or more")
        seen = Samples(grids, views, prior)
        samples = LookSamples(seen, len(grids), guess, prior, recipe.seed, grids.validation, folder)
        training, chosen = grids.training, np.resize(grids.validation, _SCORED)
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
            score=lambda params, _: score(params, config, prior, unseen),
            figure="iou",
            save=lambda params, facts: save_weights(folder, params, config, {**(provenance or {}), **facts}),
            score_first=True,
        )

    description = {"config": dataclasses.asdict(config), "recipe": dataclasses.asdict(recipe), "inputs": inputs or {}}
    return train_task(folder, description, recipe.steps, eval_every, prepare)


def score(params: dict, config: LookConfig, prior: tuple, batch: dict) -> dict[str, float]:
    """Figures over pictures of unseen shapes, after one look at what was guessed.

    Returns:
        ``iou`` of the cells with the true ones; of poses, medians of what they miss: ``azimuth``, ``elevation`` and
        ``roll`` in degrees, of the ``scale`` the share, of the ``place`` in halves of the square, and ``distance``.
    """
    found = _look(params, config, batch["picture"], batch["drawn"], batch["begun_latent"], batch["begun_pose"])
    ious = []
    for first in range(0, len(batch["cells"]), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        ious.append(_overlap(*prior, found[0][some], batch["cells"][some]))
    missed = np.median(np.abs(pose_missed(found[1], batch["pose"])), axis=0)
    return {
        "iou": float(np.mean(np.concatenate(ious))),
        **{name: float(np.degrees(m)) for name, m in zip(("azimuth", "elevation", "roll"), missed)},
        "scale": float(missed[3]),
        "place": float(missed[4:6].mean()),
        "distance": float(missed[6]),
    }


_look = jax.jit(second_look.look_symmetric, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def _overlap(params, config, latent, packed):
    mean, spread = shape_prior.usual(params)
    found = shape_prior.decode(params, config, mean[None] + spread[None] * latent)
    cells = jnp.unpackbits(packed, axis=1)[:, : config.grid**3].reshape(found.shape).astype(jnp.float32)
    return shape_prior.overlap(config, found, cells)
