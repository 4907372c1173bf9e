"""The first guess: what it looks at, what it says, and that it learns."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
import scipy.spatial

from rendernet_jax import first_guess, shape_prior
from rendernet_jax.camera import Pose
from rendernet_jax.data import shards
from rendernet_jax.data.shape_grids import GridSet, Shape
from rendernet_jax.data.splats import find_surface, splat, stretch, stretch_surface, surface_points
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import SIZE, GuessConfig
from rendernet_jax.inverse import silhouette
from rendernet_jax.shape_prior import PRESETS
from rendernet_jax.training.first_guess_loop import GuessRecipe, losses, random_stretches, train_guess
from rendernet_jax.weights import load_guess, load_prior, save_weights

pytestmark = pytest.mark.optax
PRIOR = PRESETS["tiny"]
CONFIG = GuessConfig(latent=PRIOR.latent, widths=(8, 8, 16, 16), hidden=32, sectors=8)
SIDE = PRIOR.grid


def chair(seat: int, back: int, side: int = SIDE) -> np.ndarray:
    grid = np.zeros((16, 16, 16, 1), np.float32)
    grid[3:13, 2 : 2 + seat, 3:13] = 1
    grid[3:13, 2 : 2 + seat + back, 3:6] = 1
    return grid.repeat(side // 16, 0).repeat(side // 16, 1).repeat(side // 16, 2)


def test_splats_and_photos_of_the_same_thing_look_alike():
    """Wherever the thing stands in the photo, and however large it is."""
    grid = chair(4, 6, 64)
    pose = Pose(0.7, 0.4, 0.1, 1.0, (0.0, 0.0, 0.0), 0.3)
    drawn = splat(find_surface(grid), pose, (0.3, 0.5))
    photographed = jax.jit(silhouette.silhouette, static_argnums=2)(jnp.asarray(grid)[None], pose, 128)[0][..., None]
    mask = np.zeros((200, 200, 1), np.float32)
    mask[50:178, 20:148] = photographed
    seen = first_guess.crop(np.full((200, 200, 3), 0.4, np.float32), mask)
    assert drawn.shape == seen.shape == (SIZE, SIZE, 2)
    both, either = np.minimum(drawn, seen)[..., 0].sum(), np.maximum(drawn, seen)[..., 0].sum()
    assert both / either > 0.93
    inside = seen[..., 0] > 0.9999
    np.testing.assert_allclose(seen[inside][:, 1], 0.5, atol=1e-3)
    again = first_guess.crop(np.full((200, 200, 3), 0.8, np.float32), mask)
    np.testing.assert_allclose(again, seen, atol=1e-5)  # brightness leaves no trace


def test_splats_are_lit_and_hide_what_lies_behind():
    surface = find_surface(chair(4, 6, 64))
    front = splat(surface, Pose(), (0.0, 0.0))
    assert front[..., 0].sum() > 300 and np.ptp(front[front[..., 0] > 0][:, 1]) < 0.7
    above = splat(surface, Pose(elevation=0.6), (0.0, 1.4))
    lit = above[..., 1][above[..., 0] > 0]
    assert lit.max() > 2 * np.median(lit[lit < lit.mean()])  # the seat is bright, what faces the viewer is not
    np.testing.assert_allclose(np.linalg.norm(surface.normals.astype(np.float32), axis=1).mean(), 1, atol=0.05)


def test_stretched_shapes_and_their_surfaces_are_the_same_thing():
    cells = np.roll(chair(4, 6, 64) > 0, 4, axis=1)  # centred, as shapes are
    every = random_stretches(np.random.default_rng(1), cells, 200)
    for each in (*every[:6], np.asarray([-1.0, 1.0, 1.0])):
        stretched = stretch(cells, each)
        sides = [np.ptp(np.flatnonzero(stretched[..., 0].any(others))) + 1 for others in ((1, 2), (0, 2), (0, 1))]
        np.testing.assert_allclose(sides, np.abs(each) * [40, 40, 40], atol=1.01)
        surface = stretch_surface(find_surface(cells), each)
        own = surface_points(stretched)
        points = surface.points.astype(np.float32)
        for some, others in ((own, points), (points, own)):
            assert scipy.spatial.cKDTree(others).query(some)[0].max() < 2.0 / 64
        np.testing.assert_allclose(np.linalg.norm(surface.normals.astype(np.float32), axis=1).mean(), 1, atol=0.05)
    np.testing.assert_array_equal(stretch(cells, np.asarray([-1.0, 1.0, 1.0])), cells[::-1])
    assert 60 < (every[:, 0] < 0).sum() < 140
    np.testing.assert_allclose((np.abs(every) * 40 / 64).max(1), 1)  # the longest side fills the cube
    slope = stretch_surface(find_surface(cells), np.asarray([1.0, 1.0, 2.0])).normals.astype(np.float32)
    plain = find_surface(cells).normals.astype(np.float32)
    oblique = (np.abs(plain[:, 1]) > 0.5) & (np.abs(plain[:, 2]) > 0.5)
    assert oblique.any()
    expected = 0.5 * plain[oblique, 2] / plain[oblique, 1]
    np.testing.assert_allclose(slope[oblique, 2] / slope[oblique, 1], expected, atol=0.01)


def test_sectors_wrap_around():
    centres = np.arange(8) * (math.pi / 4)
    np.testing.assert_array_equal(first_guess.sector(CONFIG, jnp.asarray(centres)), np.arange(8))
    np.testing.assert_array_equal(first_guess.sector(CONFIG, jnp.asarray(centres - 2 * math.pi)), np.arange(8))
    found = first_guess.Guess(jnp.zeros((1, 12)), jnp.zeros((1, 8)), jnp.zeros((1, 8, 3)).at[0, 4, 0].set(math.pi))
    batch = {"latent": np.zeros((1, 12)), "angles": np.asarray([[-math.pi + 0.1, 0.0, 0.2]], np.float32)}
    parts = jax.jit(losses, static_argnums=1)(found, CONFIG, batch, jnp.ones(12))
    assert parts["angles"] == pytest.approx(0.1**2 + 0.2**2, rel=1e-3)
    assert parts["sector"] == pytest.approx(math.log(8)) and parts["latent"] == 0
    one = jnp.zeros(12).at[3].set(12.0)
    assert losses(found.replace(latent=one[None] / 6.0), CONFIG, batch, one)["latent"] == pytest.approx(4.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A guess that saw nine chairs for a few seconds, by the latents of an untrained prior."""
    folder = tmp_path_factory.mktemp("guess")
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    known = jnp.asarray(np.stack([chair(3 + i, 3 + i) for i in range(4)]))
    prior = {**params, "gallery": jax.jit(shape_prior.encode, static_argnums=1)(params, PRIOR, known)}, PRIOR
    shapes = [Shape(f"chair-{i}", "chair", shards.encode_bits(chair(3 + i % 3, 3 + i // 3))) for i in range(9)]
    recipe = GuessRecipe(steps=250, batch=16, rate=3e-3, ema=0.9)
    scores = train_guess(CONFIG, prior, lambda: GridSet(shapes, SIDE, 0.2), recipe, folder, eval_every=250)
    return folder, scores, shapes


def test_views_of_unseen_shapes_are_guessed(trained):
    folder, scores, shapes = trained
    assert scores["first"] > 0.4 and scores["first_four"] > 0.75  # by chance 0.125 and 0.5
    params, config = load_guess(folder)
    assert config == CONFIG
    pose = Pose(0.75, 0.3)
    look = splat(find_surface(shapes[4].grid(SIDE)), pose, (0.2, 0.6))
    found = jax.jit(first_guess.guess, static_argnums=1)(params, config, look[None])
    best = int(found.log_odds[0].argmax())
    turned = np.mod(np.asarray(found.angles[0, best, 0]) - 0.75 + math.pi, 2 * math.pi) - math.pi
    assert abs(turned) < 0.8
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [record["loss"] for record in records if "loss" in record]
    assert np.mean(told[-2:]) < 0.7 * told[0]


def test_weights_of_another_network_are_refused(trained, tmp_path):
    with pytest.raises(InputError, match="expected those of a first guess"):
        load_guess("compact")
    with pytest.raises(InputError, match="expected those of a shape prior"):
        load_prior(trained[0])
    params, config = load_guess(trained[0])
    save_weights(tmp_path, params, dataclasses.replace(config, sectors=9), {})
    with pytest.raises(InputError, match="do not fit network"):
        load_guess(tmp_path)


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        (launching.start, ["--shapes=9"], "--output: expected a value"),
        (launching.call, ["--shapes=9", "--output=x", "--prior=compact"], "expected those of a shape prior"),
    ],
)
def test_bad_flags_give_one_line(tmp_path, run, arguments, message):
    done = run("train_first_guess", *arguments)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
