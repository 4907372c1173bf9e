"""The networks' layers by abstract evaluation, their parts by hand, and the wall between modules and plain dicts."""

import dataclasses
import gc
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rendernet_jax import layers, network
from rendernet_jax.camera import Pose
from rendernet_jax.config import BUFFERS, PRESETS, Config, Stage, config_from_dict, config_to_dict, preset
from rendernet_jax.conv import conv, conv_transposed
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import render_buffers

TINY = preset("tiny")
MICRO = Config("micro", stages=(Stage(6, 3),), depth=8, projection=(5,))


def random_params(config, seed=0):
    """Parameters by NumPy, none of them zero, without compilation."""
    rng = np.random.default_rng(seed)
    scale = lambda shape: 0.5 / math.sqrt(math.prod(shape[:-1]))  # noqa: E731
    return jax.tree.map(
        lambda s: jnp.asarray(scale(s.shape) * rng.normal(size=s.shape), s.dtype), network.shapes(config)
    )


def count(config):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network.shapes(config)))


def abstract_outputs(config, side, batch=1):
    """Shapes of the network's outputs; allocates nothing."""
    grid = jax.ShapeDtypeStruct((batch, side, side, config.depth, config.channels), jnp.float32)
    return jax.eval_shape(lambda p, g: network.apply(p, config, g), network.shapes(config), grid)


def apply(config):
    return jax.jit(lambda params, grid, keys=None: network.apply(params, config, grid, keys=keys))


@pytest.fixture(scope="module")
def tiny():
    return (
        random_params(TINY),
        apply(TINY),
        jnp.asarray(np.random.default_rng(1).random((1, 32, 32, 32, 1)), jnp.float32),
    )


# --- paper ------------------------------------------------------------------------------------------------------------


def paper_layers():
    """(kernel, input, output) of every convolution of the paper's network in order, on a 128^3 camera grid."""
    volume, flat = (64, 64), (64, 64)
    yield (5, 5, 5), (128, 128, 128, 1), (*volume, 64, 8)
    yield (3, 3, 3), (*volume, 64, 8), (*volume, 32, 16)
    yield (3, 3, 3), (*volume, 32, 16), (*volume, 32, 32)
    for _ in range(2 * 10 + 1):
        yield (3, 3, 3), (*volume, 32, 32), (*volume, 32, 32)
    yield (1, 1), (*flat, 32 * 32), (*flat, 1024)
    for _ in range(2 * 10 + 1):
        yield (3, 3), (*flat, 1024), (*flat, 1024)
    yield (4, 4), (*flat, 1024), (*flat, 512)
    for _ in range(2 * 5 + 1):
        yield (3, 3), (*flat, 512), (*flat, 512)
    yield (4, 4), (*flat, 512), (*flat, 256)
    yield (4, 4), (*flat, 256), (128, 128, 128)
    yield (4, 4), (128, 128, 128), (128, 128, 128)
    yield (4, 4), (128, 128, 128), (256, 256, 64)
    yield (4, 4), (256, 256, 64), (512, 512, 32)
    yield (4, 4), (512, 512, 32), (512, 512, 16)
    yield (4, 4), (512, 512, 16), (512, 512, 3)


def test_paper_has_the_layers_of_the_paper(monkeypatch):
    layers = []

    def note(function):
        def noted(x, kernel, *rest):
            y = function(x, kernel, *rest)
            layers.append((kernel.shape[:-2], x.shape[1:], y.shape[1:]))
            return y

        return noted

    monkeypatch.setattr("rendernet_jax.layers.conv", note(conv))
    monkeypatch.setattr("rendernet_jax.layers.conv_transposed", note(conv_transposed))
    config = preset("paper", heads=(("image", 3),))
    assert abstract_outputs(config, 128)["image"].shape == (1, 512, 512, 3)
    assert layers == list(paper_layers())


@pytest.mark.parametrize("heads", [(("image", 1),), (("image", 3),), BUFFERS])
def test_paper_has_237_million_parameters(heads):
    assert count(preset("paper", heads)) == pytest.approx(237e6, rel=0.01)


def test_paper_structure_is_found_without_making_it():
    """Residual blocks of two convolutions and a PReLU each, and drop-out of a quarter."""
    config, tree = preset("paper"), network.shapes(preset("paper"))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(tree))
    blocks = {name for name in tree["stage0"]["blocks"] if name.startswith("block")}
    assert len(blocks) == 10 and set(tree["stage0"]["blocks"]["block0"]) == {"conv0", "act", "conv1"}
    assert tree["stage0"]["blocks"]["block0"]["act"]["slope"].shape == (1024,)
    assert config.dropout == 0.25 and not config.analytic


# --- compact ----------------------------------------------------------------------------------------------------------


