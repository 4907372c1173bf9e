"""Fitting: least squares, silhouettes, light, derivatives of all unknowns, and a whole fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rendernet_jax import camera, network, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.references import build_scene, reference_pictures, surface_of, trace
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import candidates, fit, fitting, least_squares, photometric, silhouette, unknowns
from rendernet_jax.inverse.candidates import resize
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.voxels import Window

CONFIG = preset("tiny")
SIZE = 32
silhouettes = jax.jit(silhouette.silhouette, static_argnums=2)


def angle_between(a: Pose, b: Pose) -> float:
    """Degrees of the rotation that takes one pose to the other."""
    turn = np.asarray(camera.rotation(a), np.float64) @ np.asarray(camera.rotation(b), np.float64).T
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def light_angle(a: Light, b: Light) -> float:
    """Degrees between two lights."""
    directions = [np.asarray(camera.direction(light.azimuth, light.elevation), np.float64) for light in (a, b)]
    return float(np.degrees(np.arccos(np.clip(directions[0] @ directions[1], -1, 1))))


# --- least squares ----------------------------------------------------------------------------------------------------


def linearised(residuals):
    def linearise(point):
        value, push = jax.linearize(residuals, point)
        return value, jax.vmap(push)(jnp.eye(len(point)))

    return linearise


def test_least_squares_finds_the_end_of_a_curved_valley():
    valley = linearised(lambda x: jnp.stack([1.0 - x[0], 10.0 * (x[1] - x[0] ** 2)]))  # Rosenbrock's function
    point, cost = jax.jit(lambda x: least_squares.minimise(valley, x, 60))(jnp.asarray([-1.2, 1.0]))
    np.testing.assert_allclose(point, [1, 1], atol=1e-3)
    assert cost < 1e-6


def test_least_squares_holds_what_is_fixed_and_stays_within_bounds():
    apart = linearised(lambda x: x - jnp.asarray([3.0, 5.0]))
    free = jnp.asarray([1.0, 0.0])
    point, _ = least_squares.minimise(apart, jnp.zeros(2), 20, lambda x: jnp.clip(x, -2.0, 2.0), free)
    np.testing.assert_allclose(point, [2, 0], atol=1e-5)
    clip = lambda x: jnp.clip(x, -2.0, 2.0)  # noqa: E731
    some = jax.jit(lambda start, steps: least_squares.minimise(apart, start, steps, clip, free)[0])
    np.testing.assert_allclose(some(jnp.asarray([0.0, 9.0]), 20), [2, 9], atol=1e-5)  # held beyond the bounds
    np.testing.assert_allclose(some(jnp.asarray([0.0, 9.0]), 0), [0, 9])


def test_least_squares_never_ends_worse_than_it_began():
    wild = linearised(lambda x: jnp.sin(40.0 * x) + 0.01 * x)
    starts = jnp.linspace(-1, 1, 21)[:, None]
    before = jax.vmap(lambda x: 0.5 * jnp.mean(wild(x)[0] ** 2))(starts)
    _, after = jax.jit(jax.vmap(lambda x: least_squares.minimise(wild, x, 8)))(starts)
    assert (after <= before).all() and after.mean() < 0.2 * before.mean()


# --- unknowns ---------------------------------------------------------------------------------------------------------


def test_poses_survive_as_vectors():
    pose = Pose(0.3, -0.2, 0.1, 1.3, (0.1, -0.2, 0.0), 0.25)
    again = unknowns.to_pose(unknowns.from_pose(pose))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), camera.broadcast(again), camera.broadcast(pose)
    )


def test_directions_cover_the_sphere_evenly():
    azimuth, elevation = unknowns.sphere(64)
    points = np.asarray(camera.direction(azimuth, elevation))
    np.testing.assert_allclose(points.mean(0), 0, atol=0.02)
    cosines = points @ points.T - 2 * np.eye(64)
    nearest = np.degrees(np.arccos(cosines.max(1)))
    assert 15 < nearest.min() and nearest.max() < 30


def test_light_is_told_from_the_normals_of_a_ball():
    axis = (np.arange(64) + 0.5) / 32 - 1
    x, y = axis[None, :], -axis[:, None]
    inside = (x**2 + y**2 < 1).astype(np.float32)[..., None]
    normal = (
        np.stack(np.broadcast_arrays(x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))), -1).astype(np.float32) * inside
    )
    light, albedo = Light(0.7, 0.5, 0.2, 0.8), np.asarray([0.9, 0.6, 0.3], np.float32)
    cosine = np.maximum(normal @ np.asarray(camera.direction(light.azimuth, light.elevation)), 0)[..., None]
    picture = albedo * (light.ambient + light.intensity * cosine)
    found, colour = jax.jit(photometric.fit_light)(normal, inside, picture)
    assert light_angle(unknowns.to_light(found), light) < 0.5  # 400 directions stand 6 degrees apart
    assert found[2] == pytest.approx(0.2, abs=0.04)  # a prior holds it near 0.1
    np.testing.assert_allclose(colour, albedo, rtol=0.05)
    wrong = np.where((y > 0.2)[..., None], normal[..., [2, 0, 1]], normal)  # of a third of the pixels
    robust, white = jax.jit(photometric.fit_light)(wrong, inside, np.repeat(0.1 + 0.9 * cosine, 3, axis=-1))
    assert light_angle(unknowns.to_light(robust), light) < 1
    np.testing.assert_array_equal(white, 1)
    kept, _ = photometric.fit_light(normal, inside, picture, jnp.asarray([0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(kept, np.asarray([0.1, 0.2, 0.3], np.float32))


def test_light_on_few_faces_is_refined_from_several_directions():
    """Of these faces the best of the directions that are tried leads to a light that is 27 degrees off."""
    rng = np.random.default_rng(35)
    faces = rng.normal(size=(4, 3)) + [0, 0, 1.5]
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    normal = np.repeat(faces[np.repeat(range(4), (50, 8, 4, 2))].astype(np.float32)[:, None], 64, axis=1)
    light = Light(rng.uniform(-1, 1), rng.uniform(-0.3, 1.2), 0.1, 0.9)
    toward = np.asarray(camera.direction(light.azimuth, light.elevation))
    assert (faces @ toward > 0).sum() == 3  # which tell a direction
    picture = (0.1 + 0.9 * np.maximum(normal @ toward, 0))[..., None].astype(np.float32)
    inside = np.ones((64, 64, 1), np.float32)
    best, _ = photometric.fit_light(normal, inside, picture)
    assert light_angle(unknowns.to_light(best), light) > 20
    found, white = photometric.fit_light(normal, inside, picture, starts=8)
    assert light_angle(unknowns.to_light(found), light) < 0.1
    np.testing.assert_allclose(white, 1, atol=1e-6)


# --- silhouettes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bracket():
    """A grid without any symmetry: three arms of different length and a block."""
    grid = np.zeros((1, 32, 32, 32, 1), np.float32)
    grid[0, 4:30, 4:10, 4:10] = 1
    grid[0, 4:10, 4:22, 4:10] = 1
    grid[0, 4:10, 4:10, 4:16] = 1
    grid[0, 22:30, 10:16, 4:8] = 1
    return jnp.asarray(grid)


def test_a_sheet_of_little_coverage_is_opaque_and_nothing_else_grows():
    grid = np.zeros((1, 32, 32, 32, 1), np.float32)
    grid[0, 8:24, 8:24, 16] = 0.25
    picture = silhouettes(silhouette.opaque(grid, 32), Pose(), 64)[0]
    assert picture[32, 32] > 0.9 and picture[8, 8] == 0


def test_search_gives_each_start_the_size_and_place_of_the_mask(bracket):
    pose = Pose(0.6, 0.4, 0.0, 0.8, (0.15, -0.1, 0.0))
    mask = silhouettes(bracket, pose, 32)[0]
    start = unknowns.from_pose(Pose(0.6, 0.4))
    moved, losses = jax.jit(silhouette.search)(bracket, mask, jnp.stack([start, start.at[0].set(2.5)]))
    np.testing.assert_allclose(moved[0], unknowns.from_pose(pose), atol=0.02)
    assert losses[0] < 1e-3 < losses[1]


def test_turns_are_those_that_look_most_alike():
    grid = np.zeros((1, 32, 32, 32, 1), np.float32)
    grid[0, 4:28, 8:16, 12:20] = 1  # a beam
    grid[0, 4:10, 16:24, 12:20] = 1  # that ends higher on one side
    turns = np.degrees(silhouette.turns(grid[0, ..., 0], 3))
    assert turns[0] == pytest.approx(180) and (30 <= turns.min() and turns.max() <= 330)
    axis = (np.arange(32) + 0.5) / 32 - 0.5
    angle, distance = np.arctan2(axis[:, None], axis[None]), np.hypot(axis[:, None], axis[None])
    clover = np.zeros((1, 32, 32, 32, 1), np.float32)
    clover[0, :, 8:24, :, 0] = (distance < 0.3 + 0.15 * np.cos(3 * angle))[:, None]
    assert sorted(np.degrees(silhouette.turns(clover[0, ..., 0], 2)).round()) == [120, 240]


def test_a_window_shows_the_object_twice_as_wide_and_poses_stay_those_of_the_frame(bracket):
    pose = Pose(0.6, 0.4, 0.1, 0.3, (0.5, -0.4, 0.0), 0.3)
    mask = np.asarray(silhouettes(bracket, pose, 256)[0])[..., None]
    window = candidates.surround(mask)
    assert 0.5 < window.extent < 1.0 and window.depth == window.extent / 2
    seen = np.asarray(candidates.crop(mask, window, 64, 0.0))
    drawn = jax.jit(lambda: silhouette.silhouette(bracket, pose, 64, window))()
    assert np.abs(seen[..., 0] - drawn[0]).mean() < 0.02 < 0.08 < seen.mean() < 0.35
    assert candidates.crop(1.0 - mask, window, 64, 1.0)[-1].min() == 1, "white beyond the picture's edge"
    large = np.zeros((8, 8, 1))
    large[1:6] = 1
    assert candidates.surround(large) == candidates.Window(-1.0, 1.0, 2.0, 1.0)
    np.testing.assert_allclose(candidates.crop(mask, candidates.surround(large), 64, 0.0), resize(mask, 64), atol=1e-5)


@pytest.fixture
def few(monkeypatch):
    """A search that refines a third of what others do, or half: it must find what they find."""
    for name, less in {"_KEPT": (16, 4), "_MOVED": 1, "_TWINS": (1, 3)}.items():
        monkeypatch.setattr(fitting, name, less)


def test_search_finds_a_small_object(bracket, few):
    """Of 26 pixels: near enough for refinement through the network."""
    pose = Pose(0.6, 0.4, 0.1, 0.2, (0.5, -0.4, 0.0), 0.15)
    mask = silhouettes(bracket, pose, 256)[0][..., None]
    vectors, losses = fitting.search_by_silhouette(bracket, mask, candidates.surround(mask), 24)
    found = unknowns.to_pose(vectors[jnp.argmin(losses)])
    # What is away from the middle of the frame shows another side at another distance: 0.1 x 0.64 is 4 degrees.
    assert angle_between(found, pose) < 8 and found.scale == pytest.approx(0.2, rel=0.05)


def test_search_finds_a_large_object_between_near_and_far(bracket, few):
    pose = Pose(0.6, 0.4, 0.1, 1.0, (0.0, 0.0, 0.0), 0.15)
    mask = silhouettes(bracket, pose, 256)[0][..., None]
    vectors, losses = fitting.search_by_silhouette(bracket, mask, candidates.surround(mask), 64)
    found = unknowns.to_pose(vectors[jnp.argmin(losses)])
    assert angle_between(found, pose) < 4 and found.scale == pytest.approx(1.0, rel=0.05)


def test_search_finds_a_near_view(bracket, few):
    """What ends about as near as it was ends with a lower loss and nearer to the truth than the others."""
    pose = Pose(0.6, 0.3, 0.1, 0.9, (0.05, -0.1, 0.0), 0.4)
    mask = silhouettes(bracket, pose, 256)[0][..., None]
    vectors, losses = fitting.search_by_silhouette(bracket, mask, candidates.surround(mask), 24)
    off = np.asarray([angle_between(unknowns.to_pose(vector), pose) for vector in vectors])
    same = np.abs(np.asarray(vectors)[:, 6] - 0.4) < 0.1
    assert same.any() and not same.all()
    assert same[np.argmin(losses)] and off[same].min() < min(3.0, off[~same].min())


def test_a_search_twice_as_thorough_keeps_twice_as_many(bracket, few, monkeypatch):
    """All that are refined in parts come back, each with its own loss; and from there the object is turned about."""
    monkeypatch.setattr(fitting, "_KEPT", (2, 1))
    pose = Pose(0.6, 0.4, 0.0, 0.9, (0.05, -0.1, 0.0), 0.2)
    mask = silhouettes(bracket, pose, 64)[0][..., None]
    window = candidates.surround(mask)
    vectors, losses = fitting.search_by_silhouette(bracket, mask, window, 8, 2)
    assert len(vectors) == len(losses) == 2 * 1 + 1 + 3
    small = candidates.crop(mask, window, 48, 0.0)[..., 0]
    compare = jax.jit(lambda vectors: silhouette.compare(silhouette.opaque(bracket, 48), small, vectors, window))
    np.testing.assert_allclose(losses, 0.5 * compare(vectors), rtol=1e-3, atol=1e-6)
    turned = fitting._turned(bracket, mask, window, unknowns.from_pose(pose))
    turns = np.degrees(np.asarray(turned)[:, 0] - 0.6)
    assert len(turned) == 7 and np.abs(turns - [60, 90, 120, 180, 240, 270, 300]).max() < 45


def test_a_start_away_from_the_mask_is_refused(params, bracket):
    mask = np.zeros((64, 64, 1), np.float32)
    mask[40:60, 4:24] = 1.0  # below, on the left
    away = {"pose": Pose(0.6, 0.4, 0.0, 0.2, (0.7, 0.7, 0.0))}
    for more in ({"fixed": ("pose",)}, {}, {"surface": lambda *_: pytest.fail("looked at")}):
        with pytest.raises(InputError, match="start: expected a pose at which the object meets the mask, got .* 0.0%"):
            fit(params, CONFIG, mask, mask, bracket, start=away, **more)


@pytest.mark.parametrize("window", [None, candidates.Window(-0.7, 0.8, 1.2, 0.6)])
def test_silhouettes_are_linearised_as_forward_derivatives_say(bracket, window):
    vector = unknowns.from_pose(Pose(0.6, 0.4, 0.1, 0.9, (0.1, -0.05, 0.0), 0.2))
    look = lambda vector: silhouette.silhouette(bracket, unknowns.to_pose(vector), 24, window)[0]  # noqa: E731
    covered, derivatives = jax.jit(lambda vector: silhouette.linearise(bracket, vector, 24, window))(vector)
    wanted = np.moveaxis(np.asarray(jax.jit(jax.jacfwd(look))(vector)), -1, 0)
    assert np.abs(wanted).max(axis=(1, 2)).min() > 0.5
    np.testing.assert_allclose(covered, jax.jit(look)(vector), atol=1e-6)
    np.testing.assert_allclose(derivatives, wanted, atol=1e-5 * np.abs(wanted).max())


def test_refinement_by_silhouette_recovers_a_pose(bracket):
    pose = Pose(0.6, 0.4, 0.1, 0.9, (0.1, -0.05, 0.0))
    mask = silhouettes(bracket, pose, 64)[0]
    start = unknowns.from_pose(Pose(0.7, 0.32, 0.0, 0.85, (0.05, 0.0, 0.0)))
    free = jnp.ones(7).at[6].set(0.0)
    refine = jax.jit(lambda start: silhouette.refine(bracket, mask, start, free, 12))
    found, loss = refine(start)
    assert angle_between(unknowns.to_pose(start), pose) > 8
    assert angle_between(unknowns.to_pose(found), pose) < 1.5 and loss < 1e-3


# --- through the network ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def params():
    return jax.jit(network.init, static_argnums=1)(jax.random.key(0), CONFIG)


def test_far_residuals_count_by_their_size():
    """Half the squares are Huber's loss, so that what steps descend is what judges them."""
    residuals = jnp.linspace(-1.0, 1.0, 40)
    value, slope = photometric._robust(residuals)
    np.testing.assert_allclose(0.5 * value**2, optax.losses.huber_loss(residuals, delta=photometric.HUBER), atol=1e-6)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(lambda x: photometric._robust(x)[0]))(residuals), rtol=1e-5)


