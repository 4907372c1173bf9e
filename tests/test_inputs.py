"""Names of a folder's files: every file has its own sub-folder of the results."""

import numpy as np
import pytest

from rendernet_jax.data.inputs import list_inputs, read_object
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError


def _touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_stems_name_files_that_differ_in_them(tmp_path):
    _touch(tmp_path, "chair.obj", "more/vase.BINVOX", "notes.txt")
    assert list_inputs(tmp_path) == {"chair": tmp_path / "chair.obj", "vase": tmp_path / "more/vase.BINVOX"}


@pytest.mark.parametrize(
    "names",
    [
        ("a/model.obj", "b/model.obj", "a_model_obj.ply"),
        ("model.obj", "a/model.obj", "model.obj.ply"),
        ("a.ply", "a/model.obj", "b/model.obj"),
        ("Chair.obj", "chair.ply"),
        ("render.json.obj", "chair.ply"),
    ],
)
def test_no_file_is_lost_where_names_clash(tmp_path, names):
    """And each name can be made a folder beside the others and beside render.json."""
    found = list_inputs(_touch(tmp_path / "in", *names))
    assert found == {name: tmp_path / "in" / name for name in names}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "render.json").touch()
    for name in found:
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "0000_phong.png").touch(exist_ok=False)


def test_a_file_is_itself(tmp_path):
    _touch(tmp_path, "a.obj", "a.txt")
    assert list_inputs(tmp_path / "a.obj") == {"a": tmp_path / "a.obj"}
    for path, message in ((tmp_path / "a.txt", "convert"), (tmp_path / "b.obj", "no such file")):
        with pytest.raises(InputError, match=message):
            list_inputs(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        list_inputs(tmp_path / "empty")


def test_a_voxel_file_is_taken_as_it_is(tmp_path):
    grid = np.zeros((4, 5, 6, 1), np.float32)
    grid[0, 1, 2] = 0.25
    write_voxels(tmp_path / "corner.npz", grid)
    thing = read_object(tmp_path / "corner.npz", up="z", grid=32)
    np.testing.assert_array_equal(thing.grid, grid[None])
    assert thing.occupancy == "file" and thing.mesh is None


def test_a_network_of_colours_gets_them_and_others_occupancy_alone(tmp_path):
    grid = np.zeros((4, 5, 6, 4), np.float32)
    grid[2, 2, 2] = 0.5, 1.0, 0.5, 0.0
    grid[2, 2, 3] = 0.0, 0.0, 0.25, 0.0  # a colour of its own beside the object
    write_voxels(tmp_path / "a.npy", grid)
    write_voxels(tmp_path / "b.npy", grid[..., :1])
    write_voxels(tmp_path / "c.npy", grid[..., :3])
    np.testing.assert_array_equal(read_object(tmp_path / "a.npy").grid[0], grid)
    np.testing.assert_array_equal(read_object(tmp_path / "a.npy", channels=1).grid[0], grid[..., :1])
    read = read_object(tmp_path / "a.npy", channels=4).grid[0]
    np.testing.assert_array_equal(read[..., 0], grid[..., 0])
    assert read[2, 2, 3, 1:].tolist() == [0, 0.25, 0]
    for place in ((2, 2, 2), (1, 1, 1), (0, 0, 0)):
        assert read[place][1:].tolist() == [1, 0.5, 0]
    assert not read[:, :, 5].any()
    white = read_object(tmp_path / "b.npy", channels=4).grid[0]
    assert (white[2, 2, 2:5, 1:] == 1).all() and not white[2, 2, 5].any() and white.shape == (4, 5, 6, 4)
    with pytest.raises(InputError, match=r"c\.npy: grid: expected 1 channel, occupancy, or 4"):
        read_object(tmp_path / "c.npy", channels=4)


def test_a_mesh_is_coloured_for_a_network_of_colours(tmp_path):
    pytest.importorskip("open3d", exc_type=ImportError)
    square = np.float32([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    save_mesh(tmp_path / "a.ply", Mesh(square, np.array([[0, 1, 2], [0, 2, 3]]), np.tile([[1.0, 0, 0]], (4, 1))))
    thing = read_object(tmp_path / "a.ply", grid=8, channels=4)
    assert thing.grid.shape == (1, 8, 8, 8, 4) and thing.mesh.colored
    occupied = thing.grid[0][thing.grid[0, ..., 0] > 0]
    np.testing.assert_array_equal(occupied[:, 1:], np.broadcast_to([1, 0, 0], (len(occupied), 3)))
    plain = [read_object(tmp_path / "a.ply", grid=8, channels=channels).grid for channels in (None, 1)]
    assert all((grid == thing.grid[..., :1]).all() for grid in plain)
