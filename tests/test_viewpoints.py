"""Training views keep the object in the frame; training shapes are turned rigidly."""

import numpy as np
import pytest

from rendernet_jax.camera import to_camera
from rendernet_jax.data import viewpoints
from rendernet_jax.data.meshes import Mesh


def test_views_keep_the_object_in_depth_and_mostly_in_the_frame():
    rng = np.random.default_rng(0)
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
    poses = [viewpoints.random_pose(rng, corners) for _ in range(200)]
    for pose in poses:
        q = np.asarray(to_camera(corners, pose))
        assert np.abs(q[:, 2]).max() < 1 + 1e-5
        low, high = q[:, :2].min(0), q[:, :2].max(0)
        shown = np.minimum(high, 1) - np.maximum(low, -1)
        assert shown.prod() > viewpoints.IN_FRAME * (high - low).prod() - 1e-4
    elevations = np.degrees([pose.elevation for pose in poses])
    assert elevations.min() < -30 and elevations.max() > 70, "some views are from anywhere"
    assert 0.3 < np.mean([pose.inverse_distance == 0 for pose in poses]) < 0.7


def test_axis_rotations_are_the_24_of_the_cube():
    matrices = [viewpoints.axis_rotation(index) for index in range(24)]
    assert len({matrix.tobytes() for matrix in matrices}) == 24
    for matrix in matrices:
        assert sorted(np.abs(matrix).sum(0)) == [1, 1, 1] and np.linalg.det(matrix) == 1
    np.testing.assert_array_equal(matrices[0], np.eye(3))


def test_turned_meshes_are_congruent_and_normalised():
    vertices = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 3)).astype(np.float32)
    mesh = Mesh(vertices, np.arange(18, dtype=np.int32).reshape(6, 3))
    distances = np.linalg.norm(vertices[:1] - vertices[1:18], axis=1)
    rng = np.random.default_rng(2)
    unchanged = 0
    for _ in range(100):
        turned = viewpoints.random_turn(rng, mesh)
        unchanged += turned is mesh
        if turned is not mesh:
            assert np.ptp(turned.vertices, axis=0).max() == pytest.approx(1)
            ratio = np.linalg.norm(turned.vertices[:1] - turned.vertices[1:18], axis=1) / distances
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert 40 <= unchanged <= 75


def test_opened_meshes_keep_the_faces_that_they_keep():
    vertices = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) - 0.5
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([(a, b, c) for side in sides for a, b, c in (side[:3], (side[0], *side[2:]))], np.int32)
    mesh = Mesh(vertices, faces)
    rng = np.random.default_rng(3)
    opened = [new for _ in range(200) if (new := viewpoints.random_opening(rng, mesh)) is not mesh]
    assert 30 <= len(opened) <= 70
    areas = {len(new.faces): 0 for new in opened}
    for new in opened:
        assert 0 < len(new.faces) < 12 and np.ptp(new.vertices, axis=0).max() == pytest.approx(1)
        areas[len(new.faces)] += 1
    assert areas.get(10, 0) > 5, "a box without one side is the commonest"