def test_refinement_through_the_network_lowers_the_loss_and_holds_what_is_fixed(params, bracket):
    """An untrained network is a function like any other: what it draws at one pose is found again from another."""
    truth = Unknowns(unknowns.from_pose(Pose(0.6, 0.4)), jnp.asarray([0.5, 0.6, 0.1]), jnp.asarray([0.8]))
    picture, mask = jax.jit(lambda point: photometric.draw_point(params, CONFIG, bracket, point, SIZE))(truth)
    start = Unknowns(truth.pose + 0.02, truth.light, jnp.asarray([0.7]))
    free = jax.tree.map(jnp.ones_like, start)
    free = free.replace(light=jnp.zeros(3))
    refine = jax.jit(
        lambda start: [photometric.refine(params, CONFIG, bracket, picture, mask, start, free, n) for n in (0, 6)]
    )
    (_, before), (found, after) = refine(start)
    assert after < 0.2 * before
    np.testing.assert_array_equal(found.light, start.light)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": np.zeros((8, 9, 3))}, "pad to a square"),
        ({"mask": np.zeros((8, 8))}, "pad to a square"),
        ({"mask": np.zeros((8, 8, 1))}, "expected a pixel that the object covers"),
        ({"grid": np.zeros((2, 8, 8, 8, 1))}, "fit one shape at a time"),
        ({"fixed": ("pose",)}, "expected a value in start for pose"),
    ],
)
def test_bad_input_is_told(params, change, message):
    given = {"picture": np.zeros((8, 8, 3)), "mask": np.ones((8, 8, 1)), "grid": np.zeros((1, 8, 8, 8, 1))} | change
    with pytest.raises(InputError, match=message):
        fit(params, CONFIG, **given)


