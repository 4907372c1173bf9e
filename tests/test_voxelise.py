import time

import numpy as np
import pytest
import scipy.ndimage

from rendernet_jax.data.meshes import Mesh, normalise
from rendernet_jax.data.voxelise import sampled, voxelise
from rendernet_jax.errors import InputError

pytest.importorskip("open3d")
trimesh = pytest.importorskip("trimesh")


def mesh_of(shape) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def box(size, centre=(0, 0, 0), drop=0) -> Mesh:
    """Axis-aligned box; ``drop`` leaves out that many triangles of the top."""
    shape = trimesh.creation.box(size)
    top = np.flatnonzero(shape.face_normals[:, 1] > 0.9)
    faces = np.delete(shape.faces, top[:drop], axis=0)
    return Mesh((shape.vertices + np.asarray(centre)).astype(np.float32), faces.astype(np.int32))


def join(*parts: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = [part.faces + start for part, start in zip(parts, starts[:-1], strict=True)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def centres(size):
    line = (np.arange(size) + 0.5) / size - 0.5
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)


def brute_force(mesh, size):
    """The rule as it is written: every centre against every triangle, then holes of the padded grid filled."""
    points = centres(size).reshape(-1, 3)
    nearest = np.full(len(points), np.inf)
    for corners in mesh.vertices[mesh.faces].astype(np.float64):
        closest = trimesh.triangles.closest_point(np.broadcast_to(corners, (len(points), 3, 3)), points)
        nearest = np.minimum(nearest, np.linalg.norm(closest - points, axis=1))
    shell = (nearest <= 0.501 / size).reshape((size,) * 3)
    return scipy.ndimage.binary_fill_holes(np.pad(shell, 1))[1:-1, 1:-1, 1:-1]


SPHERE = trimesh.creation.icosphere(subdivisions=4, radius=0.4)
TILTED = trimesh.creation.box((0.5, 0.3, 0.02), transform=trimesh.transformations.euler_matrix(0.3, 0.5, 0.7))


@pytest.mark.parametrize("shape", [TILTED, trimesh.creation.icosphere(subdivisions=1, radius=0.31)])
def test_both_rules_equal_brute_force(shape):
    mesh = mesh_of(shape)
    mesh = Mesh(mesh.vertices + np.float32([0.03, -0.05, 0.011]), mesh.faces)
    np.testing.assert_array_equal(voxelise(mesh, 20, "binary")[..., 0], brute_force(mesh, 20))
    fine = brute_force(mesh, 40).reshape(10, 4, 10, 4, 10, 4).mean(axis=(1, 3, 5))
    np.testing.assert_array_equal(voxelise(mesh, 10, "coverage")[..., 0], fine.astype(np.float32))


def test_sphere_has_the_volume_of_its_outset():
    # Half a (sub-)cell is added all around: at 32 cells the radius grows by 1/64, or by 1/256 for coverage.
    for occupancy, outset, tolerance in [("binary", 1 / 64, 0.01), ("coverage", 1 / 256, 0.003)]:
        grid = voxelise(mesh_of(SPHERE), 32, occupancy)
        assert grid.shape == (32, 32, 32, 1) and grid.dtype == np.float32
        assert grid.mean() == pytest.approx(4 / 3 * np.pi * (0.4 + outset) ** 3, rel=tolerance)
    radius = np.linalg.norm(centres(32), axis=-1)
    assert (grid[radius < 0.4 - 1 / 32] == 1).all() and (grid[radius > 0.4 + 1 / 32] == 0).all()


def test_axes_are_x_y_z():
    grid = voxelise(box((0.2, 0.4, 0.8), (0.3, -0.2, 0.05)), 16, "binary")[..., 0]
    centre = [(centres(16)[..., axis] * grid).sum() / grid.sum() for axis in range(3)]
    np.testing.assert_allclose(centre, [0.3, -0.2, 0.05], atol=0.02)


@pytest.mark.parametrize("occupancy", ["binary", "coverage"])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 0.5, 0.25), (1, 0.53125, 0.3), (1, 0.1, 0.02)])
def test_faces_on_cell_boundaries_and_centres_give_a_symmetric_grid(size, occupancy):
    grid = voxelise(box(size), 16, occupancy)[..., 0]
    for axis in range(3):
        np.testing.assert_array_equal(grid, np.flip(grid, axis))
    np.testing.assert_array_equal(voxelise(box(np.roll(size, 1)), 16, occupancy)[..., 0], grid.transpose(2, 0, 1))


