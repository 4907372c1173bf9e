"""Ray-traced references against geometry known in closed form, camera.py, and an independent tracer's files."""

import json
import math

import numpy as np
import pytest

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data import raycast
from rendernet_jax.data.marching_cubes import LEVEL, marching_cubes, with_thin_parts
from rendernet_jax.data.meshes import Mesh, load_mesh, normalise
from rendernet_jax.data.references import build_scene, reference_pictures, trace
from rendernet_jax.errors import InputError

pytest.importorskip("open3d", reason="references need open3d", exc_type=ImportError)

POSES = [
    Pose(),
    Pose(azimuth=0.7, elevation=0.4),
    Pose(azimuth=-2.5, elevation=-0.6, roll=0.5, scale=1.2, translation=(0.1, -0.05, 0.1)),
    Pose(azimuth=2.0, elevation=0.9, roll=-1.0, scale=0.8, translation=(-0.1, 0.2, -0.15), inverse_distance=0.4),
]


def make_mesh(vertices, faces, colors=None):
    return Mesh(
        vertices=np.asarray(vertices, np.float32),
        faces=np.asarray(faces, np.int32),
        colors=None if colors is None else np.asarray(colors, np.float32),
    )


def make_rectangle(corner, side_a, side_b):
    corner, a, b = (np.asarray(v, float) for v in (corner, side_a, side_b))
    return [corner, corner + a, corner + a + b, corner + b], [[0, 1, 2], [0, 2, 3]]


def make_rectangles(*rectangles, colors=None):
    vertices, faces = zip(*(make_rectangle(*r) for r in rectangles), strict=True)
    return make_mesh(
        np.concatenate(vertices), np.concatenate([np.array(f) + 4 * i for i, f in enumerate(faces)]), colors
    )


def make_box(width=1.0, height=1.0, depth=1.0):
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) - 0.5
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [f for q in quads for f in ([q[0], q[1], q[2]], [q[0], q[2], q[3]])]
    return make_mesh(corners * [width, height, depth], faces)


def make_sphere(radius=0.5, rings=60):
    polar, turn = np.meshgrid(np.linspace(0, np.pi, rings + 1), 2 * np.pi * np.arange(2 * rings) / (2 * rings))
    points = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    index = np.arange(points[..., 0].size).reshape(polar.shape)
    a, b = index[:, :-1], index[:, 1:]
    c, d = np.roll(a, -1, axis=0), np.roll(b, -1, axis=0)
    faces = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in ((a, b, d), (a, d, c))])
    return make_mesh(radius * points.reshape(-1, 3), faces)


def to_object(frame, pose):
    """camera.py's own inverse, for frame points [N, 3]."""
    return np.stack(camera.unproject(*np.asarray(frame, np.float32).T, pose), -1)


def pixel_centres(size):
    t = (2 * np.arange(size) + 1) / size - 1
    return np.stack(np.broadcast_arrays(t[None, :], -t[:, None]), -1).astype(np.float32)


