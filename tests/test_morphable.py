"""Heads of the morphable model: their numbers mean something, and their meshes are sound."""

import math

import numpy as np
import pytest

from rendernet_jax.array_files import read_arrays
from rendernet_jax.data.families import COLOURED, FAMILIES, make_shape, vectors
from rendernet_jax.data.procedural import morphable
from rendernet_jax.data.procedural.morphable import SHAPE_NUMBERS, TEXTURE_NUMBERS, head, model
from rendernet_jax.errors import InputError

MIRROR = np.array([-1, 1, 1], np.float32)


def raw(shape, texture):
    """Vertices before they are normalised and colours before they are clipped, in float64."""
    heads = model()
    vertices = heads.mean_vertices + np.tensordot(shape, heads.shape_basis.astype(np.float64), 1)
    return vertices, heads.mean_colors + np.tensordot(texture, heads.texture_basis.astype(np.float64), 1)


def normalised(vertices):
    low, high = vertices.min(0), vertices.max(0)
    return (vertices - (low + high) / 2) / (high - low).max()


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def test_vertices_and_colours_are_linear_in_the_vectors():
    rng = np.random.default_rng(0)
    mean = model().mean_colors
    for _ in range(5):
        shape, texture = rng.normal(size=SHAPE_NUMBERS), 0.3 * rng.normal(size=TEXTURE_NUMBERS)
        vertices, colors = raw(shape, texture)
        mesh = head(shape, texture)
        np.testing.assert_allclose(mesh.vertices, normalised(vertices), atol=2e-6)
        unclipped = ((colors > 0) & (colors < 1)).all(1)
        assert unclipped.mean() > 0.99
        np.testing.assert_allclose(mesh.colors[unclipped], colors[unclipped], atol=2e-6)
        doubled = head(shape, 2 * texture).colors
        both = unclipped & ((doubled > 0) & (doubled < 1)).all(1)
        np.testing.assert_allclose((doubled - mean)[both], 2 * (mesh.colors - mean)[both], atol=2e-6)


def test_the_mean_is_symmetric_and_so_are_all_but_the_lopsided_modes():
    heads = model()
    mirrored = heads.mirrored
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(len(mirrored)))
    np.testing.assert_allclose(heads.mean_vertices[mirrored] * MIRROR, heads.mean_vertices, atol=1e-6)
    np.testing.assert_allclose(heads.mean_colors[mirrored], heads.mean_colors, atol=1e-6)
    bases = ((heads.shape_names, heads.shape_basis, MIRROR), (heads.texture_names, heads.texture_basis, 1))
    for names, basis, flip in bases:
        assert len(set(names)) == len(names) == len(basis)
        for name, mode in zip(names, basis, strict=True):
            symmetric = np.abs(mode[mirrored] * flip - mode).max() < 1e-5
            assert symmetric != ("lopsided" in name or "aside" in name), name


def test_every_number_counts_and_the_variance_falls():
    for basis, least in ((model().shape_basis, 0.004), (model().texture_basis, 0.012)):
        variance = (basis.astype(np.float64) ** 2).sum((1, 2))
        assert (np.diff(variance) <= 1e-6 * variance[0]).all()
        assert (np.abs(basis).max((1, 2)) > least).all(), "no number does nothing"
        flat = basis.reshape(len(basis), -1) / np.sqrt(variance)[:, None]
        assert np.linalg.cond(flat @ flat.T) < 1e3, "no number does what others do"


def test_colours_are_rarely_clipped_and_tell_the_pose():
    rng = np.random.default_rng(1)
    clipped = []
    for _ in range(100):
        _, colors = raw(*morphable.draw(rng))
        clipped.append(((colors < 0) | (colors > 1)).mean())
    assert np.mean(clipped) < 0.02
    heads = model()
    front = heads.mean_vertices[:, 2] > 0.2
    assert heads.mean_colors[front].std() > 0.08 > heads.mean_colors[heads.mean_vertices[:, 2] < -0.3].std()