def test_unit_cube_fills_the_grid_and_a_face_on_a_boundary_sets_both_sides():
    assert (voxelise(box((1, 1, 1)), 16) == 1).all()
    np.testing.assert_array_equal(voxelise(box((0.5, 1, 1)), 16, "binary")[:, 0, 0, 0], np.pad(np.ones(10), 3))
    np.testing.assert_array_equal(voxelise(box((0.5, 1, 1)), 16)[:, 0, 0, 0], np.pad(np.ones(8), 4, constant_values=0)
                                  + np.eye(16)[3] / 4 + np.eye(16)[12] / 4)  # fmt: skip


def test_mirrored_mesh_gives_the_mirrored_grid():
    mesh = normalise(mesh_of(TILTED))
    for occupancy in ("binary", "coverage"):
        mirrored = voxelise(Mesh(mesh.vertices * np.float32([-1, 1, 1]), mesh.faces), 24, occupancy)
        np.testing.assert_array_equal(mirrored, voxelise(mesh, 24, occupancy)[::-1])


@pytest.mark.parametrize("occupancy", ["binary", "coverage"])
def test_winding_overlap_and_cracks_do_not_matter_but_a_vessel_stays_open(occupancy):
    whole = box((0.6, 0.6, 0.6))
    expected = voxelise(whole, 16, occupancy)
    flipped = Mesh(whole.vertices, np.where(np.arange(12)[:, None] % 2, whole.faces, whole.faces[:, ::-1]))
    np.testing.assert_array_equal(voxelise(flipped, 16, occupancy), expected)
    np.testing.assert_array_equal(voxelise(join(whole, box((0.2, 0.3, 0.4))), 16, occupancy), expected)
    soup = Mesh(whole.vertices[whole.faces].reshape(-1, 3), np.arange(36).reshape(12, 3))
    apart = soup.vertices + np.repeat(np.random.default_rng(0).uniform(-2e-3, 2e-3, (12, 3)), 3, axis=0)
    assert np.abs(voxelise(Mesh(apart, soup.faces), 16, occupancy) - expected).mean() < 0.02
    vessel = voxelise(box((0.6, 0.6, 0.6), drop=2), 16, occupancy)[..., 0]
    assert vessel[8, 8, 8] == 0 and vessel[8, 3, 8] > 0 and vessel[8, 13, 8] == 0


def test_torus_keeps_its_hole():
    grid = voxelise(mesh_of(trimesh.creation.torus(0.35, 0.1)), 32)[..., 0]
    assert grid[15:17, 15:17].max() == 0
    assert grid[26, 16, 16] == 1
    assert grid.mean() == pytest.approx(2 * np.pi**2 * 0.35 * (0.1 + 1 / 256) ** 2, rel=0.02)


