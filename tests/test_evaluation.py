"""Scores of an untrained network: what is reported, what is passed over, and figures that can be known."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import evaluation, network, weights
from rendernet_jax.config import preset
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.errors import InputError

pytest.importorskip("open3d", reason="references need open3d", exc_type=ImportError)
METHODS = [f"{method} {occupancy}" for occupancy in ("coverage", "binary") for method in ("network", "marching cubes")]


def _refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def _box(x, y, z) -> Mesh:
    corners = np.array([[i * x, j * y, k * z] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    return Mesh(corners, np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A cube, a slab in a sub-folder, a broken file, and one that voxelisation refuses."""
    folder = tmp_path_factory.mktemp("evaluation")
    config = preset("tiny")
    weights.save_weights(folder, network.init(jax.random.key(0), config), config, {})
    for name in ("meshes/more", "out"):
        (folder / name).mkdir(parents=True)
    save_mesh(folder / "meshes" / "cube.ply", _box(1, 1, 1))
    save_mesh(folder / "meshes" / "more" / "slab.OBJ", _box(4, 2, 1))
    save_mesh(folder / "meshes" / "refused.ply", _box(3, 1, 1))
    (folder / "meshes" / "broken.ply").write_bytes(b"ply\n")
    return evaluation.Plan(folder / "meshes", folder / "out", str(folder), size=32)


@pytest.fixture(scope="module")
def report(plan):
    voxelise = evaluation.voxelise

    def voxelise_most(mesh, grid, occupancy):
        if np.ptp(mesh.vertices[:, 1]) == pytest.approx(1 / 3):
            raise InputError("mesh: its parts are too thin")
        return voxelise(mesh, grid, occupancy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "voxelise", voxelise_most)
        return evaluation.run(plan)


def test_a_mesh_that_cannot_be_used_costs_only_itself(report):
    assert list(report["meshes"]) == ["cube.ply", "more/slab.OBJ"]
    assert report["skipped"].keys() == {"broken.ply", "refused.ply"}
    assert report["skipped"]["refused.ply"] == "mesh: its parts are too thin"


def test_report_is_json_of_what_is_returned_and_means_are_means(plan, report):
    assert json.loads((plan.output / "report.json").read_text(), parse_constant=_refuse) == report
    assert report["weights_sha256"] == weights.read_card(plan.weights)["sha256"]
    for method in METHODS:
        rows = [report["meshes"][name][method] for name in report["meshes"]]
        for figure, mean in report["mean"][method].items():
            assert mean == pytest.approx(np.mean([row[figure] for row in rows]))


def test_marching_cubes_of_boxes_are_nearly_the_boxes(report):
    for method in METHODS[1::2]:
        assert report["mean"][method]["mask_iou"] > 0.9 and report["mean"][method]["phong"] > 20
        assert report["mean"][method]["phong_foreground"] < report["mean"][method]["phong"], "the background is exact"
        assert report["mean"][method]["phong"] > report["mean"]["network " + method.split()[-1]]["phong"]


def test_sheet_shows_the_reference_and_every_method(plan, report):
    with Image.open(plan.output / "sheet.png") as sheet:
        assert sheet.width > 5 * 200 and 2 * 200 < sheet.height < 3 * 200
        columns = np.asarray(sheet.convert("L"), np.float32)[24:224, 4:].T
    cells = [columns[204 * k : 204 * k + 200] for k in range(5)]
    reference, network_cell, cubes = cells[0], cells[1], cells[2]
    assert np.abs(reference - cubes).mean() < np.abs(reference - network_cell).mean()


def test_nothing_to_score_is_an_error(plan, tmp_path):
    (tmp_path / "broken.ply").write_bytes(b"ply\n")
    empty = evaluation.Plan(tmp_path, tmp_path, plan.weights, size=32)
    with pytest.raises(InputError, match=r"none that can be used: .*broken\.ply"):
        evaluation.run(empty)
    with pytest.raises(InputError, match="occupancies"):
        evaluation.run(evaluation.Plan(plan.meshes, tmp_path, plan.weights, occupancies=(), size=32))
    config = preset("tiny", (("normal", 3), ("mask", 1)))
    weights.save_weights(tmp_path, network.init(jax.random.key(0), config), config, {})
    with pytest.raises(InputError, match="contour"):
        evaluation.run(evaluation.Plan(plan.meshes, tmp_path, str(tmp_path), size=32))
    assert not (tmp_path / "report.json").exists()


def test_figures_without_a_value():
    """Equal pictures and an empty foreground have no finite PSNR: null in JSON, left out of means."""
    a, b = np.zeros((8, 8, 1), np.float32), np.full((8, 8, 1), 0.1, np.float32)
    assert evaluation.finite_psnr(a, a) is None and evaluation.finite_psnr(a, b, np.zeros_like(a)) is None
    assert evaluation.finite_psnr(a, b) == pytest.approx(20.0, abs=1e-4)
    half = a + (np.arange(8) < 4).astype(np.float32)[None, :, None]
    assert evaluation.finite_psnr(a, b * half, half) == pytest.approx(20.0, abs=1e-4)
    rows = [{"x": 1.0, "y": None}, {"x": None, "y": None}, {"x": 2.0, "y": None}]
    assert evaluation.mean_figures(rows) == {"x": 1.5, "y": None}
    assert [evaluation.show(figure) for figure in (None, 1.234)] == ["-", "1.23"]


def test_a_grid_of_no_numbers_is_an_error(plan):
    params, config = weights.load_weights(plan.weights)
    grid = np.full((1, 8, 8, 8, 1), np.nan, np.float32)
    with pytest.raises(InputError, match="NaN"):
        evaluation.draw_view(
            params, config, grid, evaluation.camera.Pose(), evaluation.rendering.DEFAULT_LIGHT, 32, ("mask",)
        )
