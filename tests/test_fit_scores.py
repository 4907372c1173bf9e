"""Fits against ray-traced targets: what a target is, figures that can be known, a whole report of stand-in methods."""

import dataclasses
import functools
import json
import shutil
import types

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import camera, fit_methods, fit_report, fit_scores, fit_targets, network, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import preset
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.errors import InputError
from rendernet_jax.fit_scores import FAILED, Found
from rendernet_jax.fit_targets import Target
from rendernet_jax.inverse import schedules, silhouette
from rendernet_jax.voxels import Window

SIZE = 32
TURN = 7.0  # degrees that a stand-in method is off


def solid(*boxes, side=64):
    """Binary grid ``[1, side, side, side, 1]`` of boxes ``(x0, x1, y0, y1, z0, z1)``, in shares of the side."""
    grid = np.zeros((1, side, side, side, 1), np.float32)
    for box in boxes:
        x0, x1, y0, y1, z0, z1 = (round(side * edge) for edge in box)
        grid[0, x0:x1, y0:y1, z0:z1] = 1
    return grid


SEAT = (0.2, 0.8, 0.45, 0.55, 0.2, 0.8)
LEGS = [(x, x + 0.1, 0.0, 0.45, z, z + 0.1) for x in (0.2, 0.7) for z in (0.2, 0.7)]
BACK = (0.2, 0.8, 0.55, 1.0, 0.2, 0.3)


def target_of(grid, pose=Pose(), turns=(0,)) -> Target:
    blank = np.ones((SIZE, SIZE, 1), np.float32)
    views = np.ones((8, SIZE, SIZE, 1), np.float32)
    return Target("it", ".", blank, blank, pose, Light(0.3, 0.5), grid, grid, views, views, turns)


# --- symmetries -------------------------------------------------------------------------------------------------------


def test_symmetries_are_those_of_the_solid():
    axis = (np.arange(64) + 0.5) / 64 - 0.5
    disc = np.hypot(axis[:, None], axis[None]) < 0.45
    cylinder = np.zeros((1, 64, 64, 64, 1), np.float32)
    cylinder[0, :, 20:50, :, 0] = disc[:, None]
    long = (0.0, 1.0, 0.4, 0.5, 0.2, 0.8)
    for grid, angles in (
        (solid(SEAT, *LEGS), [0, 90, 180, 270]),
        (solid(SEAT, *LEGS, BACK), [0]),
        (solid(long), [0, 180]),
        (solid((0.0, 1.0, 0.0, 1.0, 0.0, 1.0)), [0, 90, 180, 270]),
        (cylinder, list(range(0, 360, 15))),
    ):
        assert fit_targets.symmetries(grid) == angles


def test_a_turned_object_is_what_less_azimuth_sees():
    """The sign by which symmetries are taken off a pose."""
    grid = np.zeros((8, 4, 8), np.float32)
    grid[4, 1, 7] = 1
    cells = [np.argwhere(each > 0.5) for each in (grid, fit_targets.turn(grid, 90.0))]
    before, after = ((cell[0] + 0.5) / grid.shape - 0.5 for cell in cells)
    seen = np.asarray(camera.rotation(Pose(0.7, 0.4, 0.1))) @ after
    np.testing.assert_allclose(np.asarray(camera.rotation(Pose(0.7 - np.pi / 2, 0.4, 0.1))) @ before, seen, atol=1e-6)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_rotation_error_is_told_by_the_nearest_symmetry():
    pose = Pose(0.4, 0.3, 0.1)
    seen = camera.broadcast(dataclasses.replace(pose, azimuth=0.4 + np.radians(92.0)))
    assert fit_scores.rotation_error(seen, target_of(None, pose)) == pytest.approx((92.0, 92.0), abs=1e-3)
    square = target_of(None, pose, (0, 90, 180, 270))
    assert fit_scores.rotation_error(seen, square) == pytest.approx((2.0, 92.0), abs=1e-3)
    one_way = target_of(None, pose, (0, 30))
    less = dataclasses.replace(pose, azimuth=0.4 - np.radians(30.0))
    assert fit_scores.rotation_error(less, one_way) == pytest.approx((0.0, 30.0), abs=1e-3)
    upside_down = dataclasses.replace(pose, roll=0.1 + np.pi)
    assert fit_scores.rotation_error(upside_down, square)[1] == pytest.approx(180.0, abs=1e-3)


