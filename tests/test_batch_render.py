"""From files to files, with an untrained tiny network: what is written, and what bad input leads to."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import batch_render, network, weights
from rendernet_jax.batch_render import Job, View
from rendernet_jax.config import preset
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError

DEFAULTS = {
    "azimuth_deg": 30.0,
    "elevation_deg": 20.0,
    "roll_deg": 0.0,
    "scale": 1.0,
    "inverse_distance": 0.0,
    "light_azimuth_deg": 35.0,
    "light_elevation_deg": 40.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of an untrained network, a box as mesh, and a voxel file."""
    folder = tmp_path_factory.mktemp("files")
    config = preset("tiny")
    weights.save_weights(folder, network.init(jax.random.key(0), config), config, {})
    (folder / "inputs").mkdir()
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    save_mesh(folder / "inputs" / "box.ply", Mesh(corners, faces))
    write_voxels(folder / "inputs" / "ball.npz", _ball(12))
    return folder


def _ball(size):
    axis = (np.arange(size) + 0.5) / size - 0.5
    distance = np.sqrt(sum(np.square(a) for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    return (distance < 0.4).astype(np.float32)[..., None]


def _read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def _job(folder, output, **changes):
    views = batch_render.read_views(None, DEFAULTS)
    job = Job(
        input=str(folder / "inputs" / "ball.npz"), output=output, views=views, weights=str(folder), size=32, grid=12
    )
    return dataclasses.replace(job, **changes)


def test_folder_with_everything(folder, tmp_path):
    outputs = ("phong", "toon", "contour", "ao", "normal", "depth", "mask")
    job = _job(folder, tmp_path, input=str(folder / "inputs"), outputs=outputs, arrays=True, turntable=3)
    reports = batch_render.run(job)
    assert list(reports) == ["ball", "box"]
    for name, occupancy in (("ball", "file"), ("box", "coverage")):
        written = {p.name for p in (tmp_path / name).iterdir()}
        assert written == {f"0000_{o}.png" for o in outputs} | {"0000.npz", "render.json", "turntable.gif"}
        report = json.loads((tmp_path / name / "render.json").read_text())
        assert report["occupancy"] == occupancy and report["grid"] == [12, 12, 12, 1]
        assert report["weights_sha256"] == weights.read_card(folder)["sha256"]
        picture = _read(tmp_path / name / "0000_phong.png")
        assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8
        with Image.open(tmp_path / name / "turntable.gif") as animation:
            assert animation.n_frames == 3
        with np.load(tmp_path / name / "0000.npz") as arrays:
            length = np.linalg.norm(arrays["normal"], axis=-1)
            inside = arrays["mask"] > 0.5
            np.testing.assert_allclose(length[inside], 1.0, atol=1e-3)
            assert (length[~inside] == 0).all() and (arrays["z"][~inside] == -1).all()


def test_file_equals_library(folder, tmp_path):
    """The PNG holds round(255 v) of what the library returns."""
    from rendernet_jax import Light, Pose, render

    batch_render.run(_job(folder, tmp_path))
    params, config = weights.load_weights(folder)
    pose = Pose(azimuth=math.radians(30), elevation=math.radians(20))
    light = Light(azimuth=math.radians(35), elevation=math.radians(40))
    picture = np.asarray(render(params, config, _ball(12)[None], pose, light, size=32)[0])
    found = _read(tmp_path / "0000_phong.png")[..., :1].astype(np.float32)
    assert np.abs(found - np.rint(255 * picture)).max() <= 1


def test_transparent_picture_on_white_is_the_picture(folder, tmp_path):
    outputs = ("phong", "toon", "contour", "normal")
    batch_render.run(_job(folder, tmp_path / "white", outputs=outputs))
    batch_render.run(_job(folder, tmp_path / "clear", outputs=outputs, transparent=True))
    for output in outputs:
        white = _read(tmp_path / "white" / f"0000_{output}.png").astype(np.float32)
        clear = _read(tmp_path / "clear" / f"0000_{output}.png").astype(np.float32)
        alpha = clear[..., 3:] / 255
        np.testing.assert_allclose(clear[..., :3] * alpha + 255 * (1 - alpha), white, atol=2.0)


def test_reference_figures_are_of_the_written_pictures(folder, tmp_path):
    job = _job(folder, tmp_path, input=str(folder / "inputs" / "box.ply"), reference=True, outputs=("phong", "mask"))
    (report,) = batch_render.run(job).values()
    a, b = (_read(tmp_path / f"0000_phong{t}.png")[..., 0] / 255.0 for t in ("", "_reference"))
    assert report["psnr"]["phong"] == pytest.approx(-10 * np.log10(np.mean((a - b) ** 2)), abs=0.05)


def test_nothing_is_overwritten(folder, tmp_path):
    job = _job(folder, tmp_path)
    batch_render.run(job)
    before = (tmp_path / "render.json").read_bytes()
    with pytest.raises(InputError, match="--overwrite"):
        batch_render.run(dataclasses.replace(job, views=(View({"azimuth_deg": 90.0}, {}),)))
    assert (tmp_path / "render.json").read_bytes() == before
    batch_render.run(dataclasses.replace(job, overwrite=True))


def test_poses_file(tmp_path):
    path = tmp_path / "poses.json"
    path.write_text('[{"azimuth_deg": 10, "translation": [0.1, 0, 0]}, {"light_azimuth_deg": 5}]')
    first, second = batch_render.read_views(str(path), DEFAULTS)
    assert first.pose["azimuth_deg"] == 10 and first.pose["elevation_deg"] == 20
    assert first.pose["translation"] == [0.1, 0, 0]
    assert second.light["light_azimuth_deg"] == 5 and second.light["light_elevation_deg"] == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list"),
        ("[]", "one or more"),
        ("[1]", "objects"),
        ("[{]", "JSON"),
        ('[{"azimut_deg": 3}]', "azimut_deg"),
        ('[{"scale": 0}]', "scale"),
        ('[{"scale": "big"}]', "scale"),
        ('[{"azimuth_deg": null}]', "azimuth_deg"),
        ('[{"translation": [1, 2]}]', "translation"),
        ('[{"inverse_distance": 1.0}]', "inverse_distance"),
        ('[{"elevation_deg": NaN}]', "elevation_deg"),
    ],
)
def test_bad_poses(tmp_path, content, message):
    path = tmp_path / "poses.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        batch_render.read_views(str(path), DEFAULTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "nowhere.obj"}, "no such file"),
        ({"weights": "nowhere"}, "weights"),
        ({"outputs": ("phongg",)}, "phongg"),
        ({"outputs": ("albedo",)}, "albedo"),
        ({"size": 30}, "multiple of 4"),
        ({"reference": True}, "voxel file"),
    ],
)
def test_bad_jobs(folder, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        batch_render.run(_job(folder, tmp_path / "out", **changes))
    assert not (tmp_path / "out" / "render.json").exists()


def test_a_bad_file_in_a_folder_is_skipped(folder, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "bad.npz").write_bytes(b"no zip")
    write_voxels(inputs / "good.npz", _ball(12))
    reports = batch_render.run(_job(folder, tmp_path / "out", input=str(inputs)))
    assert {name: "error" in report for name, report in reports.items()} == {"bad": True, "good": False}


def test_two_files_of_one_name(folder, tmp_path):
    for part in ("a", "b"):
        (tmp_path / "in" / part).mkdir(parents=True)
        write_voxels(tmp_path / "in" / part / "model.npz", _ball(12))
    reports = batch_render.run(_job(folder, tmp_path / "out", input=str(tmp_path / "in")))
    assert list(reports) == ["a_model_npz", "b_model_npz"]
    assert (tmp_path / "out" / "b_model_npz" / "0000_phong.png").exists()
