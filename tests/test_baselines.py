"""Encoder-decoders: what they read and draw, and that the training step teaches them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import baselines, network, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import Encoder, Stage, config_from_dict, config_to_dict, fit_size, preset
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import render, render_buffers
from rendernet_jax.training.step import Recipe, init_state, make_step

NAMES = ("ec", "ec-deep")
SMALL = dataclasses.replace(
    preset("ec-deep"),
    name="small",
    encoder=Encoder(widths=(4, 4, 4, 4, 4), blocks=1, vector=8, width=8, side=2),
    stages=(Stage(8, 3, blocks=1, resample=1), Stage(8, 3, resample=1)),
    upsample=8,
)
SIZE = SMALL.size


@pytest.fixture(scope="module")
def params():
    return jax.jit(network.init, static_argnums=1)(jax.random.key(0), SMALL)


def draw(params, grid, pose):
    return jax.jit(lambda p, g, q: render_buffers(p, SMALL, g, q, SIZE))(params, jnp.asarray(grid, jnp.float32), pose)


def random_grid(side, count=1):
    return np.random.default_rng(side).random((count, side, side, side, 1), np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [256, 512])
def test_baselines_have_about_as_many_parameters_as_compact(name, size):
    count = lambda config: sum(leaf.size for leaf in jax.tree.leaves(network.shapes(config)))  # noqa: E731
    assert count(fit_size(preset(name), size)) == pytest.approx(count(preset("compact")), rel=0.3)


@pytest.mark.parametrize("name", NAMES)
def test_every_head_is_drawn_at_the_fitted_size_and_no_other(name):
    config = fit_size(preset(name), 256)
    buffers = jax.eval_shape(
        lambda p: render_buffers(p, config, jnp.zeros((2, 64, 64, 64, 1)), Pose(azimuth=jnp.zeros(2)), 256),
        network.shapes(config),
    )
    assert {n: b.shape for n, b in buffers.items()} == {n: (2, 256, 256, c) for n, c in config.heads}
    with pytest.raises(InputError, match="size: expected 256 .* got 512"):
        render_buffers({}, config, jnp.zeros((1, 64, 64, 64, 1)), Pose(), 512)
    with pytest.raises(InputError, match="multiple of 64"):
        fit_size(preset(name), 100)
    with pytest.raises(InputError, match="no camera grid"):
        network.apply({}, config, jnp.zeros((1, 64, 64, 128, 1)))


def test_networks_of_any_size_are_left_as_they_are():
    assert fit_size(preset("compact"), 100) == preset("compact")


def test_pose_numbers_are_the_same_after_a_whole_turn_and_differ_for_different_poses():
    numbers = lambda **fields: np.asarray(baselines.pose_numbers(Pose(**fields)))  # noqa: E731
    turned = numbers(azimuth=0.3 + 2 * np.pi, elevation=0.2 - 2 * np.pi, roll=2 * np.pi)
    np.testing.assert_allclose(turned, numbers(azimuth=0.3, elevation=0.2), atol=1e-5)
    others = [{"azimuth": 0.1}, {"elevation": 0.1}, {"roll": 0.1}, {"scale": 1.2}, {"inverse_distance": 0.3}]
    others += [{"translation": tuple(0.1 * np.eye(3)[i])} for i in range(3)]
    rows = np.concatenate([numbers(), *(numbers(**fields) for fields in others)])
    assert len(np.unique(rows.round(5), axis=0)) == 9


def test_one_grid_is_drawn_at_many_poses_and_many_grids_at_theirs(params):
    poses = Pose(azimuth=jnp.asarray([0.0, 1.0]), elevation=0.3)
    grids = random_grid(64, 2)
    both = draw(params, grids, poses)
    shared = draw(params, grids[:1], poses)
    np.testing.assert_allclose(both["normal"][0], shared["normal"][0], atol=1e-5)
    alone = draw(params, grids[1:], Pose(azimuth=1.0, elevation=0.3))
    np.testing.assert_allclose(both["normal"][1], alone["normal"][0], atol=1e-5)
    assert np.abs(both["normal"][1] - shared["normal"][1]).max() > 1e-4, "the object matters"
    assert np.abs(shared["normal"][1] - shared["normal"][0]).max() > 1e-4, "the pose matters"


def test_grids_of_other_sizes_are_resampled(params):
    """A box that both grids hold exactly, of different extent along each axis."""

    def box(side):
        unit = side // 16
        grid = np.zeros((1, side, side, side, 1))
        grid[0, 2 * unit : 12 * unit, 4 * unit : 9 * unit, 7 * unit : 15 * unit] = 1
        return grid

    usual, small, turned = (draw(params, grid, Pose())["normal"] for grid in (box(64), box(32), box(64).swapaxes(1, 2)))
    error, difference = np.abs(small - usual).mean(), np.abs(turned - usual).mean()
    assert error < 0.5 * difference, "linear resampling blurs the faces, and no more"


def test_pictures_are_differentiable_by_pose_light_and_grid(params):
    @jax.jit
    def brightness(grid, azimuth, light):
        return jnp.mean(render(params, SMALL, grid, Pose(azimuth=azimuth), light, size=SIZE))

    grid = jnp.asarray(random_grid(64))
    gradients = jax.jit(jax.grad(brightness, argnums=(0, 1, 2)))(grid, 0.4, Light(0.5, 0.6))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    step = 1e-2
    difference = (brightness(grid, 0.4 + step, Light(0.5, 0.6)) - brightness(grid, 0.4 - step, Light(0.5, 0.6))) / (
        2 * step
    )
    assert abs(difference) > 1e-5
    assert gradients[1] == pytest.approx(float(difference), rel=0.1)


def test_config_and_weights_survive_a_file(tmp_path, params):
    assert config_from_dict(config_to_dict(SMALL)) == SMALL
    weights.save_weights(tmp_path, params, SMALL, {})
    loaded, config = weights.load_weights(tmp_path)
    assert config == SMALL
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2), loaded, params)


@pytest.mark.optax
def test_the_training_step_teaches_two_objects_apart():
    """Black left half and white right half, and the reverse, told apart by the voxels alone."""
    config = dataclasses.replace(SMALL, heads=(("image", 1),), shader="phong")
    recipe = Recipe(steps=40, batch=2, patch=SIZE, rate=3e-3, warmup=5)
    grids = np.zeros((2, 64, 64, 64, 1), np.float32)
    grids[0, :32], grids[1, 32:] = 1, 1
    pictures = np.ones((2, SIZE, SIZE, 1), np.float32)
    pictures[0, :, : SIZE // 2], pictures[1, :, SIZE // 2 :] = 0, 0
    zeros = np.zeros(2, np.float32)
    pose = Pose(zeros, zeros, zeros, zeros + 1, np.zeros((2, 3), np.float32), zeros)
    batch = {
        "grid": grids,
        "pose": {field.name: getattr(pose, field.name) for field in dataclasses.fields(pose)},
        "left": zeros - 1,
        "top": zeros + 1,
        "extent": zeros + 2,
        "target": {"image": pictures},
        "light": {"azimuth": zeros, "elevation": zeros, "ambient": zeros, "intensity": zeros},
    }
    state, step = init_state(config, recipe), jax.jit(make_step(config, recipe, axis=None))
    for _ in range(recipe.steps):
        state, figures = step(state, batch)
    assert float(figures["image"]) < 0.01
