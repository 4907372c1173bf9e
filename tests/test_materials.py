"""Materials and textures: look-ups against direct ones, and what is refused."""

import dataclasses

import numpy as np
import pytest

from rendernet_jax.data.materials import Material, Texture, sample_image, surface_colors
from rendernet_jax.data.meshes import Mesh, normalise, take_faces, with_vertex_colors
from rendernet_jax.errors import InputError

SQUARE = np.float32([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
UV = (SQUARE[:, :2] + 0.5)[FACES]


def make_image(height=4, width=8):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_texel_centres_give_the_texels_top_row_first():
    image = make_image()
    rows, columns = np.mgrid[:4, :8]
    uv = np.stack([(columns + 0.5) / 8, 1 - (rows + 0.5) / 4], -1).reshape(-1, 2)
    expected = image.reshape(-1, 3) / np.float32(255)
    np.testing.assert_allclose(sample_image(image, uv), expected, atol=1e-6)
    np.testing.assert_allclose(sample_image(image, uv + [3, -2]), expected, atol=1e-6)
    np.testing.assert_allclose(sample_image(image.astype(np.float32) / 255, uv), expected, atol=1e-6)


def test_between_texels_and_over_the_edge_it_is_linear():
    image = np.float32([[[0, 0, 0], [1, 0.5, 0]]])
    np.testing.assert_allclose(sample_image(image, [[0.5, 0.3], [0.375, 0.3], [0.0, 0.3], [1.0, 0.0]])[:, 0],
                               [0.5, 0.25, 0.5, 0.5], atol=1e-6)  # fmt: skip


def test_surface_colour_is_the_product_of_what_there_is():
    image = np.full((1, 1, 3), 128, np.uint8)
    texture = Texture(UV, (Material((1, 0.5, 0.25), image), Material((0, 0.5, 1))), np.array([0, 1]))
    mesh = Mesh(SQUARE, FACES, np.full((4, 3), 0.5), texture)
    found = surface_colors(mesh, np.array([0, 1, 0]), np.float32([[0.2, 0.3], [0, 0], [1, 0]]))
    half = 128 / 255 * 0.5
    np.testing.assert_allclose(
        found, [[half, half / 2, half / 4], [0, 0.25, 0.5], [half, half / 2, half / 4]], rtol=1e-6
    )
    plain = surface_colors(Mesh(SQUARE, FACES), np.array([0, 1]), np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(plain, np.ones((2, 3)))


def test_colours_stay_with_their_faces():
    texture = Texture(UV, (Material((1, 0, 0)), Material((0, 0, 1))), np.array([0, 1]))
    mesh = Mesh(np.concatenate([[[9, 9, 9]], 3 * SQUARE]), FACES + 1, texture=texture)
    moved = normalise(mesh)
    np.testing.assert_array_equal(moved.texture.uv, UV)
    second = take_faces(moved, np.array([False, True]))
    np.testing.assert_array_equal(surface_colors(second, np.array([0]), np.zeros((1, 2))), [[0, 0, 1]])
    np.testing.assert_array_equal(second.texture.uv, UV[1:])
    split = with_vertex_colors(mesh)
    assert split.texture is None and len(split.vertices) == 6
    np.testing.assert_array_equal(split.colors, [[1, 0, 0]] * 3 + [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(split.vertices[split.faces], mesh.vertices[mesh.faces])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Material((1, 2, 3)), "material color"),
        (lambda: Material("red"), "material color"),
        (lambda: Material((np.nan, 0, 0)), "material color"),
        (lambda: Material(image=np.zeros((2, 2), np.uint8)), "material image"),
        (lambda: Material(image=np.zeros((0, 2, 3), np.uint8)), "material image"),
        (lambda: Material(image=np.full((2, 2, 3), 2, np.float32)), "material image"),
        (lambda: Material(image=np.full((2, 2, 3), np.nan, np.float32)), "material image"),
        (lambda: Texture(UV[:, :, :1], (Material(),)), "texture uv"),
        (lambda: Texture(UV * np.inf, (Material(),)), "texture uv"),
        (lambda: Texture(UV, ()), "texture materials"),
        (lambda: Texture(UV, (Material(),), np.array([0, 1])), "texture index"),
        (lambda: Texture(UV, (Material(),), np.array([0])), "texture index"),
        (lambda: Mesh(SQUARE, FACES, texture=Texture(UV[:1], (Material(),))), "texture: expected one of 2 faces"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_makes_no_texture_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_ray_traced_albedo_is_a_direct_look_up():
    pytest.importorskip("open3d", reason="ray tracing needs open3d", exc_type=ImportError)
    from rendernet_jax.camera import Pose
    from rendernet_jax.data.references import build_scene, trace

    image = make_image(16, 16)
    mesh = Mesh(SQUARE, FACES, texture=Texture(UV, (Material(image=image),)))
    found = trace(build_scene(mesh), Pose(scale=2.0), 16, ("albedo",), supersample=1)["albedo"]
    np.testing.assert_allclose(found, image / 255, atol=2e-3)  # upright: the picture as a viewer in front sees it
    tinted = dataclasses.replace(mesh, colors=np.tile(np.float32([1, 0.5, 0]), (4, 1)))
    found = trace(build_scene(tinted), Pose(scale=2.0), 16, ("albedo",), supersample=1)["albedo"]
    np.testing.assert_allclose(found, image / 255 * [1, 0.5, 0], atol=2e-3)
