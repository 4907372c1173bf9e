"""Reconstructions: every file is written and true, interruptions keep the best so far, bad starts are told."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import (
    camera,
    fit_file,
    inverse,
    network,
    reconstruction,
    reconstruction_report,
    shape_prior,
    weights,
)
from rendernet_jax.camera import Pose
from rendernet_jax.config import preset
from rendernet_jax.data.meshes import load_mesh
from rendernet_jax.data.voxel_files import read_voxels, write_voxels
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.unknowns import Unknowns

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A cut-out photo that is wider than high, a voxel file, and weights of an untrained network."""
    folder = tmp_path_factory.mktemp("given")
    photo = np.full((40, 60, 4), 255, np.uint8)
    photo[..., 3] = 0
    photo[10:30, 20:40] = (200, 120, 60, 255)
    Image.fromarray(photo).save(folder / "photo.png")
    grid = np.zeros((16, 16, 16, 1), np.float32)
    grid[2:14, 4:12, 4:12] = 1
    write_voxels(folder / "box.binvox", grid)
    config = preset("tiny")
    weights.save_weights(folder, jax.jit(network.init, static_argnums=1)(jax.random.key(0), config), config, {})
    return folder


def candidates() -> Unknowns:
    pose = jnp.stack([unknowns.from_pose(Pose(azimuth=a, scale=1.2)) for a in (0.5, 2.0)])
    light = jnp.asarray([[0.3, 0.6, 0.25], [0.1, 0.2, 0.1]])
    return Unknowns(pose, light, jnp.asarray([[0.8, 0.5, 0.3], [1.0, 1.0, 1.0]]))


def steps(*events):
    """Stands in for the fit: tells two candidates for each number, which is the loss, or is interrupted."""

    def fit_steps(*_, **__):
        for event in events:
            if event == "stop":
                raise KeyboardInterrupt
            found = candidates()
            found = found.replace(albedo=found.albedo * event)  # no two pictures alike
            yield inverse.Fit(found, jnp.asarray([event, 2 * event]), "refine")

    return fit_steps


def job(given, output, **more):
    return reconstruction.Job(
        str(given / "photo.png"), output, str(given / "box.binvox"), weights=str(given), size=64, **more
    )


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    output = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverse, "fit_steps", steps(0.5, 0.25))
        return output, reconstruction.run(job(given, output), {"command": "reconstruct <it>"})


def test_every_file_is_written_and_can_be_read(done, given):
    output, _ = done
    assert {path.name for path in output.iterdir()} == set(reconstruction.WRITTEN)
    for name, size in {
        "render.png": (64, 64),
        "overlay.png": (60, 40),
        "mask.png": (60, 40),
        "object.png": (60, 40),
    }.items():
        with Image.open(output / name) as image:
            assert image.size == size, name
    for name, frames in {"turntable.gif": 36, "progress.gif": 2}.items():
        with Image.open(output / name) as image:
            assert image.n_frames == frames, name
    np.testing.assert_array_equal(read_voxels(output / "voxels.binvox"), read_voxels(given / "box.binvox"))
    assert len(load_mesh(output / "mesh.ply").faces) == len(load_mesh(output / "mesh.glb").faces) > 0


def test_fit_json_has_what_was_found(done):
    output, fit = done
    assert json.loads((output / "fit.json").read_text()) == fit
    assert fit["pose"]["azimuth_deg"] == pytest.approx(np.degrees(0.5), abs=1e-3)
    assert fit["light"]["ambient"] + fit["light"]["intensity"] == pytest.approx(1)
    assert fit["albedo"] == pytest.approx([0.2, 0.125, 0.075])
    assert [candidate["loss"] for candidate in fit["candidates"]] == [0.25, 0.5]
    assert fit["photo"]["padding"] == {"left": 0, "top": 10, "side": 60, "width": 60, "height": 40}
    assert fit["photo"]["mask"] == "alpha" and not fit["interrupted"]
    history = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    assert [record["loss"] for record in history] == [0.5, 0.25]
    assert set(fit) >= {"loss", "mask_iou", "psnr", "seconds"}


def test_the_page_holds_its_pictures_and_escapes_what_users_typed(done):
    page = (done[0] / "report.html").read_text()
    assert page.count("src='data:image/") == 7 and "src='data:image/gif" in page
    assert "reconstruct &lt;it&gt;" in page and "<it>" not in page
    assert not re.search(r"https?://", page)


