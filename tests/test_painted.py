"""Painted objects: patterns that their triangles can hold, and no colour that bleeds from part to part."""

import math

import numpy as np
import pytest
from test_families import is_closed, volume

from rendernet_jax.data.families import make_shape
from rendernet_jax.data.procedural import painted, parts, patterns
from rendernet_jax.data.procedural.subdivide import subdivide, surface_area


def edge_lengths(part):
    vertices, faces = part
    return np.linalg.norm(vertices[faces] - vertices[faces[:, [1, 2, 0]]], axis=-1)


@pytest.mark.parametrize(
    "part",
    [
        parts.box((0, 0, 0), (1, 0.02, 0.5)),
        parts.revolve([(0.3, 0), (0.1, 1)], 9),
        parts.rod((0, 0, 0), (1, 1, 0), 0.01),
    ],
)
def test_subdivision_keeps_the_surface_and_shortens_edges(part):
    fine = subdivide(part, 0.05)
    assert edge_lengths(fine).max() <= 0.05
    assert is_closed(fine) and volume(fine) == pytest.approx(volume(part)) and volume(fine) > 0
    assert surface_area(fine) == pytest.approx(surface_area(part))
    assert len(fine[0]) < 5000


def test_objects_are_normalised_coloured_and_not_alike():
    pytest.importorskip("open3d")
    meshes = [make_shape("painted", seed) for seed in range(12)]
    for mesh in meshes:
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        assert math.isclose((high - low).max(), 1.0, abs_tol=1e-5)
        np.testing.assert_allclose(low + high, 0, atol=1e-4)
        assert len(mesh.vertices) <= painted.MAX_VERTICES
        assert mesh.colors.shape == mesh.vertices.shape and mesh.colors.min() >= 0 and mesh.colors.max() <= 1
    colors = np.concatenate([np.unique(np.round(mesh.colors, 1), axis=0) for mesh in meshes])
    saturation = np.ptp(colors, axis=1)
    assert saturation.max() > 0.8 and (colors.max(1) < 0.25).any() and (colors.min(1) > 0.8).any()
    assert len({mesh.colors.tobytes() for mesh in meshes}) == len(meshes)
    np.testing.assert_array_equal(meshes[3].colors, make_shape("painted", 3).colors)


def test_parts_alike_share_a_material_and_no_vertex():
    rng = np.random.default_rng(0)
    legs = [parts.box((x, 0, 0), (x + 0.1, 0.5, 0.1)) for x in (0.0, 0.4, 0.8)]
    chosen = painted._choose(rng, [*legs, parts.box((0, 0.5, 0), (0.9, 0.55, 0.1))])
    assert chosen[0] is chosen[1] is chosen[2]
    for seed in range(6):  # triangles hold colours of one material: none connects two parts
        rng = np.random.default_rng(seed)
        vertices, faces, colors = painted.painted(rng)
        assert len(vertices) == len(colors) and faces.max() < len(vertices)


@pytest.mark.parametrize(
    "make", [patterns.stripes, patterns.checks, patterns.dots, patterns.gradient, patterns.blotches, patterns.grain]
)
@pytest.mark.parametrize("width", [2 / 64, 20 / 64])
def test_patterns_mix_both_colours(make, width):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 3))
    for seed in range(5):
        share = make(np.random.default_rng(seed), width)(points)
        assert share.shape == (20_000,) and 0 <= share.min() and share.max() <= 1
        assert share.std() > 0.05


@pytest.mark.parametrize("kind", ["wood", "metal", "cloth", "plastic", "ink", "dark"])
def test_palettes_are_colours(kind):
    for seed in range(50):
        pair = np.stack(patterns.palette(np.random.default_rng(seed), kind))
        assert pair.shape == (2, 3) and pair.min() >= 0 and pair.max() <= 1


def test_patterned_parts_have_short_edges():
    rng = np.random.default_rng(0)
    board = parts.box((-0.5, 0, -0.3), (0.5, 0.02, 0.3))
    plain = painted.Material(np.zeros(3), np.ones(3), None, 0.1)
    checked = painted.Material(np.zeros(3), np.ones(3), patterns.checks(rng, 0.1), 0.1)
    first, second = painted._refine([board, board], [plain, checked])
    assert len(first[0]) == len(board[0])
    assert edge_lengths(second).max() <= painted.LONGEST_EDGE
    many = painted._refine([board] * 60, [checked] * 60)
    assert sum(len(vertices) for vertices, _ in many) <= painted.MAX_VERTICES
