"""The documents: links lead somewhere, commands parse, the short ones run, so does Python; the reference builds."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rendernet_jax import __main__ as entry

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(p for p in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PARSE = """
import importlib, json, sys
from absl import flags
importlib.import_module("experiments." + sys.argv[1])
for command in json.loads(sys.argv[2]):
    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS(command)
    assert len(rest) == 1, f"no flag: {rest[1:]}"
"""
TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"


def commands(text: str) -> list[list[str]]:
    """The lines of a document that call a launcher, without what stands before its name: ``[name, flags ...]``."""
    joined = text.replace("\\\n", " ")
    found = re.findall(
        r"^(?:    |\S*=\S+ )?(?:\S*python )-m (?:experiments\.|rendernet_jax )(\w+)(.*)$", joined, re.MULTILINE
    )
    return [[name, *shlex.split(rest, comments=True)] for name, rest in found if name in entry.launchers()]


def all_commands() -> dict[str, list[list[str]]]:
    """By launcher, of all documents, docstrings of the launchers included."""
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "experiments").glob("[!_]*.py")]
    by_name: dict[str, list[list[str]]] = {}
    for command in (c for text in texts for c in commands(text)):
        by_name.setdefault(command[0], []).append(command)
    return by_name


@pytest.mark.parametrize("name", sorted(entry.launchers()))
def test_flags_of_every_command_exist_and_parse(name):
    known = all_commands()[name]
    command = [sys.executable, "-c", PARSE, name, json.dumps(known)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"one of {known}: {done.stderr}"


def test_every_make_target_in_the_documents_exists():
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        named = set(re.findall(r"(?:`|^    )make (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= known, f"{path.name}: no make {named - known}"


def test_links_lead_somewhere():
    for document in [*DOCUMENTS, *(ROOT / "rendernet_jax").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_guides_are_listed():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or path.name in index, path.name


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the guides' commands read, in which they can be run."""
    for name in ("experiments", "rendernet_jax"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "chair.obj").write_text(TETRAHEDRON)
    (tmp_path / "poses.json").write_text(
        '[{"azimuth_deg": 0}, {"azimuth_deg": 90, "elevation_deg": 45, "light_azimuth_deg": -60}]'
    )
    (tmp_path / "chair.npz").write_bytes((ROOT / "docs" / "chair.npz").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_blocks(name: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_python_of_conventions_runs():
    scope = {}
    exec(compile("\n".join(python_blocks("conventions.md")), "conventions.md", "exec"), scope)
    assert scope["degrees"]["azimuth_deg"] == pytest.approx(18.43, abs=0.01)


def write_photo(path):
    """A picture of the example chair, by the network."""
    from rendernet_jax import Pose, load_weights, render
    from rendernet_jax.data.sheet import save_png
    from rendernet_jax.data.voxel_files import read_voxels

    grid = read_voxels(ROOT / "docs" / "chair.npz")[None]
    save_png(path, np.asarray(render(*load_weights("compact"), grid, Pose(0.5, 0.3), size=256))[0])


@pytest.mark.slow
def test_python_of_fit_runs(workplace, monkeypatch):
    from rendernet_jax.data.marching_cubes import marching_cubes
    from rendernet_jax.data.meshes import save_mesh
    from rendernet_jax.data.voxel_files import read_voxels

    write_photo(workplace / "photo.png")
    save_mesh(workplace / "chair.ply", marching_cubes(read_voxels(workplace / "chair.npz")))
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # optimised programs, as readers have them
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    told = '\nprint("azimuth:", float(found.pose.azimuth))\n'  # of the voxels, the mesh, and what is carved
    script = told.join([*python_blocks("fit.md"), ""])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    azimuths = [float(azimuth) for azimuth in re.findall(r"^azimuth: (.*)$", done.stdout, re.MULTILINE)]
    assert azimuths == pytest.approx([0.5] * 3, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["render.md", "export.md"])
def test_commands_of_short_guides_run(name, workplace):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    lines = re.findall(r"^    \.venv/bin/python (.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        command = [sys.executable, *shlex.split(line)]
        environment = os.environ | {"PYTHONPATH": str(workplace)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    pictures = [p for p in (workplace / "out").rglob("*.png")]
    assert pictures and all(np.asarray(Image.open(p).convert("L")).min() < 250 for p in pictures)


@pytest.mark.slow
def test_the_reference_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs/api", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "render_buffers" in (tmp_path / "drawing.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # fast programs, as a reader has them
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    shown = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(shown) >= 3
