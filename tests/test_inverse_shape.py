"""Fits of an unknown shape, what they are compared with, and the schedule of 2018."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import camera, fit_methods, inverse, network, retrieval, shape_prior
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import photometric, shape, silhouette, unknowns
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.shape_prior import PRESETS
from rendernet_jax.training.shape_prior_step import PriorRecipe, init_state, make_step

pytestmark = pytest.mark.optax
CONFIG, PRIOR = preset("tiny"), PRESETS["tiny"]
SIDE = PRIOR.grid
silhouettes = jax.jit(silhouette.silhouette, static_argnums=2)


def chair(seat: int, back: int, width: int) -> np.ndarray:
    """A block with a back: no two sides of it look alike."""
    grid = np.zeros((SIDE, SIDE, SIDE, 1), np.float32)
    low = (SIDE - width) // 2
    grid[low : low + width, 2 : 2 + seat, 3:13] = 1
    grid[low : low + width, 2 : 2 + seat + back, 3:6] = 1
    return grid


def small(**more) -> inverse.ShapeSettings:
    """Settings of two short descents in small pictures."""
    few = {"sizes": (8, 16), "pictures": (16, 32), "steps": (2, 10, 10), "candidates": (4, 2)}
    return inverse.ShapeSettings(**{**few, "typical": (6e-4, 2e-4), "posed": (2e-4, 5e-5), **more})


@pytest.fixture(scope="module")
def prior():
    """A prior that learned twelve such chairs for a few seconds, with four of them in its gallery."""
    chairs = [chair(seat, back, width) for seat in (3, 5) for back in (2, 4, 6) for width in (6, 10)]
    grids = jnp.asarray(np.stack(chairs))
    recipe = PriorRecipe(steps=250, batch=12, rate=1e-2, kl=1.0)
    state, step = init_state(PRIOR, recipe), jax.jit(make_step(PRIOR, recipe, None))
    for _ in range(recipe.steps):
        state, _ = step(state, grids)
    params = state["params"]
    gallery = jax.jit(shape_prior.encode, static_argnums=1)(params, PRIOR, grids[np.asarray([0, 1, 3, 5])])
    return {**params, "gallery": gallery}, PRIOR


@pytest.fixture(scope="module")
def params():
    return jax.jit(network.init, static_argnums=1)(jax.random.key(0), CONFIG)


def iou(grid, other) -> float:
    a, b = np.asarray(grid) > 0.5, np.asarray(other) > 0.5
    return (a & b).sum() / (a | b).sum()


def test_coverage_is_drawn_as_decoded_and_what_is_unsure_is_cut(prior):
    latent = 0.5 * (prior[0]["gallery"][0] + prior[0]["gallery"][-1])  # of no chair: some cells are in between
    decoded = shape_prior.decode(*prior, latent[None])
    coverage = shape.voxels(prior[0], dataclasses.replace(PRIOR, occupancy="coverage"), latent)
    np.testing.assert_allclose(coverage, np.maximum(decoded - 0.02, 0) / 0.98, atol=1e-6)
    cut = shape.voxels(*prior, latent)
    unsure = (decoded > 0.05) & (decoded < 0.2)
    assert unsure.any() and (cut[unsure] < coverage[unsure]).all()


def test_shape_is_found_in_a_picture_from_a_gallery_without_it(prior, params):
    """With the pose near, in a picture that the network drew itself."""
    wanted = chair(5, 6, 6)
    pose = Pose(0.9, 0.35, 0.0, 1.1, (0.05, 0.02, 0.0), 0.15)
    point = Unknowns(unknowns.from_pose(pose), jnp.asarray([0.3, 0.4, 0.1]), jnp.ones(1))
    picture, mask = jax.jit(lambda grid: photometric.draw_point(params, CONFIG, grid, point, 32))(wanted[None])
    mask = silhouettes(jnp.asarray(wanted)[None], pose, 32)[0][..., None]
    settings = small(azimuths=12, sizes=(16, 16), steps=(4, 10, 20), typical=(1e-5, 1e-5))
    start, found = {"pose": pose.replace(azimuth=0.95)}, {}
    for told in inverse.fit_shape_steps(params, CONFIG, prior, picture, mask, settings, start=start):
        found[told.stage] = told
    assert list(found) == ["search", "silhouette 16", "judge", "picture 16", "picture 32"]
    assert inverse.count_shape_reports(settings) == 3 + 1 + 2
    assert found["silhouette 16"].losses[0] < 0.5 * found["search"].losses[0]
    assert abs(found["silhouette 16"].pose.azimuth - 0.9) < 0.25  # another shape is seen from a little aside
    assert found["picture 16"].losses[0] < found["judge"].losses[0]
    assert len(found["picture 16"].losses) == 4 and len(told.losses) == 2
    again = list(inverse.fit_shape_steps(params, CONFIG, prior, picture, mask, settings, start=start))[-1]
    jax.tree.map(np.testing.assert_array_equal, again.candidates, told.candidates)


def test_poses_are_searched_all_around(prior, params):
    wanted = np.asarray(inverse.grids(prior, prior[0]["gallery"][2][None]))
    pose = Pose(3.9, 0.5, 0.0, 1.1, (0.05, 0.02, 0.0), 0.15)
    mask = silhouettes(jnp.asarray(wanted), pose, 32)[0][..., None]
    settings = small(azimuths=16, sizes=(16, 16))
    told = next(inverse.fit_shape_steps(params, CONFIG, prior, jnp.ones((32, 32, 1)), mask, settings))
    turns = np.asarray(camera.rotation(unknowns.to_pose(told.candidates.pose)))
    angles = np.degrees(np.arccos(np.clip((np.einsum("kij,ij->k", turns, camera.rotation(pose)) - 1) / 2, -1, 1)))
    assert angles.min() < 12 and len(angles) == settings.kept
    best = told.candidates.pose[angles.argmin()]
    np.testing.assert_allclose(best[3:6], unknowns.from_pose(pose)[3:6], atol=0.1)


def test_what_is_held_stays(prior, params):
    start = {"pose": Pose(0.5, 0.2), "shape": prior[0]["gallery"][1], "light": Light(0.1, 0.2, 0.1, 0.9)}
    mask = jnp.zeros((32, 32, 1)).at[8:24, 8:24].set(1.0)
    settings = small(azimuths=2, candidates=(2, 1))
    fit = inverse.fit_shape(params, CONFIG, prior, mask, mask, settings, start=start, fixed=("pose", "shape"))
    np.testing.assert_array_equal(fit.best.latent, start["shape"])
    np.testing.assert_allclose(fit.best.pose, unknowns.from_pose(start["pose"]), atol=1e-7)
    assert np.abs(fit.best.light - unknowns.from_light(start["light"])).max() > 0
    with pytest.raises(InputError, match="expected a value in start for shape"):
        inverse.fit_shape(params, CONFIG, prior, mask, mask, settings, fixed=("shape",))
    with pytest.raises(InputError, match="mask: expected a pixel"):
        inverse.fit_shape(params, CONFIG, prior, mask, 0 * mask, settings)
    with pytest.raises(InputError, match="silhouettes of 32 cells divide, got 16"):
        inverse.fit_shape(params, CONFIG, prior, mask, mask)


def test_cost_falls_where_least_squares_goes(params):
    """One number to descend agrees with the residuals that Gauss-Newton sees: both like the same of two poses."""
    grid = jnp.asarray(chair(4, 5, 8))[None]
    target = Unknowns(unknowns.from_pose(Pose(0.4, 0.3)), jnp.asarray([0.3, 0.4, 0.1]), jnp.ones(1))
    picture, mask = jax.jit(lambda point: photometric.draw_point(params, CONFIG, grid, point, 32))(target)
    cost = jax.jit(lambda point: photometric.cost(params, CONFIG, grid, picture, mask, point))
    turned = target.replace(pose=target.pose.at[0].add(0.3))
    assert cost(target) < 1e-6 < cost(turned)
    dim = target.replace(albedo=jnp.full(1, 0.6), light=target.light.at[0].add(0.4))
    slopes, step = jax.jit(jax.grad(cost))(dim), 1e-2
    for name in ("albedo", "light"):  # the network is not smooth in the pose
        value = getattr(dim, name)
        moved = [cost(dim.replace(**{name: value.at[0].add(sign * step)})) for sign in (1, -1)]
        assert getattr(slopes, name)[0] == pytest.approx(float(moved[0] - moved[1]) / (2 * step), rel=0.05)


# --- what fits are compared with --------------------------------------------------------------------------------------


def test_a_silhouette_retrieves_its_shape_view_size_and_place():
    fine = lambda grid: grid.repeat(4, 0).repeat(4, 1).repeat(4, 2)  # noqa: E731
    shapes = [fine(chair(seat, back, width)) for seat in (3, 6) for back in (2, 7) for width in (4, 10)]
    bank = retrieval.Bank(shapes)
    pose = Pose(2 * np.pi * 5 / 24, 0.3, 0.0, 0.8, (0.15, -0.1, 0.0))
    mask = np.asarray(silhouettes(jnp.asarray(shapes[5])[None], pose, 96))[0][..., None]
    found = bank.find(mask)
    assert found.shape == 5 and found.iou > 0.8
    assert found.pose.azimuth == pytest.approx(pose.azimuth) and found.pose.elevation == pytest.approx(0.3)
    assert found.pose.scale == pytest.approx(0.8, abs=0.05)
    np.testing.assert_allclose(found.pose.translation, pose.translation, atol=0.04)


def test_mean_shape_is_what_most_have():
    shapes = [chair(3, 2, 8), chair(3, 3, 8), chair(3, 4, 8)]
    mean = retrieval.mean_shape(shapes)
    assert mean.shape == shapes[0].shape
    assert np.mean([iou(mean, each) for each in shapes]) >= max(
        np.mean([iou(a, each) for each in shapes]) for a in shapes
    )


def test_methods_without_the_shape_find_it_or_what_comes_near(params):
    grid = np.asarray(chair(5, 6, 6).repeat(4, 0).repeat(4, 1).repeat(4, 2))
    other = np.asarray(chair(3, 2, 12).repeat(4, 0).repeat(4, 1).repeat(4, 2))
    pose = Pose(2 * np.pi * 4 / 24, 0.3, 0.0, 0.9)
    mask = np.asarray(silhouettes(jnp.asarray(grid)[None], pose, 64))[0][..., None]
    target = types.SimpleNamespace(picture=1 - 0.5 * mask, mask=mask)
    methods = fit_methods.unknown_methods(params, CONFIG, [other, grid], ("retrieval", "mean"))
    found = methods["retrieval"](target, 0)
    np.testing.assert_array_equal(found.grid[0], grid)
    assert found.first and not found.given and found.light is not None
    with pytest.raises(InputError, match="training shapes for mean, got none"):
        fit_methods.unknown_methods(params, CONFIG, None, ("prior", "mean"))


def test_schedule_of_2018_halves_its_range_and_keeps_the_best(params, monkeypatch):
    from rendernet_jax.inverse import schedules

    monkeypatch.setattr(schedules, "_STEPS", 3)
    monkeypatch.setattr(schedules, "ROUNDS", 3)
    monkeypatch.setattr(schedules, "_SIZE", 16)
    grid = jnp.asarray(chair(4, 5, 8))[None]
    mask = silhouettes(grid, Pose(0.3, 0.3), 32)[0][..., None]
    run = lambda seed: list(  # noqa: E731
        schedules.fit_2018(params, CONFIG, mask, mask, grid, seed=seed, light_elevation=0.4)
    )
    told = run(0)
    losses = [float(each.losses[0]) for each in told]
    assert [each.stage for each in told] == ["round 1", "round 2", "round 3"]
    assert losses == sorted(losses, reverse=True) and len(told[-1].losses) == 6
    np.testing.assert_allclose(told[-1].candidates.light[:, 1], 0.4, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, told[-1].candidates, run(0)[-1].candidates)
    assert not np.array_equal(told[-1].best.pose, run(1)[-1].best.pose)


def test_unknown_method_is_refused(params):
    with pytest.raises(InputError, match="default, one-start, silhouette, paper"):
        inverse.fit_known("magic", params, CONFIG, None, None, None)


def test_settings_of_shape_say_how_much_is_told():
    settings = dataclasses.replace(inverse.ShapeSettings(), steps=(7, 30, 15))
    assert inverse.count_shape_reports(settings) == 3 + 3 + 2
    assert shape.ELEVATIONS == 4