def test_light_error_is_the_angle_between_directions():
    assert fit_scores.light_error(None, Light()) is None
    assert fit_scores.light_error(Light(jnp.float32(0.5), jnp.float32(0.2)), Light(0.5, 0.2)) < 1e-4
    assert fit_scores.light_error(Light(0.0, np.pi / 2), Light(1.3, 0.0)) == pytest.approx(90.0)
    assert fit_scores.light_error(Light(np.pi, 0.0), Light()) == pytest.approx(180.0)


def figures(**given) -> dict:
    return {**FAILED, "rotation_deg": 1.0, "rotation_plain_deg": 1.0, "seconds": 2.0, "first": False} | given


def test_summary_counts_failed_fits_and_tells_the_first_seconds_apart():
    found = fit_scores.summarise(
        [
            figures(rotation_deg=1.0, light_deg=4.0, mask_iou=0.9, seconds=50.0, first=True),
            figures(rotation_deg=4.0, light_deg=8.0, mask_iou=0.7, seconds=3.0),
            figures(rotation_deg=7.0, seconds=5.0),
            dict(FAILED),
        ]
    )
    assert (found["targets"], found["failed"]) == (4, 1)
    assert (found["rotation_median_deg"], found["rotation_mean_deg"], found["light_median_deg"]) == (4.0, 4.0, 6.0)
    assert (found["below_5_deg"], found["below_10_deg"]) == (50.0, 75.0)
    assert found["mask_iou"] == pytest.approx(0.8) and found["psnr"] is None
    assert (found["seconds_median"], found["seconds_first"]) == (4.0, 50.0)
    nothing = fit_scores.summarise([dict(FAILED)])
    assert nothing["below_5_deg"] == 0 and nothing["rotation_median_deg"] is None


def by_compositing(params, config, grid, pose, light, size, outputs):
    """Stands in for the network: silhouettes of the grid itself, with normals toward the viewer."""
    cells = silhouette.opaque(jnp.asarray(grid), 64)
    mask = _silhouette(cells, pose, size)[..., None]
    return {"mask": mask, "normal": mask * jnp.asarray([[[0.0, 0.0, 1.0]]])}, {"mask": np.asarray(mask)}


_silhouette = jax.jit(lambda cells, pose, size: silhouette.silhouette(cells, pose, size)[0], static_argnums=2)


