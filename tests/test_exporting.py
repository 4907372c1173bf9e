"""The exported artefact draws, without this package, what ``render`` draws, and has its gradient."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import exporting, network, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import render

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZE, GRID = 16, 8
RUN_EXAMPLE = """
import runpy, sys, numpy
sys.modules["rendernet_jax"] = None
sys.argv = sys.argv[1:]
numpy.savez("pictures.npz", **runpy.run_path(sys.argv[0])["pictures"])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder with untrained weights, their params and config, and the artefact's call."""
    pytest.importorskip("flatbuffers")
    folder, config = tmp_path_factory.mktemp("export"), preset("tiny")
    weights.save_weights(folder, network.init(jax.random.key(0), config), config, {})
    job = exporting.Job(folder, str(folder), ("phong", "normal"), SIZE, GRID, gradient=False)
    exporting.run(job, {})
    return folder, *weights.load_weights(folder)


def views(count):
    rng = np.random.default_rng(1)
    grid = jnp.asarray(rng.random((count, GRID, GRID, GRID, 1)) < 0.3, jnp.float32)
    names = (*exporting.POSE_FIELDS, *exporting.LIGHT_FIELDS)
    view = {name: jnp.asarray(rng.uniform(0.1, 0.6, count), jnp.float32) for name in names}
    view["translation"] = jnp.asarray(rng.uniform(-0.1, 0.1, (count, 3)), jnp.float32)
    return grid, view


@functools.partial(jax.jit, static_argnames=("config", "output"))
def draw(params, config, grid, view, output):
    light = Light(azimuth=view["light_azimuth"], elevation=view["light_elevation"])
    return render(
        params, config, grid, Pose(**{k: view[k] for k in exporting.POSE_FIELDS}), light, size=SIZE, output=output
    )


def test_artefact_draws_what_render_draws_for_several_pictures(model):
    folder, params, config = model
    exported = jax.export.deserialize(bytearray((folder / exporting.ARTEFACT).read_bytes()))
    assert exported.platforms == exporting.PLATFORMS
    grid, view = views(2)
    pictures = exported.call(grid, view)
    assert set(pictures) == {"phong", "normal"}
    for output, picture in pictures.items():
        wanted = draw(params, config, grid, view, output)
        assert wanted.std() > 0.01, "an empty picture would agree with anything"
        np.testing.assert_allclose(picture, wanted, atol=1e-5)


@pytest.mark.slow
def test_gradient_goes_through_the_artefact(model, tmp_path):
    folder, params, config = model
    exporting.run(exporting.Job(tmp_path, str(folder), size=SIZE, grid=GRID), {})
    exported = jax.export.deserialize(bytearray((tmp_path / exporting.ARTEFACT).read_bytes()))
    grid, view = views(1)
    found = jax.grad(lambda view: exported.call(grid, view)["phong"].mean())(view)
    wanted = jax.grad(lambda view: draw(params, config, grid, view, "phong").mean())(view)
    assert abs(wanted["azimuth"][0]) > 1e-5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, wanted)


def test_the_example_draws_where_this_package_is_not_importable(model, tmp_path):
    folder, params, config = model
    grid = np.random.default_rng(2).random((GRID, GRID, GRID, 1)) < 0.3
    write_voxels(tmp_path / "grid.npz", grid.astype(np.float32))
    files = [folder / exporting.ARTEFACT, tmp_path / "grid.npz", tmp_path]
    command = [sys.executable, "-c", RUN_EXAMPLE, ROOT / "docs" / "draw_exported.py", *files]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    view = {name: jnp.zeros(1) for name in (*exporting.POSE_FIELDS, *exporting.LIGHT_FIELDS)}
    view |= {"azimuth": jnp.full(1, 0.5), "elevation": jnp.full(1, 0.3), "light_azimuth": jnp.full(1, 0.6)}
    view |= {"scale": jnp.ones(1), "translation": jnp.zeros((1, 3))}
    for output in ("phong", "normal"):
        wanted = draw(params, config, jnp.asarray(grid, jnp.float32)[None], view, output)
        np.testing.assert_allclose(np.load(tmp_path / "pictures.npz")[output], wanted, atol=1e-5)
        found = np.asarray(Image.open(tmp_path / f"{output}.png"))
        np.testing.assert_allclose(found / 255, np.asarray(wanted[0]).squeeze(), atol=0.5 / 255 + 1e-5)


def test_signature_tells_arguments_and_pictures(model):
    signature = json.loads((model[0] / exporting.SIGNATURE).read_text())
    assert signature["grid"] == ["float32", "(N, 8, 8, 8, 1)"]
    assert signature["view"]["translation"] == ["float32", "(N, 3)"]
    assert signature["pictures"]["normal"] == ["float32", "(N, 16, 16, 3)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ("albedo",)}, "albedo"),
        ({"size": 17}, "size: expected a multiple"),
        ({"platforms": ("gpu",)}, "platforms: expected some of cpu, cuda, tpu, got .*gpu"),
        ({"platforms": ()}, "platforms: .*none"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(model, tmp_path, change, message):
    job = exporting.Job(**{"output": tmp_path, "weights": str(model[0]), "size": SIZE, "grid": GRID} | change)
    with pytest.raises(InputError, match=message):
        exporting.run(job, {})
    assert list(tmp_path.iterdir()) == []


def test_missing_flatbuffers_is_one_error(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax._src.export.serialization", None)
    with pytest.raises(InputError, match=r"flatbuffers.*rendernet_jax\[export\]"):
        exporting.run(exporting.Job(tmp_path, str(model[0]), size=SIZE, grid=GRID, gradient=False), {})