def test_a_fit_starts_again_from_what_another_found(done, tmp_path):
    found = json.loads((done[0] / "fit.json").read_text())
    file = tmp_path / "init.json"
    file.write_text(json.dumps({name: found[name] for name in ("pose", "light", "albedo")}))
    best = jax.tree.map(lambda x: x[0], candidates())
    for path in (file, done[0] / "fit.json"):
        start = fit_file.read_start(str(path), ("pose",))
        assert set(start) == {"pose", "light", "albedo"}
        np.testing.assert_allclose(unknowns.from_pose(start["pose"]), best.pose, atol=1e-5)
        assert start["light"].ambient == pytest.approx(0.25)


def test_an_unknown_shape_is_written_like_a_known_one(given, tmp_path, monkeypatch):
    sight, cells = object(), np.zeros((2, 16, 16, 16, 1), np.float32)
    cells[:, 2:14, 4:12, 4:12] = 0.1  # from which on they count as set
    cells[:, 2:14, 12:, 4:12] = 0.09
    asked = []

    def fit_carved_steps(params, config, found, picture, mask, settings, *, start, fixed):
        assert config == preset("tiny") and found is sight
        asked.append((sorted(start), fixed))
        yield inverse.Fit(candidates().replace(cells=jnp.asarray(cells)), jnp.asarray([0.5, 1.0]), "picture 128")

    monkeypatch.setattr(weights, "load_single_view", {"mine": sight}.__getitem__)
    monkeypatch.setattr(weights, "load_prior", None)
    monkeypatch.setattr(inverse, "fit_carved_steps", fit_carved_steps)
    unknown = dataclasses.replace(job(given, tmp_path / "out"), shape=None, single_view="mine")
    unknown.output.mkdir()
    fit = reconstruction.run(unknown, {})
    assert "shape" not in fit and json.loads((unknown.output / "fit.json").read_text()) == fit
    assert {path.name for path in unknown.output.iterdir()} == set(reconstruction.WRITTEN)
    np.testing.assert_array_equal(read_voxels(unknown.output / "voxels.binvox"), read_voxels(given / "box.binvox"))
    (tmp_path / "init.json").write_text(json.dumps({"pose": fit["pose"]}))
    reconstruction.run(dataclasses.replace(unknown, init=str(tmp_path / "init.json"), fixed=("pose",)), {})
    assert asked == [([], ()), (["pose"], ("pose",))]
    with pytest.raises(InputError, match="schedule: that of the paper is for a known shape"):
        reconstruction.run(dataclasses.replace(unknown, schedule="paper"), {})


def test_a_shape_of_the_prior_is_written_like_a_known_one(given, tmp_path, monkeypatch):
    """Without the single-view network, or where a latent of the prior is given."""
    prior = shape_prior.PRESETS["tiny"]
    (tmp_path / "prior").mkdir()
    made = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(1), prior)
    weights.save_weights(tmp_path / "prior", made, prior, {})
    latent = jnp.linspace(-1.0, 1.0, 24).reshape(2, 12)

    def fit_shape_steps(*_, **__):
        yield inverse.Fit(candidates().replace(latent=latent), jnp.asarray([0.5, 1.0]), "picture 128")

    monkeypatch.setattr(weights, "load_single_view", None)
    monkeypatch.setattr(inverse, "fit_shape_steps", fit_shape_steps)
    unknown = dataclasses.replace(
        job(given, tmp_path / "out"), shape=None, prior=str(tmp_path / "prior"), single_view="none"
    )
    unknown.output.mkdir()
    fit = reconstruction.run(unknown, {})
    np.testing.assert_allclose(fit["shape"], latent[0], atol=1e-6)
    written = {path.name for path in unknown.output.iterdir()}
    assert written >= set(reconstruction.WRITTEN) - {"voxels.binvox", "mesh.ply", "mesh.glb"}
    (tmp_path / "init.json").write_text(json.dumps({"shape": fit["shape"]}))
    again = dataclasses.replace(unknown, init=str(tmp_path / "init.json"), fixed=("shape",), single_view="single_view")
    assert reconstruction.run(again, {})["shape"] == fit["shape"]
    (tmp_path / "init.json").write_text('{"shape": [1, 2]}')
    with pytest.raises(InputError, match="a latent of 12 numbers, got 2"):
        reconstruction.run(again, {})


