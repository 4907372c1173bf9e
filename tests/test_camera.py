"""The camera convention against independent formulas, and round trips through every other way to write a pose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.errors import InputError

RNG = np.random.default_rng(0)


def random_pose(rng, pinhole=True):
    return {
        "azimuth": rng.uniform(-np.pi, np.pi),
        "elevation": rng.uniform(-1.5, 1.5),
        "roll": rng.uniform(-np.pi, np.pi),
        "scale": rng.uniform(0.4, 1.8),
        "translation": rng.uniform(-0.3, 0.3, 3),
        "inverse_distance": rng.uniform(0.05, 0.6) if pinhole else 0.0,
    }


def numpy_rotation(pose):
    """Turn about y by -azimuth, then x by elevation, then z by roll."""
    return Rotation.from_euler("yxz", [-pose["azimuth"], pose["elevation"], pose["roll"]]).as_matrix()


def numpy_to_camera(points, pose):
    q = pose["scale"] * points @ numpy_rotation(pose).T + pose["translation"]
    return np.concatenate([q[:, :2] / (1 - pose["inverse_distance"] * q[:, 2:]), q[:, 2:]], axis=1)


POSES = [random_pose(RNG, pinhole=i % 2) for i in range(6)]
POINTS = RNG.uniform(-0.5, 0.5, (20, 3))


def test_rotation_is_three_elementary_turns_for_a_batch():
    found = camera.rotation(camera.stack([Pose(**pose) for pose in POSES]))
    np.testing.assert_allclose(found, [numpy_rotation(pose) for pose in POSES], atol=1e-6)


@pytest.mark.parametrize("azimuth_deg, elevation_deg", [(0, 0), (90, 0), (180, 20), (-60, 45), (10, 90), (70, -90)])
def test_camera_sits_on_its_direction_with_right_level_and_up_upward(azimuth_deg, elevation_deg):
    a, e = np.radians([azimuth_deg, elevation_deg])
    right, up, back = np.asarray(camera.rotation(Pose(a, e)), np.float64)
    np.testing.assert_allclose(back, [np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], atol=1e-6)
    np.testing.assert_allclose(right, [np.cos(a), 0, -np.sin(a)], atol=1e-6)
    np.testing.assert_allclose(up, np.cross(back, right), atol=1e-6)
    assert up[1] >= -1e-6


def test_roll_turns_the_picture_counter_clockwise():
    right_hand = camera.to_camera(jnp.asarray([[0.5, 0.0, 0.0]]), Pose(roll=np.pi / 2))
    np.testing.assert_allclose(right_hand, [[0.0, 0.5, 0.0]], atol=1e-6)


def test_perspective_divides_after_scale_and_translation():
    pose = Pose(scale=2.0, translation=(0.1, 0.2, 0.3), inverse_distance=0.5)
    x, y, z = 2 * 0.2 + 0.1, 2 * 0.1 + 0.2, 2 * 0.05 + 0.3
    expected = [[x / (1 - 0.5 * z), y / (1 - 0.5 * z), z]]
    np.testing.assert_allclose(camera.to_camera(jnp.asarray([[0.2, 0.1, 0.05]]), pose), expected, rtol=1e-6)


def test_points_map_by_the_formula_for_a_batch_of_poses():
    poses = camera.stack([Pose(**pose) for pose in POSES])
    found = camera.to_camera(jnp.broadcast_to(jnp.asarray(POINTS, jnp.float32), (len(POSES), *POINTS.shape)), poses)
    np.testing.assert_allclose(found, [numpy_to_camera(POINTS, pose) for pose in POSES], atol=3e-6)


@pytest.mark.parametrize("pose", POSES[:4])
def test_unproject_inverts_to_camera(pose):
    q = camera.to_camera(jnp.asarray(POINTS, jnp.float32), Pose(**pose))
    found = jnp.stack(camera.unproject(q[:, 0], q[:, 1], q[:, 2], Pose(**pose)), axis=-1)
    np.testing.assert_allclose(found, POINTS, atol=3e-6)


@pytest.mark.parametrize("pose", POSES)
def test_degrees_round_trip(pose):
    written = camera.pose_to_degrees(Pose(**pose))
    assert set(written) == set(camera.POSE_KEYS)
    assert written["azimuth_deg"] == pytest.approx(np.degrees(pose["azimuth"]))
    again = camera.pose_from_degrees(**written)
    for name, value in pose.items():
        np.testing.assert_allclose(getattr(again, name), value, atol=1e-12)


def test_light_round_trips_and_zero_is_a_headlight():
    written = camera.light_to_degrees(camera.light_from_degrees(-30.0, 12.5))
    assert set(written) == set(camera.LIGHT_KEYS)
    np.testing.assert_allclose(list(written.values()), [-30.0, 12.5])
    np.testing.assert_allclose(camera.direction(Light().azimuth, Light().elevation), [0, 0, 1])
    np.testing.assert_allclose(camera.direction(np.pi / 2, np.pi / 6), [np.sqrt(0.75), 0.5, 0], atol=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_opengl_matrix_draws_the_same_picture(pose):
    matrix, fov = camera.pose_to_opengl(Pose(**pose))
    p = POINTS @ matrix[:3, :3].T + matrix[:3, 3]
    half = -p[:, 2:] * np.tan(fov / 2) if pose["inverse_distance"] else 1 / pose["scale"]
    np.testing.assert_allclose(p[:, :2] / half, numpy_to_camera(POINTS, pose)[:, :2], atol=2e-6)


@pytest.mark.parametrize("pose", POSES)
def test_opencv_matrix_draws_the_same_picture_upside_down(pose):
    matrix, fov = camera.pose_to_opencv(Pose(**pose))
    p = POINTS @ matrix[:3, :3].T + matrix[:3, 3]
    half = p[:, 2:] * np.tan(fov / 2) if pose["inverse_distance"] else 1 / pose["scale"]
    np.testing.assert_allclose(p[:, :2] / half * [1, -1], numpy_to_camera(POINTS, pose)[:, :2], atol=2e-6)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1, abs=1e-5) and (p[:, 2] > 0).all()


def assert_same_picture(found, pose):
    """Same place in the frame; depth may shift, for matrices do not say where the camera cube is centred."""
    found = camera.to_camera(jnp.asarray(POINTS, jnp.float32), found)
    np.testing.assert_allclose(found[:, :2], numpy_to_camera(POINTS, pose)[:, :2], atol=5e-6)


@pytest.mark.parametrize("pose", POSES)
def test_matrices_and_look_at_round_trip(pose):
    half = 1 / pose["scale"]
    assert_same_picture(camera.pose_from_opengl(*camera.pose_to_opengl(Pose(**pose)), half), pose)
    assert_same_picture(camera.pose_from_opencv(*camera.pose_to_opencv(Pose(**pose)), half), pose)
    assert_same_picture(camera.pose_from_look_at(*camera.pose_to_look_at(Pose(**pose)), half), pose)


def test_pose_without_depth_offset_survives_the_matrix_itself():
    pose = {**POSES[1], "translation": np.array([0.2, -0.1, 0.0])}
    again = camera.pose_from_opengl(*camera.pose_to_opengl(Pose(**pose)))
    for name, value in pose.items():
        np.testing.assert_allclose(getattr(again, name), value, atol=2e-6)


@pytest.mark.parametrize("elevation", [np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-4])
def test_matrix_of_a_camera_overhead_round_trips(elevation):
    pose = {**POSES[1], "elevation": elevation}
    again = camera.pose_from_opengl(*camera.pose_to_opengl(Pose(**pose)))
    assert_same_picture(again, pose)
    assert again.elevation == pytest.approx(elevation, abs=1e-6)


def test_rigid_matrices_of_other_software_are_drawn_as_they_project():
    for seed in range(5):
        matrix, fov = np.eye(4), 0.9
        matrix[:3, :3] = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        matrix[:3, 3] = 0.2, -0.1, -3.0
        p = POINTS @ matrix[:3, :3].T + matrix[:3, 3]
        found = camera.to_camera(jnp.asarray(POINTS, jnp.float32), camera.pose_from_opengl(matrix, fov))
        np.testing.assert_allclose(found[:, :2], p[:, :2] / (-p[:, 2:] * np.tan(fov / 2)), atol=3e-6)


def test_look_at_puts_the_target_in_the_middle_and_up_above_it():
    eye, target, up, fov = (1.0, 2.0, 3.0), (0.2, 0.1, -0.1), (0.0, 1.0, 0.2), 0.5
    pose = camera.pose_from_look_at(eye, target, up, fov)
    found = camera.to_camera(jnp.asarray([target, np.add(target, np.multiply(up, 0.1))], jnp.float32), pose)
    np.testing.assert_allclose(found[0, :2], 0, atol=1e-6)
    assert abs(found[1, 0]) < 1e-6 and found[1, 1] > 0.01
    np.testing.assert_allclose(camera.pose_to_look_at(pose)[0], eye, atol=1e-5)
    level = camera.pose_from_look_at((0.0, 0.0, 4.0), fov=fov)
    np.testing.assert_allclose([level.azimuth, level.elevation, level.roll], 0, atol=1e-9)
    assert level.inverse_distance == pytest.approx(np.tan(0.25))
    assert 1 / (level.inverse_distance * level.scale) == pytest.approx(4.0)


def test_original_file_names_convert():
    pose = camera.pose_to_degrees(camera.pose_from_original(azimuth_deg=250.0, polar_deg=60.0, radius=4.0))
    expected = {"azimuth_deg": -160.0, "elevation_deg": 30.0, "roll_deg": 0.0, "scale": 0.825, "inverse_distance": 0.0}
    assert {name: pose[name] for name in expected} == pytest.approx(expected)


def test_fields_broadcast_and_a_batch_gives_its_members():
    pose = Pose(azimuth=jnp.arange(3.0), translation=jnp.asarray([0.1, 0.2, 0.3]))
    whole = camera.broadcast(pose)
    assert whole.scale.shape == (3,) and whole.translation.shape == (3, 3)
    members = list(pose)
    assert [float(p.azimuth) for p in members] == [0.0, 1.0, 2.0]
    jax.tree.map(np.testing.assert_array_equal, camera.stack(members), whole)
    assert pose[1:].azimuth.shape == (2,) and float(pose[-1].azimuth) == 2.0
    with pytest.raises(IndexError):
        pose[3]


def test_pose_is_a_pytree_with_finite_gradients_at_the_origin():
    pose = camera.broadcast(Pose())
    gradient = jax.grad(lambda p: camera.to_camera(jnp.full((1, 3), 0.25), p).sum())(pose)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(gradient.translation, 1.0)
    assert gradient.scale == pytest.approx(0.75)
    assert gradient.inverse_distance == pytest.approx(2 * 0.25 * 0.25)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: camera.pose_from_degrees(azimuth_deg=float("nan")), "azimuth_deg.*nan"),
        (lambda: camera.pose_from_degrees(elevation_deg=None), "elevation_deg"),
        (lambda: camera.pose_from_degrees(roll_deg="left"), "roll_deg.*left"),
        (lambda: camera.pose_from_degrees(azimuth_deg=[1.0, 2.0]), "azimuth_deg"),
        (lambda: camera.pose_from_degrees(scale=0.0), "scale.*above 0"),
        (lambda: camera.pose_from_degrees(scale=-1.0), "scale.*-1"),
        (lambda: camera.pose_from_degrees(inverse_distance=1.0), "inverse_distance.*d < 1"),
        (lambda: camera.pose_from_degrees(inverse_distance=-0.1), "inverse_distance.*-0.1"),
        (lambda: camera.pose_from_degrees(translation=(0.0, 0.0)), "translation.*3 finite"),
        (lambda: camera.pose_from_degrees(translation=(0.0, 0.0, float("inf"))), "translation.*inf"),
        (lambda: camera.light_from_degrees(light_azimuth_deg=float("inf")), "light_azimuth_deg"),
        (lambda: camera.pose_from_original(90.0, 90.0, 0.0), "radius.*above 0"),
        (lambda: camera.pose_from_original(90.0, 90.0, None), "radius.*None"),
        (lambda: camera.pose_from_opengl(np.eye(3)), "matrix.*4x4"),
        (lambda: camera.pose_from_opengl(np.diag([2.0, 2.0, 2.0, 1.0])), "matrix.*rigid"),
        (lambda: camera.pose_from_opengl(np.diag([-1.0, 1.0, 1.0, 1.0])), "matrix.*reflection"),
        (lambda: camera.pose_from_opengl(np.eye(4), fov=2.0), "fov.*pi/2"),
        (lambda: camera.pose_from_opengl(np.eye(4), fov=0.5), "matrix.*before the camera"),
        (lambda: camera.pose_from_opengl(np.eye(4), half_height=0.0), "half_height.*above 0"),
        (lambda: camera.pose_from_opencv(np.full((4, 4), np.nan)), "matrix"),
        (lambda: camera.look_at_matrix((0, 0, 0)), "look_at.*no frame"),
        (lambda: camera.look_at_matrix((0, 2, 0)), "look_at.*another up"),
        (lambda: camera.look_at_matrix((0, 2)), "eye.*3 finite"),
        (lambda: camera.broadcast(Pose(translation=0.0)), r"pose.*translation \[..., 3\]"),
        (lambda: camera.broadcast(Pose(azimuth=jnp.zeros(2), scale=jnp.ones(3))), "pose.*one batch shape"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
