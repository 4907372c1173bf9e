"""Scores of untrained networks side by side: what is reported, kept and passed over, and figures that can be known."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import evaluation, mesh_references, mesh_scores, network, report, scoreboard, weights
from rendernet_jax.config import BUFFERS, preset
from rendernet_jax.data.meshes import Mesh, save_mesh
from rendernet_jax.errors import InputError
from rendernet_jax.mesh_references import Case

pytest.importorskip("open3d", reason="references need open3d", exc_type=ImportError)
SIZE = 32
OCCUPANCIES = ("coverage", "binary")


def _refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def _box(x, y, z, lid=True) -> Mesh:
    corners = np.array([[i * x, j * y, k * z] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)][not lid :]
    return Mesh(corners, np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32))


def _tiny(heads=BUFFERS, **fields):
    return dataclasses.replace(preset("tiny", heads), volume=(), volume_blocks=0, **fields)


def _save(folder, config, seed=0):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda s: 0.05 * rng.normal(size=s.shape).astype(np.float32), network.shapes(config))
    weights.save_weights(folder, params, config, {})
    return str(folder)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A cube, an open slab in a sub-folder, and a broken file; a network of buffers and one of toon pictures."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name in ("meshes/more", "out"):
        (folder / name).mkdir(parents=True)
    save_mesh(folder / "meshes" / "cube.ply", _box(1, 1, 1))
    save_mesh(folder / "meshes" / "more" / "slab.OBJ", _box(4, 2, 1, lid=False))
    (folder / "meshes" / "broken.ply").write_bytes(b"ply\n")
    buffers = _save(folder / "buffers", _tiny())
    toon = _save(folder / "drawn", _tiny((("image", 1),), shader="toon"))
    return scoreboard.Plan(folder / "meshes", folder / "out", (buffers, toon), views=2, size=SIZE, robustness=True)


@pytest.fixture(scope="module")
def scores(plan):
    return scoreboard.run(plan)


def read(plan):
    return json.loads((plan.output / "report.json").read_text(), parse_constant=_refuse)


# --- a whole report ---------------------------------------------------------------------------------------------------


def test_report_is_json_of_what_is_returned(plan, scores):
    assert read(plan) == scores
    assert list(scores["meshes"]) == ["cube.ply", "more/slab.OBJ"] and scores["skipped"].keys() == {"broken.ply"}
    assert [scores["weights"][label]["sha256"] for label in ("buffers", "drawn")] == [
        weights.read_card(source)["sha256"] for source in plan.weights
    ]
    assert scores["weights"]["drawn"]["draws"] == ["toon"]
    assert scores["settings"]["views"] == [list(view) for view in evaluation.VIEWS[:2]]


def test_means_are_over_all_by_category_and_by_surface(scores):
    cube, slab = (row["scores"] for row in scores["meshes"].values())
    assert [row["category"] for row in scores["meshes"].values()] == [".", "more"]
    assert [row["closed"] for row in scores["meshes"].values()] == [True, False]
    labels = ("buffers", "drawn", "marching cubes")
    assert scores["mean"].keys() == {f"{label} {occupancy}" for label in labels for occupancy in OCCUPANCIES}
    for method, figures in scores["mean"].items():
        assert figures.keys() == cube[method].keys() >= {*report.COLUMNS, *report.FOREGROUND}
        for name, mean in figures.items():
            values = [row[method][name] for row in (cube, slab) if row[method][name] is not None]
            assert mean == (pytest.approx(np.mean(values)) if values else None)
    for kind, names in (("categories", (".", "more")), ("surfaces", ("closed", "open"))):
        assert [scores[kind][name]["meshes"] for name in names] == [1, 1]
        assert [scores[kind][name]["mean"] for name in names] == [cube, slab]


def test_an_image_network_is_scored_on_its_own_shader_alone(scores):
    for occupancy in OCCUPANCIES:
        figures = scores["mean"][f"drawn {occupancy}"]
        assert {name for name, value in figures.items() if value is not None} == {"toon", "toon_foreground"}
        assert None not in scores["mean"][f"buffers {occupancy}"].values()


def test_marching_cubes_of_a_cube_are_nearly_the_cube(scores):
    for occupancy in OCCUPANCIES:
        figures = scores["meshes"]["cube.ply"]["scores"]
        cubes, drawn = (figures[f"{label} {occupancy}"] for label in ("marching cubes", "buffers"))
        assert cubes["mask_iou"] > 0.9 and cubes["phong"] > 20
        assert cubes["phong_foreground"] < cubes["phong"], "the background is exact"
        assert all(cubes[name] > drawn[name] for name in ("phong", "phong_ssim", "normal", "toon", "contour", "depth"))


def test_text_holds_every_table(plan, scores):
    lines = (plan.output / "report.md").read_text().splitlines()
    for heading in ("## All meshes", "### .: 1 mesh", "### more: 1 mesh", "### closed: 1 mesh", "### open: 1 mesh"):
        table = lines[lines.index(heading) + 2 :]
        assert table[0].startswith("| method | voxels | Phong |") and len({row.count("|") for row in table[:8]}) == 1
    best = scores["mean"]["marching cubes coverage"]
    assert any(row.startswith(f"| marching cubes | coverage | **{best['phong']:.2f}** | **") for row in lines)
    toon = scores["mean"]["drawn binary"]["toon"]
    assert f"| drawn | binary | - | - | - | - | - | {toon:.2f} | - | - | - |" in lines
    assert any(row.startswith("- broken.ply: ") for row in lines)


def test_sheet_shows_references_voxels_methods_and_errors(plan, scores):
    with Image.open(plan.output / "sheet.png") as sheet:
        picture = np.asarray(sheet.convert("RGB"), np.float32)
    columns = 2 + 2 * (1 + 2 * 3)  # two references; the voxels, and each of three methods with its errors, twice
    assert abs(picture.shape[1] - columns * 204) < 204 and 2 * 204 < picture.shape[0] < 2 * 204 + 40
    left = picture.shape[1] - columns * 204
    cells = [picture[24:224, left + 204 * k : left + 204 * k + 200] for k in range(columns)]
    reference, drawn, cubes = cells[0], cells[3], cells[7]
    assert np.abs(reference - cubes).mean() < np.abs(reference - drawn).mean()
    assert cells[8].mean() < cells[4].mean(), "the smaller error is drawn darker"


def test_robustness_has_a_mean_for_every_changed_input(plan, scores):
    robustness = scores["robustness"]
    titles = ["usual", "1% flipped", "32^3 voxels", "two objects", "scale 1.5", "pinhole 0.6", "16 pixels", "24 pixels"]
    assert list(robustness["cases"]) == titles and robustness["meshes"].keys() == scores["meshes"].keys()
    assert not robustness["skipped"]
    for case in robustness["cases"].values():
        for method, mean in case["mean"].items():
            drawn = not method.startswith("drawn")  # toon pictures are not among these figures
            for figure in ("phong", "mask_iou"):
                values = [row[method][figure] for row in case["meshes"].values()]
                assert mean[figure] == (pytest.approx(np.mean(values)) if drawn else None)
    usual, coarse = (robustness["cases"][title]["mean"]["marching cubes binary"] for title in titles[0:3:2])
    assert coarse["mask_iou"] < usual["mask_iou"]
    text = (plan.output / "report.md").read_text()
    assert f"| method | voxels | {' | '.join(titles)} |" in text


# --- the same folder again, and what goes wrong -----------------------------------------------------------------------


def test_other_weights_in_the_same_folder_trace_nothing_again(plan, scores, tmp_path, monkeypatch):
    for name in ("_trace_cubes", "build_scene"):
        monkeypatch.setattr(mesh_references, name, lambda *_: pytest.fail("traced again"))
    again = scoreboard.run(dataclasses.replace(plan, weights=(_save(tmp_path / "other", _tiny(), 1),)))
    assert again["weights"].keys() == {"other"}
    for occupancy in OCCUPANCIES:
        assert again["mean"][f"marching cubes {occupancy}"] == scores["mean"][f"marching cubes {occupancy}"]
        assert again["mean"][f"other {occupancy}"] != scores["mean"][f"buffers {occupancy}"]


def test_a_mesh_that_cannot_be_used_costs_only_itself(plan, scores, tmp_path, monkeypatch):
    """One is refused by voxelisation; of another a network draws no numbers."""
    draw, other = mesh_scores.draw_view, save_mesh
    folder = tmp_path / "meshes"
    folder.mkdir()
    for name, mesh in (("cube", _box(1, 1, 1)), ("refused", _box(3, 1, 1)), ("odd", _box(2, 1, 1))):
        other(folder / f"{name}.ply", mesh)
    voxelise = mesh_references.voxelise

    def voxelise_most(mesh, grid, occupancy):
        if np.ptp(mesh.vertices[:, 1]) == pytest.approx(1 / 3):
            raise InputError("mesh: its parts are too thin")
        return voxelise(mesh, grid, occupancy)

    def draw_most(params, config, grid, *rest):
        if grid.mean() < 0.3:
            raise InputError("picture: NaN")
        return draw(params, config, grid, *rest)

    monkeypatch.setattr(mesh_references, "voxelise", voxelise_most)
    monkeypatch.setattr(mesh_scores, "draw_view", draw_most)
    one = dataclasses.replace(plan, meshes=folder, occupancies=("binary",), weights=plan.weights[:1], robustness=False)
    found = scoreboard.run(one)
    assert list(found["meshes"]) == ["cube.ply"]
    assert found["skipped"] == {
        "refused.ply": "mesh: its parts are too thin",
        "odd.ply": "buffers binary: picture: NaN",
    }


def test_nothing_to_score_is_an_error_and_leaves_nothing(plan, tmp_path):
    (tmp_path / "out").mkdir()
    base = dataclasses.replace(plan, output=tmp_path / "out")
    (tmp_path / "broken.ply").write_bytes(b"ply\n")
    with pytest.raises(InputError, match=r"none that can be used: .*broken\.ply"):
        scoreboard.run(dataclasses.replace(base, meshes=tmp_path))
    for changes, message in (
        ({"occupancies": ()}, "occupancies: .* got none"),
        ({"occupancies": ("half",)}, "occupancies: .* got half"),
        ({"views": 5}, "views: expected 1 to 4, got 5"),
        ({"size": 33}, "size: expected a multiple of 4"),
        ({"weights": ()}, "weights: .* got none"),
        ({"weights": ("compacted",)}, "weights: expected one of compact"),
    ):
        with pytest.raises(InputError, match=message):
            scoreboard.run(dataclasses.replace(base, **changes))
    assert not list(base.output.iterdir())


def test_weights_get_labels_of_their_own_and_must_draw_what_is_scored(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    runs = [_save(tmp_path / name, _tiny((("normal", 3), ("mask", 1)))) for name in ("a/run", "b/run", "c")]
    networks = mesh_scores.load_networks([*runs[:2], f"{runs[2]}/weights.npz", "compact"], SIZE)
    assert [each.label for each in networks] == [runs[0], runs[1], "c", "compact"]
    assert networks[0].outputs == ("phong", "normal", "mask")
    with pytest.raises(InputError, match="got .*run' twice"):
        mesh_scores.load_networks([runs[0], runs[0]], SIZE)
    image = (("image", 1),)
    for config, message in (
        (_tiny((("albedo", 3),)), "heads for one of"),
        (_tiny(image, shader="hatching"), "hatching"),
        (_tiny(image), "unnamed"),
        (_tiny(image, shader="phong", light_deg=(0.0, 0.0)), "own light"),
        (_tiny(channels=3), "1 voxel channel"),
    ):
        with pytest.raises(InputError, match=f"weights .*bad: .*{message}"):
            mesh_scores.load_networks([_save(tmp_path / "bad", config)], SIZE)


# --- parts ------------------------------------------------------------------------------------------------------------


def test_changed_inputs_are_what_they_are_called(plan, tmp_path):
    files = mesh_references.find_meshes(plan.meshes)

    def kept(name="cube.ply", beside=None, **changes):
        case = Case(SIZE, evaluation.VIEWS[:1], ("mask",), **changes)
        path = mesh_references.keep_mesh(tmp_path, plan.meshes, files, name, case, "y", beside)
        return mesh_references.load_references(path)

    usual, flipped, small = kept(), kept(flipped=0.01), kept(grid=32)
    assert np.mean(usual["binary"] != flipped["binary"]) == pytest.approx(0.01, abs=1e-3)
    assert (usual["mask"] == flipped["mask"]).all() and small["binary"].shape == (32, 32, 32, 1)
    assert kept(scale=1.5)["mask"].sum() > 1.5 * usual["mask"].sum()
    assert kept(inverse_distance=0.6)["mask"].sum() != usual["mask"].sum()
    both = kept(beside="more/slab.OBJ")
    first, second = both["binary"][:32].sum(), both["binary"][32:].sum()
    assert first > 1.5 * second > 0 and first == pytest.approx(usual["binary"].sum() / 8, rel=0.2)
    path = mesh_references.keep_mesh(
        tmp_path, plan.meshes, files, "cube.ply", Case(SIZE, evaluation.VIEWS[:1], ("mask",)), "y"
    )
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="remove the file"):
        kept()


def test_marching_cubes_of_nothing_are_empty_pictures(tmp_path):
    grid = np.zeros((8, 8, 8, 1), np.float32)
    case = Case(8, evaluation.VIEWS[:2], ("normal", "mask"))
    drawn = mesh_references.load_references(mesh_references.keep_cubes(tmp_path, grid, case))
    assert drawn["normal"].shape == (2, 8, 8, 3) and (drawn["normal"] == 1).all() and (drawn["mask"] == 0).all()
    assert (report.draw_voxels(grid, evaluation.view_pose(0), 8) == 1).all()


def test_a_mesh_is_closed_where_its_corners_meet():
    box = _box(1, 1, 1)
    apart = Mesh(box.vertices[box.faces.reshape(-1)], np.arange(box.faces.size).reshape(-1, 3))
    assert mesh_references.is_closed(box) and mesh_references.is_closed(apart)
    assert not mesh_references.is_closed(_box(1, 1, 1, lid=False))


def test_voxel_blocks_are_the_outer_faces():
    grid = np.zeros((4, 4, 4, 1), np.float32)
    grid[0, 1:3, 1] = [[1.0], [0.5]]
    blocks = report.voxel_blocks(grid)
    assert len(blocks.faces) == 2 * 10 and mesh_references.is_closed(blocks)
    assert blocks.vertices.min(0).tolist() == [-0.5, -0.25, -0.25]
    assert blocks.vertices.max(0).tolist() == [-0.25, 0.25, 0.0]
    assert np.unique(blocks.colors) == pytest.approx([0.7, 1.0])
    assert blocks.colors[blocks.vertices[:, 1] > 0] == pytest.approx(0.7)


def test_error_maps_have_a_fixed_scale():
    difference = np.array([[[0.0], [1 / 6], [1 / 3], [0.5], [1.0]]], np.float32)
    colors = report.error_map(1 - difference, np.ones_like(difference))[0]
    assert colors == pytest.approx(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]), abs=1e-5)


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
    params, config = weights.load_weights(plan.weights[0])
    grid = np.full((1, 8, 8, 8, 1), np.nan, np.float32)
    with pytest.raises(InputError, match="NaN"):
        evaluation.draw_view(
            params, config, grid, evaluation.camera.Pose(), evaluation.rendering.DEFAULT_LIGHT, SIZE, ("mask",)
        )
