"""From files to files, with an untrained tiny network: what is written, and what bad input leads to."""

import dataclasses
import json
import math
import time
import types

import jax
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import batch_render, camera, evaluation, network, rendering, shading, weights
from rendernet_jax.batch_render import Job, View
from rendernet_jax.config import preset
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError

init = jax.jit(network.init, static_argnums=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of an untrained network, a box as mesh, and a voxel file."""
    folder = tmp_path_factory.mktemp("files")
    config = preset("tiny")
    weights.save_weights(folder, init(jax.random.key(0), config), config, {})
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
    job = Job(
        input=str(folder / "inputs" / "ball.npz"), output=output, views=(View(),), weights=str(folder), size=32, grid=12
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


def test_a_network_of_colours_draws_them_and_is_scored(tmp_path):
    config = preset("tiny-texture")
    (tmp_path / "net").mkdir()
    weights.save_weights(tmp_path / "net", init(jax.random.key(0), config), config, {})
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 1)], np.float32)
    faces = np.array([(0, 1, 3), (0, 3, 2), (4, 5, 7), (4, 7, 6), (0, 1, 5), (0, 5, 4), (2, 3, 7), (2, 7, 6)])
    save_mesh(tmp_path / "box.ply", Mesh(corners, faces, np.tile(np.float32([1, 0.5, 0]), (8, 1))))
    job = _job(tmp_path, tmp_path / "out", input=str(tmp_path / "box.ply"), weights=str(tmp_path / "net"))
    job = dataclasses.replace(job, outputs=("colour", "albedo", "phong"), reference=True, transparent=True)
    report = batch_render.run(job)["box"]
    assert report["grid"] == [12, 12, 12, 4] and set(report["psnr"]) == {"colour", "albedo", "phong"}
    picture = _read(tmp_path / "out" / "0000_albedo_reference.png")
    opaque = picture[picture[..., 3] == 255]
    assert len(opaque) and (abs(opaque[:, :3] - np.array([255, 128, 0])) <= 1).all()
    default = batch_render.run(_job(tmp_path, tmp_path / "plain", weights=str(tmp_path / "net"), input=job.input))
    assert default["box"]["poses"][0]["files"] == ["0000_colour.png"]


def test_colour_needs_a_network_that_draws_it(folder, tmp_path):
    with pytest.raises(InputError, match="output 'colour': these weights lack the head albedo"):
        batch_render.run(_job(folder, tmp_path, outputs=("colour",)))


def test_file_equals_library(folder, tmp_path):
    """The PNG holds round(255 v) of what the library returns."""
    from rendernet_jax import Light, Pose, render

    batch_render.run(_job(folder, tmp_path))
    params, config = weights.load_weights(folder)
    pose = Pose(azimuth=math.radians(30), elevation=math.radians(20))
    light = Light(azimuth=math.radians(35), elevation=math.radians(40))
    picture = jax.jit(render, static_argnums=1, static_argnames="size")(
        params, config, _ball(12)[None], pose, light, size=32
    )[0]
    found = _read(tmp_path / "0000_phong.png")[..., :1].astype(np.float32)
    assert np.abs(found - np.rint(255 * picture)).max() <= 1


def test_transparent_picture_on_white_is_the_picture(folder, tmp_path):
    """So for the network's pictures and for the references."""
    outputs = ("phong", "toon", "contour", "normal")
    job = _job(folder, tmp_path / "white", input=str(folder / "inputs" / "box.ply"), outputs=outputs, reference=True)
    batch_render.run(job)
    batch_render.run(dataclasses.replace(job, output=tmp_path / "clear", transparent=True))
    for name in [f"0000_{output}{tail}.png" for output in outputs for tail in ("", "_reference")]:
        white = _read(tmp_path / "white" / name).astype(np.float32)
        clear = _read(tmp_path / "clear" / name).astype(np.float32)
        alpha = clear[..., 3:] / 255
        np.testing.assert_allclose(clear[..., :3] * alpha + 255 * (1 - alpha), white, atol=2.0)
        if name.endswith("_reference.png"):
            assert alpha[0, 0, 0] == 0, "background"


def test_transparent_turntable(folder, tmp_path):
    """Every frame is transparent where its own mask, not that of the frame before, is below one half."""
    job = _job(folder, tmp_path, outputs=("phong", "mask"), transparent=True, turntable=3)
    views = tuple(View(azimuth_deg=a) for a in (30.0, 150.0, 270.0))
    batch_render.run(dataclasses.replace(job, views=views))
    with Image.open(tmp_path / "turntable.gif") as animation:
        for index in range(3):
            animation.seek(index)
            frame = np.asarray(animation.convert("RGBA"))
            alpha = _read(tmp_path / f"{index:04d}_phong.png")[..., 3]
            assert 0 < (frame[..., 3] == 0).sum() < alpha.size
            np.testing.assert_array_equal(frame[..., 3] == 255, alpha >= 128)


def test_reference_figures_are_of_the_written_pictures(folder, tmp_path):
    job = _job(folder, tmp_path, input=str(folder / "inputs" / "box.ply"), reference=True, outputs=("phong", "mask"))
    (report,) = batch_render.run(job).values()
    a, b = (_read(tmp_path / f"0000_phong{t}.png")[..., 0] / 255.0 for t in ("", "_reference"))
    assert report["psnr"]["phong"] == pytest.approx(-10 * np.log10(np.mean((a - b) ** 2)), abs=0.05)


def test_a_view_beside_the_object_has_null_figures(folder, tmp_path):
    """JSON knows no infinity; the means are of what is left."""
    views = (View(), View(translation=(0.0, 5.0, 0.0)))
    job = _job(folder, tmp_path, input=str(folder / "inputs" / "box.ply"), reference=True, views=views)
    batch_render.run(job)

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads((tmp_path / "render.json").read_text(), parse_constant=refuse)
    inside, outside = report["poses"]
    for figure in ("psnr", "psnr_foreground"):  # no foreground; and where no voxel is, both pictures are all white
        assert outside[figure]["phong"] is None
        assert report[figure]["phong"] == inside[figure]["phong"] > 0


def test_shading_is_compiled_and_not_timed_while_it_is(folder, tmp_path, monkeypatch):
    """Time is told from before to after a compiled program, the first of which ran before."""
    log, draw, clock = [], evaluation._draw, time.perf_counter

    def shade(buffers, light, output):
        assert all(isinstance(buffer, jax.core.Tracer) for buffer in buffers.values())
        log.append("compile")
        return shading.shade(buffers, light, output)

    monkeypatch.setattr(rendering, "shading", types.SimpleNamespace(**vars(shading) | {"shade": shade}))
    monkeypatch.setattr(batch_render.time, "perf_counter", lambda: log.append("clock") or clock())
    monkeypatch.setattr(evaluation, "_draw", lambda *arguments: log.append("draw") or draw(*arguments))
    batch_render.run(_job(folder, tmp_path, size=40, outputs=("phong", "depth")))  # a size not drawn before
    assert log == ["draw", "compile", "compile", "clock", "draw", "clock"]


def test_other_weights_of_one_config_use_the_same_program(folder, tmp_path):
    """Parameters are no constants of the compiled program."""
    batch_render.run(_job(folder, tmp_path / "a"))
    compiled = evaluation._draw._cache_size()
    config = preset("tiny")
    weights.save_weights(tmp_path, init(jax.random.key(1), config), config, {})
    batch_render.run(_job(folder, tmp_path / "b", weights=str(tmp_path)))
    assert evaluation._draw._cache_size() == compiled
    assert (_read(tmp_path / "a" / "0000_phong.png") != _read(tmp_path / "b" / "0000_phong.png")).any()


@pytest.mark.parametrize(
    ("heads", "changes", "lacking"),
    [
        ((("normal", 3), ("mask", 1)), {"arrays": True, "outputs": ("mask",)}, "depth"),
        ((("contour", 1),), {"transparent": True, "outputs": ("contour",)}, "mask"),
    ],
)
def test_weights_without_a_head_that_a_flag_needs(folder, tmp_path, heads, changes, lacking):
    config = preset("tiny", heads)
    weights.save_weights(tmp_path, init(jax.random.key(0), config), config, {})
    with pytest.raises(InputError, match=f"without {lacking}"):
        batch_render.run(_job(folder, tmp_path / "out", weights=str(tmp_path), **changes))


def test_pictures_that_are_no_numbers_are_an_error(folder, tmp_path, monkeypatch):
    config = preset("tiny")
    broken = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), init(jax.random.key(0), config))
    weights.save_weights(tmp_path, broken, config, {})
    with pytest.raises(InputError, match="NaN"):
        batch_render.run(_job(folder, tmp_path / "out", weights=str(tmp_path)))
    assert not (tmp_path / "out" / "render.json").exists()
    # In a folder only the object that brings it about is lost, at whatever view.
    draw, beside = evaluation.draw_view, View(translation=(0.0, 5.0, 0.0))

    def draw_view(params, config, grid, pose, *rest):
        if pose.translation[1] and np.array_equal(grid[0], _ball(12)):
            raise InputError("picture: NaN")
        return draw(params, config, grid, pose, *rest)

    monkeypatch.setattr(batch_render, "draw_view", draw_view)
    job = _job(folder, tmp_path / "folder", input=str(folder / "inputs"), views=(View(), beside))
    errors = {name: report.get("error") for name, report in batch_render.run(job).items()}
    assert errors == {"ball": "picture: NaN", "box": None}


