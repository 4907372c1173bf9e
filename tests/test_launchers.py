"""The launchers as a user runs them: exit codes, one-line errors, and the files that are there afterwards."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from rendernet_jax import network, weights
from rendernet_jax.config import preset
from rendernet_jax.data.voxel_files import write_voxels

ROOT = pathlib.Path(__file__).parent.parent


def launch(name, *arguments):
    command = [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of an untrained network and a voxel file."""
    folder = tmp_path_factory.mktemp("launchers")
    config = preset("tiny")
    weights.save_weights(folder, network.init(jax.random.key(0), config), config, {})
    write_voxels(folder / "box.npz", np.ones((8, 8, 8, 1), np.float32))
    return folder


def test_render(folder, tmp_path):
    flags = (
        f"--input={folder / 'box.npz'}",
        f"--weights={folder}",
        "--size=32",
        f"--output={tmp_path / 'new' / 'out'}",
    )
    done = launch("render", *flags, "--outputs=phong,normal", "--azimuth_deg=10", "--float")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "new" / "out" / "render.json").read_text())
    assert report["poses"][0]["azimuth_deg"] == 10 and report["poses"][0]["light_elevation_deg"] == 40
    written = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert written == {"0000_phong.png", "0000_normal.png", "0000.npz", "render.json"}
    again = launch("render", *flags)
    assert again.returncode == 1 and "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("launcher", "flags", "message"),
    [
        ("render", ["--input=nowhere.obj", "--output={tmp}/out"], "nowhere.obj"),
        ("render", ["--input={folder}/box.npz", "--weights={folder}", "--outputs=phon", "--output={tmp}/out"], "phon"),
        ("render", ["--input={folder}/box.npz", "--output=/proc/no"], "/proc/no"),
        ("render", ["--input={folder}/box.npz", "--size=many", "--output={tmp}/out"], "size"),
        ("render", ["--output={tmp}/out"], "--input"),
        ("train", ["--data={tmp}", "--output={tmp}/run"], "manifest"),
        ("train", ["--data={tmp}", "--preset=huge", "--output={tmp}/run"], "huge"),
        ("evaluate", ["--meshes={tmp}", "--weights={folder}", "--output={tmp}/out"], "meshes"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, launcher, flags, message):
    done = launch(launcher, *(flag.format(folder=folder, tmp=tmp_path) for flag in flags))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr
