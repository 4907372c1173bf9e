"""The path from voxels to pixels: transformations, windows, and gradients against finite differences."""

import dataclasses
import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rendernet_jax
from rendernet_jax import network, shading
from rendernet_jax.camera import Light, Pose, stack
from rendernet_jax.config import Config, Stage, Volume
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import check_size, render, render_buffers, targets
from rendernet_jax.voxels import Window

# Small, with one of everything, so that a picture's edge is felt only a few pixels inward.
CONFIG = Config(
    "small",
    depth=16,
    volume=(Volume(3, 3, (1, 1, 2)),),
    projection=(6,),
    stages=(Stage(8, 3, -0, -1), Stage(6, 1, 0, 1)),
)
SIZE = 32
POSE = Pose(0.4, 0.3, 0.2, 1.3, (0.05, -0.04, 0.03), 0.2)
LIGHT = Light(0.5, 0.6)


def make_params(config, seed=0):
    rng = np.random.default_rng(seed)
    scale = lambda shape: 0.5 / np.sqrt(np.prod(shape[:-1]))  # noqa: E731
    return jax.tree.map(
        lambda s: jnp.asarray(scale(s.shape) * rng.normal(size=s.shape), s.dtype), network.shapes(config)
    )


def make_grid(shape=(10, 8, 9)):
    """A smooth lopsided blob, away from 0 and 1, on a grid that is no cube, ``[1, X, Y, Z, 1]``."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    blob = 1 / (1 + np.exp(8 * (np.sqrt((x - 0.1) ** 2 + 1.5 * y**2 + (z + 0.5 * x) ** 2) - 0.6)))
    return jnp.asarray(0.05 + 0.9 * blob[None, ..., None], jnp.float32)


PARAMS, GRID = make_params(CONFIG), make_grid()


@functools.partial(jax.jit, static_argnames=("size", "output"))
def draw(grid, pose, light, size=SIZE, output="phong"):
    return render(PARAMS, CONFIG, grid, pose, light, size=size, output=output)


def test_jit_equals_eager_and_pictures_are_pictures():
    eager = render(PARAMS, CONFIG, GRID, POSE, LIGHT, size=SIZE)
    assert eager.shape == (1, SIZE, SIZE, 1) and eager.dtype == jnp.float32
    np.testing.assert_allclose(draw(GRID, POSE, LIGHT), eager, atol=1e-5)
    assert np.ptp(eager) > 0.1


def test_many_poses_of_one_grid_equal_one_at_a_time_and_vmap():
    poses = stack([POSE, Pose(-2.0, -0.3), Pose(1.0, 0.9, scale=0.8)])
    lights = stack([LIGHT, Light(), Light(-0.8, 0.2)])
    pictures = draw(GRID, poses, lights)
    single = [draw(GRID, poses[i], jax.tree.map(lambda x, i=i: x[i], lights))[0] for i in range(3)]
    np.testing.assert_allclose(pictures, single, atol=1e-5)
    mapped = jax.jit(jax.vmap(lambda pose, light: draw(GRID, pose, light)[0]))(poses, lights)
    np.testing.assert_allclose(mapped, pictures, atol=1e-5)
    assert np.abs(pictures[0] - pictures[1]).max() > 0.05


def test_other_outputs_are_drawn_and_unknown_ones_named():
    assert draw(GRID, POSE, LIGHT, output="normal").shape == (1, SIZE, SIZE, 3)
    with pytest.raises(InputError, match="output.*oil"):
        draw(GRID, POSE, LIGHT, output="oil")


def test_window_equals_the_crop_away_from_its_edge():
    """Patches are trained on, whole frames are drawn: same position, scale and column width."""
    buffers = jax.jit(functools.partial(render_buffers, PARAMS, CONFIG, GRID, POSE), static_argnums=0)
    whole = buffers(64)
    patch = buffers(32, window=Window(left=-0.5, top=0.75, extent=1.0))
    for name, picture in patch.items():
        crop = whole[name][:, 8:40, 16:48]
        np.testing.assert_allclose(picture[:, 10:-10, 10:-10], crop[:, 10:-10, 10:-10], atol=2e-5, err_msg=name)
    assert np.ptp(patch["mask"][:, 10:-10, 10:-10]) > 0.01


# --- gradients --------------------------------------------------------------------------------------------------------

STEP = 1e-4  # small, for PReLU and interpolation bend everywhere
WEIGHT = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 1)).cumsum(1).cumsum(2)  # varies slowly over the picture


@pytest.fixture(scope="module")
def gradients():
    def score(grid, pose, light):
        return jnp.vdot(draw(grid, pose, light), jnp.asarray(WEIGHT, jnp.float32))

    return jax.jit(jax.grad(score, argnums=(0, 1, 2)))(GRID, jax.tree.map(jnp.float32, POSE), LIGHT)


def central_difference(change):
    """Of the weighted sum of pixels; ``change(step)`` gives grid, pose and light. Summed in double precision."""
    ends = [np.asarray(draw(*change(step)), np.float64) for step in (STEP, -STEP)]
    return np.vdot(WEIGHT, ends[0] - ends[1]) / (2 * STEP)


@pytest.mark.parametrize("field", ["azimuth", "elevation", "roll", "scale", "inverse_distance"])
def test_pose_gradient_matches_central_differences(gradients, field):
    value = getattr(POSE, field)
    expected = central_difference(lambda s: (GRID, POSE.replace(**{field: value + s}), LIGHT))
    assert float(getattr(gradients[1], field)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("axis", range(3))
def test_translation_gradient_matches_central_differences(gradients, axis):
    def move(step):
        return GRID, POSE.replace(translation=tuple(np.add(POSE.translation, step * np.eye(3)[axis]))), LIGHT

    assert float(gradients[1].translation[axis]) == pytest.approx(central_difference(move), rel=0.02)


@pytest.mark.parametrize("field", ["azimuth", "elevation", "ambient", "intensity"])
def test_light_gradient_matches_central_differences(gradients, field):
    value = getattr(LIGHT, field)
    expected = central_difference(lambda s: (GRID, POSE, LIGHT.replace(**{field: value + s})))
    assert float(getattr(gradients[2], field)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_grid_gradient_matches_central_differences(gradients, seed):
    direction = jnp.asarray(np.random.default_rng(seed).normal(size=GRID.shape), jnp.float32)
    expected = central_difference(lambda s: (GRID + s * direction, POSE, LIGHT))
    assert float(jnp.vdot(gradients[0], direction)) == pytest.approx(expected, rel=0.02)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 30, -4, 512.0])
def test_sizes_that_do_not_fit_are_refused_with_the_nearest(size):
    with pytest.raises(InputError, match=f"size: expected a multiple of 4 .*got {size}; use (4|32|512)$"):
        render(PARAMS, CONFIG, GRID, POSE, size=size)


def test_numpy_sizes_fit():
    check_size(CONFIG, np.int64(64))


@pytest.mark.parametrize(
    "shape, message",
    [
        ((8, 8, 8), r"expected \[B, X, Y, Z, C\]"),
        ((1, 8, 8, 8, 4), "expected 1 channels for network 'small', got 4"),
        ((2, 8, 8, 8, 1), "2 grids, poses of shape .3"),
    ],
)
def test_grids_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        render(PARAMS, CONFIG, jnp.zeros(shape), stack([POSE] * 3), size=SIZE)


def test_package_offers_the_path_by_name():
    """A module of the same name would take a function's place once it is imported."""
    for name in rendernet_jax.__all__:
        assert callable(getattr(rendernet_jax, name)) and importlib.util.find_spec(f"rendernet_jax.{name}") is None
    assert rendernet_jax.render is render and rendernet_jax.Pose is Pose
    with pytest.raises(AttributeError, match="rendr"):
        _ = rendernet_jax.rendr