@pytest.mark.parametrize("pose", POSES)
def test_float64_pose_agrees_with_camera(pose):
    frame = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    points = raycast.frame_to_object(frame, pose)
    np.testing.assert_allclose(points, to_object(frame, pose), atol=2e-6)
    np.testing.assert_allclose(camera.to_camera(points.astype(np.float32), pose), frame, atol=2e-6)
    np.testing.assert_allclose(raycast.camera_axes(pose), camera.rotation(pose), atol=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_hits_lie_on_the_box_that_camera_places(pose):
    # One ray a pixel: the traced depth, put back through camera.py, must land on the box, and the normal must be that
    # of the side it lands on; the mask must be the set of pixels whose ray enters the box.
    half = np.array([0.5, 0.3, 0.2])
    size = 64
    buffers = trace(build_scene(make_box(*2 * half)), pose, size, ("mask", "normal", "depth"), supersample=1)
    covered = buffers["mask"][..., 0] > 0
    frame = np.concatenate([pixel_centres(size), buffers["depth"]], -1)[covered]
    relative = to_object(frame, pose) / half
    np.testing.assert_allclose(np.abs(relative).max(-1), 1.0, atol=1e-5)

    axis = np.abs(relative).argmax(-1)
    clear = np.sort(np.abs(relative), -1)[:, 1] < 1 - 1e-4
    outward = np.eye(3)[axis] * np.sign(np.take_along_axis(relative, axis[:, None], -1))
    expected = outward @ np.asarray(camera.rotation(pose)).T
    np.testing.assert_allclose(buffers["normal"][covered][clear], expected[clear], atol=1e-5)

    ends = [
        np.concatenate([pixel_centres(size), np.full((size, size, 1), z, np.float32)], -1).reshape(-1, 3)
        for z in (1, -1)
    ]
    near, far = (to_object(e, pose) / half for e in ends)
    steps = np.linspace(0, 1, 400)[:, None, None]
    inside = (np.abs(near + steps * (far - near)).max(-1) < 1).any(0).reshape(size, size)
    assert (inside == covered).mean() > 0.995


def test_rows_go_down_and_columns_go_right():
    scene = build_scene(make_rectangles(([0.1, 0.2, 0.0], [0.3, 0, 0], [0, 0.2, 0])))
    mask = trace(scene, Pose(), 64, ("mask",))["mask"][..., 0]
    rows, columns = np.nonzero(mask)
    assert rows.max() < 32 and columns.min() >= 32
    np.testing.assert_allclose(mask.sum() * (2 / 64) ** 2, 0.06, rtol=0.1)


def test_only_the_camera_cube_is_seen():
    # Scale 3 moves the near square to q_z = 1.2, out of the cube; it must not hide the far one at -0.9.
    squares = [([-0.1, -0.1, z], [0.2, 0, 0], [0, 0.2, 0]) for z in (0.4, -0.3)]
    scene = build_scene(make_rectangles(*squares))
    depth = trace(scene, Pose(scale=3.0), 16, ("depth",))["depth"]
    np.testing.assert_allclose(depth[8, 8], -0.9, atol=1e-5)
    assert trace(scene, Pose(translation=(0, 0, 2.0)), 16, ("mask",))["mask"].max() == 0


def test_sphere_mask_and_phong_are_the_analytic_ones():
    # An orthographic sphere of radius 1/2 at scale 1 covers a disc of radius 1/2, where n = (2u, 2v, ...).
    size, light = 128, Light(azimuth=0.6, elevation=0.5)
    pictures = reference_pictures(build_scene(make_sphere(rings=120)), Pose(), light, size, ("mask", "phong"))
    np.testing.assert_allclose(pictures["mask"].sum() * (2 / size) ** 2, math.pi / 4, rtol=2e-3)
    n_xy = 2 * pixel_centres(size)
    height2 = 1 - (n_xy**2).sum(-1)
    inner = height2 > 0.1
    n = np.concatenate([n_xy, np.sqrt(np.maximum(height2, 0))[..., None]], -1)
    expected = 0.1 + 0.9 * np.maximum(n @ np.asarray(camera.direction(0.6, 0.5)), 0)
    np.testing.assert_allclose(pictures["phong"][..., 0][inner], expected[inner], atol=0.03)
    assert pictures["phong"][0, 0, 0] == 1.0


def test_supersampled_edge_is_a_fraction():
    # The square's edge at u = 1/4 of a pixel width beyond a pixel border: half of the sub-samples are covered.
    size = 16
    edge = 2.5 * (2 / size)
    scene = build_scene(make_rectangles(([-0.4, -0.4, 0], [0.4 + edge, 0, 0], [0, 0.8, 0])))
    buffers = trace(scene, Pose(), size, ("mask", "normal", "depth", "albedo", "ao"))
    np.testing.assert_allclose(buffers["mask"][8, 9:12, 0], [1, 0.5, 0])
    np.testing.assert_allclose(buffers["normal"][8, 9:12], [[0, 0, 1], [0, 0, 1], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(buffers["depth"][8, 9:12, 0], [0, 0, -1], atol=1e-6)
    assert buffers["ao"].min() == 1.0 and buffers["albedo"].min() == 1.0


def test_ambient_occlusion_beside_a_wall_is_the_analytic_one():
    # A cosine-weighted direction is a point of the unit disc lifted up. At distance x from a wall, it meets the wall
    # within reach r where the disc's coordinate toward the wall exceeds x / r: a circular segment.
    floor = ([-0.5, 0, -0.5], [1, 0, 0], [0, 0, 1])
    wall = ([-0.5, 0, -0.5], [0, 0.5, 0], [0, 0, 1])
    scene = build_scene(make_rectangles(floor, wall))
    ao = trace(scene, Pose(elevation=math.pi / 2, scale=2.0), 64, ("ao",))["ao"][24:40, :, 0]
    x = (np.arange(64) + 0.5) / 64
    k = np.minimum(x / 0.35, 1.0)
    expected = 1 - (np.arccos(k) - k * np.sqrt(1 - k**2)) / math.pi
    np.testing.assert_allclose(ao.mean(0)[2:], expected[2:], atol=0.01)
    assert np.abs(ao - expected)[:, 2:].std() < 0.02  # 64 well-spread rays; independent ones would give 0.05


def test_same_seed_same_occlusion_whatever_the_threads():
    scene = build_scene(
        make_rectangles(([-0.5, 0, 0], [1, 0, 0], [0, 0.5, 0.5]), ([-0.5, 0, 0], [1, 0, 0], [0, 0, 0.5]))
    )
    ao = [trace(scene, POSES[1], 32, ("ao",), seed=s, threads=t)["ao"] for s, t in ((3, 1), (3, 2), (4, 1))]
    np.testing.assert_array_equal(ao[0], ao[1])
    assert np.abs(ao[0] - ao[2]).max() > 0


@pytest.mark.parametrize("size, width", [(64, 2), (256, 2), (512, 3), (1024, 6)])
def test_contour_of_a_square_has_the_stated_width(size, width):
    scene = build_scene(make_rectangles(([-0.4, -0.4, 0], [0.8, 0, 0], [0, 0.8, 0])))
    row = trace(scene, Pose(), size, ("contour",))["contour"][size // 2, :, 0]
    assert 2 * row.sum() == 2 * width  # two edges, in sub-samples
    centres = np.sum(row.reshape(2, -1) * pixel_centres(size)[0, :, 0].reshape(2, -1), -1) / row.reshape(2, -1).sum(-1)
    np.testing.assert_allclose(centres, [-0.4, 0.4], atol=1.5 / size)


def test_contour_marks_creases_and_steps_only():
    def inner_line(mesh, pose):
        return trace(build_scene(mesh), pose, 128, ("contour",))["contour"][64, 48:80].max()

    quarter = Pose(azimuth=math.pi / 4)
    assert inner_line(make_box(), quarter) > 0  # 90 degrees

    def roof(z):  # two planes that meet at x = 0
        return make_rectangles(([0, -0.4, z], [0.4, 0, -z], [0, 0.8, 0]), ([0, -0.4, z], [-0.4, 0, -z], [0, 0.8, 0]))

    def step(z):
        return make_rectangles(([-0.4, -0.4, 0], [0.4, 0, 0], [0, 0.8, 0]), ([0, -0.4, z], [0.4, 0, 0], [0, 0.8, 0]))

    assert inner_line(roof(0.4 * math.tan(math.radians(24))), Pose()) > 0  # 48 degrees
    assert inner_line(roof(0.4 * math.tan(math.radians(21))), Pose()) == 0  # 42 degrees
    assert inner_line(step(0.031), Pose()) > 0
    assert inner_line(step(0.029), Pose()) == 0


def test_vertex_colors_are_interpolated():
    corner = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 1]], float)
    scene = build_scene(make_rectangles(([-0.5, -0.5, 0], [1, 0, 0], [0, 1, 0]), colors=corner))
    albedo = trace(scene, Pose(scale=2.0), 32, ("albedo",))["albedo"]
    t = (np.arange(32) + 0.5) / 32
    expected = np.stack(np.broadcast_arrays(1 - t[None], t[None], 1 - t[:, None]), -1)
    np.testing.assert_allclose(albedo, expected, atol=1e-5)
    pictures = reference_pictures(scene, Pose(scale=2.0), Light(ambient=0.1, intensity=0.4), 32, ("colour", "phong"))
    np.testing.assert_allclose(pictures["colour"], expected / 2, atol=1e-5)
    np.testing.assert_allclose(pictures["phong"], np.full((32, 32, 1), 0.5), atol=1e-5)


def test_toon_has_four_tones_and_black_lines():
    scene = build_scene(make_sphere())
    toon = reference_pictures(scene, Pose(), Light(azimuth=0.5), 64, ("toon",), supersample=1)["toon"]
    assert set(np.unique(toon)) == {0.0, 0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda s: trace(s, Pose(), 8, ("mask", "gloss")), "gloss"),
        (lambda s: reference_pictures(s, Pose(), Light(), 8, ("neon",)), "neon"),
        (lambda s: trace(s, Pose(azimuth=np.zeros(2)), 8, ("mask",)), "pose.azimuth"),
        (lambda s: trace(s, Pose(translation=np.zeros((2, 3))), 8, ("mask",)), "pose.translation"),
        (lambda s: trace(s, Pose(), 0, ("mask",)), "size"),
        (lambda s: build_scene(make_mesh([[0, 0, 0]], np.zeros((0, 3)))), "mesh"),
        (lambda s: build_scene(make_mesh(np.eye(3) * np.nan, [[0, 1, 2]])), "finite"),
        (lambda s: build_scene(make_mesh(np.eye(3), [[0, 1, 3]])), "indices"),
        (lambda s: marching_cubes(np.zeros((4, 4, 4))), "grid"),
        (lambda s: marching_cubes(np.zeros((4, 4, 4, 1))), "grid"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(InputError, match=named):
        call(build_scene(make_box()))


# --- marching cubes -------------------------------------------------------------------------------------------------


def voxel_centres(shape):
    return np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in shape), indexing="ij"), -1)