def test_light_of_a_mesh_is_told_from_its_own_normals(params):
    """Whatever the network draws: this one is untrained. What is given stays."""
    mesh, light = make_shape("animal", 9_000_002), Light(-0.5, 0.6, 0.1, 0.9)
    pose = camera.pose_from_degrees(50, 25, 5, 0.5, (0.3, -0.2, 0), 0.2)
    wanted = reference_pictures(build_scene(mesh), pose, light, 128, ("phong", "mask"))
    grid, few = voxelise(mesh, SIZE)[None], fitting.Settings(sizes=(64,), steps=(2,), candidates=(1,))
    run = lambda **more: fit(params, CONFIG, wanted["phong"], wanted["mask"], grid, few, **more)  # noqa: E731
    start = {"pose": jax.tree.map(jnp.asarray, pose)}
    found = run(start=start, fixed=("pose",), surface=surface_of(mesh))
    assert light_angle(found.light, light) < 1.5 and found.best.albedo == pytest.approx(1.0, abs=0.03)
    assert light_angle(run(start=start, fixed=("pose",)).light, light) > 2.5
    wrong = {**start, "light": Light(0.9, -0.2, 0.1, 0.9)}
    assert light_angle(run(start=wrong, fixed=("pose",), surface=surface_of(mesh)).light, light) < 1.5
    given = {**start, "light": light, "albedo": [0.7]}
    dark = run(start=given, fixed=("pose", "light", "albedo"), surface=surface_of(mesh))
    np.testing.assert_allclose(dark.best.light, [-0.5, 0.6, 0.1], atol=1e-6)
    np.testing.assert_allclose(dark.best.albedo, [0.7])