def test_compact_stays_within_its_budget():
    config = preset("compact")
    assert 2 * count(config) <= 6 * 2**20, "bytes in bfloat16"
    grid = jax.ShapeDtypeStruct((1, 64, 64, 64, 1), jnp.float32)
    draw = jax.jit(lambda params, grid: render_buffers(params, config, grid, Pose(), 512))
    lowered = draw.trace(network.shapes(config), grid).lower(lowering_platforms=("cuda",))  # without a CPU's loops
    assert 20e9 < lowered.cost_analysis()["flops"] <= 40e9


@pytest.mark.parametrize("name", ["paper", "compact", "tiny"])
def test_every_preset_draws_every_head_at_its_size(name):
    config = preset(name, heads=(("image", 3), ("mask", 1), ("depth", 1)), channels=4)
    side = 3 * config.multiple // config.upsample
    found = {head: leaf.shape for head, leaf in abstract_outputs(config, side, batch=2).items()}
    pixels = (2, 3 * config.multiple, 3 * config.multiple)
    assert found == {"image": (*pixels, 3), "mask": (*pixels, 1), "depth": (*pixels, 1)}


# --- parts ------------------------------------------------------------------------------------------------------------


def test_prelu_has_its_slope_below_zero_per_channel():
    act = layers.PReLU(3)
    x = jnp.asarray([[-2.0, -2.0, -2.0], [3.0, 3.0, 3.0]])
    np.testing.assert_array_equal(act(x), np.maximum(x, 0))
    act.slope[...] = jnp.asarray([0.0, 0.25, 1.0])
    np.testing.assert_allclose(act(x), [[0, -0.5, -2], [3, 3, 3]])


def test_init_is_he_normal_with_zero_biases_and_slopes():
    config = Config("wide", stages=(Stage(64, 3),), depth=32, projection=(128,), analytic=False, heads=(("mask", 1),))
    params = jax.jit(network.init, static_argnums=1)(jax.random.key(0), config)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), params) == jax.tree.map(
        lambda a: (a.shape, a.dtype), network.shapes(config)
    )
    np.testing.assert_allclose(np.std(params["projection"]["conv0"]["kernel"]), np.sqrt(2 / 32), rtol=0.05)
    np.testing.assert_allclose(np.std(params["stage0"]["entry"]["kernel"]), np.sqrt(2 / (9 * 128)), rtol=0.05)
    assert not params["stage0"]["entry"]["bias"].any() and not params["stage0"]["act"]["slope"].any()


def test_residual_block_and_long_skip_are_sums():
    blocks = layers.Blocks(2, 4, 2, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 5, 5, 4)), jnp.float32)
    y = x
    for block in (blocks.block0, blocks.block1):
        y = y + block.conv1(block.act(block.conv0(y)))
    np.testing.assert_allclose(blocks(x), x + blocks.last(y), atol=1e-5)
    assert np.abs(blocks(x) - x).max() > 1e-3


# --- behaviour --------------------------------------------------------------------------------------------------------


def test_bounded_heads_are_bounded_and_all_parameters_count(tiny):
    params, run, grid = tiny
    large = jax.tree.map(lambda p: 20 * p, params)
    drawn = run(large, grid)
    for name in ("mask", "ao", "contour"):
        assert drawn[name].min() >= 0 and drawn[name].max() <= 1 and np.ptp(drawn[name]) > 0.5
    assert 0.9 < np.linalg.norm(drawn["normal"], axis=-1).max() < 1.001
    gradient = jax.jit(jax.grad(lambda p, g: sum(v.sum() for v in network.apply(p, TINY, g).values())))(params, grid)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_analytic_normal_and_depth_are_there_from_the_start():
    """With a silent head, the network draws what compositing knows."""
    params = random_params(MICRO)
    params["head"] = jax.tree.map(jnp.zeros_like, params["head"])
    grid = jnp.zeros((1, 6, 6, 8, 1)).at[:, :, :, 3:].set(1.0)
    drawn = apply(MICRO)(params, grid)
    np.testing.assert_allclose(drawn["depth"], 1 - 3.5 / 4, atol=5e-3)
    np.testing.assert_allclose(drawn["normal"][0, 2:-2, 2:-2, 2], 1, atol=5e-3)


def test_moving_the_object_moves_the_picture():
    """By whole steps of the lowest resolution, away from the frame's edge."""
    config = dataclasses.replace(TINY, volume_blocks=0, stages=(Stage(12, 3, resample=-1), Stage(8, 1, resample=1)))
    params, run, pictures = random_params(config), apply(config), []
    block = np.random.default_rng(3).random((8, 8, 32, 1)).astype(np.float32)
    for left in (10, 14):
        grid = np.zeros((1, 32, 32, 32, 1), np.float32)
        grid[0, 12:20, left : left + 8] = block
        pictures.append(run(params, jnp.asarray(grid)))
    for name, first in pictures[0].items():
        second = pictures[1][name]
        np.testing.assert_allclose(second[:, 14:-14, 22:-14], first[:, 14:-14, 14:-22], atol=1e-5, err_msg=name)
        assert np.ptp(first[:, 14:-14, 14:-22]) > 0.05