def test_scores_of_a_found_shape_light_and_colour(monkeypatch):
    monkeypatch.setattr(fit_scores, "draw_view", by_compositing)
    grid = solid(SEAT, BACK)
    found = Found(Pose(), Light(0.0, 0.0, 0.2, 0.8), np.asarray([0.5, 0.25, 1.0]), grid, 3.0, False)
    true = target_of(grid)
    scores, pictures = fit_scores.score({}, preset("tiny"), found, true)
    assert scores.keys() == FAILED.keys() and pictures.shape == (9, SIZE, SIZE, 3)
    assert scores["voxel_iou"] == 1.0 and 0 < scores["mask_iou"] < 0.5
    covered = pictures[0][SIZE // 2, SIZE // 2]
    np.testing.assert_allclose(covered, [0.5, 0.25, 1.0], atol=0.03)
    half = dataclasses.replace(found, grid=solid(SEAT), light=None)
    less, _ = fit_scores.score({}, preset("tiny"), half, true)
    assert 0 < less["voxel_iou"] < 1 and less["light_deg"] is None and less["psnr"] is None
    given, _ = fit_scores.score({}, preset("tiny"), dataclasses.replace(found, given=True), true)
    assert given["voxel_iou"] is None


def test_known_methods_are_fits_of_what_is_seen(monkeypatch):
    asked, surfaces = [], []

    def fit_known(method, params, config, picture, mask, grid, *, seed, light_elevation, surface):
        asked.append((method, seed, round(light_elevation, 3)))
        surfaces.append(surface)
        best = types.SimpleNamespace(albedo=jnp.asarray([0.7]))
        return types.SimpleNamespace(pose=Pose(0.5), light=Light(), best=best)

    monkeypatch.setattr(schedules, "fit_known", fit_known)
    network = types.SimpleNamespace(params={}, config=preset("tiny"))
    load = functools.partial(fit_methods.load_methods, network, seed=3, prior="", single_view="", training=None)
    methods = load(["default", "paper"])
    true = target_of(solid(SEAT))
    found = [methods["default"](true, 0), methods["paper"](true, 1)]
    assert asked == [("default", asked[0][1], 0.5), ("paper", asked[0][1], 0.5)]
    assert [each.first for each in found] == [True, False] and all(each.given for each in found)
    assert found[0].grid is true.grid and found[0].seconds >= 0
    assert surfaces == [None, None]
    methods["default"](dataclasses.replace(true, make=functools.partial(make_shape, "stool", 3)), 2)
    normal, covered = surfaces[2](Pose(0.3), Window(), 16)
    assert normal.shape == (16, 16, 3) and 0 < covered.mean() < 1
    for names, message in ((["defualt"], "default, one-start, silhouette, paper, .*, got 'defualt'"), ([], "got none")):
        with pytest.raises(InputError, match=message):
            load(names)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_poses_keep_all_of_the_object_in_the_frame():
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
    poses = [fit_targets.random_pose(np.random.default_rng(seed), corners) for seed in range(40)]
    for pose in poses[:10]:
        for view in (pose, *fit_targets.new_views(pose)):
            assert np.abs(camera.to_camera(corners, view)).max() < 1 + 1e-5
    elevations = np.degrees([pose.elevation for pose in poses])
    assert -20 <= elevations.min() < 0 and 40 < elevations.max() <= 60
    assert max(pose.inverse_distance for pose in poses) <= 0.4
    assert all(max(map(abs, pose.translation)) <= 0.1 and pose.translation[2] == 0 for pose in poses)
    turns = np.degrees([view.azimuth - poses[0].azimuth for view in fit_targets.new_views(poses[0])])
    np.testing.assert_allclose(turns, 22.5 + 45 * np.arange(8), atol=1e-6)


def test_lights_stand_on_the_viewers_side():
    lights = [fit_targets.random_light(np.random.default_rng(seed)) for seed in range(40)]
    azimuths, elevations = (np.degrees([getattr(light, name) for light in lights]) for name in ("azimuth", "elevation"))
    assert -60 <= azimuths.min() < -30 and 30 < azimuths.max() <= 60
    assert 0 <= elevations.min() < 20 and 40 < elevations.max() <= 60


def test_shapes_are_none_that_a_data_set_holds():
    subjects = fit_targets.shape_subjects(2, ("chair", "vase", "chair"))
    assert [subject.name for subject in subjects] == [
        f"{family}-{900_000_000 + number}" for family in ("chair", "vase") for number in (0, 1)
    ]
    for families, got in ((("chair", "sofas"), "sofas"), ((), "none")):
        with pytest.raises(InputError, match=f"families: expected some of chair, .*got {got}"):
            fit_targets.shape_subjects(1, families)


def _wedge() -> Mesh:
    """A prism without a symmetry about y."""
    corners = np.array([[x, y, z] for x, z in ((0, 0), (1, 0), (0, 0.6)) for y in (0, 0.5)], np.float32)
    faces = [(0, 2, 4), (1, 3, 5), (0, 1, 3), (0, 3, 2), (2, 3, 5), (2, 5, 4), (4, 5, 1), (4, 1, 0)]
    return Mesh(corners, np.array(faces, np.int32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Meshes, of which one is broken, and weights of an untrained network."""
    pytest.importorskip("open3d", reason="targets need open3d", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("fits")
    (folder / "meshes" / "wedges").mkdir(parents=True)
    save_mesh(folder / "meshes" / "wedges" / "wedge.ply", _wedge())
    (folder / "meshes" / "broken.ply").write_bytes(b"ply\n")
    config = preset("tiny")
    weights.save_weights(folder, jax.jit(network.init, static_argnums=1)(jax.random.key(0), config), config, {})
    return folder


def test_a_limit_spreads_over_the_meshes(tmp_path):
    for name in "abcdef":
        (tmp_path / f"{name}.ply").write_bytes(name.encode())
    assert [subject.name for subject in fit_targets.mesh_subjects(tmp_path, limit=3)] == ["a.ply", "c.ply", "e.ply"]
    assert len(fit_targets.mesh_subjects(tmp_path, limit=9)) == 6
    with pytest.raises(InputError, match="none that can be used"):
        fit_targets.mesh_subjects(tmp_path / "nothing")


# --- a whole report ---------------------------------------------------------------------------------------------------


def stand_ins(network, names, **_):
    """Methods that know the truth, are off by a turn, or fail at all but the first target."""

    def truth(target, index):
        return Found(target.pose, target.light, np.ones(1), target.grid, 5.0 - index, index == 0, given=True)

    def off(target, index):
        found = truth(target, index)
        turned = dataclasses.replace(target.pose, azimuth=target.pose.azimuth + np.radians(TURN).item())
        return dataclasses.replace(found, pose=turned, light=None)

    def failing(target, index):
        if index:
            raise InputError("start: expected a pose at which the object meets the mask, got none; correct it")
        return truth(target, index)

    return {"truth": truth, "off": off, "failing": failing}


@pytest.fixture(scope="module")
def done(folder):
    (folder / "out").mkdir()
    plan = fit_report.Plan(folder / "out", folder / "meshes", 1, ("cabinet",), weights=str(folder), size=SIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_report, "load_methods", stand_ins)
        patch.setattr(fit_scores, "draw_view", by_compositing)
        return plan, fit_report.run(plan)


def test_the_truth_scores_best(done):
    _, report = done
    assert list(report["targets"]) == ["wedges/wedge.ply", "cabinet-900000000"]
    assert report["skipped"].keys() == {"broken.ply"}
    for row in report["targets"].values():
        truth, off = row["scores"]["truth"], row["scores"]["off"]
        assert truth["rotation_deg"] < 1e-3 and truth["light_deg"] < 1e-3 and truth["voxel_iou"] is None
        assert truth["mask_iou"] > 0.6 and truth["new_mask_iou"] > 0.6 and truth["psnr"] > 10
        assert off["rotation_deg"] == pytest.approx(TURN, abs=1e-3) and off["light_deg"] is None
    wedge = report["targets"]["wedges/wedge.ply"]
    truth, off = wedge["scores"]["truth"], wedge["scores"]["off"]
    assert min(truth["mask_iou"], truth["new_mask_iou"]) > 0.85 and off["new_mask_iou"] < truth["new_mask_iou"]
    assert wedge["symmetries_deg"] == [0]


def test_report_holds_every_figure_and_a_summary_of_all_and_by_category(done):
    plan, report = done
    assert json.loads((plan.output / "report.json").read_text()) == report
    summary = report["summary"]
    assert [summary["truth"][name] for name in ("below_5_deg", "seconds_first", "seconds_median")] == [100.0, 5.0, 4.0]
    assert [summary["off"][name] for name in ("below_5_deg", "below_10_deg")] == [0.0, 100.0]
    assert [summary["failing"][name] for name in ("failed", "below_5_deg")] == [1, 50.0]
    assert report["categories"].keys() == {"wedges", "procedural cabinet"}
    assert report["categories"]["wedges"]["truth"]["targets"] == 1
    row = report["targets"]["cabinet-900000000"]
    assert row["failed"].keys() == {"failing"} and row["found"]["truth"]["azimuth_deg"] == row["true"]["azimuth_deg"]
    assert row["true"]["ambient"] == pytest.approx(0.1)


def test_text_and_sheet_show_every_method(done):
    plan, report = done
    lines = (plan.output / "report.md").read_text().splitlines()
    for heading in ("## All targets", "### wedges", "### procedural cabinet"):
        rows = lines[lines.index(heading) + 2 :][:5]
        assert [row.split(" ")[1] for row in rows] == ["method", "---", "truth", "off", "failing"]
        assert len({row.count("|") for row in rows}) == 1
    assert "| wedges/wedge.ply | 0 | 0.00 | 7.00 | 0.00 |" in lines
    assert any(line.startswith("- cabinet-900000000, failing: start:") for line in lines)
    assert any(line.startswith("- broken.ply: ") for line in lines)
    with Image.open(plan.output / "sheet.png") as sheet:
        columns, rows = 2 * (1 + 3), 2
        assert 0 < sheet.width - columns * 164 < 300 and 0 < sheet.height - rows * 164 < 60


def test_turns_are_shown_shortly():
    assert fit_report._show_turns([0]) == "0" and fit_report._show_turns([0, 180]) == "0, 180"
    assert fit_report._show_turns(list(range(0, 360, 15))) == "every 15"
    assert fit_report._show_turns([0, 15, 345]) == "0, 15, 345"


def test_a_target_depends_on_its_name_and_the_seed_alone(done, tmp_path, monkeypatch):
    plan, _ = done
    (shape,) = fit_targets.shape_subjects(1, ("cabinet",))
    alone = fit_targets.keep_target(tmp_path, shape, SIZE, 0)
    assert alone.read_bytes() == (plan.output / "targets" / alone.name).read_bytes(), "there, another came before it"
    first, other = (
        fit_targets.load_target(fit_targets.keep_target(tmp_path, shape, SIZE, seed), shape) for seed in (0, 1)
    )
    assert abs(first.pose.azimuth - other.pose.azimuth) > 1e-3 and first.light != other.light
    assert (first.grid == other.grid).all() and 0 < first.picture.min() < first.picture.max() == 1
    monkeypatch.setattr(fit_targets, "_trace", lambda *_: pytest.fail("traced again"))
    again = fit_targets.load_target(fit_targets.keep_target(tmp_path, shape, SIZE, 0), shape)
    for field in dataclasses.fields(Target):
        for one, two in zip(*(jax.tree.leaves(getattr(each, field.name)) for each in (first, again)), strict=True):
            np.testing.assert_array_equal(one, two)
    alone.write_bytes(b"PK")
    with pytest.raises(InputError, match="remove the file"):
        fit_targets.load_target(alone, shape)


def test_a_second_command_traces_nothing_again(done, monkeypatch):
    plan, report = done
    monkeypatch.setattr(fit_report, "load_methods", stand_ins)
    monkeypatch.setattr(fit_scores, "draw_view", by_compositing)
    monkeypatch.setattr(fit_targets, "build_scene", lambda *_: pytest.fail("traced again"))
    assert fit_report.run(plan) == report


def test_fits_that_were_done_before_an_interruption_are_not_done_again(done, tmp_path, monkeypatch):
    plan, whole = done
    plan = dataclasses.replace(plan, output=tmp_path)
    shutil.copytree(done[0].output / "targets", tmp_path / "targets")
    monkeypatch.setattr(fit_scores, "draw_view", by_compositing)
    seen, stops = [], iter([False, True, False])

    def interrupted_once(network, names, **_):
        def truth(target, index):
            seen.append((target.name, index))
            if next(stops):
                raise KeyboardInterrupt
            return stand_ins(network, names)["truth"](target, index)

        return {"truth": truth}

    monkeypatch.setattr(fit_report, "load_methods", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        fit_report.run(plan)
    assert not (tmp_path / "report.json").exists() and len(list((tmp_path / "fits").iterdir())) == 1
    report = fit_report.run(plan)
    wedge, cabinet = whole["targets"]
    assert seen == [(wedge, 0), (cabinet, 1), (cabinet, 0)], "the second command has compiled nothing before"
    assert report["targets"][wedge]["scores"]["truth"] == whole["targets"][wedge]["scores"]["truth"]
    assert list(report["targets"]) == [wedge, cabinet] and not (tmp_path / "fits").exists()


def test_a_damaged_fit_is_named(tmp_path):
    file = tmp_path / "fit.npz"
    fit_report._keep_fit(file, {"category": "it"}, {"default": np.ones((2, 4, 4, 1), np.float32)})
    row, drawn = fit_report._load_fit(file)
    assert row == {"category": "it"} and drawn["default"].shape == (2, 4, 4, 1)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match="remove the file to fit it again"):
        fit_report._load_fit(file)


def test_nothing_to_fit_is_an_error_and_leaves_nothing(folder, tmp_path):
    plan = fit_report.Plan(tmp_path, weights=str(folder), size=SIZE)
    (tmp_path / "meshes").mkdir()
    for changes, message in (
        ({}, "got neither"),
        ({"meshes": tmp_path / "meshes"}, "none that can be used"),
        ({"shapes": 1, "families": ("sofas",)}, "got sofas"),
        ({"shapes": 1, "methods": ("guess",)}, "default, one-start, silhouette, paper, .*, got 'guess'"),
        ({"shapes": 1, "size": 33}, "size: expected a multiple of"),
        ({"shapes": 1, "weights": "compacted"}, "weights: expected one of"),
    ):
        with pytest.raises(InputError, match=message):
            fit_report.run(dataclasses.replace(plan, **changes))
    (tmp_path / "meshes" / "broken.ply").write_bytes(b"ply\n")
    with pytest.raises(InputError, match=r"targets: .* got none: .*broken\.ply"):
        fit_report.run(dataclasses.replace(plan, meshes=tmp_path / "meshes"))
    assert [path.name for path in tmp_path.iterdir()] == ["meshes"]


def test_bad_flags_are_one_line(folder, tmp_path):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "report.md").write_text("mine")
    shapes, untrained, output = "--shapes=1", f"--weights={folder}", "--output={new}"
    cases = {
        "--meshes, --shapes": [output],
        "--output": [shapes],
        "--meshes: expected a folder, got 'nowhere'": ["--meshes=nowhere", output],
        "--families: ": [f"--meshes={folder}", "--families=chair", output],
        "got sofas": [shapes, "--families=sofas", untrained, output],
        "got 'guess'": [shapes, "--methods=guess", untrained, output],
        "--overwrite": [shapes, untrained, "--output={tmp}/done"],
    }
    for index, (message, given) in enumerate(cases.items()):
        run = launching.call if index else launching.start
        done = run("evaluate_fit", *(flag.format(new=tmp_path / f"new{index}", tmp=tmp_path) for flag in given))
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
    assert (tmp_path / "done" / "report.md").read_text() == "mine"
