"""What sees single views: what it looks at, what it says and carves, and that it learns."""

import dataclasses
import json
import math
import types

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
import scipy.ndimage

from rendernet_jax import carving, single_view, squares, turns, weights
from rendernet_jax.camera import Light, Pose, to_camera
from rendernet_jax.data import shards, single_views
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import Mesh, normalise
from rendernet_jax.data.procedural.parts import box, join
from rendernet_jax.data.raycast import build_scene, direction
from rendernet_jax.data.references import reference_pictures, trace
from rendernet_jax.data.shape_grids import GridSet, Shape
from rendernet_jax.data.single_views import SIZE
from rendernet_jax.data.tasks import FIRST_TEST_SEED, procedural_tasks
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import unknowns
from rendernet_jax.single_view import DEVIATIONS, Seen, SingleViewConfig
from rendernet_jax.training import single_view_loop, single_view_step
from rendernet_jax.training.single_view_loop import Samples, train_single_view
from rendernet_jax.training.single_view_step import SingleViewRecipe, cell_losses, make_step, pose_losses
from rendernet_jax.training.step import AXIS, fresh_state, make_optimizer

pytestmark = pytest.mark.optax
SMALL = 48  # pixels
CONFIG = SingleViewConfig(
    size=SMALL, patch=3, widths=(8, 16, 16), blocks=(0, 1, 0), hidden=32, sectors=8, grid=32, seen=8, carver=(4, 8, 8)
)
SIDE = CONFIG.grid
STEPS = 220


