"""Shading against closed forms, finite differences, and pictures shaded at every sub-sample by the ray tracer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import shading
from rendernet_jax.camera import Light, Pose, direction
from rendernet_jax.errors import InputError
from rendernet_jax.shading import OUTPUTS, phong, toon

shade = jax.jit(shading.shade, static_argnums=2)


def make_disc(size=48):
    """G-buffer of an orthographic sphere that fills the frame."""
    t = (2 * np.arange(size) + 1) / size - 1
    u, v = np.broadcast_arrays(t[None], -t[:, None])
    height2 = 1 - u**2 - v**2
    mask = (height2 > 0).astype(np.float32)[..., None]
    normal = np.stack([u, v, np.sqrt(np.maximum(height2, 0))], -1).astype(np.float32) * mask
    return {
        "normal": jnp.asarray(normal),
        "mask": jnp.asarray(mask),
        "depth": jnp.asarray(normal[..., 2:] * mask - (1 - mask)),
        "ao": jnp.full((size, size, 1), 0.5),
        "contour": jnp.zeros((size, size, 1)),
    }


def test_phong_of_a_sphere_is_the_analytic_one():
    disc = make_disc()
    light = Light(azimuth=0.4, elevation=0.3, ambient=0.2, intensity=0.7)
    picture = phong(disc["normal"], disc["mask"], light)
    toward_light = np.array([np.cos(0.3) * np.sin(0.4), np.sin(0.3), np.cos(0.3) * np.cos(0.4)])
    expected = 0.2 + 0.7 * np.maximum(np.asarray(disc["normal"]) @ toward_light, 0)
    inside = np.asarray(disc["mask"][..., 0]) > 0
    np.testing.assert_allclose(picture[..., 0][inside], expected[inside], atol=1e-6)
    assert (np.asarray(picture)[~inside] == 1).all()


def test_headlight_is_symmetric_and_a_light_brightens_its_side():
    disc = make_disc()
    head = shade(disc, Light(), "phong")[..., 0]
    np.testing.assert_allclose(head, head[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(head, head.T, atol=1e-6)
    right = shade(disc, Light(azimuth=0.8), "phong")[..., 0]
    assert right[24, 40] > head[24, 40] and right[24, 8] < head[24, 8]
    above = shade(disc, Light(elevation=0.8), "phong")[..., 0]
    assert above[8, 24] > head[8, 24] and above[40, 24] < head[40, 24]


def test_a_shorter_normal_shades_as_the_mean_of_its_parts():
    parts = jnp.asarray([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])
    light, one = Light(azimuth=0.2), jnp.ones((1, 1, 1))
    shades = [phong(part[None, None], one, light) for part in parts]
    np.testing.assert_allclose(phong(parts.mean(0)[None, None], one, light), sum(shades) / 2, atol=1e-6)


def test_highlight_peaks_halfway_between_light_and_viewer():
    disc = make_disc(129)
    light = Light(azimuth=0.8, ambient=0.0, intensity=0.0)
    spot = phong(disc["normal"], disc["mask"], light, specular=0.5, shininess=30.0) * disc["mask"]
    row, column = np.unravel_index(np.argmax(spot), spot.shape[:2])
    np.testing.assert_allclose(disc["normal"][row, column], direction(0.4, 0.0), atol=0.02)
    assert 0.49 < spot.max() <= 0.5


def test_albedo_multiplies_the_surface_only():
    disc = make_disc()
    albedo = jnp.broadcast_to(jnp.asarray([1.0, 0.5, 0.0]), (48, 48, 3))
    grey, colored = (shade({**disc, "albedo": albedo}, Light(), output) for output in ("phong", "colour"))
    expected = disc["mask"] * grey * albedo + (1 - disc["mask"])
    np.testing.assert_allclose(colored, expected, atol=1e-6)


def test_toon_steps_and_lines():
    cosine = jnp.asarray([0.0, 0.1, 0.22, 0.28, 0.47, 0.53, 0.72, 0.78, 1.0])
    normal = jnp.stack([jnp.sqrt(1 - cosine**2), jnp.zeros(9), cosine], -1)[None]
    one = jnp.ones((1, 9, 1))
    tones = toon(normal, one, jnp.zeros((1, 9, 1)), Light())[0, :, 0]
    np.testing.assert_allclose(tones, [0.25, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1], atol=1e-6)
    assert toon(normal, one, one, Light()).max() == 0
    slope = jax.jit(jax.grad(lambda n: toon(n, one, 0 * one, Light()).sum()))(normal.at[0, 2, 2].set(0.25))
    assert slope[0, 2, 2] > 1


def test_batches_and_lights_pair_up():
    disc = make_disc(16)
    lights = Light(azimuth=jnp.asarray([0.0, 0.5, -0.5]), elevation=jnp.zeros(3), ambient=jnp.full(3, 0.1))
    batch = {name: jnp.stack([value] * 3) for name, value in disc.items()}
    for output in ("phong", "toon", "depth"):
        with jax.numpy_rank_promotion("raise"):
            together = shade(batch, lights, output)
            one_light = shading.shade(batch, Light(azimuth=0.5), output)
        for i, azimuth in enumerate((0.0, 0.5, -0.5)):
            np.testing.assert_allclose(together[i], shade(disc, Light(azimuth=azimuth), output), atol=1e-6)
        np.testing.assert_allclose(one_light[0], together[1], atol=1e-6)


def test_phong_gradient_by_light_equals_finite_difference():
    disc = make_disc()

    def loss(azimuth, elevation, ambient, intensity):
        picture = shade(disc, Light(azimuth, elevation, ambient, intensity), "phong")
        return jnp.mean(picture * jnp.linspace(0.0, 1.0, 48)[None, :, None])

    at = [0.4, 0.2, 0.1, 0.9]
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(*at)
    step = 0.02
    for k in range(4):
        ends = [loss(*(x + s * step * (i == k) for i, x in enumerate(at))) for s in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(gradient[k], difference, rtol=0.01, atol=2e-5)
        assert abs(difference) > 1e-3


def test_toon_gradient_by_light_equals_finite_difference_on_the_steps():
    turn = 0.4 + jnp.arccos(jnp.asarray([0.24, 0.255, 0.495, 0.51, 0.74, 0.76]))
    normal = jnp.stack([jnp.sin(turn), jnp.zeros(6), jnp.cos(turn)], -1)[None]
    one = jnp.ones((1, 6, 1))

    @jax.jit
    def loss(azimuth):
        return toon(normal, one, 0 * one, Light(azimuth)).sum()

    difference = (loss(0.402) - loss(0.398)) / 0.004
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.4), difference, rtol=0.01)
    assert difference > 10


def test_gradients_are_finite_where_the_light_grazes():
    normal = jnp.asarray([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])

    def loss(normal, azimuth, specular, shininess):
        return phong(normal, jnp.ones((1, 3, 1)), Light(azimuth), None, specular, shininess).sum()

    for gradient in jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(normal, 0.0, 0.3, 10.0):
        assert jnp.isfinite(gradient).all()


def test_unknown_output_and_missing_buffer_are_named():
    disc = make_disc(8)
    with pytest.raises(InputError, match="phong, toon.*neon"):
        shade(disc, Light(), "neon")
    with pytest.raises(InputError, match="albedo"):
        shade(disc, Light(), "albedo")


def test_shaded_g_buffer_agrees_with_pictures_shaded_at_every_sub_sample():
    pytest.importorskip("open3d", reason="references need open3d", exc_type=ImportError)
    from rendernet_jax.data.meshes import Mesh
    from rendernet_jax.data.references import build_scene, reference_pictures, trace

    # A coloured torus that shows creases, self-occlusion and a hole.
    major, minor = np.meshgrid(2 * np.pi * np.arange(48) / 48, 2 * np.pi * np.arange(24) / 24, indexing="ij")
    ring = 0.35 + 0.15 * np.cos(minor)
    vertices = np.stack([ring * np.cos(major), 0.15 * np.sin(minor), ring * np.sin(major)], -1).reshape(-1, 3)
    index = np.arange(48 * 24).reshape(48, 24)
    right, down = np.roll(index, -1, 0), np.roll(index, -1, 1)
    across = np.roll(right, -1, 1)
    faces = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in ((index, right, across), (index, across, down))])
    mesh = Mesh(vertices.astype(np.float32), faces.astype(np.int32), (vertices + 0.5).astype(np.float32))

    scene, pose, light = build_scene(mesh), Pose(azimuth=0.5, elevation=0.7, inverse_distance=0.3), Light(0.6, 0.7)
    buffers = trace(scene, pose, 128)
    pictures = reference_pictures(scene, pose, light, 128)
    for output in OUTPUTS:
        shaded = shade(buffers, light, output)
        assert shaded.shape == pictures[output].shape
        assert shaded.shape[2] == (3 if output in ("normal", "albedo", "colour") else 1)
        psnr = -10 * np.log10(max(np.mean((shaded - pictures[output]) ** 2), 1e-12))
        assert psnr > {"phong": 40, "colour": 40, "toon": 25}.get(output, 100), (output, psnr)
