"""Resampling against SciPy, exact axis swaps, and gradients on and off the borders of cells."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from rendernet_jax import camera
from rendernet_jax.camera import Pose, stack
from rendernet_jax.errors import InputError
from rendernet_jax.voxels import Window, camera_grid, frame_axes

sample = jax.jit(camera_grid, static_argnums=2)
FRAME = {"left": -1.0, "top": 1.0, "extent": 2.0}
UPRIGHT = {
    "azimuth": 0.0,
    "elevation": 0.0,
    "roll": 0.0,
    "scale": 1.0,
    "inverse_distance": 0.0,
    "translation": np.zeros(3),
}


def random_pose(rng, pinhole):
    return {
        "azimuth": rng.uniform(-np.pi, np.pi),
        "elevation": rng.uniform(-1.5, 1.5),
        "roll": rng.uniform(-np.pi, np.pi),
        "scale": rng.uniform(0.7, 2.2),
        "translation": rng.uniform(-0.3, 0.3, 3),
        "inverse_distance": rng.uniform(0.1, 0.6) if pinhole else 0.0,
    }


def numpy_index(pose, grid_shape, shape, window=FRAME):
    """Fractional voxel index ``[3, H, W, D]`` of every camera cell, in double precision."""
    rows, columns, depth = shape
    x = window["left"] + (np.arange(columns) + 0.5) / columns * window["extent"]
    y = window["top"] - (np.arange(rows) + 0.5) / rows * window["extent"]
    z = 1 - (np.arange(depth) + 0.5) / depth * 2
    y, x, z = np.meshgrid(y, x, z, indexing="ij")
    q = np.stack([x * (1 - pose["inverse_distance"] * z), y * (1 - pose["inverse_distance"] * z), z])
    q = (q - np.reshape(pose["translation"], (3, 1, 1, 1))) / pose["scale"]
    turn = Rotation.from_euler("yxz", [-pose["azimuth"], pose["elevation"], pose["roll"]]).as_matrix()
    p = np.einsum("ji,j...->i...", turn, q)
    return (p + 0.5) * np.reshape(grid_shape, (3, 1, 1, 1)) - 0.5


def interpolate(grid, index):
    """Grid ``[X, Y, Z, C]`` at fractional voxel indices ``[3, H, W, D]``, by SciPy."""
    channels = np.moveaxis(grid.astype(np.float64), -1, 0)
    return np.stack([map_coordinates(c, index, order=1, mode="grid-constant") for c in channels], axis=-1)


def numpy_camera_grid(grid, pose, shape, window=FRAME):
    return interpolate(grid, numpy_index(pose, grid.shape[:3], shape, window))


def batch(poses):
    return stack([Pose(**pose) for pose in poses])


@pytest.mark.parametrize(
    "grid_shape, shape, channels",
    [((8, 8, 8), (12, 12, 12), 1), ((5, 8, 11), (9, 12, 7), 2), ((16, 3, 6), (6, 10, 16), 3)],
)
def test_equals_scipy_for_random_poses(grid_shape, shape, channels):
    rng = np.random.default_rng(channels)
    poses = [random_pose(rng, pinhole=i % 2) for i in range(4)]
    grid = rng.random((4, *grid_shape, channels)).astype(np.float32)
    found = sample(jnp.asarray(grid), batch(poses), shape)
    expected = [numpy_camera_grid(g, pose, shape) for g, pose in zip(grid, poses, strict=True)]
    assert found.shape == (4, *shape, channels) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=3e-5)
    assert 0.05 < np.mean(np.asarray(expected) > 0) < 0.95


def test_windows_equal_scipy_and_crops_of_the_whole_frame():
    rng = np.random.default_rng(5)
    grid, pose = rng.random((1, 6, 7, 8, 2)).astype(np.float32), random_pose(rng, pinhole=True)
    whole = sample(jnp.asarray(grid), Pose(**pose), (16, 16, 6))
    corners = [(0, 0), (4, 8), (7, 3)]
    window = Window(
        left=jnp.asarray([-1 + c / 8 for _, c in corners]),
        top=jnp.asarray([1 - r / 8 for r, _ in corners]),
        extent=jnp.full(3, 1.0),
    )
    parts = sample(jnp.asarray(grid), Pose(**pose), (8, 8, 6), window)
    for part, (row, column) in zip(parts, corners, strict=True):
        np.testing.assert_allclose(part, whole[0, row : row + 8, column : column + 8], atol=2e-6)
    place = {"left": -0.3, "top": 0.45, "extent": 0.7}
    found = sample(jnp.asarray(grid), Pose(**pose), (5, 4, 6), Window(**place))
    np.testing.assert_allclose(found[0], numpy_camera_grid(grid[0], pose, (5, 4, 6), place), atol=3e-5)


def test_a_small_object_in_a_window_of_its_depth_is_a_large_one_in_the_frame():
    """Scale, shift and the size of the window shrink together; the way to the viewer grows as much."""
    grid = jnp.asarray(np.random.default_rng(7).random((1, 6, 7, 8, 1)), jnp.float32)
    large = sample(grid, Pose(0.4, 0.3, 0.1, 1.2, (0.2, -0.1, 0.0), 0.1), (8, 8, 8))
    small = Pose(0.4, 0.3, 0.1, 0.3, (0.05, -0.025, 0.0), 0.4)
    window = Window(left=-0.25, top=0.25, extent=0.5, depth=0.25)
    np.testing.assert_allclose(sample(grid, small, (8, 8, 8), window), large, atol=1e-5)


def test_one_grid_and_many_poses_equal_repeated_grids():
    rng = np.random.default_rng(6)
    poses = batch([random_pose(rng, pinhole=i % 2) for i in range(3)])
    grid = jnp.asarray(rng.random((1, 5, 6, 7, 2)), jnp.float32)
    shared = sample(grid, poses, (8, 8, 8))
    # Two programs: the last bit may differ.
    np.testing.assert_allclose(shared, sample(jnp.repeat(grid, 3, axis=0), poses, (8, 8, 8)), atol=1e-6)
    assert np.abs(shared[0] - shared[1]).max() > 0.1


def test_many_grids_share_one_pose():
    rng = np.random.default_rng(7)
    pose, grid = random_pose(rng, pinhole=False), rng.random((3, 5, 6, 7, 1)).astype(np.float32)
    found = sample(jnp.asarray(grid), Pose(**pose), (4, 4, 4))
    np.testing.assert_allclose(found, [numpy_camera_grid(g, pose, (4, 4, 4)) for g in grid], atol=3e-5)


# --- quarter turns ----------------------------------------------------------------------------------------------------


def turn_array(grid, azimuth, elevation, roll):
    """``[X, Y, Z, C]`` turned by quarter turns about y (by -azimuth), then x, then z."""
    grid = np.rot90(grid, -azimuth, axes=(2, 0))
    grid = np.rot90(grid, elevation, axes=(1, 2))
    return np.rot90(grid, roll, axes=(0, 1))


def as_seen(grid):
    """``[X, Y, Z, C]`` from the front: rows from the top, columns from the left, depth from the nearest."""
    return grid.transpose(1, 0, 2, 3)[::-1, :, ::-1]


QUARTERS = list(itertools.product(range(4), (-1, 0, 1), range(4)))


def quarter_poses(turns):
    return batch(
        [{**UPRIGHT, "scale": 2.0, "azimuth": a * np.pi / 2, "elevation": e * np.pi / 2, "roll": r * np.pi / 2}
         for a, e, r in turns]
    )  # fmt: skip


@pytest.mark.parametrize("size", [8, 7])
def test_quarter_turns_of_a_cube_are_axis_swaps(size):
    grid = np.random.default_rng(size).random((size, size, size, 2)).astype(np.float32)
    found = sample(jnp.asarray(grid[None]), quarter_poses(QUARTERS), (size, size, size))
    for view, turn in zip(found, QUARTERS, strict=True):
        np.testing.assert_array_equal(view, as_seen(turn_array(grid, *turn)), err_msg=str(turn))


@pytest.mark.parametrize("turn", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (3, -1, 2), (2, 1, 3)])
def test_quarter_turns_of_a_box_are_axis_swaps(turn):
    grid = np.random.default_rng(1).random((4, 6, 9, 2)).astype(np.float32)
    expected = as_seen(turn_array(grid, *turn))
    found = sample(jnp.asarray(grid[None]), quarter_poses([turn]), expected.shape[:3])
    np.testing.assert_array_equal(found[0], expected)


def test_front_view_shows_where_things_are():
    grid = np.zeros((1, 4, 4, 4, 3), np.float32)
    grid[0, 3, 1, 1, 0] = grid[0, 1, 3, 1, 1] = grid[0, 1, 1, 3, 2] = 1  # toward +x, +y, +z
    found = np.asarray(sample(jnp.asarray(grid), Pose(scale=2.0), (4, 4, 4))[0])
    assert found[2, 3, 2, 0] == 1, "+x is at the right"
    assert found[0, 1, 2, 1] == 1, "+y is at the top"
    assert found[2, 1, 0, 2] == 1, "+z is nearest"
    assert found.sum() == 3


# --- gradients --------------------------------------------------------------------------------------------------------

FIELDS = [*(n for n in UPRIGHT if n != "translation"), *(f"translation.{i}" for i in range(3))]


def moved(pose, field, step):
    """The pose with one of its numbers moved."""
    name, _, axis = field.partition(".")
    change = np.eye(3)[int(axis)] * step if axis else step
    return {**pose, name: pose[name] + change}


def pose_jacobian(grid, pose, shape):
    """``{field: [H, W, D, C]}``."""
    pose = {k: jnp.asarray(v, jnp.float32) for k, v in pose.items()}
    jacobian = jax.jit(jax.jacfwd(lambda p: camera_grid(jnp.asarray(grid[None]), Pose(**p), shape)[0]))(pose)
    axes = {f"translation.{i}": jacobian["translation"][..., i] for i in range(3)}
    return {field: np.asarray({**jacobian, **axes}[field]) for field in FIELDS}


def test_pose_gradients_match_central_differences_off_the_borders():
    rng = np.random.default_rng(8)
    grid, shape = rng.random((6, 7, 5, 2)).astype(np.float32), (8, 9, 7)
    pose, step = random_pose(rng, pinhole=True), 1e-4
    index = numpy_index(pose, grid.shape[:3], shape)
    inside = (np.abs(index - np.round(index)) > 0.01).all(0)  # farther from a border than the step leads
    assert inside.mean() > 0.9
    for field, gradient in pose_jacobian(grid, pose, shape).items():
        ends = [numpy_camera_grid(grid, moved(pose, field, s), shape) for s in (step, -step)]
        difference = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(gradient[inside], difference[inside], atol=2e-3, err_msg=field)
        assert np.abs(difference).max() > 0.5, field


@pytest.mark.parametrize("inverse_distance", [0.0, 0.25])
def test_pose_gradients_equal_forward_differences_on_the_borders(inverse_distance):
    """Where every sample lies on a voxel centre (or, by perspective, off it again), in each voxel coordinate."""
    rng = np.random.default_rng(9)
    grid, shape = rng.random((8, 4, 16, 2)).astype(np.float32), (4, 8, 16)
    pose = {**UPRIGHT, "scale": 2.0, "translation": np.array([0.25, -0.5, 0.125]), "inverse_distance": inverse_distance}
    index = numpy_index(pose, grid.shape[:3], shape)
    assert (index == np.round(index)).all() or inverse_distance
    # Along each axis, from the sample's cell to the next, at the sample's fractions of the other two.
    slopes = []
    for axis in range(3):
        behind = np.where(np.arange(3).reshape(3, 1, 1, 1) == axis, np.floor(index), index)
        ahead = behind + np.eye(3)[axis].reshape(3, 1, 1, 1)
        slopes.append(interpolate(grid, ahead) - interpolate(grid, behind))
    for field, gradient in pose_jacobian(grid, pose, shape).items():
        ends = [numpy_index(moved(pose, field, s), grid.shape[:3], shape) for s in (1e-6, -1e-6)]
        speed = (ends[0] - ends[1]) / 2e-6
        expected = sum(v[..., None] * s for v, s in zip(speed, slopes, strict=True))
        np.testing.assert_allclose(gradient, expected, atol=1e-4, err_msg=field)
        if field.startswith("translation"):
            changes = np.abs(slopes[int(field[-1])]) > 1e-3
            assert changes.mean() > 0.3 and (np.abs(gradient[changes]) > 0).all(), "zero where the grid changes"


def test_grid_gradient_is_the_adjoint_of_sampling():
    """Sampling is linear in the grid: <sample(u), v> = <u, gradient>, one grid under several poses."""
    rng = np.random.default_rng(11)
    poses = batch([random_pose(rng, pinhole=i % 2) for i in range(3)])
    first, second = (jnp.asarray(rng.random((1, 5, 6, 7, 2)), jnp.float32) for _ in range(2))
    weight = jnp.asarray(rng.normal(size=(3, 6, 6, 6, 2)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda g: jnp.vdot(sample(g, poses, (6, 6, 6)), weight)))(first)
    expected = np.vdot(sample(second, poses, (6, 6, 6)), weight)
    assert float(jnp.vdot(second, gradient)) == pytest.approx(expected, rel=1e-4)
    assert (np.abs(gradient) > 0).mean() > 0.5


# --- transformations, dtypes, errors ----------------------------------------------------------------------------------


def test_jit_equals_eager_and_vmap_equals_the_batch():
    rng = np.random.default_rng(12)
    poses = batch([random_pose(rng, pinhole=i % 2) for i in range(3)])
    grid = jnp.asarray(rng.random((3, 5, 6, 7, 2)), jnp.float32)
    together = sample(grid, poses, (8, 6, 4))
    mapped = jax.jit(jax.vmap(lambda g, p: camera_grid(g[None], p, (8, 6, 4))[0]))(grid, poses)
    np.testing.assert_allclose(mapped, together, atol=2e-6)
    eager = camera_grid(grid[:1], poses[0], (8, 6, 4))
    np.testing.assert_allclose(eager[0], together[0], atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, bool, jnp.bfloat16])
def test_grids_of_any_dtype_are_interpolated_like_floats(dtype):
    grid = (np.random.default_rng(13).random((1, 4, 4, 4, 1)) > 0.5).astype(dtype)
    found = sample(grid, Pose(azimuth=0.4, elevation=0.3), (6, 6, 6))
    np.testing.assert_array_equal(found, sample(grid.astype(np.float32), Pose(azimuth=0.4, elevation=0.3), (6, 6, 6)))
    assert found.dtype == jnp.float32 and ((found > 0.1) & (found < 0.9)).any()


@pytest.mark.parametrize(
    "shape, pose, message",
    [
        ((4, 4, 4), Pose(), r"expected \[B, X, Y, Z, C\], got \(4, 4, 4\); add"),
        ((1, 4, 0, 4, 1), Pose(), r"got \(1, 4, 0, 4, 1\)"),
        ((2, 4, 4, 4, 1), Pose(azimuth=jnp.zeros(3)), "2 grids, poses of shape .3,"),
        ((1, 4, 4, 4, 1), Pose(azimuth=jnp.zeros((2, 2))), "poses of shape .2, 2"),
    ],
)
def test_wrong_shapes_are_named(shape, pose, message):
    with pytest.raises(InputError, match=message):
        camera_grid(jnp.zeros(shape), pose, (4, 4, 4))


# --- the derivative, which is the library's own -----------------------------------------------------------------------


def plain_camera_grid(grid, pose, shape):
    """Sampling by ``map_coordinates`` with JAX's own derivatives; one grid, one pose."""
    axes = frame_axes(shape, Window())
    index = [(p + 0.5) * n - 0.5 for p, n in zip(camera.unproject(*axes, pose), grid.shape[1:4], strict=True)]
    channels = [jax.scipy.ndimage.map_coordinates(c, index, order=1) for c in jnp.moveaxis(grid[0], -1, 0)]
    return jnp.stack(channels, axis=-1)[None]


