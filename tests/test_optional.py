"""Open3D and Numba are optional: one place imports each, and tells what to do where it is missing."""

import pathlib
import re
import sys

import pytest

from rendernet_jax.data import dataset
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.data.tasks import procedural_tasks
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError

PACKAGE = pathlib.Path(__file__).parent.parent / "rendernet_jax"


def test_missing_open3d_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(InputError, match=r"Open3D: expected to import it.*install rendernet_jax\[mesh\]"):
        import_open3d()


def test_missing_numba_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(InputError, match=r"meshes to voxels: expected numba.*install rendernet_jax\[mesh\]"):
        voxelise(make_shape("chair", 1))


@pytest.mark.parametrize(
    ("package", "files"),
    [
        # The child process that parses meshes imports nothing of the package.
        ("open3d", {"data/optional.py", "data/mesh_subprocess.py"}),
        # Its name must be known where functions are compiled; optional.py imports it by a string.
        ("numba", {"data/solid.py"}),
    ],
)
def test_nothing_else_imports_it(package, files):
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(rf"^\s*(import|from) {package}\b", path.read_text(), re.MULTILINE)
    }
    assert importing == files


def test_a_missing_numba_is_not_told_of_each_mesh(monkeypatch, tmp_path):
    pytest.importorskip("open3d", exc_type=ImportError)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(InputError, match=r"^meshes to voxels: expected numba"):
        dataset.build(procedural_tasks(2), tmp_path, dataset.Settings(1, 16, 8), workers=0)
