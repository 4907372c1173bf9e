"""The second look: what it is shown, that mirrored things are seen as such, and that it betters what was guessed."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from test_first_guess import CONFIG as GUESS
from test_first_guess import PRIOR, SIDE, chair

from rendernet_jax import first_guess, second_look, shape_prior
from rendernet_jax.camera import Pose
from rendernet_jax.data import guess_views, shards
from rendernet_jax.data.meshes import normalise
from rendernet_jax.data.shape_grids import GridSet, Shape
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import CHANNELS, SIZE
from rendernet_jax.second_look import DRAWN, LookConfig
from rendernet_jax.training import second_look_loop
from rendernet_jax.training.first_guess_loop import GuessRecipe, Samples
from rendernet_jax.training.second_look_loop import LookSamples, losses, train_look
from rendernet_jax.weights import load_look

pytestmark = pytest.mark.optax
CONFIG = LookConfig(**{name: getattr(GUESS, name) for name in ("latent", "patch", "widths", "blocks", "hidden")})


@pytest.fixture(scope="module")
def params():
    return jax.jit(second_look.init, static_argnums=1)(jax.random.key(1), CONFIG)


@pytest.fixture(scope="module")
def guess():
    return jax.jit(first_guess.init, static_argnums=1)(jax.random.key(2), GUESS)


_COUNT = 90  # chairs


def one_sided():
    """A mesh that is no mirror image of itself."""
    mesh = chair(4, 6)
    return normalise(dataclasses.replace(mesh, vertices=np.where(mesh.vertices[:, :1] < 0, 0.5, 1.0) * mesh.vertices))


def test_what_is_drawn_lies_where_a_ray_tracer_sees_it(monkeypatch):
    """Its outline, and the directions of its faces; from the side, from above, and near."""
    mesh = one_sided()
    grid = jnp.asarray(voxelise(mesh, 64, "coverage"))[None]
    monkeypatch.setattr(shape_prior, "decode", lambda params, config, latent: grid)
    poses = [Pose(0.7, 0.4, 0.1, inverse_distance=0.3), Pose(-2.2, -0.2), Pose(3.0, 1.0, -0.1, inverse_distance=0.1)]
    traced = guess_views.trace(mesh, poses)
    prior = {"gallery": jnp.zeros((2, 1))}
    drawn = np.asarray(jax.jit(second_look.draw, static_argnums=1)(prior, PRIOR, jnp.zeros((3, 1)), traced.poses))
    assert drawn.shape == (3, SIZE, SIZE, DRAWN)
    for picture, view in zip(drawn, (traced[i] for i in range(3)), strict=True):
        both, either = np.minimum(picture, view)[..., 0].sum(), np.maximum(picture, view)[..., 0].sum()
        assert both / either > 0.93
        inside = (picture[..., 0] > 0.99) & (np.linalg.norm(view[..., 1:], axis=-1) > 0.99)
        lengths = np.linalg.norm(picture[inside][:, 1:], axis=-1)
        cosines = np.sum(picture[..., 1:] * view[..., 1:], axis=-1)[inside] / lengths
        assert inside.sum() > 1000 and np.degrees(np.arccos(np.clip(np.median(cosines), -1, 1))) < 14


def test_a_mirrored_thing_is_bettered_as_the_thing_is(params):
    pictures = jax.random.uniform(jax.random.key(3), (2, SIZE, SIZE, CHANNELS))
    drawn = jax.random.uniform(jax.random.key(4), (2, SIZE, SIZE, DRAWN), minval=-1.0)
    latents = jax.random.normal(jax.random.key(5), (2, CONFIG.latent))
    poses = 0.3 * jax.random.normal(jax.random.key(6), (2, 7))
    see = jax.jit(second_look.look_symmetric, static_argnums=1)
    one = see(params, CONFIG, pictures, drawn, latents, poses)
    other = see(
        params, CONFIG, pictures[:, :, ::-1], second_look.mirror_drawn(drawn), latents, first_guess.mirror(poses)
    )
    plain = jax.jit(second_look.look, static_argnums=1)(params, CONFIG, pictures, drawn, latents, poses)
    assert np.abs(one[0] - plain[0]).max() > 1e-3 and np.abs(one[0] - latents).max() > 1e-3
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    np.testing.assert_allclose(one[1], first_guess.mirror(other[1]), atol=1e-5)


def test_training_begins_with_the_convolutions_of_a_first_guess(guess):
    """Blind to what is drawn, until it has learnt to see it."""
    params = second_look.begin(jax.random.key(0), CONFIG, guess)
    pictures = jax.random.uniform(jax.random.key(3), (2, SIZE, SIZE, CHANNELS))
    drawn = jax.random.uniform(jax.random.key(4), (2, SIZE, SIZE, DRAWN))
    read = jax.jit(lambda pictures: first_guess.bind(guess, GUESS).read(pictures))
    look = jax.jit(lambda pictures: second_look.bind(params, CONFIG).read(pictures))
    seen = look(jnp.concatenate([pictures, drawn], axis=-1))
    np.testing.assert_array_equal(seen, read(pictures))
    assert np.ptp(seen) > 0
    with pytest.raises(InputError, match="do not fit network"):
        second_look.begin(jax.random.key(0), CONFIG, {**guess, "conv1": guess["conv2"]})


def test_losses_are_of_what_is_still_missed():
    prior = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    scales = np.asarray(second_look_loop._POSE_SCALES)
    batch = {
        "latent": np.zeros((3, PRIOR.latent), np.float32),
        "pose": np.float32([[math.pi - 0.01, *[0] * 6]] * 3),
        "cells": np.packbits(np.zeros((3, SIDE**3), bool), axis=1),
    }
    off = np.zeros((3, 7), np.float32)
    off[:, 0] = 0.01 - 2 * math.pi  # beyond half a turn
    off[1, 3] = 0.1
    found = jnp.zeros((3, PRIOR.latent)).at[2, 0].set(2.0), jnp.asarray(batch["pose"] + off)
    parts = jax.jit(lambda found: losses(found, batch, (prior, PRIOR)))(found)
    huber = lambda x: np.sqrt(1 + x**2) - 1  # noqa: E731
    assert parts["pose"] == pytest.approx(huber(0.01 / scales[0]) + huber(0.1 / scales[3]) / 3, rel=1e-3)
    importance = float(shape_prior.importance(prior)[0])
    assert parts["latent"] == pytest.approx(4 * importance / 3 / PRIOR.latent, rel=1e-3)


@pytest.fixture(scope="module")
def world(guess):
    """An untrained prior and guess, chairs of nine kinds, and two views of each."""
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    meshes = [chair(3 + i % 3, 3 + i // 3 % 3) for i in range(_COUNT)]
    grids = [voxelise(mesh, SIDE, "binary") for mesh in meshes]
    known = jnp.asarray(np.stack(grids[:9:2]))
    prior = {**params, "gallery": jax.jit(shape_prior.encode, static_argnums=1)(params, PRIOR, known)}, PRIOR
    shapes = [Shape(f"chair-{i}", "chair", shards.encode_bits(grid)) for i, grid in enumerate(grids)]
    rng = np.random.default_rng(0)
    views = [guess_views.trace(mesh, [guess_views.random_view(rng) for _ in range(2)]) for mesh in meshes]
    return prior, (guess, GUESS), GridSet(shapes, SIDE, 0.1), views


def test_samples_are_guesses_or_nearer_to_the_truth(world, tmp_path):
    prior, guess, grids, views = world
    samples = LookSamples(Samples(grids, views, prior), len(grids), guess, prior, 5, grids.validation, tmp_path)
    unseen = samples.batch(np.random.default_rng(0), grids.validation, mirroring=False)
    number = samples._numbers[grids.validation[0]]
    view, pose = views[grids.validation[0]][number], views[grids.validation[0]].poses[number]
    np.testing.assert_array_equal(unseen["pose"][0], pose)
    assert np.mean((unseen["picture"][0, ..., 0] > 0.5) == (view[..., 0] > 0.5)) > 0.98
    draw = jax.jit(second_look.draw, static_argnums=1)
    which = np.asarray([*range(9)] * 2 + [4] * 18)
    every = samples.batch(np.random.default_rng(1), which)
    again = LookSamples(Samples(grids, views, prior), len(grids), guess, prior, 5, (), tmp_path)  # as kept
    for name, value in again.batch(np.random.default_rng(1), which).items():
        np.testing.assert_array_equal(value, every[name])
    np.testing.assert_allclose(draw(*prior, unseen["begun_latent"], unseen["begun_pose"]), unseen["drawn"], atol=0.005)
    plain = [views[i].poses[samples._numbers[i]] for i in which]
    mirrored = np.any(every["pose"] != np.stack(plain), axis=1)
    assert 8 < mirrored.sum() < 28
    one, other = (np.flatnonzero((which == 4) & side)[0] for side in (mirrored, ~mirrored))
    np.testing.assert_array_equal(every["drawn"][one], second_look.mirror_drawn(every["drawn"][other]))
    np.testing.assert_array_equal(every["begun_pose"][one], first_guess.mirror(every["begun_pose"][other]))
    left = samples._left
    assert (left[grids.validation] == 1).all() and (left == 1).sum() >= 2 and left.min() < 1


def test_looks_better_what_was_guessed(world, tmp_path):
    prior, guess, grids, views = world
    recipe = GuessRecipe(steps=300, batch=16, rate=3e-3, ema=0.9)
    scores = train_look(CONFIG, prior, guess, lambda: (grids, views), recipe, tmp_path, eval_every=300)
    params, config = load_look(tmp_path)
    assert config == CONFIG
    before = second_look_loop.score(
        second_look.begin(jax.random.key(0), CONFIG, guess[0]) | {"head": jax.tree.map(jnp.zeros_like, params["head"])},
        CONFIG,
        prior,
        LookSamples(Samples(grids, views, prior), len(grids), guess, prior, 0, grids.validation, tmp_path).batch(
            np.random.default_rng([0, 1]), np.resize(grids.validation, 320), mirroring=False
        ),
    )
    for name in ("elevation", "scale", "place"):
        assert scores[name] < 0.7 * before[name], name


def test_weights_of_another_network_are_refused():
    with pytest.raises(InputError, match="expected those of a second look"):
        load_look("compact")
    with pytest.raises(InputError, match="look config: expected as many blocks as widths"):
        LookConfig(blocks=(0,))


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        (launching.start, ["--shapes=9"], "--output: expected a value"),
        (launching.call, ["--shapes=9", "--output=x", "--guess=compact"], "expected those of a first guess"),
        (launching.call, ["--shapes=9", "--output=x", "--prior=head_prior"], "expected latents of 40 numbers"),
    ],
)
def test_bad_flags_give_one_line(run, arguments, message):
    done = run("train_second_look", *arguments)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