@functools.partial(jax.jit, static_argnums=0)
def both_modes(function, grid, pose, moved, weights):
    """Value, Jacobian-vector product and vector-Jacobian product of sampling at the cells of the weights."""
    sample = lambda g, p: function(g, p, weights.shape[1:4])  # noqa: E731
    value, pull = jax.vjp(sample, grid, pose)
    return value, jax.jvp(sample, (grid, pose), moved)[1], pull(weights)


@pytest.mark.parametrize("pinhole", [False, True])
def test_derivatives_equal_those_of_map_coordinates(pinhole):
    """Both modes, by grid and by every field of the pose, for an object that leaves the frame."""
    rng = np.random.default_rng(5)
    pose = camera.broadcast(Pose(**random_pose(rng, pinhole)).replace(scale=1.7))
    grid = jnp.asarray(rng.random((1, 6, 7, 5, 2)), jnp.float32)
    shape = (9, 8, 10)
    weights = jnp.asarray(rng.normal(size=(1, *shape, 2)), jnp.float32)
    moved = jnp.asarray(rng.normal(size=grid.shape), jnp.float32), jax.tree.map(jnp.ones_like, pose)
    outcomes = [
        jax.tree.leaves(both_modes(function, grid, pose, moved, weights))
        for function in (camera_grid, plain_camera_grid)
    ]
    for found, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * float(jnp.abs(expected).max()))


