import struct
import time

import numpy as np
import pytest

from rendernet_jax.data import meshes
from rendernet_jax.data.meshes import Mesh, load_mesh, normalise, save_mesh
from rendernet_jax.errors import InputError

pytest.importorskip("open3d")

VERTICES = np.array([[0, 0, 0], [4, 0, 0], [4, 2, 0], [0, 2, 0], [0, 0, 1], [4, 0, 1.2345678]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 1, 5], [0, 5, 4]], np.int32)
COLORS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0.2, 0], [0, 0, 1], [1, 1, 1]], np.float32)
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
)


def area(mesh):
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".off", ".stl", ".glb"])
def test_round_trip_through_each_format(tmp_path, suffix):
    path = tmp_path / f"ä mesh{suffix.upper()}"
    save_mesh(path, Mesh(VERTICES, FACES, COLORS))
    read = load_mesh(path)
    np.testing.assert_allclose(read.vertices[read.faces], VERTICES[FACES], atol=1e-5)  # OFF has 6 digits
    if suffix == ".stl":
        assert read.colors is None
    else:
        np.testing.assert_allclose(read.colors[read.faces], COLORS[FACES], atol=1e-6)
    assert (read.vertices.dtype, read.faces.dtype) == (np.float32, np.int32)


def test_obj_keeps_quads_parts_and_materials_and_drops_lines(tmp_path):
    text = "mtllib gone.mtl\no a\n" + "".join(f"v {v} 1 0 0\n" for v in SQUARE.splitlines()) + "usemtl red\nf 1 2 3 4\n"
    text += "o b\nv 0 0 1 0 1 0\nv 1 0 1 0 1 0\nv 0.5 2 1 0 1 0\n"
    text += "vt 0 0\ng c\nusemtl blue\r\nf 1 2\nf 5/1 6/1 \\\n 7/1\nl 1 2 3\np 4\n"
    mesh = load_mesh(write(tmp_path / "a.obj", text))
    assert area(mesh) == pytest.approx(2) and len(mesh.faces) == 3
    assert sorted(map(tuple, np.unique(mesh.colors, axis=0))) == [(0, 1, 0), (1, 0, 0)]


@pytest.mark.parametrize(
    "text", [f"OFF4 1 0\n{SQUARE}4 0 1 2 3\n", f"# a\nOFF # b\n\n4 1\n{SQUARE}\n4 0 1 2 3 255 0 0\n"]
)
def test_off_dialects(tmp_path, text):
    assert area(load_mesh(write(tmp_path / "a.off", text))) == pytest.approx(1)


def test_polygons_of_ply_and_off_are_cut(tmp_path):
    assert area(load_mesh(write(tmp_path / "a.ply", PLY + SQUARE + "4 0 1 2 3\n"))) == pytest.approx(1)
    pentagon = "OFF\n5 1 0\n0 0 0\n2 0 0\n2 2 0\n1 3 0\n0 2 0\n5 0 1 2 3 4\n"
    assert area(load_mesh(write(tmp_path / "a.off", pentagon))) == pytest.approx(5)


def test_glb_scene_with_placed_parts_and_a_line(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene()
    box = trimesh.creation.box()
    for k in range(3):
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([2 * k, 0, 0]), node_name=f"n{k}")
    scene.add_geometry(trimesh.load_path(np.array([[[0, 0, 0], [9, 9, 9.0]]])))
    scene.export(tmp_path / "a.glb")
    mesh = load_mesh(tmp_path / "a.glb")
    assert area(mesh) == pytest.approx(18)
    np.testing.assert_allclose(np.ptp(mesh.vertices[mesh.faces].reshape(-1, 3), axis=0), [5, 1, 1], atol=1e-6)


def test_z_up_turns_by_a_rotation(tmp_path):
    save_mesh(tmp_path / "a.ply", Mesh(VERTICES, FACES))
    y, z = load_mesh(tmp_path / "a.ply"), load_mesh(tmp_path / "a.ply", up="z")
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_array_equal(z.vertices, y.vertices @ turn.T)
    assert np.linalg.det(turn) == 1
    with pytest.raises(InputError, match="up"):
        load_mesh(tmp_path / "a.ply", up="x")