@pytest.mark.parametrize(
    ("losses", "refined", "searches"),
    [
        ([1e-4, 1.1e-4, 9e-4], [3, 2], ["search"]),
        ([1e-4, 1.3e-4, 1.4e-4], [3, 1], ["search"]),
        # So unlike the picture that all is done once more, twice as thoroughly, and turned.
        ([1.0, 1.1, 9.0], [3, 2, 3, 2, 3, 2], ["search", "search 2", "turned"]),
    ],
)
def test_only_close_poses_are_refined_again(params, monkeypatch, losses, refined, searches):
    """Within a fifth of the best loss at one size, and no more of them than the settings say."""
    counts, searched = [], []
    poses = jnp.zeros((8, 7)).at[:, 0].set(jnp.arange(8.0)).at[:, 6].set(0.15)

    def search(grid, mask, window, starts, *thorough):
        searched.append(" ".join(map(str, ("search", *thorough))))
        return poses, jnp.zeros(8)

    def turn(*_):
        searched.append("turned")
        return poses

    def refine(params, config, grid, picture, mask, found, free, steps, window):
        counts.append(len(found.pose))
        return found, jnp.asarray(losses[: len(found.pose)])

    monkeypatch.setattr(fitting, "search_by_silhouette", search)
    monkeypatch.setattr(fitting, "_turned", turn)
    monkeypatch.setattr(fitting, "_refine", refine)
    mask = np.zeros((SIZE, SIZE, 1), np.float32)
    mask[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 1.0
    grid = np.zeros((1, SIZE, SIZE, SIZE, 1), np.float32)
    grid[:, 2:-2, 2:-2, 2:-2] = 1.0
    settings = fitting.Settings(sizes=(16, 32), steps=(2, 2), candidates=(3, 2))
    fit(params, CONFIG, mask, mask, grid, settings)
    assert (counts, searched) == (refined, searches)


def test_a_surface_shows_a_window_of_what_the_frame_shows():
    mesh, pose = make_shape("animal", 9_000_002), Pose(0.7, 0.3, scale=0.5, translation=(0.25, -0.25, 0.0))
    whole = trace(build_scene(mesh), pose, 128, ("normal", "mask"), supersample=3)
    normal, covered = surface_of(mesh)(pose, Window(-0.25, 0.25, 1.0, 0.5), 64)
    np.testing.assert_allclose(normal, whole["normal"][48:112, 48:112], atol=1e-4)
    np.testing.assert_allclose(covered, whole["mask"][48:112, 48:112], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "scale"), [("animal", 1.1), ("chair", 1.1), ("animal", 0.2)])
