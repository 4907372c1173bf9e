"""Names of a folder's files: every file has its own sub-folder of the results."""

import numpy as np
import pytest

from rendernet_jax.data.inputs import list_inputs, read_object
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
