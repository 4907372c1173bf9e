"""The viewer without a browser: its camera is our pose, and it draws what is due and no more."""

import dataclasses
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import camera, inverse, network, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.data.inputs import Object
from rendernet_jax.errors import InputError
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.rendering import render
from rendernet_jax.viewer import fits, orbit, page, server, session
from rendernet_jax.viewer.painter import Painter

GRID, SIZE = 8, 32
COARSE = 16


def make_object(seed=0, channels=1) -> Object:
    grid = np.random.default_rng(seed).random((1, GRID, GRID, GRID, channels)) < 0.4
    return Object(None, grid.astype(np.float32), "file", None)


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("viewer"), preset("tiny")
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), s.dtype), network.shapes(config))
    weights.save_weights(folder, params, config, {})
    painter = Painter(str(folder), SIZE)
    painter.coarse = lambda size: min(COARSE, size)
    return painter


@pytest.fixture
def clock():
    return types.SimpleNamespace(now=100.0)


@pytest.fixture
def shown(painter, clock):
    """A session whose clock stands still until a test moves it."""
    return session.Session(painter, make_object(), lambda: clock.now)


# --- camera ----------------------------------------------------------------------------------------------------------


def quaternion(matrix) -> np.ndarray:
    """``w, x, y, z`` of a rotation matrix, by its eigenvector of eigenvalue 1 and its trace."""
    values, vectors = np.linalg.eig(matrix)
    axis = np.real(vectors[:, np.argmin(abs(values - 1))])
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    axis *= np.sign(axis @ skew) or 1.0
    half = 0.5 * np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    return np.array([np.cos(half), *(np.sin(half) * axis)])


@pytest.mark.parametrize("seed", range(5))
def test_a_browsers_camera_sees_points_where_the_pose_puts_them(seed):
    rng = np.random.default_rng(seed)
    fov, position = rng.uniform(0.3, 0.9), rng.normal(size=3)
    position *= 1.0 / (
        rng.uniform(0.4, 1.0) * np.tan(fov / 2) * np.linalg.norm(position)
    )  # the scale, see pose_to_opengl
    matrix = camera.look_at_matrix(position, rng.normal(size=3) * 0.1)
    axes = (np.diag([1.0, -1.0, -1.0]) @ matrix[:3, :3]).T  # columns right, down, forward
    pose = orbit.pose_of_camera(quaternion(axes), position, fov)
    points = rng.uniform(-0.5, 0.5, (6, 3))
    inside = points @ matrix[:3, :3].T + matrix[:3, 3]  # x right, y up, z backward
    wanted = inside[:, :2] / (-inside[:, 2:] * np.tan(fov / 2))
    assert orbit.SCALES[0] < pose.scale < orbit.SCALES[1]
    np.testing.assert_allclose(camera.to_camera(jnp.asarray(points, jnp.float32), pose)[:, :2], wanted, atol=1e-4)