@pytest.mark.parametrize("seed", range(3))
def test_the_mesh_is_closed_wound_outward_and_solid(seed):
    pytest.importorskip("open3d")
    from rendernet_jax.data.voxelise import voxelise

    mesh = make_shape("face", seed)
    assert 5_000 <= len(mesh.vertices) <= 10_000
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    count = len(mesh.vertices)
    forward, backward = edges @ [count, 1], edges @ [1, count]
    assert len(np.unique(forward)) == len(forward), "no directed edge twice"
    np.testing.assert_array_equal(np.sort(forward), np.sort(backward))
    inside = volume(mesh.vertices, mesh.faces)
    assert inside > 0
    filled = voxelise(mesh, 64, "coverage")
    assert filled.sum() / 64**3 == pytest.approx(inside, rel=0.02)
    assert filled[32, 36, 32] == 1
    binary = voxelise(mesh, 64, "binary")[..., 0]
    runs = np.diff(np.pad(binary, 1), axis=0).clip(0).sum(0)
    assert (runs <= 3).all() and runs.sum() < 1.2 * (runs > 0).sum(), "no holes inside"


def test_families_hand_out_the_vectors_they_drew():
    pytest.importorskip("open3d")
    assert COLOURED == ("face", "painted") and not set(COLOURED) & set(FAMILIES)
    first, again, other = make_shape("face", 5), make_shape("face", 5), make_shape("face", 6)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.colors, again.colors)
    np.testing.assert_array_equal(first.faces, other.faces, "one topology")
    shape, texture = vectors("face", 5)
    assert shape.shape == (SHAPE_NUMBERS,) and texture.shape == (TEXTURE_NUMBERS,)
    assert shape.dtype == texture.dtype == np.float32
    rebuilt = head(shape, texture)
    np.testing.assert_array_equal(rebuilt.vertices, first.vertices)
    np.testing.assert_array_equal(rebuilt.colors, first.colors)
    assert np.abs(first.vertices - other.vertices).max() > 0.02 and np.abs(first.colors - other.colors).max() > 0.05
    assert vectors("painted", 5) is None and vectors("chair", 5) is None
    draws = np.stack([np.concatenate(vectors("face", seed)) for seed in range(400)])
    np.testing.assert_allclose(draws.mean(), 0, atol=0.03)
    np.testing.assert_allclose(draws.std(), 1, atol=0.03)


def test_heads_are_normalised_and_face_the_front():
    for seed in range(8):
        mesh = make_shape("face", seed)
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        assert math.isclose((high - low).max(), 1.0, abs_tol=1e-5)
        np.testing.assert_allclose(low + high, 0, atol=1e-5)
        assert mesh.colors.min() >= 0 and mesh.colors.max() <= 1
        eyes = mesh.colors.min(1) > 0.7
        eyes &= np.abs(mesh.vertices[:, 1]) < 0.3
        assert mesh.vertices[eyes, 2].mean() > 0.1, "the whites of the eyes are in front"


def test_the_model_is_kept_without_pickle(tmp_path):
    morphable.save_model(tmp_path / "model.npz")
    arrays = read_arrays((tmp_path / "model.npz").read_bytes())
    for name in ("mean_vertices", "faces", "shape_basis", "mean_colors", "texture_basis"):
        np.testing.assert_array_equal(arrays[name], getattr(model(), name))
    assert tuple(arrays["shape_names"]) == model().shape_names


@pytest.mark.parametrize(
    ("shape", "texture", "message"),
    [
        (np.zeros(39), np.zeros(40), "shape_vector: expected 40 numbers"),
        (np.zeros(40), np.zeros((1, 40)), "texture_vector: expected 40 numbers"),
        (np.full(40, np.nan), np.zeros(40), "shape_vector: expected finite"),
    ],
)
def test_bad_vectors_are_refused(shape, texture, message):
    with pytest.raises(InputError, match=message):
        head(shape, texture)
