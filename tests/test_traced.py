"""Candidates for a mesh, settled by what is ray traced of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_inverse import angle_between, light_angle

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.procedural.parts import box, join
from rendernet_jax.data.references import build_scene, reference_pictures, surface_of, trace
from rendernet_jax.inverse import traced, unknowns
from rendernet_jax.inverse.candidates import crop_pixels
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.voxels import Window

POSE, LIGHT = Pose(0.6, 0.4, 0.05, 1.1, (0.05, 0.0, 0.0), 0.2), Light(0.4, 0.7)
FREE = {"light": None, "albedo": None}


def candidates_at(*moves) -> Unknowns:
    """The true pose, moved by vectors ``[7]``, unlit."""
    poses = unknowns.from_pose(POSE)[None] + jnp.asarray(moves, jnp.float32)
    return Unknowns(poses, jnp.zeros((len(moves), 3)), jnp.ones((len(moves), 1)))


def settle(mesh: Mesh, found: Unknowns, held: dict = FREE, moving: bool = True):
    photo = reference_pictures(build_scene(mesh), POSE, LIGHT, 128, ("phong", "mask"), supersample=4)
    return traced.settle(surface_of(mesh), found, photo["phong"], photo["mask"], held, moving)


def test_poses_are_compared_by_what_is_drawn_of_the_mesh():
    """The true pose is all but exact, and one from behind is not, whatever light suits it; none of them moves."""
    found = candidates_at([0] * 7, [np.pi, *[0] * 6], [0.1, *[0] * 6])
    lit, losses = settle(make_shape("chair", 9_000_002), found, moving=False)
    assert 10 * losses[0] < losses[2] < losses[1], losses
    assert light_angle(unknowns.to_light(lit.light[0]), LIGHT) < 1.0
    np.testing.assert_array_equal(lit.pose, found.pose)


@pytest.mark.parametrize("family", ["chair", "animal"])
def test_poses_become_exact(family):
    """To a fraction of a degree, from six degrees, 4% and a different perspective off."""
    off = [0.07, -0.06, 0.04, 0.04, 0.02, -0.02, 0.1]
    settled, losses = settle(make_shape(family, 9_000_002), candidates_at(off, [3.0, *[0] * 6]))
    pose = unknowns.to_pose(settled.pose[0])
    assert angle_between(pose, camera.broadcast(POSE)) < 0.3
    np.testing.assert_allclose(settled.pose[0, 3:], unknowns.from_pose(POSE)[3:], atol=0.02)
    assert light_angle(unknowns.to_light(settled.light[0]), LIGHT) < 1.0
    assert losses[0] < 2e-4 and losses[0] < 0.1 * losses[1]


def test_light_is_told_by_every_pixel_of_what_is_small():
    """Of small pictures no row is left out, of large ones as few as there may be; zeros fill both up."""
    rng = np.random.default_rng(0)
    for size, apart, side in ((32, 1, 64), (64, 1, 64), (96, 1, 128), (160, 2, 128), (288, 3, 128)):
        image = rng.random((size, size, 2), np.float32)
        kept, some = image[::apart, ::apart], traced._thin_out(image)
        assert some.shape == (side, side, 2)
        np.testing.assert_array_equal(some[: len(kept), : len(kept)], kept)
        assert some.sum() == pytest.approx(kept.sum(), rel=1e-4)


def test_losses_of_what_is_given_up_are_those_of_its_best_light():
    """What is left behind in coarse pictures is lit as well as what is not: its loss can be compared."""
    mesh = make_shape("animal", 9_000_002)
    found, losses = settle(mesh, candidates_at([0] * 7, [2.5, *[0] * 6]))
    again, alike = settle(mesh, found, moving=False)
    np.testing.assert_allclose(found.light, again.light, atol=1e-5)
    np.testing.assert_allclose(losses, alike, rtol=1e-4)
    assert losses[1] > 5 * losses[0]


def test_what_meets_is_looked_at_once():
    """Of two candidates that coarse pictures lead to one pose, fine ones are drawn as of one."""
    mesh, fine = make_shape("animal", 9_000_002), []
    surface = surface_of(mesh)

    def watch(pose, window, size, *samples):
        fine.append(size > 64)
        return surface(pose, window, size, *samples)

    photo = reference_pictures(build_scene(mesh), POSE, LIGHT, 128, ("phong", "mask"), supersample=4)
    off, counts = np.float32([0.03, 0.02, -0.02, 0.01, 0.01, -0.01, 0.0]), []
    for found in (candidates_at(off, [np.pi, *[0] * 6]), candidates_at(off, -off)):
        fine.clear()
        settled, losses = traced.settle(watch, found, photo["phong"], photo["mask"], FREE, True)
        counts.append(sum(fine))
        assert angle_between(unknowns.to_pose(settled.pose[np.argmin(losses)]), camera.broadcast(POSE)) < 0.3
    assert counts[1] < 1.3 * counts[0], counts


def test_what_is_held_stays():
    held = {"light": jnp.asarray([1.5, 0.1, 0.3]), "albedo": jnp.asarray([0.6])}
    found = candidates_at([0.03, *[0] * 6]).replace(light=held["light"][None], albedo=held["albedo"][None])
    settled, _ = settle(make_shape("animal", 9_000_002), found, held)
    np.testing.assert_array_equal(settled.light[0], held["light"])
    np.testing.assert_array_equal(settled.albedo[0], held["albedo"])


def test_what_lies_outside_the_frame_does_not_count():
    """The true pose of an object that the frame cuts off is not pulled into it."""
    mesh, pose = make_shape("animal", 9_000_002), Pose(0.6, 0.4, 0.05, 1.1, (0.8, 0.2, 0.0), 0.2)
    photo = reference_pictures(build_scene(mesh), pose, LIGHT, 128, ("phong", "mask"), supersample=4)
    assert photo["mask"][:, -1].max() == 1.0
    found = Unknowns(unknowns.from_pose(pose)[None], jnp.zeros((1, 3)), jnp.ones((1, 1)))
    settled, losses = traced.settle(surface_of(mesh), found, photo["phong"], photo["mask"], FREE, True)
    np.testing.assert_allclose(settled.pose, found.pose, atol=0.02)
    assert losses[0] < 2e-4


def test_a_small_difference_tells_front_from_back():
    """A chest whose front has a knob, from a pose three degrees off and from one off as far beyond half a turn."""
    parts = [box((-0.3, -0.5, -0.2), (0.3, 0.5, 0.2)), box((-0.04, 0.1, 0.2), (0.04, 0.16, 0.23))]
    vertices, faces = join(parts)
    mesh = Mesh(vertices.astype(np.float32), faces.astype(np.int32))
    off = [0.05, 0.02, -0.02, 0.0, 0.0, 0.0, 0.0]
    settled, losses = settle(mesh, candidates_at([off[0] + np.pi, *off[1:]], off))
    assert losses[1] < 0.7 * losses[0], losses
    assert angle_between(unknowns.to_pose(settled.pose[1]), camera.broadcast(POSE)) < 0.3


@pytest.mark.parametrize(("size", "factor"), [(32, 1), (20, 2)])
def test_cropped_pixels_are_means_of_squares_on_white(size, factor):
    picture = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    shrunk, covered, shown = crop_pixels(picture, picture[..., :1], Window(), size)
    side, count = len(shrunk), 32 // factor
    edge = (side - count) // 2
    blocks = picture.reshape(count, factor, count, factor, 3).mean((1, 3))
    expected = np.pad(blocks, ((edge, edge), (edge, edge), (0, 0)), constant_values=1.0)
    np.testing.assert_allclose(shrunk, expected, atol=1e-6)
    np.testing.assert_allclose(covered, np.pad(blocks[..., :1], ((edge, edge), (edge, edge), (0, 0))), atol=1e-6)
    half = side / count
    assert (shown.left, shown.top, shown.extent) == pytest.approx((-half, half, 2 * half))


def test_cropped_pixels_show_the_window_that_is_told():
    """What is traced of the frame, cropped, is what is traced of that window alone."""
    scene, asked = build_scene(make_shape("animal", 9_000_002)), Window(-0.4, 0.6, 0.7, 1.0)
    whole = trace(scene, POSE, 96, ("mask",), supersample=2)["mask"]
    _, covered, shown = crop_pixels(1.0 - whole, whole, asked, 20)
    half = 0.5 * float(shown.extent)
    square = (float(shown.left) + half, float(shown.top) - half, half)
    again = trace(scene, POSE, len(covered), ("mask",), supersample=4, window=square)["mask"]
    np.testing.assert_allclose(covered, again, atol=1e-4)
    assert shown.left <= asked.left and shown.top >= asked.top
    assert shown.left + shown.extent >= asked.left + asked.extent