def test_camera_and_pose_invert_each_other():
    pose = camera.pose_from_degrees(40.0, -25.0, 10.0, 0.8, (0.05, -0.1, 0.0), 0.35)
    eye = orbit.camera_of_pose(pose)
    matrix = camera.look_at_matrix(eye["position"], eye["look_at"], eye["up_direction"])
    axes = (np.diag([1.0, -1.0, -1.0]) @ matrix[:3, :3]).T
    found = orbit.pose_of_camera(quaternion(axes), eye["position"], eye["fov"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, pose)


def test_the_mouse_orbits_about_the_objects_y_axis():
    for azimuth, elevation in ((30.0, 20.0), (200.0, -50.0)):
        up = orbit.camera_of_pose(camera.pose_from_degrees(azimuth, elevation))["up_direction"]
        np.testing.assert_allclose(up, [0, 1, 0], atol=1e-6)


def test_the_object_never_leaves_the_camera_cube():
    near, far = orbit.distances()
    for distance, scale in ((near / 2, orbit.SCALES[1]), (2 * far, orbit.SCALES[0])):
        pose = orbit.pose_of_camera((0, 1, 0, 0), (0, 0, distance), orbit.field_of_view(orbit.INVERSE_DISTANCE))
        assert pose.scale == scale and pose.azimuth == pytest.approx(0)
    with pytest.raises(InputError):
        orbit.pose_of_camera((1, 0, 0, 0), (0, 0, 4.0), 0.5)  # looks away


def test_a_light_is_held_over_the_picture():
    before = Light(ambient=0.25)
    for place, wanted in {
        (0.0, 0.0): (0, 0, 1),
        (1.0, 0.0): (1, 0, 0),
        (-1.0, 0.0): (-1, 0, 0),
        (0.0, 1.0): (0, 1, 0),
        (0.5, 0.0): (0.5**0.5, 0, 0.5**0.5),
        (0.0, -1.5): (0, -(0.5**0.5), -(0.5**0.5)),
        (3.0, 4.0): (0, 0, -1),
    }.items():
        light = orbit.light_under(*place, before)
        np.testing.assert_allclose(camera.direction(light.azimuth, light.elevation), wanted, atol=1e-6)
        assert light.ambient == 0.25


# --- what is drawn ---------------------------------------------------------------------------------------------------


def draw_all(shown) -> list[int]:
    """Draw until nothing is due; the sizes drawn."""
    sizes = []
    while (size := shown.next_size()[0]) is not None:
        sizes.append(shown.draw(size).size)
        assert len(sizes) < 9
    return sizes


def test_coarse_while_moving_and_sharp_at_rest(shown, clock):
    assert draw_all(shown) == [COARSE]
    assert shown.next_size() == (None, pytest.approx(session.REST))
    for step in range(3):
        shown.change(pose=Pose(azimuth=0.1 * (step + 1)))
        clock.now += 0.06
        assert draw_all(shown) == [COARSE]
    clock.now += session.REST
    assert draw_all(shown) == [SIZE]
    assert shown.next_size() == (None, None)
    shown.change(pose=Pose(azimuth=0.1 * 3))
    assert draw_all(shown) == [], "nothing changed"


def test_a_slow_browser_s_changes_are_still_a_movement(shown, clock):
    """Where changes come half a second apart, no sharp picture is drawn between them."""
    for step in range(4):
        shown.change(pose=Pose(azimuth=0.1 * (step + 1)))
        assert draw_all(shown) == [COARSE]
        clock.now += 0.45
        if step:
            assert draw_all(shown) == []
    clock.now += 0.5
    assert draw_all(shown) == [SIZE]
    shown.change(pose=Pose(azimuth=1.0))
    clock.now += 2 * session.MOST_REST
    shown.change(pose=Pose(azimuth=1.1))
    clock.now += session.REST
    assert draw_all(shown) == [COARSE, SIZE], "a change after a long time begins another movement"


def test_light_and_shader_change_the_sharp_picture_without_the_network(shown, clock, monkeypatch):
    draw_all(shown)
    clock.now += 1
    draw_all(shown)
    monkeypatch.setattr(shown.painter, "draw_buffers", None)
    for change in ({"light": Light(1.0, 0.5)}, {"output": "normal"}, {"output": "phong", "albedo": (1.0, 0.5, 0.2)}):
        before = shown.look
        shown.change(**change)
        assert shown.look != before and draw_all(shown) == [SIZE]


def test_a_picture_is_what_render_draws(shown, clock):
    pose, light = Pose(azimuth=0.4, elevation=0.2, inverse_distance=0.2), Light(azimuth=0.3)
    shown.change(pose=pose, light=light, output="normal")
    frame = shown.draw(COARSE)
    draw = jax.jit(render, static_argnums=1, static_argnames=("size", "output"))
    wanted = draw(
        shown.painter.params, shown.painter.config, shown.thing.grid, pose, light, size=COARSE, output="normal"
    )
    np.testing.assert_allclose(frame.picture, np.clip(wanted[0], 0, 1), atol=1e-5)
    assert frame.look.pose == pose


def test_another_object_is_drawn_at_once_and_anew(shown, clock):
    clock.now += 1
    draw_all(shown)
    before = shown.draw(SIZE).picture
    shown.load(make_object(1))
    assert draw_all(shown) == [COARSE]
    assert np.abs(shown.draw(SIZE).picture - before).max() > 0.01
    with pytest.raises(InputError, match="voxels: expected 1 channels"):
        shown.load(make_object(1, channels=2))


def test_sessions_share_a_network_and_nothing_else(painter, shown, clock):
    other = session.Session(painter, make_object(), lambda: clock.now)
    draw_all(other), draw_all(shown)
    shown.change(output="normal")
    assert other.look.output == "phong" and draw_all(other) == []


def test_a_picture_that_fails_is_not_tried_for_ever(shown, monkeypatch):
    def fail(*_):
        raise InputError("NaN")

    monkeypatch.setattr(shown.painter, "draw_buffers", fail)
    with pytest.raises(InputError):
        shown.draw(COARSE)
    assert shown.next_size() == (None, None)


def test_what_is_painted_for_a_file_is_still_to_be_shown(shown):
    frame = shown.paint(shown.look, SIZE)
    assert draw_all(shown) == [SIZE], "at once, since the G-buffer is there"
    np.testing.assert_array_equal(frame.picture, shown.draw(SIZE).picture)


def test_a_turntable_goes_round_and_leaves_the_look(shown):
    look = shown.look
    frames = shown.turntable(4, COARSE)
    assert len(frames) == 4 and shown.look == look
    np.testing.assert_allclose(frames[0], shown.draw(COARSE).picture, atol=1e-5)
    assert all(np.abs(frame - frames[0]).max() > 0.01 for frame in frames[1:])


def test_voxels_have_no_reference(shown):
    pytest.importorskip("open3d", reason="ray tracing needs open3d", exc_type=ImportError)
    with pytest.raises(InputError, match="reference: expected a mesh"):
        shown.reference()
    assert shown.scenes.trace_voxels(Pose(), 16).shape == (16, 16, 3)


# --- the page's parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("aspect", "width"), [(1.0, 8), (2.0, 16), (0.5, 4)])
def test_a_picture_fills_the_windows_height_and_stays_in_its_middle(aspect, width):
    picture = np.full((8, 8, 3), 255, np.uint8)
    picture[:, 3:5] = 0
    padded = page.pad_to_aspect(picture, aspect)
    assert padded.shape == (8, width, 3)
    assert np.flatnonzero((padded == 0).all((0, 2))).tolist() == [width // 2 - 1, width // 2]


def test_uploads_keep_their_name_in_errors_and_nothing_else_of_it():
    upload = types.SimpleNamespace(name="../../x y.OBJ", content=b"content")
    with page._as_file(upload, (".obj",)) as path:
        assert path.name == "upload.obj" and path.read_bytes() == b"content"
    assert not path.exists()
    with pytest.raises(InputError, match=r"^\.\./\.\./x y\.OBJ: broken$"), page._as_file(upload, (".obj",)) as path:
        raise InputError(f"{path}: broken")
    with pytest.raises(InputError, match=r"expected \.ply, got \.obj"), page._as_file(upload, (".ply",)):
        pass


def test_missing_viser_is_one_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match=r"viser.*pip install 'rendernet_jax\[viewer\]'"):
        server.import_viser()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_only_other_hosts_are_warned_of_and_a_taken_address_is_one_error(host, warned, monkeypatch, capsys):
    asked = []

    def take(**options):
        asked.append((options["host"], options["port"]))
        raise OSError("address in use")

    monkeypatch.setitem(sys.modules, "viser", types.SimpleNamespace(ViserServer=take))
    painter = types.SimpleNamespace(check_grid=lambda grid: None, warm_up=lambda grid, tell: None)
    with pytest.raises(InputError, match=f"cannot listen on {host}:81 .*address in use"):
        server.serve(painter, make_object(), host, 81, print)
    assert asked == [(host, 81)]
    assert ("warning: whoever reaches" in capsys.readouterr().err) == warned


def test_a_fit_becomes_steps_of_plain_numbers():
    point = Unknowns(
        jnp.asarray([[0.1, 0.2, 0.0, 0.0, 0.05, 0.0, 0.2]]), jnp.asarray([[0.3, 0.4, 0.1]]), jnp.full((1, 1), 1.5)
    )
    found = [inverse.Fit(point, jnp.ones(1) / n, stage) for n, stage in ((1, "judge"), (2, "refine"))]
    steps = list(fits.follow(iter(found), 2))
    assert [(s.stage, s.done, s.loss, s.grid) for s in steps] == [("judge", 0.5, 1.0, None), ("refine", 1.0, 0.5, None)]
    assert steps[0].albedo == (1.0, 1.0, 1.0), "a picture holds nothing brighter"
    numbers = jax.tree.leaves((steps[0].pose, steps[0].light))
    assert all(isinstance(number, float) for number in numbers)
    assert steps[0].pose.azimuth == pytest.approx(0.1) and steps[0].light.intensity == pytest.approx(0.9)
    look = session.Look(steps[0].pose, steps[0].light, "phong", steps[0].albedo)
    assert look == dataclasses.replace(look)
    (step,) = fits.follow(iter(found[:1]), 1, lambda point: jnp.zeros((1, 2, 2, 2, 1)))
    assert step.grid.shape == (1, 2, 2, 2, 1)


def test_a_fit_of_unknown_shape_shows_shapes_on_the_way(painter, monkeypatch):
    sight, cells = object(), np.random.default_rng(1).random((7, 2, 4, 4, 4, 1), np.float32)
    monkeypatch.setattr(weights, "load_single_view", lambda: sight)

    def fit_carved_steps(params, config, given, picture, mask, settings):
        assert config == painter.config and given is sight and (picture, mask) == ("picture", "mask")
        assert inverse.count_carved_reports(settings) == len(cells)
        for several in cells:
            point = Unknowns(jnp.ones((2, 7)), jnp.ones((2, 3)), jnp.ones((2, 1)), cells=jnp.asarray(several))
            yield inverse.Fit(point, jnp.ones(2), "s")

    monkeypatch.setattr(inverse, "fit_carved_steps", fit_carved_steps)
    photo = types.SimpleNamespace(picture="picture", mask="mask")
    steps = list(fits.start(fits.WITH_SHAPE, painter, photo, make_object()))
    for step, several in zip(steps, cells, strict=True):
        np.testing.assert_array_equal(step.grid, several[:1])
    assert 0 < steps[0].done < steps[1].done < steps[-1].done == 1