def test_iso_surface_lies_where_the_blurred_field_has_the_level():
    # A linear ramp is unchanged by the blur: its level set is a plane known exactly, in every axis and non-cubic grid.
    shape = (20, 24, 32)
    for axis in range(3):
        grid = 0.5 + 4 * (0.1 - voxel_centres(shape)[..., axis : axis + 1])
        vertices = marching_cubes(np.clip(grid, 0, 1)).vertices
        inner = (np.abs(np.delete(vertices, axis, -1)) < 0.35).all(-1) & (np.abs(vertices[:, axis]) < 0.4)
        level_at = 0.1 - (LEVEL - 0.5) / 4
        assert inner.sum() > 50
        np.testing.assert_allclose(vertices[inner, axis], level_at, atol=0.01 / shape[axis])


def test_iso_surface_of_a_ball_is_round_centred_and_closed():
    centre = np.array([0.05, -0.1, 0.15])
    distance = np.linalg.norm(voxel_centres((48, 48, 48)) - centre, axis=-1)
    mesh = marching_cubes(np.clip(0.5 - 48 * (distance - 0.25) / 6, 0, 1)[..., None])
    radius = np.linalg.norm(mesh.vertices - centre, axis=-1)
    # level 0.6 of a ramp of 6 voxels is 0.6 voxel inside 0.25; the blur of a curved ramp moves it by sigma^2 / r
    assert radius.std() < 0.01 / 48
    np.testing.assert_allclose(radius.mean(), 0.25 - 0.6 / 48 - 0.36 / (0.25 * 48) / 48, atol=0.01 / 48)
    edges = np.sort(np.concatenate([mesh.faces[:, p] for p in ([0, 1], [1, 2], [2, 0])]), -1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_surface_of_coverage_has_its_thin_parts_and_thick_ones_stay():
    grid = np.zeros((20, 20, 20, 4), np.float32)
    grid[4:16, 10:16, 4:16, 0] = 1.0
    grid[3, 10:16, 4:16, 0] = 0.4
    grid[4:16, 2, 4:16, 0] = 0.3  # a shelf below, thinner than a cell
    grid[..., 1] = 0.7
    heights = lambda grid: marching_cubes(grid[..., :1]).vertices[:, 1]  # noqa: E731
    assert heights(grid).min() > -0.1
    whole = with_thin_parts(grid, grid[..., :1] >= 0.1)
    assert heights(whole).min() == pytest.approx(2.5 / 20 - 0.5, abs=0.5 / 20)
    np.testing.assert_array_equal(whole[:, 5:], grid[:, 5:])
    np.testing.assert_array_equal(whole[..., 1:], grid[..., 1:])


def test_full_grid_is_closed_at_the_border():
    mesh = marching_cubes(np.ones((8, 8, 8, 1)))
    assert np.abs(mesh.vertices).max(0) == pytest.approx([0.5] * 3, abs=0.5 / 8)
    assert trace(build_scene(mesh), POSES[1], 16, ("mask",))["mask"].max() == 1


# --- an independent tracer's files ----------------------------------------------------------------------------------


def test_agrees_with_independent_references(reference_dir):
    scenes = {}
    for case in json.loads((reference_dir / "poses.json").read_text()):
        name, path = case.pop("file"), case.pop("mesh")
        with np.load(reference_dir / name) as file:
            expected = {key: file[key] for key in file.files}
        if path not in scenes:
            scenes[path] = build_scene(normalise(load_mesh(reference_dir.parent / path)))
        size = expected["mask"].shape[0]
        channels = ("mask", "normal", "depth")
        buffers = trace(scenes[path], camera.pose_from_degrees(**case), size, channels, supersample=1)
        mask, expected_mask = buffers["mask"][..., 0] > 0, expected["mask"] > 0
        assert (mask == expected_mask).mean() >= 0.995, name
        shared = mask & expected_mask
        turned = np.linalg.norm(buffers["normal"] - expected["normal"], axis=-1)[shared]
        assert (turned <= 0.02).mean() >= 0.99, name
        apart = np.abs(buffers["depth"][..., 0] - expected["z"])[shared]
        assert (apart <= 1e-3).mean() >= 0.99, name
