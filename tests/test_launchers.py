"""The launchers as a user runs them: exit codes, one-line errors, and the files that are there afterwards."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import launching
import numpy as np
import pytest
from launching import call, start

from rendernet_jax import network, weights
from rendernet_jax.config import preset
from rendernet_jax.data.voxel_files import write_voxels

CUBE_OFF = """OFF
8 6 0
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
1 0 1
1 1 1
0 1 1
4 0 3 2 1
4 4 5 6 7
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7
"""
WITHOUT_OPEN3D = """
import runpy, sys
sys.modules["open3d"] = sys.modules["numba"] = None
sys.argv = [sys.argv[1], *sys.argv[2:]]
runpy.run_module(f"experiments.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""


def start_without_open3d(name, *arguments):
    """:func:`launching.start` where neither Open3D nor Numba is installed."""
    command = [sys.executable, "-c", WITHOUT_OPEN3D, name, *map(str, arguments)]
    return subprocess.run(command, cwd=launching.ROOT, capture_output=True, text=True, timeout=120)


def assert_one_error(done, *messages):
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for message in messages:
        assert message in done.stderr


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of an untrained network, a voxel file and a folder with a mesh."""
    folder = tmp_path_factory.mktemp("launchers")
    config = preset("tiny")
    weights.save_weights(folder, jax.jit(network.init, static_argnums=1)(jax.random.key(0), config), config, {})
    write_voxels(folder / "box.npz", np.ones((8, 8, 8, 1), np.float32))
    (folder / "meshes").mkdir()
    (folder / "meshes" / "cube.off").write_text(CUBE_OFF)
    return folder


# --- the whole path -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(folder):
    """A data set of two shapes."""
    pytest.importorskip("open3d", reason="ray tracing needs open3d", exc_type=ImportError)
    flags = ("--shapes=2", "--families=chair,table", "--views=2", "--size=32", "--grid=8", "--workers=0")
    done = start("build_dataset", *flags, f"--output={folder / 'data'}")
    assert done.returncode == 0, done.stderr
    assert "complete, 2 shapes, 4 views, 0 skipped" in done.stdout
    assert {"manifest.json", "contact_sheet.png", "shards"} <= names(folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def trained(folder, data):
    """A run of two steps, where Open3D is not installed."""
    flags = ("--preset=tiny", "--steps=2", "--batch=1", "--patch=16", "--eval_every=2")
    done = start_without_open3d("train", f"--data={data}", f"--output={folder / 'run'}", *flags)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_trained_weights_draw_voxels_without_open3d(folder, trained, tmp_path):
    assert {"weights.npz", "weights.json", "log.jsonl", "run.json", "checkpoints", "sheets"} <= names(trained)
    flags = (
        f"--input={folder / 'box.npz'}",
        f"--weights={trained}",
        "--size=32",
        f"--output={tmp_path / 'new' / 'out'}",
    )
    done = start_without_open3d("render", *flags, "--outputs=phong,normal", "--azimuth_deg=10", "--float")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "new" / "out" / "render.json").read_text())
    assert report["poses"][0]["azimuth_deg"] == 10 and report["poses"][0]["light_elevation_deg"] == 40
    assert report["weights_sha256"] == weights.read_card(trained)["sha256"]
    assert names(tmp_path / "new" / "out") == {"0000_phong.png", "0000_normal.png", "0000.npz", "render.json"}
    assert_one_error(call("render", *flags), "--overwrite")


def test_training_on_a_packed_set_by_workers_gives_the_same_bytes(data, trained, tmp_path):
    pytest.importorskip("grain", exc_type=ImportError)
    done = call("pack_dataset", f"--data={data}", f"--output={tmp_path / 'packed'}")
    assert done.returncode == 0 and "complete, 4 views" in done.stdout, done.stderr
    flags = ("--preset=tiny", "--steps=2", "--batch=1", "--patch=16", "--eval_every=2", "--workers=2")
    done = start("train", f"--data={tmp_path / 'packed'}", f"--output={tmp_path / 'run'}", *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "weights.npz").read_bytes() == (trained / "weights.npz").read_bytes()
    done = call("train", f"--data={data}", f"--output={tmp_path / 'other'}", *flags)
    assert_one_error(done, "--workers: expected 0 for data in memory, got 2; pack them first, with pack_dataset")


def test_render_beside_references(folder, tmp_path):
    flags = (f"--input={folder / 'meshes'}", f"--weights={folder}", "--size=32", "--grid=16", f"--output={tmp_path}")
    done = start("render", *flags, "--reference", "--outputs=phong,mask")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "render.json").read_text())
    assert f"mean PSNR phong {report['psnr']['phong']:.2f} dB over 1 object(s)" in done.stdout
    pictures = {f"0000_{output}{tail}.png" for output in ("phong", "mask") for tail in ("", "_reference")}
    assert names(tmp_path / "cube") == pictures | {"render.json"}


def test_evaluate(folder, tmp_path):
    flags = (f"--meshes={folder / 'meshes'}", f"--weights={folder}", "--size=32", "--occupancy=binary")
    (tmp_path / "sheet.png").write_bytes(b"mine")
    assert_one_error(call("evaluate", *flags, f"--output={tmp_path}"), "sheet.png", "--overwrite")
    assert (tmp_path / "sheet.png").read_bytes() == b"mine"
    done = start("evaluate", *flags, f"--output={tmp_path}", "--overwrite")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert "1 meshes, 0 skipped" in done.stdout and report["meshes"].keys() == {"cube.off"}
    assert names(tmp_path) == {"report.json", "report.md", "sheet.png", "references"}


def test_demo_replaces_what_a_demo_wrote_and_nothing_else(folder, tmp_path):
    flags = (f"--weights={folder}", "--size=32", "--turntable=2")
    mesh = f"--mesh={folder / 'meshes' / 'cube.off'}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "render.json").write_text('{"poses": []}')
    assert_one_error(call("demo", *flags, mesh, f"--output={tmp_path / 'mine'}"), "render.json", "not of a demo")
    assert (tmp_path / "mine" / "render.json").read_text() == '{"poses": []}'
    for run, arguments in ((start, []), (call, [mesh])):
        done = run("demo", *flags, *arguments, f"--output={tmp_path / 'demo'}")
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "demo" / "render.json").read_text())
        assert pathlib.Path(report["input"]).is_file(), "what was drawn can be drawn again"
        assert f"PSNR phong {report['psnr']['phong']:.2f} dB\n" in done.stdout
        assert "seconds per picture" in done.stdout.splitlines()[-1]
    assert {"chair.ply", "turntable.gif", "sheet.png"} <= names(tmp_path / "demo")


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "flags", "message"),
    [
        ("render", ["--input=nowhere.obj", "--output={tmp}/out"], "nowhere.obj"),
        ("render", ["--input={folder}/box.npz", "--weights={folder}", "--outputs=phon", "--output={tmp}/out"], "phon"),
        ("render", ["--input={folder}/box.npz", "--weights={folder}", "--outputs=", "--output={tmp}/out"], "outputs"),
        ("render", ["--input={folder}/box.npz", "--output=/proc/no"], "/proc/no"),
        ("render", ["--output={tmp}/out"], "--input"),
        ("train", ["--data={tmp}", "--output={tmp}/run"], "manifest"),
        ("train", ["--data={tmp}", "--preset=huge", "--output={tmp}/run"], "huge"),
        ("evaluate", ["--meshes={tmp}", "--weights={folder}", "--output={tmp}/out"], "meshes"),
        ("evaluate", ["--meshes={tmp}", "--weights={folder}", "--occupancy=", "--output={tmp}/out"], "occupancy"),
        ("build_dataset", ["--source={tmp}", "--output=/proc/no"], "source"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, launcher, flags, message):
    assert_one_error(call(launcher, *(flag.format(folder=folder, tmp=tmp_path) for flag in flags)), message)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("launcher", "flags"),
    [
        ("render", ["--input={folder}/meshes/cube.off", "--weights={folder}", "--size=32"]),
        ("demo", ["--weights={folder}", "--size=32"]),
    ],
)
def test_meshes_without_their_packages_are_one_line(folder, tmp_path, monkeypatch, launcher, flags):
    for package in ("open3d", "numba"):
        monkeypatch.setitem(sys.modules, package, None)
    flags = [flag.format(folder=folder) for flag in flags]
    done = call(launcher, *flags, f"--output={tmp_path / 'out'}")
    assert_one_error(done, "install rendernet_jax[mesh]")
    assert names(tmp_path) == set()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(folder, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    done = call("render", f"--input={folder / 'box.npz'}", f"--weights={folder}", f"--output={tmp_path / 'closed'}")
    assert_one_error(done, "closed", "choose another")