def mirror(view: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A view ``[SIZE, SIZE, 4]`` and its pose ``[7]`` of the shape mirrored in x."""
    return view[:, ::-1] * np.float32([1, -1, 1, 1]), squares.mirror(pose)


def lit_view(view: np.ndarray, toward: tuple[float, float], ambient: float) -> np.ndarray:
    """Picture ``[SIZE, SIZE, 2]`` of a view as :func:`rendernet_jax.squares.crop` makes it.

    Args:
        toward: azimuth and elevation of the light in camera axes, radians.
        ambient: share of the light that comes from everywhere.
    """
    covered, normal = view[..., :1], view[..., 1:]
    lit = np.maximum(normal @ direction(*toward).astype(np.float32), 0)[..., None]
    return squares.relative(np.concatenate([covered, ambient * covered + (1.0 - ambient) * lit], axis=-1))


@pytest.fixture
def small(monkeypatch):
    """Views of fewer pixels than there are."""
    monkeypatch.setattr(single_views, "SIZE", SMALL)


def shape_of(name: str, mesh: Mesh) -> Shape:
    return Shape(name, "chair", shards.encode_coverage(voxelise(mesh, SIDE, "coverage")))


def chair(seat: int, back: int) -> Mesh:
    """A block with a back, by cells of a grid of 16."""
    low, high = np.asarray([3, 2, 3]) / 16 - 0.5, np.asarray([13, 2 + seat, 13]) / 16 - 0.5
    above = np.asarray([13, 2 + seat + back, 6]) / 16 - 0.5
    vertices, faces = join([box(low, high), box([low[0], high[1], low[2]], above)])
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), None)


def test_views_are_what_a_fit_sees_of_its_photo():
    """Wherever the thing stands in the photo, and however large it is; under the same light."""
    mesh = make_shape("sofa", FIRST_TEST_SEED)
    pose, light = Pose(0.7, 0.4, 0.1, 1.0, (0.0, 0.0, 0.0), 0.3), Light(0.3, 0.5, 0.2, 0.8)
    (view,) = single_views.trace(mesh, [pose])
    drawn = lit_view(view, (0.3, 0.5), 0.2)
    elsewhere = dataclasses.replace(pose, scale=0.8, translation=(0.1, -0.05, 0.0), inverse_distance=0.3 / 0.8)
    photo = reference_pictures(build_scene(mesh), elsewhere, light, 256, ("phong", "mask"))
    seen = squares.crop(photo["phong"], photo["mask"], SIZE)
    assert drawn.shape == seen.shape == (SIZE, SIZE, 2)
    both, either = np.minimum(drawn, seen)[..., 0].sum(), np.maximum(drawn, seen)[..., 0].sum()
    assert both / either > 0.97
    inside = (seen[..., 0] > 0.9999) & (drawn[..., 0] > 0.9999)
    assert np.median(np.abs(drawn - seen)[inside][:, 1]) < 0.01 < np.ptp(seen[inside][:, 1])
    brighter = squares.crop(0.5 * photo["phong"].repeat(3, -1), photo["mask"], SIZE)
    np.testing.assert_allclose(brighter, seen, atol=1e-5)  # neither albedo nor colour leaves a trace


def test_a_mirrored_view_is_one_of_the_mirrored_shape():
    mesh = make_shape("chair", FIRST_TEST_SEED + 5)
    sheared = mesh.vertices + np.float32([0.2, 0, 0]) * mesh.vertices[:, 1:2]  # no mirror image of itself
    mesh = normalise(dataclasses.replace(mesh, vertices=sheared))
    pose = Pose(0.7, 0.4, 0.1, inverse_distance=0.3)
    views = single_views.trace(mesh, [pose])
    view, mirrored = mirror(views[0], views.poses[0])
    other = dataclasses.replace(pose, azimuth=-0.7, roll=-0.1)
    expected = single_views.trace(dataclasses.replace(mesh, vertices=mesh.vertices * np.float32([-1, 1, 1])), [other])
    np.testing.assert_allclose(mirrored, expected.poses[0], atol=1e-5)
    assert np.abs(views.poses[0] - expected.poses[0]).max() > 0.1
    assert np.mean(np.abs(view - expected[0]) > 0.02) < 0.002 < np.mean(np.abs(view[:, ::-1] - expected[0]) > 0.02)


@pytest.mark.parametrize("count", [4, 6])
def test_kept_views_do_not_depend_on_who_makes_them(tmp_path, count):
    tasks = procedural_tasks(3, ("chair", "stool"))
    made = single_views.make_procedural(tasks, tmp_path / "one", 0, count)
    again = single_views.make_procedural(tasks, tmp_path / "one", 0, count)
    elsewhere = single_views.make_procedural(tasks, tmp_path / "two", 2, count)
    for some in (again, elsewhere):
        assert [views.packed for views in some] == [views.packed for views in made]
        np.testing.assert_array_equal([views.poses for views in some], [views.poses for views in made])
    for task, views in zip(tasks, made, strict=True):
        assert len(views) == len(views.poses) == count
        rng = np.random.default_rng([task.seed, 1])
        poses = [single_views.random_view(rng) for _ in range(count)]
        traced = single_views.trace(make_shape(task.family, task.seed), poses, jitter=rng)
        np.testing.assert_array_equal(views[count - 1], traced[count - 1])
        np.testing.assert_array_equal(views.poses, traced.poses)
    for other in ((tasks[:2], count), (tasks, count - 1)):
        with pytest.raises(InputError, match="expected views of the shapes asked for, got those of other shapes"):
            single_views.make_procedural(other[0], tmp_path / "one", 0, other[1])


def test_views_of_data_sets_are_those_that_photos_might_show(tmp_path):
    """Of one shape a usual view, the same upside down, one that shows nothing, and one that shows a part."""
    mesh = make_shape("stool", 3)
    pose = Pose(0.4, 0.5, 0.0, 0.9, (0.05, 0.0, 0.0), 0.2)
    beside, cut = (dataclasses.replace(pose, translation=(x, 0.0, 0.0)) for x in (5.0, 0.6))
    poses = [pose, dataclasses.replace(pose, roll=3.0), beside, cut]
    traced = [trace(build_scene(mesh), each, 128, ("mask", "normal")) for each in poses]
    arrays = {name: np.stack([shards.encode_view(name, view[name]) for view in traced]) for name in traced[0]}
    views = single_views._choose({**arrays, "poses": np.stack([shards.encode_pose(each) for each in poses])})
    assert len(views) == 1
    straight = Pose(0.4, 0.5, 0.0, inverse_distance=0.18)
    expected = single_views.trace(mesh, [straight])
    np.testing.assert_allclose(views.poses, expected.poses, atol=0.015)
    np.testing.assert_allclose(squares.to_frame(views.poses[0], squares.square(traced[0]["mask"])), [
        0.4, 0.5, 0.0, math.log(0.9), 0.05, 0.0, 0.2], atol=2e-3)  # fmt: skip
    assert np.abs(views[0] - expected[0]).mean() < 0.03


def test_a_pose_in_a_square_shows_in_the_frame_what_the_square_shows():
    """A camera that looks straight at the object, and one beside whose middle it lies."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    place = np.float32([0.12, -0.08, 0.62])
    for _ in range(5):
        angles, spot = rng.uniform([-3, -0.3, -0.2], [3, 0.9, 0.2]), rng.uniform(-0.1, 0.1, 2)
        pose = jnp.asarray([*angles, 0.5, *spot, rng.uniform(0.1, 0.2)], jnp.float32)
        straight = unknowns.to_pose(pose.at[4:6].set(0.0))
        seen = place[:2] + place[2] * (np.asarray(to_camera(points, straight))[:, :2] + spot)
        framed = squares.to_frame(pose, place)
        aside = framed.at[:3].set(pose[:3])  # as if the angles stayed
        found, apart = (np.asarray(to_camera(points, unknowns.to_pose(each)))[:, :2] for each in (framed, aside))
        assert np.abs(found - seen).max() < 0.01 and np.abs(found - seen).mean() < 0.25 * np.abs(apart - seen).mean()
        np.testing.assert_allclose(squares.to_square(framed, place), pose, atol=2e-3)


def test_a_jittered_square_tells_the_true_pose():
    """Cut a little aside, and told so: what the network sees of its mistake."""
    mesh, poses = make_shape("stool", 3), [Pose(0.4, 0.5, 0.1, inverse_distance=0.3)] * 40
    (plain,) = single_views.trace(mesh, poses[:1]).poses
    told = single_views.trace(mesh, poses, jitter=np.random.default_rng(0)).poses
    np.testing.assert_array_equal(told[:, :3], np.broadcast_to(plain[:3], (40, 3)))
    grown = told[:, 3] - plain[3]
    assert 0.004 < grown.std() < 0.008 and abs(grown.mean()) < 0.003
    np.testing.assert_allclose(told[:, 6] * np.exp(told[:, 3]), plain[6] * np.exp(plain[3]), rtol=1e-4)
    moved = told[:, 4:6] - plain[4:6] * np.exp(grown)[:, None]
    assert (0.0025 < moved.std(0)).all() and (moved.std(0) < 0.0055).all()


# --- cells and pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
def test_cells_are_seen_where_their_shape_is(mirrored):
    mesh = make_shape("chair", FIRST_TEST_SEED + 1)
    rng = np.random.default_rng(1)
    views = single_views.trace(mesh, [single_views.random_view(rng) for _ in range(3)], jitter=rng)
    coverage = voxelise(mesh, 64)[..., 0]
    pairs = [(views[i], views.poses[i]) for i in range(3)]
    if mirrored:
        pairs, coverage = [mirror(*pair) for pair in pairs], coverage[::-1]
    pictures, poses = (jnp.asarray(np.stack(each)) for each in zip(*pairs, strict=True))
    at = jax.jit(carving.project, static_argnums=1)(poses, 64)
    masks = np.asarray(carving.gather(at, pictures[..., :1]))[..., 0]
    assert masks[:, coverage > 0.9].mean() > 0.99
    assert masks[:, coverage == 0].mean() < 0.5
    nearest = np.asarray(at[..., 2])[:, coverage > 0.9].max()
    assert 0.0 < nearest < 2.0


def test_pixels_are_gathered_as_they_are_interpolated_elsewhere():
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(2, 7, 7, 3)).astype(np.float32)
    at = rng.uniform(-1.4, 1.4, (2, 4, 4, 4, 3)).astype(np.float32)
    found = carving.gather(jnp.asarray(at), jnp.asarray(picture))
    right, up = at[..., 0], at[..., 1]
    for number in range(2):
        rows, columns = (1 - up[number]) * 3.5 - 0.5, (1 + right[number]) * 3.5 - 0.5
        for channel in range(3):
            padded = np.pad(picture[number, ..., channel], 3)
            expected = scipy.ndimage.map_coordinates(padded, [rows + 3, columns + 3], order=1)
            outside = np.maximum(np.abs(right[number]), np.abs(up[number])) > 1 + 1 / 7
            np.testing.assert_allclose(found[number, ..., channel][~outside], expected[~outside], atol=1e-5)
            assert np.abs(found[number, ..., channel][outside]).max() < 2e-3 * np.abs(picture).max()