def test_dropout_needs_keys():
    config = dataclasses.replace(MICRO, dropout=0.25)
    params, run = random_params(config), apply(config)
    grid = jnp.asarray(np.random.default_rng(4).random((1, 8, 8, 8, 1)), jnp.float32)
    plain = run(params, grid)["mask"]
    np.testing.assert_array_equal(plain, apply(MICRO)(params, grid)["mask"])
    first, again, other = (run(params, grid, jax.random.split(jax.random.key(k), 1))["mask"] for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - plain).max() > 1e-3 and np.abs(first - other).max() > 1e-3


def test_dropout_keeps_three_quarters_and_the_mean():
    keys = jax.random.split(jax.random.key(0), 100)
    found = layers.dropout(keys, 0, jnp.ones((100, 100)), 0.25)
    alone = layers.dropout(keys[7:8], 0, jnp.ones((1, 100)), 0.25)
    np.testing.assert_array_equal(found[7:8], alone)  # whatever stands beside an example
    assert (layers.dropout(keys, 1, jnp.ones((100, 100)), 0.25) != found).mean() > 0.3
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)


def test_bfloat16_arithmetic_stays_close_and_returns_float32(tiny):
    params, run, grid = tiny
    half = jax.jit(lambda p, g: network.apply(p, TINY, g, dtype=jnp.bfloat16))(params, grid)
    for name, exact in run(params, grid).items():
        assert half[name].dtype == jnp.float32
        np.testing.assert_allclose(half[name], exact, atol=0.05)


def test_columns_tell_the_scale_of_a_window(tiny):
    """None stands for a whole frame; more columns over it are narrower, which changes the slopes."""
    params, _, grid = tiny
    draw = jax.jit(lambda columns: network.apply(params, TINY, grid, columns=columns)["normal"])
    drawn = [draw(columns) for columns in (None, 32, jnp.full(1, 64.0))]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-5)
    assert np.abs(drawn[0] - drawn[2]).max() > 0.1


def test_shapes_stay_abstract_after_use(tiny):
    params, run, grid = tiny
    run(params, grid)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(network.shapes(TINY)))
    gc.freeze()  # JAX looks for leaks among what is not frozen, again and again
    with jax.checking_leaks():
        jax.eval_shape(lambda p: network.apply(p, TINY, grid), params)


# --- config and errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PRESETS))
def test_config_round_trips_through_json(name):
    config = preset(name, heads=(("image", 3), ("mask", 1)), channels=2)
    again = config_from_dict(json.loads(json.dumps(config_to_dict(config))))
    assert again == config and hash(again) == hash(config)


@pytest.mark.parametrize(
    "change", [{"stages": None}, {"stages": [{"wide": 3}]}, {"volume": [{"width": 3}]}, {"heads": [["mask"]]}, {"x": 1}]
)
def test_config_of_another_version_is_refused(change):
    with pytest.raises(InputError, match="config: expected the keys"):
        config_from_dict({**config_to_dict(TINY), **change})
    with pytest.raises(InputError, match="config"):
        config_from_dict({"name": "tiny"})


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(InputError, match="paper, compact, ec, ec-deep, tiny, compact-texture, .*got 'huge'"):
        preset("huge")


@pytest.mark.parametrize(
    "shape", [(8, 8, 32, 1), (1, 8, 8, 31, 1), (1, 8, 8, 32, 2), (1, 9, 8, 32, 1), (1, 8, 9, 32, 1)]
)
def test_wrong_camera_grid_is_refused(shape):
    with pytest.raises(InputError, match=r"camera grid: expected \[B, H, W, 32, 1\].*multiples of 2"):
        network.apply(random_params(TINY), TINY, jnp.zeros(shape))


def test_parameters_of_another_network_are_refused():
    params, grid = random_params(TINY), jnp.zeros((1, 8, 8, 32, 1))
    without = {name: leaf for name, leaf in params.items() if name != "head"}
    with pytest.raises(InputError, match=r"missing \['head.bias', 'head.kernel'\]"):
        network.apply(without, TINY, grid)
    with pytest.raises(InputError, match=r"surplus \['hand.bias', 'hand.kernel'\]"):
        network.apply({**without, "hand": params["head"]}, TINY, grid)
    with pytest.raises(InputError, match=r"head.kernel \(3, 3, 8, 28\) for \(3, 3, 8, 12\)"):
        network.apply(params, preset("tiny", heads=(("image", 3),)), grid)