def test_many_pictures_take_the_memory_of_one():
    """On a CPU, but for the pictures themselves; drawn together, sixteen would take sixteen times as much."""

    def memory(count):
        poses = stack([POSE] * count)
        program = jax.jit(lambda grid, pose: render(PARAMS, CONFIG, grid, pose, LIGHT, size=64))
        return program.lower(GRID, poses).compile().memory_analysis().temp_size_in_bytes

    buffers = 64 * 64 * sum(count for _, count in CONFIG.heads) * 4
    assert memory(16) < 3 * memory(1) + 16 * buffers


@pytest.mark.parametrize("grids", [1, 3])
def test_renders_within_shard_map(grids):
    """Pictures and gradients on a mesh, where the pose varies and the grid may not."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    specs = (split if grids > 1 else whole, split)
    loss = lambda grid, azimuth: jnp.mean(  # noqa: E731
        render(PARAMS, CONFIG, grid, Pose(azimuth=azimuth), LIGHT, size=SIZE) ** 2, axis=(1, 2, 3)
    )
    mapped = jax.shard_map(loss, mesh=mesh, in_specs=specs, out_specs=split)
    arguments = jnp.repeat(GRID, grids, axis=0), jnp.array([0.1, 0.7, 2.0])
    for function in (lambda f: f, lambda f: jax.grad(lambda *x: jnp.sum(f(*x)), (0, 1))):
        found, expected = jax.jit(function(mapped))(*arguments), jax.jit(function(loss))(*arguments)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_renders_where_double_precision_is_on():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        function = jax.jit(lambda azimuth: render(PARAMS, CONFIG, GRID, Pose(azimuth=azimuth), LIGHT, size=SIZE))
        picture = function(jnp.float64(0.3))
    assert picture.dtype == jnp.float32
    np.testing.assert_allclose(picture, draw(GRID, Pose(azimuth=0.3), LIGHT), atol=1e-5)


def test_one_exported_program_serves_other_platforms():
    """The forms for each platform travel in it."""
    function = jax.jit(lambda grid, azimuth: render(PARAMS, CONFIG, grid, Pose(azimuth=azimuth), LIGHT, size=SIZE))
    exported = jax.export.export(function, platforms=("cpu", "cuda"))(GRID, jnp.float32(0.3))
    assert exported.platforms == ("cpu", "cuda")
    np.testing.assert_allclose(exported.call(GRID, jnp.float32(0.3)), draw(GRID, Pose(azimuth=0.3), LIGHT), atol=1e-5)


# --- networks that draw the picture themselves ------------------------------------------------------------------------

IMAGE = dataclasses.replace(CONFIG, heads=(("image", 1),), shader="toon")


def test_image_network_draws_its_shader_under_its_light():
    params = make_params(IMAGE)
    drawn = render_buffers(params, IMAGE, GRID, POSE, SIZE)["image"]
    fixed = Light(np.radians(35.0), np.radians(40.0))
    for given in ((), (fixed,)):
        for output in (None, "image", "toon"):
            picture = render(params, IMAGE, GRID, POSE, *given, size=SIZE, output=output)
            np.testing.assert_allclose(picture, drawn, atol=1e-6)
    with pytest.raises(InputError, match="draws 'toon' alone, got 'phong'"):
        render(params, IMAGE, GRID, POSE, size=SIZE, output="phong")
    for other in (LIGHT, dataclasses.replace(fixed, ambient=0.2)):
        with pytest.raises(InputError, match="under its own light alone, .*35.0, 40.0"):
            render(params, IMAGE, GRID, POSE, other, size=SIZE)
    with pytest.raises(InputError, match="under its own light alone"):  # which nobody can compare
        jax.jit(lambda light: render(params, IMAGE, GRID, POSE, light, size=SIZE))(fixed)


def test_image_network_learns_from_the_shaded_g_buffer():
    buffers = {name: jnp.full((1, 4, 4, n), 0.5) for name, n in (("normal", 3), ("mask", 1), ("contour", 1))}
    found = targets(IMAGE, buffers)
    expected = shading.shade(buffers, Light(np.radians(35.0), np.radians(40.0)), "toon")
    assert found.keys() == {"image"}
    np.testing.assert_array_equal(found["image"], expected)
    assert targets(CONFIG, buffers) is buffers
