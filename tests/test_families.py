"""Procedural families: repeatable, normalised, valid; their building blocks are closed and have the right volume."""

import math
import sys

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rendernet_jax.data.families import FAMILIES, NAMED, expand, make_shape
from rendernet_jax.data.procedural import outlines, parts
from rendernet_jax.data.procedural.rockers import rocker
from rendernet_jax.data.tasks import procedural_tasks
from rendernet_jax.errors import InputError

VOXEL = 1 / 64
FURNITURE = ("chair", "stool", "bench", "sofa", "table", "shelf", "cabinet", "lamp", "vase", "rocker")


def volume(part):
    """Signed volume by the divergence theorem."""
    vertices, faces = part
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def is_closed(part):
    """Every directed edge has its reverse, equally often."""
    _, faces = part
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(part[0])
    forward, backward = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    return np.array_equal(np.sort(forward), np.sort(backward))


def pieces(mesh):
    """Bounding-box sides [N, 3] of the connected pieces of a mesh."""
    faces, count = mesh.faces, len(mesh.vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    label = label[faces[:, 0]]
    return np.array([np.ptp(mesh.vertices[faces[label == k].ravel()], axis=0) for k in np.unique(label)])


def area_samples(mesh):
    """Face centres [F, 3] and areas [F]."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    return corners.mean(1), area


# --- families -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES + NAMED)
def test_shapes_are_normalised_valid_and_not_alike(family):
    meshes = [make_shape(family, seed) for seed in range(8)]
    for mesh in meshes:
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        assert np.isfinite(mesh.vertices).all() and mesh.vertices.dtype == np.float32
        assert math.isclose((high - low).max(), 1.0, abs_tol=1e-5)
        np.testing.assert_allclose(low + high, 0, atol=1e-5)
        assert mesh.faces.dtype == np.int32 and mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
        assert 4 <= len(mesh.faces) <= 60_000
        _, area = area_samples(mesh)
        assert (area > 0).mean() > 0.97
    assert len({(len(mesh.vertices), mesh.vertices[: len(mesh.vertices) // 2].tobytes()) for mesh in meshes}) == 8


@pytest.mark.parametrize("family", FAMILIES + NAMED)
def test_a_seed_repeats_exactly(family):
    first, other, again = make_shape(family, 3), make_shape(family, 4), make_shape(family, 3)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.faces, again.faces)
    assert first.vertices.shape != other.vertices.shape or not np.array_equal(first.vertices, other.vertices)


@pytest.mark.parametrize("family", ["chair", "rocker"])
def test_the_back_of_a_chair_is_at_negative_z(family):
    behind = []
    for seed in range(60):
        mesh = make_shape(family, seed)
        centres, area = area_samples(mesh)
        high = centres[:, 1] > 0.3
        behind.append(np.average(centres[high, 2], weights=area[high]) < 0)
    assert np.mean(behind) > 0.95


def test_groups_of_families_stand_beside_names():
    assert expand(["all"]) == list(FAMILIES)
    assert expand(["all", "rocker", "chair"]) == [*FAMILIES, "rocker"]
    assert expand(["painted", "coloured", "stool"]) == ["painted", "face", "stool"]
    for words, got in (([], "none"), (["chair", "spoon"], "spoon")):
        with pytest.raises(InputError, match=f"families: expected some of chair.*, got {got}; correct the name"):
            expand(words)


def test_rockers_are_made_only_where_they_are_named():
    assert NAMED == ("rocker",) and not set(NAMED) & set(FAMILIES)
    families = [task.family for task in procedural_tasks(14, ("chair", "rocker"))]
    assert families.count("chair") == 12 and families.count("rocker") == 2


def test_rockers_are_closed_and_stand_on_two_runners_that_rise_towards_their_ends():
    for seed in range(30):
        part = parts.join(rocker(np.random.default_rng(seed)))
        x, y, z = part[0].T
        touching, low = z[y < 0.002], z[y < 0.1]
        assert is_closed(part) and y.min() == 0
        assert low.min() + 0.05 < touching.min() and touching.max() < low.max() - 0.05
        assert abs(x[y < 0.01]).min() > 0.1


def test_chairs_stand_on_the_ground_with_room_beneath_the_seat():
    """Below a chair is less surface than at and above its seat; turned upside down this would fail."""
    below, above = 0.0, 0.0
    for seed in range(40):
        centres, area = area_samples(make_shape("chair", seed))
        below, above = below + area[centres[:, 1] < -0.2].sum(), above + area[centres[:, 1] > -0.2].sum()
    assert below < 0.5 * above


@pytest.mark.parametrize("family", ["chair", "stool", "bench", "table", "shelf", "lamp", "soup", "rocker"])
def test_families_hold_parts_thinner_than_a_voxel_and_thicker(family):
    thickness = np.concatenate([pieces(make_shape(family, seed)).min(1) for seed in range(12)])
    assert (thickness < VOXEL).any() and (thickness > 2 * VOXEL).any()


def test_soups_go_down_to_a_tenth_of_a_voxel():
    thickness = np.concatenate([pieces(make_shape("soup", seed)).min(1) for seed in range(30)])
    assert (thickness[thickness > 1e-6] < 0.2 * VOXEL).any()


@pytest.mark.parametrize("family", FURNITURE)
def test_furniture_needs_no_open3d(family, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    assert len(make_shape(family, 1).faces)


def test_bad_arguments():
    with pytest.raises(InputError, match="family: expected one of chair"):
        make_shape("spaceship", 0)
    with pytest.raises(InputError, match="seed"):
        make_shape("chair", -1)


# --- building blocks ------------------------------------------------------------------------------------------------

CIRCLE = outlines.regular(200)
SQUARE_ARC = np.stack([np.cos(np.linspace(0, 2, 300)), np.zeros(300), np.sin(np.linspace(0, 2, 300))], -1)
SOLIDS = {
    "box": (parts.box((0, 1, 2), (1, 3, 5)), 6.0),
    "chamfered box": (parts.box((0, 0, 0), (2, 2, 2), 1e-4), 8.0),
    "cylinder": (parts.revolve([(2, 0), (2, 3)], 400), 12 * math.pi),
    "cone": (parts.rod((0, 0, 0), (0, 3, 0), 1, 0, 400), math.pi),
    "torus (Pappus)": (
        parts.revolve(np.concatenate([0.2 * CIRCLE, 0.2 * CIRCLE[:1]]) + [1, 0], 400),
        0.08 * math.pi**2,
    ),
    "arc (Pappus)": (parts.sweep(SQUARE_ARC, outlines.rectangle(0.1, 0.3)), 0.03 * 2),
    "ellipsoid": (parts.superellipsoid((1, 1, 1), (1, 2, 3), sides=200, rings=200), 8 * math.pi),
    "slab": (parts.slab(outlines.rectangle(2, 3), 0, 0.5), 3.0),
    "L profile": (parts.extrude([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], -1, 1), 6.0),
    "beam": (parts.beam((0, 0, 0), (1, 1, 1), 0.1, 0.2), 0.02 * math.sqrt(3)),
    "mirrored": (parts.mirror(parts.box((1, 0, 0), (2, 1, 1))), 1.0),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_outward_and_of_known_volume(name):
    part, expected = SOLIDS[name]
    assert is_closed(part)
    assert volume(part) == pytest.approx(expected, rel=2e-3)


def test_shell_is_closed_and_as_thick_as_asked():
    u, v = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40), indexing="ij")
    part = parts.shell(np.stack([u, 0.3 * u**2, v], -1), 0.01)
    slope = 0.6
    arc = math.sqrt(1 + slope**2) + math.asinh(slope) / slope  # length of the parabola from -1 to 1
    assert is_closed(part)
    assert volume(part) == pytest.approx(arc * 2 * 0.01, rel=5e-3)


@pytest.mark.parametrize("corner", [(1, 1, 0), (0, 1, 0.2), (1, 0, 1)])
def test_mitred_corner_keeps_the_section(corner):
    """Two arms of a bent bar hold what straight bars of their length hold."""
    corner = np.array(corner, float)
    path = np.array([[0, 0, 0], corner, corner + [1, 0, 0]])
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    part = parts.sweep(path, outlines.regular(4, 0.01))
    assert is_closed(part) and volume(part) == pytest.approx(2e-4 * lengths, rel=2e-2)


def test_twist_of_a_closed_tube_is_spread():
    """A knotted loop of square section keeps its volume, which a pinched last segment would not."""
    t = np.arange(300) * (2 * math.pi / 300)
    radius = 1 + 0.3 * np.cos(3 * t)
    path = np.stack([radius * np.cos(2 * t), 0.3 * np.sin(3 * t), radius * np.sin(2 * t)], -1)
    length = np.linalg.norm(np.roll(path, -1, 0) - path, axis=1).sum()
    part = parts.sweep(path, outlines.rectangle(0.1, 0.1), loop=True)
    assert is_closed(part) and volume(part) == pytest.approx(0.01 * length, rel=5e-3)


def test_triangles_cover_a_concave_polygon():
    rng = np.random.default_rng(0)
    for count in (3, 8, 30):
        polygon = outlines.regular(count) * rng.uniform(0.2, 1, (count, 1))
        x, y = polygon.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        a, b, c = (polygon[outlines.triangulate(polygon)[:, i]] for i in range(3))
        signed = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
        assert (signed > 0).all() and signed.sum() == pytest.approx(area)


def test_smooth_union_has_the_volume_of_its_parts():
    pytest.importorskip("open3d")
    from rendernet_jax.data.procedural.fields import Block, Capsule, Ellipsoid, solidify

    ball = solidify([Ellipsoid((0.3, 0, 0), (0.5, 0.5, 0.5), 0.01)], (), 64)
    assert is_closed(ball) and volume(ball) == pytest.approx(math.pi / 6, rel=0.01)
    np.testing.assert_allclose((ball[0].min(0) + ball[0].max(0)) / 2, [0.3, 0, 0], atol=1e-3)
    bored = solidify([Block((0, 0, 0), (0.5, 0.2, 0.4), 0.01)], [Capsule((0, -1, 0), (0, 1, 0), 0.2, 0.2, 0.001)], 80)
    assert volume(bored) == pytest.approx(0.4 * 0.8 - 0.4 * math.pi * 0.04, rel=0.02)
    np.testing.assert_allclose(np.ptp(bored[0], axis=0), [1, 0.4, 0.8], atol=0.01)
