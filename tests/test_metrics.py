"""Figures of merit against dm_pix, and losses against sums by hand."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import layers, losses, metrics
from rendernet_jax.camera import Light
from rendernet_jax.errors import InputError


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    smooth = rng.random((3, 24, 20, 3)).cumsum(1).cumsum(2)
    smooth = smooth / smooth.max((1, 2, 3), keepdims=True)
    noisy = np.clip(smooth + rng.normal(size=smooth.shape) * [[[[0.02]]], [[[0.1]]], [[[0.3]]]], 0, 1)
    return jnp.asarray(smooth, jnp.float32), jnp.asarray(noisy, jnp.float32)


def test_psnr_and_ssim_equal_dm_pix(pictures):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        psnr = jax.jit(dm_pix.psnr)(*pictures)
        ssim = jax.jit(dm_pix.ssim)(*pictures)
    np.testing.assert_allclose(jax.jit(metrics.psnr)(*pictures), psnr, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(metrics.ssim)(*pictures), ssim, atol=1e-4)
    assert psnr[0] > psnr[1] > psnr[2] and ssim[0] > ssim[1] > ssim[2]


def test_equal_pictures_are_perfect(pictures):
    assert np.isposinf(metrics.psnr(pictures[0], pictures[0])).all()
    np.testing.assert_allclose(jax.jit(metrics.ssim)(pictures[0], pictures[0]), 1, atol=1e-6)


def test_weighted_psnr_sees_the_foreground_only():
    reference = jnp.zeros((2, 4, 4, 1))
    picture = reference.at[:, :2].set(0.1).at[:, 2:].set(0.5)
    weight = jnp.zeros((2, 4, 4, 1)).at[0, :2].set(1.0).at[1, 2:].set(1.0)
    np.testing.assert_allclose(metrics.psnr(picture, reference, weight), [20, -20 * np.log10(0.5)], rtol=1e-5)
    np.testing.assert_allclose(metrics.psnr(picture, reference), -10 * np.log10((0.01 + 0.25) / 2), rtol=1e-5)


def test_mask_iou_counts_thresholded_pixels():
    mask, reference = np.zeros((3, 4, 4, 1), np.float32), np.zeros((3, 4, 4, 1), np.float32)
    mask[0, :2], reference[0, 1:3] = 0.9, 0.6  # one row shared of three
    mask[1, 0], reference[1] = 0.4, 0.0  # below one half everywhere
    reference[2, 0] = 1.0
    np.testing.assert_allclose(metrics.mask_iou(jnp.asarray(mask), jnp.asarray(reference)), [1 / 3, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("figure", [metrics.psnr, metrics.ssim, metrics.mask_iou])
@pytest.mark.parametrize("shapes", [((1, 16, 16, 3), (1, 16, 16, 1)), ((16, 16, 3), (16, 16, 3))])
def test_figures_refuse_silent_broadcasting(figure, shapes):
    with pytest.raises(InputError, match="pictures: expected two of one shape"):
        figure(*map(jnp.zeros, shapes))


# --- losses -----------------------------------------------------------------------------------------------------------


def make_buffers(seed, mask=None):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(2, 6, 6, 3))
    buffers = {
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "depth": rng.uniform(-1, 1, (2, 6, 6, 1)),
    }
    buffers |= {name: rng.random((2, 6, 6, 1)) for name in ("mask", "ao", "contour")}
    return {name: jnp.asarray(leaf, jnp.float32) for name, leaf in buffers.items()}


LIGHT = Light(jnp.asarray([0.3, -0.5]), jnp.asarray([0.2, 0.6]), jnp.full(2, 0.1), jnp.full(2, 0.9))


def on_white(color, mask):
    return mask * color + 1 - mask


def test_squared_error_is_one_mean_a_picture():
    a, b = (np.random.default_rng(s).random((2, 5, 4, 3)).astype(np.float32) for s in (1, 2))
    found = losses.squared_error(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(found, ((a - b) ** 2).mean((1, 2, 3)), rtol=1e-5)
    with pytest.raises(InputError, match="target: expected shape"):
        losses.squared_error(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1)))


def test_an_image_that_is_exactly_white_still_learns():
    """A plain sigmoid of 40 is 1 in float32, its derivative 0."""
    pull = lambda end, x, t: jax.grad(  # noqa: E731
        lambda x: losses.cross_entropy(end(x), jnp.full_like(x, t))[0]
    )(jnp.full((1, 1, 1, 1), x))
    assert layers.leaky_sigmoid(40.0) == 1 and pull(jax.nn.sigmoid, 40.0, 0.8) == 0
    for x, target, wanted in ((40.0, 0.8, 0.2), (-40.0, 0.3, -0.3), (1.0, 0.5, jax.nn.sigmoid(1.0) - 0.5)):
        np.testing.assert_allclose(pull(layers.leaky_sigmoid, x, target).item(), wanted, rtol=1e-2)
    _, forward = jax.jvp(layers.leaky_sigmoid, (40.0,), (1.0,))
    assert forward == pytest.approx(layers.SATURATED)


def test_cross_entropy_pulls_a_white_picture_toward_a_black_one():
    rng = np.random.default_rng(0)
    picture, target = rng.uniform(0.05, 0.95, (2, 3, 4, 4, 1)).astype(np.float32)
    wanted = -(target * np.log(picture) + (1 - target) * np.log(1 - picture)).mean((1, 2, 3))
    np.testing.assert_allclose(losses.cross_entropy(picture, target), wanted, rtol=1e-3)
    black = jnp.zeros((1, 4, 4, 1))
    pull = lambda loss: jax.grad(lambda v: loss(jax.nn.sigmoid(v + black), black)[0])(jnp.float32(9.0))  # noqa: E731
    assert pull(losses.cross_entropy) > 0.5 and pull(losses.squared_error) < 1e-3


def test_buffer_losses_compare_what_is_seen():
    predicted, target = make_buffers(0), make_buffers(1)
    found = jax.jit(losses.buffer_losses)(predicted, target, LIGHT)
    p, t = ({name: np.asarray(leaf, np.float64) for name, leaf in b.items()} for b in (predicted, target))
    a, e = np.asarray(LIGHT.azimuth), np.asarray(LIGHT.elevation)
    toward = np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], -1).reshape(2, 1, 1, 3)
    pictures = {
        "phong": lambda b: on_white(
            0.1 + 0.9 * np.maximum((b["normal"] * toward).sum(-1, keepdims=True), 0), b["mask"]
        ),
        "normal": lambda b: on_white(b["normal"] / 2 + 0.5, b["mask"]),
        "mask": lambda b: b["mask"],
        "ao": lambda b: on_white(b["ao"], b["mask"]),
        "contour": lambda b: b["contour"],
    }
    expected = {name: ((draw(p) - draw(t)) ** 2).mean((1, 2, 3)) for name, draw in pictures.items()}
    expected["depth"] = (np.abs(p["depth"] - t["depth"]) * t["mask"]).mean((1, 2, 3))
    assert set(found) == set(expected)
    for name, loss in expected.items():
        np.testing.assert_allclose(found[name], loss, rtol=1e-4, err_msg=name)


def test_buffers_that_one_side_lacks_are_left_out():
    predicted, target = make_buffers(0), make_buffers(1)
    del predicted["ao"], target["contour"]
    assert set(losses.buffer_losses(predicted, target, LIGHT)) == {"phong", "normal", "mask", "depth"}


def test_total_is_smallest_at_the_target_and_differentiable_there():
    target = make_buffers(1)

    @jax.jit
    def total(predicted):
        return losses.total(losses.buffer_losses(predicted, target, LIGHT))

    least = total(target)
    assert least.shape == (2,) and (least < 0.05).all()
    gradient = jax.jit(jax.grad(lambda p: total(p).sum()))(target)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for name, leaf in target.items():
        worse = {**target, name: leaf.at[0].add(0.3)}
        assert total(worse)[0] > least[0] + 0.01, name
        np.testing.assert_allclose(total(worse)[1], least[1], rtol=1e-5)


def test_losses_of_a_background_do_not_see_its_depth():
    target = {**make_buffers(1), "mask": jnp.zeros((2, 6, 6, 1))}
    assert not losses.buffer_losses(make_buffers(0), target, LIGHT)["depth"].any()