def test_an_interrupted_fit_keeps_the_best_so_far(given, tmp_path, monkeypatch):
    monkeypatch.setattr(inverse, "fit_steps", steps(0.5, "stop"))
    fit = reconstruction.run(job(given, tmp_path), {})
    assert fit["interrupted"] and fit["loss"] == 0.5
    assert "interrupted" in (tmp_path / "report.html").read_text()
    monkeypatch.setattr(inverse, "fit_steps", steps("stop"))
    (tmp_path / "before").mkdir()
    with pytest.raises(KeyboardInterrupt):
        reconstruction.run(job(given, tmp_path / "before"), {})
    assert not any((tmp_path / "before").iterdir())


def test_signals_while_files_are_written_lose_nothing(given, tmp_path, monkeypatch):
    kinds, write = (signal.SIGINT, signal.SIGTERM), reconstruction.write_json
    before = [signal.getsignal(kind) for kind in kinds]

    def signalled(*arguments):
        for kind in kinds:
            signal.raise_signal(kind)
        write(*arguments)

    monkeypatch.setattr(inverse, "fit_steps", steps(0.5))
    monkeypatch.setattr(reconstruction, "write_json", signalled)
    reconstruction.run(job(given, tmp_path), {})
    assert {path.name for path in tmp_path.iterdir()} == set(reconstruction.WRITTEN)
    assert [signal.getsignal(kind) for kind in kinds] == before


def test_files_of_a_killed_process_may_be_replaced(given, tmp_path, monkeypatch):
    """Killed among the files: the mark stays, and goes when the same fit ends."""
    monkeypatch.setattr(inverse, "fit_steps", steps(0.5))
    with monkeypatch.context() as patch:
        patch.setattr(reconstruction, "save_gif", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reconstruction.run(job(given, tmp_path), {})
    assert (tmp_path / reconstruction.UNFINISHED).exists() and (tmp_path / "fit.json").exists()
    reconstruction.run(job(given, tmp_path), {})
    assert {path.name for path in tmp_path.iterdir()} <= set(reconstruction.WRITTEN)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills with a signal")
def test_ten_kills_of_a_fit_change_nothing(given, tmp_path):
    """SIGKILL at random moments of the whole command; then what it writes is the same but for the clock."""

    def start(output):
        flags = (
            f"--image={given / 'photo.png'}",
            f"--voxels={given / 'box.binvox'}",
            f"--weights={given}",
            "--starts=8",
        )
        command = [sys.executable, "-m", "experiments.reconstruct", *flags, f"--output={tmp_path / output}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def read(folder):
        found = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        fit, history = json.loads(found.pop("fit.json")), found.pop("history.jsonl").decode().splitlines()
        found.pop("report.html")  # with times in it
        timed = ("seconds", "command")
        records = [{k: v for k, v in record.items() if k not in timed} for record in [fit, *map(json.loads, history)]]
        return found, records

    began = time.monotonic()
    whole = start("whole")
    assert whole.wait() == 0, whole.stderr.read()
    whole.stderr.close()
    seconds, rng, killed = time.monotonic() - began, np.random.default_rng(0), 0
    for _ in range(10):
        process = start("killed")
        time.sleep(rng.uniform(0, 0.9 * seconds))
        process.kill()
        process.communicate()
        killed += process.returncode != 0
        if process.returncode == 0:
            break
    else:
        process = start("killed")
        error = process.communicate()[1]
        assert process.returncode == 0, error
    print(f"{killed} kills")
    assert killed >= 5
    assert read("killed") == read("whole")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a JSON object"),
        ("[]", "another structure"),
        ('{"camera": {}}', "unknown key 'camera'"),
        ('{"candidates": [], "poes": {}}', "unknown key 'candidates'"),
        ('{"pose": {"azimuth": 3}}', "unknown key 'azimuth'"),
        ('{"pose": 3}', "another structure"),
        ('{"pose": {"scale": -1}}', "scale: expected a number above 0"),
        ('{"light": {"ambient": 2}}', "ambient: expected a number from 0 to 1"),
        ('{"albedo": [1, 2]}', "albedo: expected 1 or 3 numbers"),
        ('{"albedo": "red"}', "albedo: expected 1 or 3 numbers"),
        ('{"pose": {"intensity": 1}}', "unknown key 'intensity'"),
        ('{"shape": ["a"]}', "shape: expected the numbers of a vector"),
        ('{"pose": {"inverse_distance": 0.95}}', "an inverse distance up to 0.8"),
        ('{"pose": {"translation": [0, 0, 0.3]}}', "without depth"),
        ('{"pose": {"azimuth_deg": 1e9}}', "angles within -360 and 360"),
        ('{"pose": {"azimuth_deg": NaN}}', "azimuth_deg: expected a finite number"),
        ('{"pose": {"azimuth_deg": "3"}}', "azimuth_deg: expected a finite number, got '3'"),
        ('{"pose": {"roll_deg": true}}', "roll_deg: expected a finite number, got True"),
        ('{"pose": {"roll_deg": null}}', "roll_deg: expected a finite number, got None"),
        ('{"pose": {"roll_deg": 1' + 400 * "0" + "}}", "roll_deg: expected a finite number"),
        ('{"pose": {"translation": [[1], [2, 3]]}}', "translation: expected 3 finite numbers"),
        ('{"light": {"elevation_deg": -1e5}}', "angles within -360 and 360"),
        ('{"light": {"ambient": true}}', "ambient: expected a number from 0 to 1, got True"),
        ('{"light": {"ambient": NaN}}', "ambient: expected a number from 0 to 1"),
        ('{"light": {"ambient": 0.2, "intensity": 0.9}}', r"expected ambient \+ intensity = 1"),
        ('{"albedo": [1e9, 1, 1]}', "numbers from 0.02 to 2.0"),
        ('{"albedo": [NaN, 1, 1]}', "albedo: expected 1 or 3 numbers"),
        ('{"albedo": ["1", "1", "1"]}', "albedo: expected 1 or 3 numbers"),
        ('{"albedo": true}', "albedo: expected 1 or 3 numbers"),
    ],
)
def test_bad_starts_are_told(tmp_path, content, message):
    file = tmp_path / "init.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        fit_file.read_start(str(file), ())


