"""Coloured objects: what is made of a texture vector, how colours are drawn, learnt and found in a picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import composite, losses, network, rendering, shading, shape_prior
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset, shape_alone
from rendernet_jax.data.marching_cubes import coloured_surface
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import TextureSettings, fit_textured, fit_textured_2018, fit_textured_steps, textured
from rendernet_jax.shape_prior import PRESETS
from rendernet_jax.training.loop import read_warm_start
from rendernet_jax.training.step import Recipe, init_state, make_step
from rendernet_jax.weights import load_weights, save_weights

CONFIG, PRIOR = preset("tiny-texture"), PRESETS["tiny"]
VECTOR, SIDE = CONFIG.paint.texture.vector, CONFIG.paint.texture.grid
POSE = Pose(azimuth=0.4, elevation=0.2)
draw = jax.jit(rendering.render_buffers, static_argnums=(1, 4))


@pytest.fixture(scope="module")
def params():
    params = jax.jit(network.init, static_argnums=1)(jax.random.key(0), CONFIG)
    basis = 0.05 * jax.random.normal(jax.random.key(9), params["texture"]["basis"].shape)
    return {**params, "texture": {**params["texture"], "basis": basis}}


def ball(radius=0.42) -> np.ndarray:
    """Occupancy ``[1, SIDE, SIDE, SIDE, 1]``."""
    axis = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return (x**2 + y**2 + z**2 < radius**2).astype(np.float32)[None, ..., None]


def coloured(colour) -> jnp.ndarray:
    """The ball in one colour."""
    occupied = ball()
    return jnp.concatenate([occupied, occupied * np.asarray(colour, np.float32)], axis=-1)


def test_colours_of_a_vector_are_colours_and_depend_on_it(params):
    vectors = jax.random.normal(jax.random.key(1), (2, VECTOR))
    colours = network.decode_texture(params, CONFIG, vectors)
    assert colours.shape == (2, SIDE, SIDE, SIDE, 3)
    assert 0 <= float(colours.min()) and float(colours.max()) <= 1
    assert float(jnp.abs(colours[0] - colours[1]).max()) > 1e-3


def test_the_texture_network_of_2018_has_its_sizes():
    config = preset("paper-texture")
    shapes = network.shapes(config)
    assert shapes["texture"]["dense"]["kernel"].shape == (199, 4 * 32**3)
    assert shapes["projection"]["conv0"]["kernel"].shape == (1, 1, 16 * 32, 512)
    assert shapes["stage0"]["blocks"]["block9"]["conv1"]["kernel"].shape == (3, 3, 512, 512)
    assert (config.subpixel, config.paint_subpixel, config.channels) == (1, 1, 5)
    assert jax.eval_shape(lambda p: network.decode_texture(p, config, jnp.zeros((1, 199))), shapes).shape == (
        (1, 64, 64, 64, 4)
    )


def test_branches_of_the_network_of_2018_begin_where_the_shared_stages_end():
    paint = dataclasses.replace(CONFIG.paint, begin=1, stages=CONFIG.stages[1:])
    small = dataclasses.replace(CONFIG, analytic=False, paint=paint)
    params = network.init(jax.random.key(0), small)
    buffers = draw(params, small, coloured((0.2, 0.5, 0.8)), POSE, 32)
    assert buffers["albedo"].shape == (1, 32, 32, 3) and buffers["mask"].shape == (1, 32, 32, 1)
    changed = {**params, "stage0": jax.tree.map(lambda x: 2 * x, params["stage0"])}
    other = draw(changed, small, coloured((0.2, 0.5, 0.8)), POSE, 32)
    assert all(float(jnp.abs(buffers[name] - other[name]).max()) > 1e-4 for name in ("albedo", "mask"))


def test_nothing_is_drawn_where_there_is_texture_alone():
    paint = dataclasses.replace(CONFIG.paint, begin=1, stages=CONFIG.stages[1:])
    small = dataclasses.replace(CONFIG, analytic=False, paint=paint)
    params = network.init(jax.random.key(0), small)
    grid = jnp.concatenate([jnp.zeros((1, SIDE, SIDE, SIDE, 1)), jnp.ones((1, SIDE, SIDE, SIDE, 3))], axis=-1)
    assert float(draw(params, small, grid, POSE, 32)["mask"].max()) == 0


def test_shape_is_drawn_as_without_colours(params):
    grey = shape_alone(CONFIG)
    shape = {name: p for name, p in params.items() if name not in network.TEXTURE}
    plain = draw(shape, grey, jnp.asarray(ball()), POSE, 32)
    for colour in ((0.1, 0.9, 0.4), (1.0, 1.0, 1.0)):
        painted = draw(params, CONFIG, coloured(colour), POSE, 32)
        for name, picture in plain.items():
            np.testing.assert_allclose(painted[name], picture, atol=1e-6)


def test_composited_colours_are_those_of_an_object_of_one_colour():
    """Half-occupied cells and the emptiness beside them must not darken it."""
    colour = np.asarray([0.2, 0.5, 0.8], np.float32)
    occupied = np.random.default_rng(0).random((1, 4, 4, 16, 1), np.float32)
    found = composite.colour_features(jnp.asarray(np.concatenate([occupied, occupied * colour], axis=-1)))
    np.testing.assert_allclose(found, np.broadcast_to(np.tile(colour, 2), found.shape), atol=4e-3)


def test_composited_colours_show_the_front():
    grid = np.zeros((1, 1, 1, 8, 4), np.float32)
    grid[..., 2:4, :] = (1, 1, 0, 0)  # red before blue
    grid[..., 4:, :] = (1, 0, 0, 1)
    np.testing.assert_allclose(composite.colour_features(jnp.asarray(grid))[0, 0, 0, :3], (1, 0, 0), atol=3e-3)


def test_albedo_before_training_is_about_the_voxels_colour(params):
    quiet = {**params, "paint": {**params["paint"], "head": jax.tree.map(jnp.zeros_like, params["paint"]["head"])}}
    albedo = draw(quiet, CONFIG, coloured((0.3, 0.6, 0.9)), POSE, 32)["albedo"][0, 16, 16]
    np.testing.assert_allclose(albedo, (0.3, 0.6, 0.9), atol=0.01)


def test_derivative_of_a_picture_by_the_vector_is_its_slope(params):
    vector, direction = jax.random.normal(jax.random.key(2), (2, 1, VECTOR))

    @jax.jit
    @jax.value_and_grad
    def energy(vector):
        grid = rendering.textured(params, CONFIG, jnp.asarray(ball()), vector)
        return jnp.mean(rendering.render(params, CONFIG, grid, POSE, size=32, output="colour") ** 2)

    slope = float(jnp.vdot(energy(vector)[1], direction))
    step = 0.05
    difference = float(energy(vector + step * direction)[0] - energy(vector - step * direction)[0]) / (2 * step)
    assert slope == pytest.approx(difference, rel=0.03)


def batch(count=2, size=16, seed=0):
    """Patches of the ball with random vectors and targets."""
    rng = np.random.default_rng(seed)
    target = {name: rng.random((count, size, size, c), np.float32) for name, c in CONFIG.heads}
    every = lambda value: np.full(count, value, np.float32)  # noqa: E731
    pose = dataclasses.asdict(POSE)
    return {
        "grid": np.repeat(np.asarray(coloured((0.7, 0.2, 0.4))), count, axis=0),
        "texture": rng.standard_normal((count, VECTOR)).astype(np.float32),
        "textured": every(1.0),
        "pose": {n: np.zeros((count, 3), np.float32) if n == "translation" else every(v) for n, v in pose.items()},
        "left": every(-0.5),
        "top": every(0.5),
        "extent": every(1.0),
        "target": target,
        "light": {"azimuth": every(0.3), "elevation": every(0.4), "ambient": every(0.1), "intensity": every(0.9)},
    }


@pytest.mark.optax
def test_training_colours_alone_leaves_shapes_as_they_are(params):
    recipe = Recipe(steps=20, batch=2, patch=16, rate=1e-2, warmup=0, only_texture=True)
    state, step = init_state(CONFIG, recipe, params), jax.jit(make_step(CONFIG, recipe, None))
    first = None
    for _ in range(10):
        state, figures = step(state, batch())
        first = first or figures
    assert figures["texture"] < 0.8 * first["texture"] and figures["albedo"] < first["albedo"]
    for name, part in state["params"].items():
        same = jax.tree.map(lambda a, b: bool((a == b).all()), part, params[name])
        assert all(jax.tree.leaves(same)) == (name not in network.TEXTURE), name


@pytest.mark.optax
def test_a_grid_without_colours_gets_those_of_its_vector(params):
    recipe = Recipe(steps=1, batch=2, patch=16)
    given = batch()
    bare = {**{k: v for k, v in given.items() if k != "textured"}, "grid": given["grid"][..., :1]}
    made = {**given, "grid": rendering.textured(params, CONFIG, bare["grid"], given["texture"])}
    step = jax.jit(make_step(CONFIG, recipe, None))
    losses_of = lambda content: step(init_state(CONFIG, recipe, params), content)[1]  # noqa: E731
    np.testing.assert_allclose(losses_of(bare)["albedo"], losses_of(made)["albedo"], rtol=1e-5)


def test_colours_are_compared_where_there_is_something():
    grid = np.zeros((1, 2, 2, 2, 4), np.float32)
    grid[0, 0, 0, 0] = (0.5, 1.0, 0.0, 0.0)
    error = losses.colour_error(jnp.full((1, 2, 2, 2, 3), 0.5), jnp.asarray(grid))
    assert float(error[0]) == pytest.approx(0.25)
    with pytest.raises(InputError, match="give both"):
        losses.colour_error(jnp.zeros((1, 2, 2, 2, 3)), jnp.zeros((1, 2, 2, 2, 1)))


def test_a_network_of_colours_may_begin_with_one_of_shapes(params, tmp_path):
    grey = shape_alone(CONFIG)
    save_weights(tmp_path, {name: p for name, p in params.items() if name not in network.TEXTURE}, grey, {})
    start, _ = read_warm_start(tmp_path, CONFIG)
    state = init_state(CONFIG, Recipe(), start)
    network.check_params(state["params"], CONFIG)
    np.testing.assert_array_equal(state["params"]["head"]["kernel"], load_weights(tmp_path)[0]["head"]["kernel"])
    with pytest.raises(InputError, match="choose the matching --preset"):
        read_warm_start(tmp_path, preset("compact-texture"))


def test_what_does_not_go_together_is_refused(params):
    grey = shape_alone(CONFIG)
    with pytest.raises(InputError, match="draws no colours"):
        network.decode_texture(params, grey, jnp.zeros((1, VECTOR)))
    with pytest.raises(InputError, match=rf"\[B, {VECTOR}\]"):
        network.decode_texture(params, CONFIG, jnp.zeros((1, 3)))
    with pytest.raises(InputError, match="one grid for each vector"):
        rendering.textured(params, CONFIG, jnp.zeros((1, 8, 8, 8, 1)), jnp.zeros((1, VECTOR)))
    with pytest.raises(InputError, match="expected 4 channels"):
        draw(params, CONFIG, jnp.asarray(ball()), POSE, 32)
    with pytest.raises(InputError, match="head albedo"):
        dataclasses.replace(CONFIG, heads=(("mask", 1),))


# --- fits ---------------------------------------------------------------------------------------------------------


def test_light_on_a_coloured_ball_is_found():
    """Normals of a ball and any albedo, shaded by the formula: the direction and the ambient share come back."""
    axis = np.linspace(-1, 1, 48)
    x, y = np.meshgrid(axis, -axis)
    covered = (x**2 + y**2 < 0.95).astype(np.float32)[..., None]
    normal = np.stack([x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))], axis=-1).astype(np.float32) * covered
    albedo = np.random.default_rng(0).random((48, 48, 3), np.float32)
    light = Light(azimuth=0.6, elevation=0.5, ambient=0.25, intensity=0.75)
    picture = shading.phong(normal[None], covered[None], light, albedo[None])[0]
    azimuth, elevation, share = np.asarray(textured.fit_light(normal, albedo, covered, picture))
    assert np.degrees(np.hypot(azimuth - 0.6, elevation - 0.5)) < 10  # 200 directions are 14 degrees apart
    assert share == pytest.approx(0.25, abs=0.05)


@pytest.fixture(scope="module")
def prior():
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(3), PRIOR)
    gallery = jax.random.normal(jax.random.key(4), (PRIOR.gallery, PRIOR.latent))
    decoder = {**params["decoder"], "bias": jnp.full((1,), 0.3)}  # half of the cells are occupied
    return {**params, "decoder": decoder, "gallery": gallery}, PRIOR


@pytest.fixture(scope="module")
def target(params, prior):
    """What a latent and a vector look like."""
    grid = shape_prior.decode(*prior, prior[0]["gallery"][:1])
    grid = rendering.textured(params, CONFIG, grid, jax.random.normal(jax.random.key(5), (1, VECTOR)))
    buffers = draw(params, CONFIG, grid, Pose(azimuth=0.3, elevation=0.1, inverse_distance=0.15), 32)
    return rendering.shade(CONFIG, buffers, Light(azimuth=0.5, elevation=0.4), "colour")[0], buffers["mask"][0]


FEW = TextureSettings(azimuths=4, sizes=(16, 32), steps=(20, 10), candidates=(2, 1))


@pytest.mark.optax
def test_a_fit_descends_and_holds_what_is_fixed(params, prior, target):
    held = jnp.full(VECTOR, 0.5)
    steps = fit_textured_steps(
        params, CONFIG, prior, *target, FEW, start={"texture": held}, fixed=("albedo", "texture")
    )
    told = list(steps)
    assert [found.stage for found in told] == ["search", "picture 16", "picture 16", "picture 32"]
    np.testing.assert_array_equal(told[-1].best.texture, held)
    np.testing.assert_array_equal(told[-1].best.albedo, jnp.ones(3))
    assert told[2].losses[0] <= told[1].losses[0]
    assert float(jnp.abs(told[-1].best.latent - told[0].best.latent).max()) > 0


@pytest.mark.optax
def test_a_free_texture_draws_the_picture_better_than_the_mean_one(params, prior, target):
    pose = Pose(azimuth=0.3, elevation=0.1, inverse_distance=0.15)
    start = {"pose": pose, "shape": prior[0]["gallery"][0], "texture": jnp.zeros(VECTOR)}
    fit = lambda *fixed: fit_textured(params, CONFIG, prior, *target, FEW, start=start, fixed=("albedo", *fixed))  # noqa: E731
    held, free = fit("pose", "shape", "texture"), fit("pose", "shape")
    assert float(free.losses[0]) < float(held.losses[0])


@pytest.mark.optax
def test_the_schedule_of_2018_keeps_the_light_s_elevation(params, prior, target):
    found = fit_textured_2018(params, CONFIG, prior, *target, light_elevation=0.4, rounds=2, steps=2)
    assert float(found.best.light[1]) == pytest.approx(0.4)
    assert np.isfinite(found.losses).all() and len(found.losses) == 6


def test_fits_that_cannot_be_are_refused(params, prior, target):
    picture, mask = target
    grey = shape_alone(CONFIG)
    with pytest.raises(InputError, match="coloured objects"):
        fit_textured(params, grey, prior, picture, mask)
    with pytest.raises(InputError, match=r"expected \[S, S, 3\]"):
        fit_textured(params, CONFIG, prior, picture[..., :1], mask)
    with pytest.raises(InputError, match="fixed"):
        fit_textured(params, CONFIG, prior, picture, mask, fixed=("texture",))


def test_a_surface_has_its_voxels_colours():
    grid = np.zeros((16, 16, 16, 4), np.float32)
    grid[4:12, 4:12, 4:12, 0] = 1
    grid[4:8, 4:12, 4:12, 1], grid[8:12, 4:12, 4:12, 3] = 1, 1  # red on the left, blue on the right
    mesh = coloured_surface(grid)
    left, right = mesh.vertices[:, 0] < -0.1, mesh.vertices[:, 0] > 0.1
    np.testing.assert_allclose(mesh.colors[left], np.tile((1, 0, 0), (left.sum(), 1)), atol=0.01)
    np.testing.assert_allclose(mesh.colors[right], np.tile((0, 0, 1), (right.sum(), 1)), atol=0.01)