def test_cells_and_channels_lead_back_to_each_other():
    x = jnp.arange(2 * 4**3 * 3).reshape(2, 4, 4, 4, 3)
    folded = carving.to_channels(x)
    np.testing.assert_array_equal(folded[:, 1, 0, 1].reshape(2, 2, 2, 2, 3), x[:, 2:4, 0:2, 2:4])
    np.testing.assert_array_equal(carving.to_cells(folded), x)


def test_a_mirrored_picture_shows_the_mirror_image_from_the_other_side():
    params = jax.jit(single_view.init, static_argnums=1)(jax.random.key(1), CONFIG)
    picture = jax.random.uniform(jax.random.key(2), (1, SMALL, SMALL, 2))
    see = jax.jit(single_view.see_symmetric, static_argnums=1)
    one, other = see(params, CONFIG, picture), see(params, CONFIG, picture[:, :, ::-1])
    plain = jax.jit(single_view.see, static_argnums=1)(params, CONFIG, picture)
    assert np.abs(one[0].log_odds - plain.log_odds).max() > 1e-4  # the network alone is not symmetric
    back = -np.arange(CONFIG.sectors) % CONFIG.sectors
    np.testing.assert_allclose(one[0].log_odds, other[0].log_odds[:, back], atol=1e-5)
    np.testing.assert_allclose(one[0].deviations, other[0].deviations, rtol=1e-5)
    turned = np.asarray(one[0].poses) - squares.mirror(np.asarray(other[0].poses)[:, back])
    turned[..., 0] = np.mod(turned[..., 0] + 1.0, 2 * np.pi) - 1.0
    np.testing.assert_allclose(turned, 0, atol=1e-4)
    np.testing.assert_allclose(single_view.sector(CONFIG, one[0].poses[..., 0]), [np.arange(CONFIG.sectors)])

    carve, pose = jax.jit(single_view.carve_symmetric, static_argnums=1), one[0].poses[:, 1]
    cells = carve(params, CONFIG, picture, one, pose)
    opposite = carve(params, CONFIG, picture[:, :, ::-1], other, squares.mirror(pose))
    for found, expected in zip(cells, opposite, strict=True):
        assert found.shape == (1, SIDE, SIDE, SIDE, 1) and np.ptp(found) > 1e-4
        np.testing.assert_allclose(found, expected[:, ::-1], atol=1e-5)
    alone = jax.nn.sigmoid(jax.jit(single_view.carve, static_argnums=1)(params, CONFIG, picture, plain, pose))
    assert np.abs(alone[..., :1] - cells[0]).max() > 1e-4