def test_a_light_may_be_given_by_either_part(tmp_path):
    file = tmp_path / "init.json"
    for part in ({"ambient": 0.3}, {"intensity": 0.7}):
        file.write_text(json.dumps({"light": part}))
        light = fit_file.read_start(str(file), ("light",))["light"]
        assert (light.ambient, light.intensity) == pytest.approx((0.3, 0.7))
    file.write_text('{"light": {}}')
    assert fit_file.read_start(str(file), ())["light"].ambient == pytest.approx(0.1)


@pytest.mark.parametrize("angles", [(3.3, 0.4, 0.2), (-9.0, 2.0, 0.5), (0.3, -1.8, 3.1), (1.0, 3.5, -7.0)])
def test_angles_are_told_on_the_near_side_of_the_pole(angles):
    """Whatever way a fit went around, the told angles make the same rotation and the same light."""
    best = jax.tree.map(lambda x: x[0], candidates())
    best = best.replace(
        pose=best.pose.at[:3].set(jnp.asarray(angles)), light=best.light.at[:2].set(jnp.asarray(angles[:2]))
    )
    told = fit_file.describe(best)
    pose, light = told["pose"], told["light"]
    assert all(-180 <= value <= 180 for name, value in (*pose.items(), *light.items()) if name.endswith("_deg"))
    assert max(abs(pose["elevation_deg"]), abs(light["elevation_deg"])) <= 90
    wanted = camera.rotation(unknowns.to_pose(best.pose))
    np.testing.assert_allclose(camera.rotation(camera.pose_from_degrees(**pose)), wanted, atol=1e-5)
    radians = np.radians([light["azimuth_deg"], light["elevation_deg"]])
    np.testing.assert_allclose(camera.direction(*radians), camera.direction(*best.light[:2]), atol=1e-5)


def test_what_is_held_must_be_known(tmp_path):
    with pytest.raises(InputError, match="expected a value of light to hold"):
        fit_file.read_start(None, ("light",))
    with pytest.raises(InputError, match="got 'camera'"):
        fit_file.read_start(None, ("camera",))


def test_voxels_must_hold_something(given, tmp_path):
    write_voxels(tmp_path / "none.npz", np.zeros((16, 16, 16, 1), np.float32))
    with pytest.raises(InputError, match="voxels: expected some that are filled"):
        reconstruction.run(dataclasses.replace(job(given, tmp_path), shape=str(tmp_path / "none.npz")), {})


def test_a_drawing_beside_the_object_is_doubted(done):
    _, fit = done
    assert reconstruction_report.doubt(fit | {"mask_iou": 0.9}) == ""
    assert "mask IoU of 0.12" in reconstruction_report.doubt(fit | {"mask_iou": 0.12})


def test_launcher_wants_one_known_shape(given, tmp_path):
    flags = [f"--image={given / 'photo.png'}", f"--output={tmp_path / 'out'}", "--mesh=a.obj", "--voxels=b.binvox"]
    command = [sys.executable, "-m", "experiments.reconstruct", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and not (tmp_path / "out").exists()
    assert ended.stderr.count("\n") == 1 and "expected one of them, got both" in ended.stderr