def triangle_stl(count, *numbers):
    return bytes(80) + struct.pack("<I12fH", count, *numbers, 0)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.obj", "", "bytes"),
        ("b.obj", "o nothing\n", "empty or broken"),
        ("c.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "broken"),
        ("d.obj", "v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n", "NaN"),
        ("e.obj", "v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "extent"),
        ("a.off", f"OFF\n4 1 0\n{SQUARE}3 0 1 9\n", "indices from 0 to 3, got 0 to 9"),
        ("b.off", f"OFF\n4 1 0\n{SQUARE}3 0 1 -1\n", "indices"),
        ("c.off", f"OFF\n4 2 0\n{SQUARE}3 0 1 2\n", "declares"),
        ("d.off", f"OFF\n999999999999 1 0\n{SQUARE}", "declares"),
        ("e.off", "OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n", "NaN"),
        ("f.off", "OFF\n3 1 0\n0 0 0\n1 0\n0 1 0\n3 0 1 2\n", "could not be used"),
        ("g.off", "\0\1\2", "first line"),
        ("a.ply", PLY + SQUARE + "3 0 1 77\n", "indices"),
        ("b.ply", PLY + SQUARE, "broken"),
        ("c.ply", PLY.replace("vertex 4", "vertex 5000000000") + SQUARE, "broken"),
        ("a.stl", triangle_stl(1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, float("nan"), 0), "NaN"),
        ("b.stl", triangle_stl(1000000000, *range(12)), "broken"),
        ("a.glb", b"glTF\2\0\0\0" + bytes(90), "broken|faces|vertices"),
    ],
)
def test_broken_files_are_one_input_error(tmp_path, name, content, reason):
    with pytest.raises(InputError, match=reason) as caught:
        load_mesh(write(tmp_path / name, content))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_paths_that_are_no_mesh(tmp_path):
    (tmp_path / "folder.obj").mkdir()
    for name, reason in [("gone.obj", "nothing there"), ("folder.obj", "a folder"), ("a.txt", ".txt")]:
        with pytest.raises(InputError, match=reason):
            load_mesh(tmp_path / name)


def test_a_parser_that_hangs_crashes_or_grows_is_stopped(tmp_path, monkeypatch):
    path = write(tmp_path / "a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    monkeypatch.setattr(meshes, "TIME_LIMIT_SECONDS", 0.05)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"within 0\.05 s"):
        load_mesh(path)
    assert time.monotonic() - start < 5
    monkeypatch.undo()
    monkeypatch.setattr(meshes, "MAX_MEMORY_BYTES", 1 << 20)
    with pytest.raises(InputError, match="could not be used"):
        load_mesh(path)


def test_normalise_uses_only_what_faces_use():
    vertices = np.concatenate([VERTICES * 1e4 + 7, [[1e9, -1e9, 0]]])
    colors = np.concatenate([COLORS, [[0, 0, 0]]])
    mesh = normalise(Mesh(vertices, FACES, colors))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert (high - low).max() == 1  # exactly
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    expected = VERTICES / 4
    expected = expected - (expected.min(axis=0) + expected.max(axis=0)) / 2
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-3 / 4)
    np.testing.assert_array_equal(mesh.colors[mesh.faces], COLORS[FACES])


@pytest.mark.parametrize(
    ("vertices", "faces", "colors"),
    [
        (VERTICES[:0], FACES, None),
        (VERTICES, FACES[:0], None),
        (VERTICES[:, :2], FACES, None),
        (VERTICES, FACES.astype(np.float32), None),
        (VERTICES, FACES.astype(np.int64) + 2**32, None),
        (VERTICES, FACES - 1, None),
        (np.full_like(VERTICES, np.inf), FACES, None),
        (VERTICES.astype(np.float64) * 1e39, FACES, None),
        (VERTICES * 0 + 3, FACES, None),
        (VERTICES, FACES, COLORS[:3]),
        (VERTICES, FACES, COLORS * 255),
    ],
)
def test_no_mesh_is_made_of_bad_arrays(vertices, faces, colors):
    with pytest.raises(InputError):
        Mesh(vertices, faces, colors)


def test_gltf_is_refused_by_name(tmp_path):
    (tmp_path / "a.gltf").write_text("{}")
    with pytest.raises(InputError, match="expected a mesh file .*got '.gltf'; convert it"):
        load_mesh(tmp_path / "a.gltf")


def test_save_refuses_unknown_suffix_and_missing_folder(tmp_path):
    for name in ("a.gltf", "a.dae", "gone/a.ply"):
        with pytest.raises(InputError, match="name|writable"):
            save_mesh(tmp_path / name, Mesh(VERTICES, FACES))
