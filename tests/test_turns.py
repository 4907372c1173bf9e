"""Turned squares and the poses in them: against turns that NumPy makes exactly, and cells projected in either pose."""

import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import carving, turns


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).uniform(0.1, 1.0, (12, 12, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        ((0, 0, 0, 0), lambda x: x),
        ((np.pi / 2, 0, 0, 0), lambda x: np.rot90(x)),  # counterclockwise, as rolls are
        ((-np.pi / 2, 0, 0, 0), lambda x: np.rot90(x, -1)),
        ((0, 0, 2 / 6, 0), lambda x: np.pad(x, ((0, 0), (2, 0), (0, 0)))[:, :12]),  # two pixels to the right
        ((0, 0, 0, 1 / 6), lambda x: np.pad(x, ((0, 1), (0, 0), (0, 0)))[1:]),  # one pixel up
    ],
)
def test_pictures_turn_and_move(picture, number, change):
    found = turns.turn(jnp.asarray(picture), jnp.asarray([number], jnp.float32))
    assert found.shape == (1, 12, 12, 2)
    np.testing.assert_allclose(found[0], change(picture), atol=2e-5)


def test_pictures_grow_about_the_middle():
    bright = np.zeros((16, 16, 1), np.float32)
    bright[6:10, 6:10] = 1.0
    found = turns.turn(jnp.asarray(bright), jnp.asarray([[0.0, np.log(2.0), 0.0, 0.0]], jnp.float32))[0, ..., 0]
    assert found[5:11, 5:11].min() == 1.0 and found.sum() == pytest.approx(64.0, rel=1e-5)


def test_poses_are_led_back_to_where_cells_were_seen():
    """A place in the square after the turn is that before it, grown, turned and moved."""
    rng = np.random.default_rng(1)
    seen = rng.normal(0.0, 0.3, (len(turns.TURNS), 2, 7)).astype(np.float32)
    before = np.asarray(turns.turn_back(jnp.asarray(seen), jnp.asarray(turns.TURNS)))
    for each, poses, led in zip(turns.TURNS, seen, before, strict=True):
        places = np.asarray(carving.project(jnp.asarray(led), 4))[..., :2]
        (cos, sin), growth = (np.cos(each[0]), np.sin(each[0])), np.exp(each[1])
        wanted = growth * places @ np.float32([[cos, sin], [-sin, cos]]) + each[2:]
        np.testing.assert_allclose(carving.project(jnp.asarray(poses), 4)[..., :2], wanted, atol=2e-5)
    np.testing.assert_array_equal(before[0], seen[0])


def test_turns_are_small_and_balanced_and_the_first_is_none():
    assert not turns.TURNS[0].any()
    assert np.abs(turns.TURNS).max(axis=0) == pytest.approx([0.04, 0.02, 0.008, 0.008])
    assert len(np.unique(turns.TURNS, axis=0)) == len(turns.TURNS) == 17
    np.testing.assert_allclose(turns.TURNS.mean(axis=0)[[0, 2, 3]], 0.0, atol=1e-7)