def test_what_is_seen_of_turned_pictures_is_averaged():
    params = jax.jit(single_view.init, static_argnums=1)(jax.random.key(1), CONFIG)
    picture = jax.random.uniform(jax.random.key(2), (1, SMALL, SMALL, 2))
    both, other = jax.jit(single_view.see_turned, static_argnums=1)(params, CONFIG, picture)
    see = jax.jit(single_view.see_symmetric, static_argnums=1)
    told = []
    for number in turns.TURNS[:, None]:
        one, opposite = see(params, CONFIG, turns.turn(picture[0], number))
        told.append((one.log_odds, turns.turn_back(one.poses, number), one.deviations))
        if not number.any():  # what cells are carved of stays that of the picture as it is
            plain = (one.hidden, one.features, opposite)
            jax.tree.map(
                lambda found, wanted: np.testing.assert_allclose(found, wanted, atol=1e-5),
                (both.hidden, both.features, other),
                plain,
            )
    log_odds, poses, deviations = (np.mean(np.concatenate(each), 0, keepdims=True) for each in zip(*told, strict=True))
    np.testing.assert_allclose(both.log_odds, log_odds, atol=1e-5)
    np.testing.assert_allclose(both.deviations, deviations, atol=1e-5)
    np.testing.assert_allclose(both.poses, single_view.blend(log_odds, poses), atol=1e-5)
    assert np.ptp(np.concatenate([poses for _, poses, _ in told])[:, 0, 4]) > 1e-3


