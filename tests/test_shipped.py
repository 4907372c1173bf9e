"""The weights that ship: their card, golden pictures, quality on shapes they never saw, and the README's promises."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import camera, metrics, rendering, shading, weights
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.voxel_files import read_voxels
from rendernet_jax.data.voxelise import voxelise

ROOT = pathlib.Path(__file__).parent.parent
LIGHT = rendering.DEFAULT_LIGHT


@pytest.fixture(scope="module")
def draw():
    params, config = weights.load_weights("compact")
    return jax.jit(lambda grid, pose: rendering.render_buffers(params, config, grid, pose, 256))


def test_card_tells_where_they_come_from():
    assert "compact" in weights.shipped()
    provenance = weights.read_card("compact")["provenance"]
    for key in ("command", "data", "data_command", "steps", "hours", "machine", "scores"):
        assert provenance[key], key
    assert weights.find_weights("compact").stat().st_size < 6 * 2**20


def test_golden_pictures(draw):
    """Made by ``python -m experiments.render --input=docs/chair.npz --size=256 --outputs=phong,contour,ao,normal
    --output=tests/golden --overwrite``; other versions of XLA may round a few pixels differently."""
    pose = camera.pose_from_degrees(azimuth_deg=30, elevation_deg=20)
    buffers = draw(read_voxels(ROOT / "docs" / "chair.npz")[None], camera.broadcast(pose))
    for output in ("phong", "contour", "ao", "normal"):
        with Image.open(ROOT / "tests" / "golden" / f"0000_{output}.png") as file:
            golden = np.asarray(file, np.float32) / 255
        picture = np.asarray(shading.shade(buffers, LIGHT, output)[0])
        error = np.abs(picture - golden)
        assert error.mean() < 1e-3 and error.max() < 0.05, output


@pytest.mark.parametrize(("family", "least"), [("chair", 25.0), ("organic", 29.0)])
def test_unseen_shapes_are_drawn_well_and_better_than_composited(draw, family, least):
    """Against the ray tracer; and the network beats the analytic pictures that it is given."""
    mesh = make_shape(family, 123_456_789)
    pose = camera.pose_from_degrees(azimuth_deg=40, elevation_deg=25)
    wanted = reference_pictures(build_scene(mesh), pose, LIGHT, 256, ("phong", "mask"))
    for occupancy in ("coverage", "binary"):
        buffers = draw(voxelise(mesh, 64, occupancy)[None], camera.broadcast(pose))
        drawn = {o: np.asarray(shading.shade(buffers, LIGHT, o)) for o in wanted}
        assert metrics.psnr(drawn["phong"], wanted["phong"][None])[0] > least - 2 * (occupancy == "binary")
        assert metrics.mask_iou(drawn["mask"], wanted["mask"][None])[0] > 0.85


def test_background_is_exactly_white(draw):
    """Far from every voxel, up to the frame's corners."""
    buffers = draw(read_voxels(ROOT / "docs" / "chair.npz")[None], camera.broadcast(camera.Pose(azimuth=0.5)))
    for output, background in (("phong", 1.0), ("toon", 1.0), ("contour", 1.0), ("ao", 1.0), ("mask", 0.0)):
        picture = np.asarray(shading.shade(buffers, LIGHT, output)[0])
        border = np.concatenate([picture[:16].ravel(), picture[-16:].ravel(), picture[:, :16].ravel()])
        assert (border == background).all(), output


def test_light_turns_with_the_camera(draw):
    """Light from the right brightens what faces right, at every azimuth."""
    grid = read_voxels(ROOT / "docs" / "chair.npz")[None]
    for azimuth in (0.0, 1.5, 3.0):
        buffers = draw(grid, camera.broadcast(camera.Pose(azimuth=azimuth, elevation=0.3)))
        pictures = [shading.shade(buffers, camera.Light(azimuth=a), "phong") for a in (-1.2, 1.2)]
        faces_right = (buffers["normal"][..., :1] > 0.3) & (buffers["mask"] > 0.5)
        assert jnp.mean(pictures[1], where=faces_right) > jnp.mean(pictures[0], where=faces_right)


def test_readme_example_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert "Pose(" in capsys.readouterr().out