def spiral(turns, pitch, closed):
    """A corridor that winds inwards between walls, with floor and ceiling, and what closes its mouth."""
    parts, half = [box((1, 0.02, 1), (0, y, 0)) for y in (-0.3, 0.3)], 0.48
    corner = np.array([-half, 0, -half])
    for number in range(4 * turns):
        length = 2 * half - pitch * max(0, (number - 1) // 2)
        step = np.array([[1, 0, 0], [0, 0, 1], [-1, 0, 0], [0, 0, -1]][number % 4]) * length
        size = np.abs(step) + [0.02, 0.6, 0.02]
        parts.append(box(size, corner + step / 2))
        corner = corner + step
    if closed:
        parts.append(box((0.02, 0.6, 2 * pitch), (-half, 0, -half + pitch)))
    return join(*parts)


@pytest.mark.parametrize("size", [48, 64, 100])
def test_a_flood_finds_its_way_through_a_spiral(size):
    """Around many corners, and across words of 64 cells."""
    opened, shut = (voxelise(spiral(3, 0.16, closed), size, "binary")[..., 0] for closed in (False, True))
    middle = tuple(np.array([size // 2] * 3))
    assert opened[middle] == 0 and shut[middle] == 1
    shell = scipy.ndimage.binary_fill_holes(opened)
    np.testing.assert_array_equal(opened, shell)
    np.testing.assert_array_equal(shut[opened > 0], 1)


def test_a_triangle_without_area_is_a_line():
    line = Mesh(np.float32([[-0.4, 0.01, 0.01], [0.4, 0.01, 0.01]]), np.array([[0, 1, 1]], np.int32))
    cells = voxelise(line, 32, "binary")[..., 0]
    assert cells.sum(axis=(1, 2))[4:-4].min() == 1 and cells.sum() == cells[:, 16, 16].sum()


def test_lines_and_slivers_are_marked_where_they_are():
    """Any way they lie; the middle of the second kind is where rounding alone tells a plane."""
    rng = np.random.default_rng(0)
    for number, width in enumerate((0.0, 0.0, 0.0, 1e-9, 1e-6, 1e-3)):
        a, b = rng.uniform(-0.5, 0.5, (2, 3))
        third = (0.3 * a + 0.7 * b if number % 2 else b) + width * rng.uniform(-0.1, 0.1, 3)
        mesh = Mesh(np.stack([a, b, third]).astype(np.float32), np.array([[0, 1, 2]], np.int32))
        ends, points = mesh.vertices.astype(np.float64), centres(20)
        along = ends[1] - ends[0]
        share = np.clip((points - ends[0]) @ along / (along @ along), 0, 1)[..., None]
        away = 20 * np.linalg.norm(points - ends[0] - share * along, axis=-1)
        cells, unsure = voxelise(mesh, 20, "binary")[..., 0] > 0, np.abs(away - 0.501) < 20 * 0.1 * width + 1e-5
        np.testing.assert_array_equal(cells[~unsure], (away < 0.501)[~unsure])
        assert unsure.sum() < 3 and cells.sum() > 3


@pytest.mark.parametrize("width", [0.0, 1e-4])
def test_long_thin_triangles_cost_no_more_than_what_is_near_them(width):
    rng = np.random.default_rng(1)
    first, last = rng.uniform(-0.45, 0.45, (2, 200, 3))
    corners = np.stack([first, last, last + width * rng.uniform(-1, 1, (200, 3))], axis=1)
    lines = Mesh(corners.reshape(-1, 3).astype(np.float32), np.arange(600, dtype=np.int32).reshape(-1, 3))
    voxelise(lines, 8)  # compiles it
    began = time.perf_counter()
    voxelise(lines, 64)
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize("height", [0.0, 1 / 64, 0.013, 0.25])
def test_a_sheet_is_never_lost(height):
    square = np.array([[-0.5, height, -0.5], [0.5, height, -0.5], [0.5, height, 0.5], [-0.5, height, 0.5]], np.float32)
    sheet = Mesh(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    assert (voxelise(sheet, 32, "binary")[..., 0].sum(axis=1) >= 1).all()
    assert (voxelise(sheet, 32, "coverage")[..., 0].sum(axis=1) >= 0.25).all()


def test_sampled_fills_closed_pieces_only():
    closed, vessel = box((0.36,) * 3, (-0.25, 0, 0)), box((0.36,) * 3, (0.25, 0, 0), drop=1)
    soup = join(closed, vessel)
    soup = Mesh(soup.vertices[soup.faces].reshape(-1, 3), np.arange(soup.faces.size).reshape(-1, 3))  # as STL has it
    grid = sampled(soup, 20)[..., 0]
    assert grid[5, 10, 10] == 1 and grid[15, 10, 10] == 0
    assert grid[15, 6, 10] == 1  # floor of the open one
    exact = np.abs(centres(20) - [-0.25, 0, 0]).max(axis=-1) < 0.18
    assert (grid[:10] >= exact[:10]).all() and grid[:10].sum() == 8 * 8 * 8  # grown to the cells its sides pass


def test_sampled_depends_on_the_seed_only_where_cells_are_grazed():
    mesh = mesh_of(SPHERE)
    first, again, other = sampled(mesh, 24, 1), sampled(mesh, 24, 1), sampled(mesh, 24, 2)
    np.testing.assert_array_equal(first, again)
    assert 0 < np.abs(first - other).sum() < 0.03 * first.sum()


def test_any_whole_number_of_cells_will_do():
    whole = box((0.5, 0.9, 0.4))
    for occupancy in ("coverage", "binary"):
        expected = voxelise(whole, 100, occupancy)
        np.testing.assert_array_equal(voxelise(whole, np.uint8(100), occupancy), expected)


def test_bad_arguments_are_input_errors():
    whole = box((1, 1, 1))
    for grid in (0, -3, 1000, 8.0):
        for function in (voxelise, sampled):
            with pytest.raises(InputError, match="grid"):
                function(whole, grid)
    with pytest.raises(InputError, match="1 to 128"):
        voxelise(whole, 129)
    with pytest.raises(InputError, match="occupancy"):
        voxelise(whole, 8, "solid")
    for function in (voxelise, sampled):
        with pytest.raises(InputError, match="normalise"):
            function(box((1.1, 1, 1)), 8)
    needle = Mesh(np.float32([[0, -0.5, 0], [0, 0.5, 0], [0, 0, 0]]), np.int32([[0, 1, 2]]))
    with pytest.raises(InputError, match="thinner"):
        voxelise(needle, 8, "binary")