def test_poses_of_sectors_that_touch_are_blended():
    """Azimuths of 8 sectors, in eighths of a turn; the first and the last are as likely."""
    azimuths = np.float32([0.4, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.6]) * (math.pi / 4)
    poses = np.zeros((1, 8, 7), np.float32)
    poses[0, :, 0], poses[0, :, 5] = azimuths, np.arange(8)
    log_odds = np.float32([[0.0, -30.0, 2.0, math.log(3.0) + 2.0, -30.0, -30.0, -30.0, 0.0]])
    blended = np.asarray(jax.jit(single_view.blend)(log_odds, poses))
    np.testing.assert_allclose(blended[0, 0, [0, 5]], [0.0, 3.5], atol=1e-5)
    np.testing.assert_allclose(blended[0, 7, [0, 5]], [2 * math.pi, 3.5], atol=1e-5)
    np.testing.assert_allclose(blended[0, 2, [0, 5]], [2.75 * math.pi / 4, 2.75], atol=1e-5)
    np.testing.assert_allclose(blended[0, 3, [0, 5]], blended[0, 2, [0, 5]], atol=1e-5)
    np.testing.assert_array_equal(blended[0, :, [1, 2, 3, 4, 6]], 0)


# --- losses ---------------------------------------------------------------------------------------------------------


def told(poses, log_odds=None) -> Seen:
    """What is seen of one picture, at usual deviations."""
    log_odds = jnp.zeros((1, 8)) if log_odds is None else log_odds
    return Seen(log_odds, poses, jnp.asarray([DEVIATIONS]), jnp.zeros((1, 32)), jnp.zeros((1, 16, 16, 8)))


def test_sectors_wrap_around():
    centres = np.arange(8) * (math.pi / 4)
    np.testing.assert_array_equal(single_view.sector(CONFIG, jnp.asarray(centres)), np.arange(8))
    np.testing.assert_array_equal(single_view.sector(CONFIG, jnp.asarray(centres - 2 * math.pi)), np.arange(8))
    seen = told(jnp.zeros((1, 8, 7)).at[0, 4, 0].set(math.pi))
    pose = jnp.asarray([[-math.pi + 0.1, 0.0, 0.003, 0.0, 0.0, 0.0, 0.3]])
    parts = jax.jit(lambda seen: pose_losses(seen, CONFIG, pose))(seen)
    # 0.1 and 0.3 are 5 and 6 deviations off; 0.003 is a fifth of one, where squares end; what is right costs a tenth
    assert parts["pose"] == pytest.approx(5 + 6 + 0.2 + 4 * 0.1, rel=1e-3)
    assert parts["sector"] == pytest.approx(math.log(8))
    doubled = pose_losses(seen.replace(deviations=2.0 * seen.deviations), CONFIG, pose)
    assert doubled["pose"] == pytest.approx((5 + 6 + 0.2 + 4 * 0.1) / 2 + 7 * math.log(2), rel=1e-3)