def test_many_poses_share_the_memory_of_one_grid():
    """Neither the pictures nor the gradient of a grid of 1 MB, seen from 64 poses, make copies of it."""
    grid = jax.ShapeDtypeStruct((1, 64, 64, 64, 1), jnp.float32)
    azimuth = jax.ShapeDtypeStruct((64,), jnp.float32)
    loss = lambda grid, azimuth: jnp.sum(camera_grid(grid, Pose(azimuth=azimuth), (4, 4, 4)) ** 2)  # noqa: E731
    for function in (loss, jax.grad(loss)):
        memory = jax.jit(function).lower(grid, azimuth).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 8 * 64**3 * 4


def test_pose_that_is_no_number_gives_no_number():
    """And reads nothing outside the grid on the way, in the gradient either."""
    grid = jnp.ones((1, 4, 4, 4, 1))
    draw = jax.jit(lambda azimuth: camera_grid(grid, Pose(azimuth=azimuth), (4, 4, 4)))
    assert np.isnan(draw(jnp.nan)).all()
    assert np.isnan(jax.jit(jax.grad(lambda a: jnp.sum(draw(a))))(jnp.nan))


def test_gradients_pass_through_a_vmap_over_poses():
    grid = jnp.asarray(np.random.default_rng(6).random((1, 5, 6, 4, 1)), jnp.float32)
    azimuths = jnp.array([0.2, 1.1, 2.5])
    mapped = lambda grid, a: jax.vmap(lambda a: camera_grid(grid, Pose(azimuth=a), (4, 6, 5))[0])(a)  # noqa: E731
    batched = lambda grid, a: camera_grid(grid, Pose(azimuth=a), (4, 6, 5))  # noqa: E731
    found, expected = (
        jax.jit(jax.grad(lambda g, a, f=f: jnp.sum(f(g, a) ** 2), (0, 1)))(grid, azimuths) for f in (mapped, batched)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