def test_nothing_is_overwritten(folder, tmp_path):
    job = _job(folder, tmp_path)
    batch_render.run(job)
    before = (tmp_path / "render.json").read_bytes()
    with pytest.raises(InputError, match="--overwrite"):
        batch_render.run(dataclasses.replace(job, views=(View(azimuth_deg=90.0),)))
    assert (tmp_path / "render.json").read_bytes() == before
    batch_render.run(dataclasses.replace(job, overwrite=True))


def test_poses_file(tmp_path):
    path = tmp_path / "poses.json"
    path.write_text('[{"azimuth_deg": 10, "translation": [0.1, 0, 0]}, {"light_azimuth_deg": 5}]')
    first, second = batch_render.read_views(str(path), View(elevation_deg=25.0))
    assert first == View(azimuth_deg=10.0, elevation_deg=25.0, translation=(0.1, 0.0, 0.0))
    assert second == View(elevation_deg=25.0, light_azimuth_deg=5.0)
    assert first.pose.azimuth == pytest.approx(math.pi / 18) and second.light.azimuth == pytest.approx(math.pi / 36)


def test_every_key_is_recorded_as_it_was_given(folder, tmp_path):
    given = -359.7  # which radians and back would change
    batch_render.run(_job(folder, tmp_path, views=(View(azimuth_deg=given), View(scale=1))))
    first, second = json.loads((tmp_path / "render.json").read_text())["poses"]
    assert first.keys() == {*camera.POSE_KEYS, *camera.LIGHT_KEYS, "files"}
    assert math.degrees(math.radians(given)) != given == first["azimuth_deg"]
    assert first["translation"] == [0.0, 0.0, 0.0] and isinstance(second["scale"], float)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list"),
        ("[]", "one or more"),
        ("[1]", "objects"),
        ("[{]", "JSON"),
        ("[" * 100_000, "JSON"),
        ('[{"azimut_deg": 3}]', "azimut_deg"),
        ('[{"scale": 0}]', "scale"),
        ('[{"scale": "big"}]', "scale"),
        ('[{"scale": "1"}]', "scale"),
        ('[{"roll_deg": true}]', "roll_deg"),
        ('[{"azimuth_deg": null}]', "azimuth_deg"),
        ('[{"azimuth_deg": 1%s}]' % ("0" * 400), "azimuth_deg"),
        ('[{"azimuth_deg": 1%s}]' % ("0" * 5000), "JSON"),
        ('[{"translation": [1, 2]}]', "translation"),
        ('[{"translation": [1, "2", 3]}]', "translation"),
        ('[{"translation": [1, false, 3]}]', "translation"),
        ('[{"translation": 1}]', "translation"),
        ('[{"inverse_distance": 1.0}]', "inverse_distance"),
        ('[{"elevation_deg": NaN}]', "elevation_deg"),
        ('[{"light_elevation_deg": [40]}]', "light_elevation_deg"),
    ],
)
def test_bad_poses(tmp_path, content, message):
    path = tmp_path / "poses.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        batch_render.read_views(str(path), View())
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "nowhere.obj"}, "no such file"),
        ({"weights": "nowhere"}, "weights"),
        ({"outputs": ("phongg",)}, "phongg"),
        ({"outputs": ("albedo",)}, "albedo"),
        ({"outputs": (), "turntable": 2}, "one or more"),
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
    assert list(reports) == ["a/model.npz", "b/model.npz"]
    assert (tmp_path / "out" / "b" / "model.npz" / "0000_phong.png").exists()