def test_carved_cells_are_compared_with_the_true_ones():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 4, 4, 4, 2)).astype(np.float32)
    coverage = np.where(rng.random((2, 4, 4, 4)) < 0.3, rng.random((2, 4, 4, 4)), 0).astype(np.float32)
    cells = (coverage >= 0.1).astype(np.float32)
    parts = jax.jit(cell_losses)(logits, cells, coverage)
    chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
    occupied = cells.sum((1, 2, 3)) + 0.008 * 64
    both = (chance[..., 0] * cells).sum((1, 2, 3))
    either = (chance[..., 0] + cells).sum((1, 2, 3)) - both
    assert parts["overlap"] == pytest.approx(np.mean(1 - (both + 1) / (either + 1)), rel=1e-4)
    for name, target, found in (("set", cells, chance[..., 0]), ("coverage", coverage, chance[..., 1])):
        entropy = -target * np.log(found) - (1 - target) * np.log(1 - found)
        assert parts[name] == pytest.approx(np.mean(entropy.sum((1, 2, 3)) / occupied), rel=1e-4)


def test_shapes_are_carved_in_poses_between_the_true_and_the_guessed_one():
    seen = told(jnp.zeros((1, 8, 7)).at[0, 4].set(jnp.asarray([math.pi, 0.2, 0, 0.4, 0, 0, 0.1])))
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, 400, axis=0), seen)
    true = jnp.repeat(jnp.asarray([[-math.pi + 0.2, 0.0, 0, 0.5, 0, 0, 0.0]]), 400, axis=0)
    keys = jax.random.split(jax.random.key(0), 400)
    poses = np.asarray(single_view_step.between(keys, many, CONFIG, true)) - np.asarray(true)
    share = poses[:, 1] / 0.2
    np.testing.assert_allclose(poses, share[:, None] * np.float32([[-0.2, 0.2, 0, -0.1, 0, 0, 0.1]]), atol=1e-5)
    whole = share > 0.99999
    assert 0.6 < whole.mean() < 0.8 and share.min() > -1e-5
    assert abs(share[~whole].mean() - 0.5) < 0.1 and share[~whole].std() > 0.2


# --- samples and pictures -------------------------------------------------------------------------------------------


@pytest.fixture
def one_sided(small):
    """Samples of one shape that is no mirror image of itself, in one pose; and its grid."""
    mesh = chair(4, 6)
    mesh = normalise(dataclasses.replace(mesh, vertices=np.where(mesh.vertices[:, :1] < 0, 0.5, 1.0) * mesh.vertices))
    grids = GridSet([shape_of("chair", mesh)], SIDE)
    return Samples(grids, [single_views.trace(mesh, [Pose(0.75, 0.3, 0.1)])]), grids


def test_mirrored_pictures_are_told_with_what_the_mirrored_shape_is(one_sided):
    samples, grids = one_sided
    batch = samples.batch(np.random.default_rng(3), [0] * 40, 20)
    assert batch["view"].dtype == np.int8 and batch["coverage"].shape == (20, SIDE, SIDE, SIDE)
    again = samples.batch(np.random.default_rng(3), [0] * 40, 20)
    for name, value in batch.items():
        np.testing.assert_array_equal(value, again[name])
    made = jax.jit(single_view_step.prepare)(jax.random.split(jax.random.key(0), 40), batch)
    made = {name: np.asarray(leaf) for name, leaf in made.items()}
    mirrored = made["pose"][:, 0] < 0
    assert 8 < mirrored.sum() < 32
    np.testing.assert_allclose(made["pose"][:, :3], np.where(mirrored[:, None], [-0.75, 0.3, -0.1], [0.75, 0.3, 0.1]))
    (coverage,) = grids.grids([0])[..., 0]
    for name, expected in (("coverage", coverage), ("cells", grids.cells(0)[..., 0])):
        turned = mirrored[::2].reshape(-1, 1, 1, 1)
        np.testing.assert_array_equal(made[name], np.where(turned, expected[None, ::-1], expected[None]))
    pictures, mask = made["picture"], batch["view"][:1, ..., :1] / 127
    aside = np.abs(pictures[..., :1] - np.where(mirrored.reshape(-1, 1, 1, 1), mask[:, :, ::-1], mask))
    sharp = aside.max((1, 2, 3)) < 1e-5
    assert 0.4 < sharp.mean() < 0.9 and aside.mean() < 0.02  # the others are blurred
    shadeless = np.ptp(pictures[..., 1] - 0.5 * pictures[..., 0], axis=(1, 2)) == 0
    assert 0.0 < shadeless.mean() < 0.4
    assert len({picture.tobytes() for picture in pictures}) > 25  # each is under a light of its own


