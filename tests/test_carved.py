"""Fits of an unknown shape whose cells are carved: what they begin with, what is held, and what refinement is for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import camera, inverse, network, single_view, squares, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.tasks import FIRST_TEST_SEED
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import CarvedSettings, carved, photometric, silhouette, unknowns
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.single_view import DEVIATIONS, SingleViewConfig

pytestmark = pytest.mark.optax
CONFIG = preset("tiny")
SIGHT = SingleViewConfig(
    size=96, patch=8, widths=(8, 8, 8), blocks=(0, 0, 0), hidden=16, sectors=8, grid=32, seen=8, carver=(4, 8, 8)
)
SETTINGS = CarvedSettings(picture=32, steps=20)
START = {
    "pose": Pose(0.7, 0.3, 0.05, 0.9, (0.03, -0.05, 0.0), 0.2),
    "light": Light(0.3, 0.4, 0.2, 0.8),
    "albedo": np.float32([0.8]),
}
SIDE = 16


@pytest.fixture(scope="module")
def sight():
    """A network that learned nothing, of whose cells about half are set."""
    rng = np.random.default_rng(0)
    size = lambda shape: 0.15 if len(shape) < 2 else np.prod(shape[:-1]) ** -0.5  # noqa: E731
    drawn = lambda s: jnp.asarray(size(s.shape) * rng.normal(size=s.shape), s.dtype)  # noqa: E731
    return jax.tree.map(drawn, single_view.shapes(SIGHT)), SIGHT


@pytest.fixture(scope="module")
def params():
    return jax.jit(network.init, static_argnums=1)(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def photo():
    """Picture and mask of a leaning block, which no mirror image is like."""
    mask = np.zeros((64, 64, 1), np.float32)
    for row in range(12, 50):
        mask[row, 14 + row // 4 : 38 + row // 4] = 1.0
    return 1.0 - np.linspace(0.2, 0.6, 64, dtype=np.float32).reshape(1, 64, 1) * mask, mask


@pytest.fixture(scope="module")
def told(sight, params, photo):
    return list(inverse.fit_carved_steps(params, CONFIG, sight, *photo, SETTINGS))


def look(sight, photo):
    """What the network sees in a photo, as :func:`single_view.see_turned` returns it, and where it looks."""
    crop = squares.crop(*photo, SIGHT.size)[None]
    return crop, jax.jit(single_view.see_turned, static_argnums=1)(*sight, crop), squares.square(photo[1])


def is_set(fit) -> np.ndarray:
    return np.asarray(fit.best.cells[..., 0]) >= 0.1


def iou(one, other) -> float:
    return (one & other).sum() / (one | other).sum()


def test_candidates_are_carved_where_the_likeliest_sectors_are(told, sight, photo):
    assert [each.stage for each in told] == ["seen", "picture 32", "picture 32"]
    assert len(told) == inverse.count_carved_reports(SETTINGS)
    for fit in told:
        assert fit.candidates.pose.shape == (4, 7) and fit.candidates.light.shape == (4, 3)
        assert fit.candidates.cells.shape == (4, *(SIGHT.grid,) * 3, 1) and fit.losses.shape == (4,)
    _, (seen, _), place = look(sight, photo)
    likeliest = np.argsort(-np.asarray(seen.log_odds[0]))[:4]
    wanted = np.asarray(unknowns.clip_pose(squares.to_frame(seen.poses[0, likeliest], place)))
    found = np.asarray(told[0].candidates.pose)
    by_azimuth = lambda poses: poses[np.argsort(poses[:, 0])]  # noqa: E731
    np.testing.assert_allclose(by_azimuth(found), by_azimuth(wanted), atol=1e-5)
    assert (np.diff(told[0].losses) >= 0).all()
    # The first alone is refined.
    assert np.abs(told[-1].candidates.cells[0] - told[0].candidates.cells[0]).max() > 0.01
    rest = lambda fit: jax.tree.map(lambda x: x[1:], (fit.candidates, fit.losses))  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, rest(told[-1]), rest(told[0]))


def test_reports_are_counted_in_tens():
    assert [inverse.count_carved_reports(CarvedSettings(steps=steps)) for steps in (0, 10, 15, 60)] == [1, 2, 3, 7]


def test_cells_are_alike_on_both_sides(told):
    for fit in told:
        cells = np.asarray(fit.candidates.cells)
        assert 0.0 <= cells.min() and cells.max() <= 1.0
        np.testing.assert_allclose(cells, cells[:, ::-1], atol=1e-5)


def test_cells_are_those_of_the_pose_that_is_given(sight, params, photo):
    """Exactly those that are likely enough to be set have the coverage from which on they count as set."""
    none = CarvedSettings(picture=32, steps=0)
    fit = inverse.fit_carved(params, CONFIG, sight, *photo, none, start={"pose": START["pose"]})
    crop, seen, place = look(sight, photo)
    pose = squares.to_square(unknowns.from_pose(START["pose"])[None], place)
    chance, coverage = jax.jit(single_view.carve_symmetric, static_argnums=1)(*sight, crop, seen, pose)
    chance, coverage, cells = (np.asarray(x)[..., 0] for x in (chance[0], coverage[0], fit.best.cells))
    clear = np.abs(chance - 0.4) > 1e-4
    assert 0.1 < np.mean(chance > 0.4) < 0.9
    np.testing.assert_array_equal((cells >= 0.1)[clear], (chance > 0.4)[clear])
    plain = (chance > 0.41) & (coverage > 0.15)  # neither is moved to the other side of 0.1
    np.testing.assert_allclose(cells[plain], (coverage[plain] - 0.02) / 0.98, atol=1e-4)
    np.testing.assert_array_equal(fit.candidates.pose, unknowns.from_pose(START["pose"])[None])


def test_what_is_held_stays(sight, params, photo):
    fit = inverse.fit_carved(params, CONFIG, sight, *photo, SETTINGS, start=START, fixed=("pose", "light", "albedo"))
    begun = inverse.fit_carved(
        params, CONFIG, sight, *photo, dataclasses.replace(SETTINGS, steps=0), start=START, fixed=()
    )
    np.testing.assert_array_equal(fit.best.pose, unknowns.from_pose(START["pose"]))
    np.testing.assert_array_equal(fit.best.light, unknowns.from_light(START["light"]))
    np.testing.assert_array_equal(fit.best.albedo, START["albedo"])
    assert np.abs(fit.best.cells - begun.best.cells).max() > 0.01
    free = inverse.fit_carved(params, CONFIG, sight, *photo, SETTINGS, start=START, fixed=("albedo",))
    np.testing.assert_array_equal(free.best.albedo, START["albedo"])
    assert np.abs(free.best.pose - fit.best.pose).max() > 0 and np.abs(free.best.light - fit.best.light).max() > 0


def test_what_can_not_be_fitted_is_told(sight, params, photo):
    picture, mask = photo
    with pytest.raises(InputError, match="expected a value in start for light"):
        inverse.fit_carved(params, CONFIG, sight, picture, mask, SETTINGS, start={}, fixed=("light",))
    with pytest.raises(InputError, match="mask: expected a pixel"):
        inverse.fit_carved(params, CONFIG, sight, picture, 0 * mask, SETTINGS)
    with pytest.raises(InputError, match=r"expected \[S, S, C\] and \[S, S, 1\]"):
        inverse.fit_carved(params, CONFIG, sight, picture, mask[:32], SETTINGS)
    with pytest.raises(InputError, match="expected the heads normal and mask"):
        inverse.fit_carved(params, dataclasses.replace(CONFIG, heads=(("mask", 1),)), sight, picture, mask, SETTINGS)


# --- refinement -------------------------------------------------------------------------------------------------------


def block(*boxes) -> np.ndarray:
    """Cells ``[SIDE, SIDE, SIDE]``, bool."""
    grid = np.zeros((SIDE,) * 3, bool)
    for x0, x1, y0, y1, z0, z1 in boxes:
        grid[x0:x1, y0:y1, z0:z1] = True
    return grid


TRUE = block((4, 12, 2, 6, 3, 13), (4, 12, 2, 13, 3, 6))  # a seat with a back
UNSURE = block((4, 12, 9, 13, 3, 6), (4, 12, 6, 9, 10, 13))  # the back's upper half, and what might rise in front
SETS = Pose(0.7, 0.35, 0.0, 1.3, (0.02, 0.01, 0.0), 0.15)


def by_silhouette(params, config, grid, pose, size, window=None):
    """Stands in for a trained network: silhouettes of the cells themselves, with normals toward the viewer."""
    mask = silhouette.silhouette(grid, pose, size, window)[..., None]
    return {"mask": mask, "normal": jnp.broadcast_to(jnp.asarray([0.0, 0.0, 1.0]), (*mask.shape[:3], 3))}


@pytest.fixture
def unsure(monkeypatch):
    """Runs fits of what is sure of the pose and of some cells, and says of others that they are rather not there."""
    chance = np.where(UNSURE, 0.3, np.where(TRUE, 0.95, 0.02)).astype(np.float32)
    logits = np.log(chance) - np.log1p(-chance)
    pose = unknowns.from_pose(SETS)[None]
    seen = carved._Look(pose, jnp.zeros(1), jnp.asarray(DEVIATIONS), jnp.asarray(np.stack([logits] * 2, -1))[None])
    monkeypatch.setattr(carved, "_look", lambda *_: seen)
    monkeypatch.setattr(photometric, "render_buffers", by_silhouette)
    point = Unknowns(pose[0], jnp.asarray([0.3, 0.5, 0.1]), jnp.ones(1))

    def run(name: str) -> list:
        """``name`` of the network, by which compiled programs are told apart."""
        config = dataclasses.replace(CONFIG, name=name)
        photo = jax.jit(lambda grid: photometric.draw_point({}, config, grid, point, 64))(
            jnp.asarray(TRUE, jnp.float32)[None, ..., None]
        )
        settings = CarvedSettings(picture=32, steps=20)
        return list(inverse.fit_carved_steps({}, config, (None, None), *photo, settings))

    return run


def test_what_the_network_is_not_sure_of_becomes_what_the_picture_shows(unsure):
    begun, *_, told = found = unsure("silhouettes")
    assert told.losses[0] < 0.5 * begun.losses[0]
    assert iou(is_set(begun), TRUE) < 0.85 and iou(is_set(told), TRUE) > iou(is_set(begun), TRUE) + 0.05
    assert is_set(told)[UNSURE & TRUE].mean() > 0.8
    assert np.abs(told.best.pose - unknowns.from_pose(SETS)).max() < 0.03
    again = unsure("silhouettes")
    for one, other in zip(found, again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_derivatives_that_are_not_numbers_are_passed_over(unsure, monkeypatch):
    draw = photometric.draw_point

    def broken(params, config, grid, point, *more):
        picture, mask = draw(params, config, grid, point, *more)
        return picture + jnp.sqrt(0.0 * jnp.sum(grid)) * jnp.sum(point.pose), mask  # infinity times 0

    monkeypatch.setattr(photometric, "draw_point", broken)
    told = unsure("broken")[-1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(told))


def test_derivatives_are_spread_over_neighbours_and_both_sides():
    cells = jnp.zeros((SIDE,) * 3).at[5, 7, 8].set(1.0)
    smooth = np.asarray(carved._smooth(cells))
    assert smooth.sum() == pytest.approx(1.0, abs=1e-5) and smooth.min() >= 0.0
    np.testing.assert_allclose(smooth, smooth[::-1], atol=1e-7)
    assert smooth[5, 7, 8] == smooth.max() < 0.1 and smooth[5, 7, 10] > 0.0 == smooth[5, 7, 11]


# --- the weights that ship --------------------------------------------------------------------------------------------


def test_an_unseen_chair_is_found_by_the_shipped_weights():
    mesh, pose = make_shape("chair", FIRST_TEST_SEED + 2), Pose(0.7, 0.35, 0.0, 0.9, (0.05, -0.03, 0.0), 0.2)
    photo = reference_pictures(build_scene(mesh), pose, Light(0.3, 0.5, 0.2, 0.8), 128, ("phong", "mask"))
    settings = CarvedSettings(picture=32, steps=10)
    fit = inverse.fit_carved(
        *weights.load_weights(), weights.load_single_view(), photo["phong"], photo["mask"], settings
    )
    one, other = (np.asarray(camera.rotation(each)) for each in (fit.pose, pose))
    assert np.degrees(np.arccos(np.clip((np.sum(one * other) - 1.0) / 2.0, -1.0, 1.0))) < 10.0
    assert iou(is_set(fit), voxelise(mesh, 64, "binary")[..., 0] > 0.5) > 0.35
