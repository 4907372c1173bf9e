"""Colours of voxels against colours known in closed form."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

pytest.importorskip("open3d", reason="colour voxels need open3d", exc_type=ImportError)

from rendernet_jax.data.colour_voxels import colour_voxels
from rendernet_jax.data.materials import Material, Texture
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def make_cube(side=1.0):
    corners = (np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=-1) - 0.5).astype(np.float32) * side
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return Mesh(corners, np.array([[q[i] for i in t] for q in quads for t in ((0, 1, 2), (0, 2, 3))], np.int32))


def two_coloured_cube(side=1.0):
    """Red where x < 0 (its left side), blue elsewhere, by a material for each face."""
    cube = make_cube(side)
    left = (cube.vertices[cube.faces][:, :, 0] < 0).all(1)
    index = np.where(left, 0, 1)
    return dataclasses.replace(
        cube, texture=Texture(np.zeros((12, 3, 2), np.float32), (Material(RED), Material(BLUE)), index)
    )


@pytest.mark.parametrize("occupancy", ["coverage", "binary"])
@pytest.mark.parametrize("side", [1.0, 0.6])
def test_cells_have_the_colour_of_the_nearest_side(occupancy, side):
    mesh = two_coloured_cube(side)
    grid = voxelise(mesh, 32, occupancy)
    colors = colour_voxels(mesh, grid)
    assert colors.dtype == np.float32 and colors.shape == (32, 32, 32, 3)
    first = int(np.ceil((0.5 - side / 2) * 32))  # the first cell wholly inside
    np.testing.assert_array_equal(colors[first, 12:20, 12:20], np.broadcast_to(RED, (8, 8, 3)))
    np.testing.assert_array_equal(colors[31 - first, 12:20, 12:20], np.broadcast_to(BLUE, (8, 8, 3)))
    np.testing.assert_array_equal(colors[16, 16, first], BLUE)
    np.testing.assert_array_equal(colors[first + 5, 16, 16], RED)  # deep inside, nearer to the left side
    np.testing.assert_array_equal(colors[20, 16, 16], BLUE)


def test_two_cells_around_an_object_are_coloured_and_no_more():
    mesh = two_coloured_cube(0.5)
    grid = voxelise(mesh, 32, "binary")
    colors = colour_voxels(mesh, grid)
    inside = scipy.ndimage.binary_dilation(grid[..., 0] > 0, np.ones((5, 5, 5)))
    np.testing.assert_array_equal(colors.any(-1), inside)
    np.testing.assert_array_equal(colors[np.argmax(inside[:, 16, 16]), 16, 16], RED)


def test_a_ramp_of_vertex_colours_is_the_ramp_at_the_cells_centres():
    cube = make_cube()
    mesh = dataclasses.replace(cube, colors=cube.vertices + 0.5)
    colors = colour_voxels(mesh, voxelise(mesh, 16))
    centres = np.broadcast_to(
        (np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1) + 0.5) / 16, (16,) * 3 + (3,)
    )
    side = colors[0, 2:-2, 2:-2]
    np.testing.assert_allclose(side[..., 1:], centres[0, 2:-2, 2:-2, 1:], atol=0.01)
    np.testing.assert_allclose(side[..., 0], 0.0, atol=1e-5)


def test_fine_stripes_become_their_mean():
    square = np.float32([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    uv = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    stripes = np.zeros((1, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # four stripes a cell
    mesh = Mesh(square, faces, texture=Texture(uv[faces], (Material(image=stripes),)))
    colors = colour_voxels(mesh, voxelise(mesh, 16))
    assert np.abs(colors[1:-1, 1:-1, 7:9] - 0.5).max() < 0.15


def test_plain_meshes_are_white():
    grid = voxelise(make_cube(0.5), 16)
    colors = colour_voxels(make_cube(0.5), grid)
    assert set(np.unique(colors)) == {0.0, 1.0} and (colors[grid[..., 0] > 0] == 1).all()


def test_occupied_cells_far_from_the_surface_get_the_nearest_colour():
    mesh = two_coloured_cube(0.25)
    lone = np.zeros((32, 32, 32, 1), np.float32)
    lone[2, 16, 16] = 1
    np.testing.assert_array_equal(colour_voxels(mesh, lone)[2, 16, 16], RED)
    lone[:] = voxelise(mesh, 32)
    lone[2, 16, 16] = 1
    np.testing.assert_array_equal(colour_voxels(mesh, lone)[2, 16, 16], RED)


def test_a_grid_without_occupancy_stays_empty():
    assert not colour_voxels(two_coloured_cube(), np.zeros((8, 8, 8, 1), np.float32)).any()


def test_occupancy_of_another_shape_is_refused():
    with pytest.raises(InputError, match="occupancy"):
        colour_voxels(make_cube(), np.zeros((8, 8, 8)))