def test_a_picture_under_a_light_is_what_a_fit_sees(one_sided):
    samples, _ = one_sided
    view = single_view_step.unpack_views(samples.batch(np.random.default_rng(0), [0], 1)["view"])[0]
    picture = jax.jit(single_view_step.light_up)(jax.random.key(4), view)
    azimuth, elevation, ambient = single_view_step._uniform(jax.random.key(4), single_view_step._LIGHT)
    expected = lit_view(np.asarray(view), (float(azimuth), float(elevation)), float(ambient))
    np.testing.assert_allclose(picture, expected, atol=1e-5)


def test_one_device_and_two_see_the_same_examples(one_sided):
    """Two halves of a batch with an axis between them, as two devices have; figures alone, which compile sooner."""
    samples, _ = one_sided
    recipe = SingleViewRecipe(batch=4, carved=2)
    batch = samples.batch(np.random.default_rng(0), [0] * 4, 2)
    params = jax.jit(single_view.init, static_argnums=1)(jax.random.key(0), CONFIG)
    state = fresh_state(params, make_optimizer(recipe))

    def figures(axis):
        step = make_step(CONFIG, recipe, axis)
        return lambda state, batch: {k: v for k, v in step(state, batch)[1].items() if k != "gradient_norm"}

    alone = jax.jit(figures(None))
    one, other = alone(state, batch), alone({**state, "step": state["step"] + 1}, batch)
    halves = jax.tree.map(lambda leaf: leaf.reshape(2, -1, *leaf.shape[1:]), batch)
    two = jax.jit(jax.vmap(figures(AXIS), in_axes=(None, 0), axis_name=AXIS))(state, halves)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], [value, value], rtol=2e-4, err_msg=name)
    assert abs(other["set"] - one["set"]) > 2e-4 * one["set"]  # other examples would be told


@pytest.mark.parametrize(("batch", "carved"), [(48, 8), (16, 2), (47, 1), (768, 128), (5, 1), (4, 1), (1, 1)])
def test_a_share_of_a_batch_is_carved(batch, carved):
    assert SingleViewRecipe(batch=batch).carved == carved
    with pytest.raises(InputError, match="carved: expected a divisor of the batch"):
        SingleViewRecipe(batch=batch, carved=batch + 1)