def test_pose_and_light_are_found_from_a_ray_traced_picture(family, scale):
    params, config = weights.load_weights("compact")
    mesh = make_shape(family, 9_000_002)
    pose, light = camera.pose_from_degrees(50, 25, 5, scale, (0.05, -0.03, 0), 0.2), camera.light_from_degrees(-30, 35)
    wanted = reference_pictures(build_scene(mesh), pose, light, 256, ("phong", "mask"))
    found = fit(params, config, wanted["phong"], wanted["mask"], voxelise(mesh, 64)[None])
    assert angle_between(found.pose, camera.broadcast(pose)) < 3
    assert light_angle(found.light, light) < 20


def test_a_batch_is_fitted_one_by_one_with_its_own_shapes_or_one(monkeypatch):
    seen = []
    monkeypatch.setattr(fitting, "fit", lambda p, c, picture, mask, grid, *_, **__: seen.append((picture[0], grid[0])))
    pictures, grids = np.arange(3)[:, None], np.arange(10, 13)[:, None]
    assert len(fitting.fit_all({}, CONFIG, pictures, pictures, grids)) == 3
    fitting.fit_all({}, CONFIG, pictures, pictures, grids[:1])
    assert seen == [(0, 10), (1, 11), (2, 12), (0, 10), (1, 10), (2, 10)]
    with pytest.raises(InputError, match="expected one grid, whose surface it is, got 3"):
        fitting.fit_all({}, CONFIG, pictures, pictures, grids, surface=print)
    with pytest.raises(InputError, match="3 pictures, 3 masks and 2 grids"):
        fitting.fit_all({}, CONFIG, pictures, pictures, grids[:2])