# --- training -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that saw nine chairs for a few seconds."""
    folder = tmp_path_factory.mktemp("single_view")
    meshes = [chair(3 + i % 3, 3 + i // 3) for i in range(9)]
    grids = GridSet([shape_of(f"chair-{i}", mesh) for i, mesh in enumerate(meshes)], SIDE, 0.2)
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_views, "SIZE", SMALL)
        patch.setattr(single_view_loop, "_SCORED", 40)
        views = [single_views.trace(mesh, [single_views.random_view(rng) for _ in range(20)]) for mesh in meshes]
        recipe = SingleViewRecipe(steps=STEPS, batch=12, carved=1, rate=4e-3, ema=0.9)
        scores = train_single_view(CONFIG, lambda: (grids, views), recipe, folder, eval_every=STEPS)
    return folder, scores


def test_views_of_unseen_shapes_are_seen_and_carved(trained, small):
    folder, scores = trained
    assert scores["first_four"] > 0.55  # by chance 0.5: views take longer to learn than cells
    assert scores["iou"] > 0.65 and scores["iou_true_pose"] > 0.65
    params, config = weights.load_single_view(folder)
    assert config == CONFIG
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < 0.8 * losses[0]


def test_data_that_do_not_fit_the_layers_are_refused(tmp_path, small):
    mesh = chair(3, 4)
    views = [single_views.trace(mesh, [Pose()])] * 2
    recipe, name = SingleViewRecipe(steps=1, batch=1), iter("abc")
    train = lambda config, grids: train_single_view(config, lambda: (grids, views), recipe, tmp_path / next(name))  # noqa: E731
    shapes = [shape_of(f"chair-{i}", mesh) for i in range(2)]
    with pytest.raises(InputError, match="single-view config: expected pictures of 48 pixels, got 96"):
        train(dataclasses.replace(CONFIG, size=96, patch=6), GridSet(shapes, SIDE))
    with pytest.raises(InputError, match="shapes: expected grids of 48 cells a side, got 32"):
        train(dataclasses.replace(CONFIG, grid=48), GridSet(shapes, SIDE))
    with pytest.raises(InputError, match="shapes: expected at least one to validate on"):
        train(CONFIG, GridSet(shapes[:1], SIDE))


def test_shapes_without_views_are_left_out(tmp_path, monkeypatch, small):
    """All of a shape's views in a data set may look up from below; and it may be the only one that is held back."""
    shapes = [shape_of(f"chair-{i}", chair(3 + i, 4)) for i in range(4)]
    grids = GridSet(shapes, SIDE).grids(range(4))
    nothing = single_views.Views((), np.zeros((0, 7), np.float32))
    something = single_views.trace(chair(3, 4), [Pose()])
    with launching.own_flags(), monkeypatch.context() as patch:
        from experiments import _shapes

        patch.setattr(_shapes, "_DATA", types.SimpleNamespace(value=["a data set"]))
        for blind in range(4):
            views = [nothing if i == blind else something for i in range(4)]
            monkeypatch.setattr(single_views, "read_data_sets", lambda folders, views=views: views)
            seen, kept = _shapes.Shapes([], shapes, {}).collect_seen(tmp_path, SIDE, "coverage", 1)
            assert len(seen) == len(kept) == 3 and len(seen.training) and len(seen.validation)
            np.testing.assert_array_equal(seen.grids(range(3)), np.delete(grids, blind, 0))


def test_a_config_that_does_not_fit_itself_is_refused():
    for wrong in ({"blocks": (0,)}, {"widths": ()}, {"patch": 5}, {"widths": (8, 8), "blocks": (0, 0)}):
        with pytest.raises(InputError, match="single-view config: expected 3 widths or more"):
            SingleViewConfig(**wrong)
    for grid in (16, 40):
        with pytest.raises(InputError, match="single-view config: expected a grid of 32"):
            SingleViewConfig(grid=grid)


def test_weights_of_another_network_are_refused(trained, tmp_path):
    with pytest.raises(InputError, match="expected those of a single-view network, got .* settings .*stages"):
        weights.load_single_view("compact")
    with pytest.raises(InputError, match="expected those of a shape prior"):
        weights.load_prior(trained[0])
    params, config = weights.load_single_view(trained[0])
    weights.save_weights(tmp_path, params, dataclasses.replace(config, sectors=9), {})
    with pytest.raises(InputError, match="do not fit network"):
        weights.load_single_view(tmp_path)


def test_shipped_weights_fit_the_views_that_are_made():
    _, config = weights.load_single_view()
    assert config.size == SIZE and config == SingleViewConfig()


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        (launching.start, ["--shapes=9"], "--output: expected a value"),
        (launching.call, ["--shapes=9", "--output=x", "--weights=compact"], "expected those of a single-view network"),
        (launching.call, ["--shapes=9", "--output=x", "--families=all,spoon"], "families: expected some of chair"),
    ],
)
def test_bad_flags_give_one_line(run, arguments, message):
    done = run("train_single_view", *arguments)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
