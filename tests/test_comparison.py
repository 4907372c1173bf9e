"""Every variant builds within its arithmetic; a comparison of tiny networks from data set to table, and again."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rendernet_jax import comparison, mesh_references, network, rendering
from rendernet_jax.config import preset
from rendernet_jax.data import dataset, tasks
from rendernet_jax.data.meshes import Mesh, load_mesh, normalise, save_mesh
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import view_pose
from rendernet_jax.training.step import Recipe

pytestmark = pytest.mark.optax
SIZE = 32
RECIPE = Recipe(steps=2, batch=1, patch=16, ema=0.9)
FIGURES = {"phong", "normal", "mask_iou"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Two shapes to train on, a slab and a broken file to score on."""
    pytest.importorskip("open3d", reason="references need open3d", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("comparison")
    for name in ("data", "meshes", "out"):
        (folder / name).mkdir()
    shapes = tasks.procedural_tasks(2, ["chair", "table"], 0)
    dataset.build(shapes, folder / "data", dataset.Settings(views=1, size=SIZE, grid=8), 0, {})
    corners = np.array([[4 * i, 2 * j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    save_mesh(folder / "meshes" / "slab.ply", Mesh(corners, faces))
    (folder / "meshes" / "broken.ply").write_bytes(b"ply\n")
    small = dataclasses.replace(preset("tiny", (("normal", 3), ("mask", 1))), name="less", volume=(), volume_blocks=0)
    networks = {"more": dataclasses.replace(small, name="more", projection=(16,)), "less": small}
    return comparison.Plan(
        folder / "data", folder / "meshes", folder / "out", RECIPE, networks, 2, SIZE, provenance={"command": "here"}
    )


@pytest.fixture(scope="module")
def rows(plan):
    """One variant fails, the other is in the table already; then the same command again."""
    train, trained = comparison.train, []

    def train_all_but_one(config, *arguments, **options):
        trained.append(config.name)
        if len(trained) == 1:
            raise InputError("step 1: not finite")
        return train(config, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "train", train_all_but_one)
        with pytest.raises(InputError, match="more failed: step 1: not finite"):
            comparison.run(plan)
        assert [row["name"] for row in read(plan)["variants"]] == ["less"]
        rows = comparison.run(plan)
    assert trained == ["more", "less", "more"]
    return rows


def read(plan):
    return json.loads((plan.output / "table.json").read_text())


def test_tables_hold_every_network_by_arithmetic(plan, rows):
    report = read(plan)
    assert report["variants"] == rows and [row["name"] for row in rows] == ["less", "more"]
    assert rows[0]["gflop"] < rows[1]["gflop"]
    for row in rows:
        config = plan.networks[row["name"]]
        assert row["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(network.shapes(config)))
        assert row["milliseconds"] > 0 and row["train_milliseconds"] > 0
        for occupancy in comparison.OCCUPANCIES:
            assert row[occupancy].keys() == FIGURES and 0 < row[occupancy]["phong"] < 60
    assert report["meshes"] == ["slab.ply"] and report["skipped"].keys() == {"broken.ply"}
    assert report["command"] == "here" and report["settings"]["recipe"] == dataclasses.asdict(RECIPE)
    lines = (plan.output / "table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")] == ["variant", "---", "less", "more"]
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert f"{rows[0]['coverage']['phong']:.2f}" in lines[4]


def test_scores_are_those_of_the_last_averaged_weights(plan, rows):
    """Against ray tracing anew, in float32; the best weights are not the last where validation says so."""
    config = plan.networks["less"]
    folder = plan.output / "less" / "checkpoints"
    state = comparison.Checkpoints(folder).restore(comparison.init_state(config, RECIPE))
    assert int(state["step"]) == RECIPE.steps
    mesh = normalise(load_mesh(plan.meshes / "slab.ply", "y"))
    grid = voxelise(mesh, 64, "binary")[None]
    scene, psnr = build_scene(mesh), []
    for pose in map(view_pose, range(2)):
        wanted = reference_pictures(scene, pose, rendering.DEFAULT_LIGHT, SIZE, ("phong",))["phong"]
        outputs = ("phong", "normal", "mask")  # the program that is compiled already
        _, drawn = comparison.draw_view(state["ema"], config, grid, pose, rendering.DEFAULT_LIGHT, SIZE, outputs)
        psnr.append(-10 * np.log10(np.mean((drawn["phong"] - wanted) ** 2)))
    found = next(row for row in rows if row["name"] == "less")["binary"]["phong"]
    assert found == pytest.approx(np.mean(psnr), abs=0.01)


def test_finished_comparison_is_not_repeated(plan, rows, monkeypatch):
    for module, name in ((comparison, "train"), (mesh_references, "_trace"), (comparison, "_score")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("done again"))
    # The broken mesh is tried again, since nothing is kept of it.
    monkeypatch.setattr(mesh_references, "_trace", lambda path, *_: load_mesh(path, "y"))
    scores = lambda rows: [{k: v for k, v in row.items() if "milliseconds" not in k} for row in rows]  # noqa: E731
    assert scores(comparison.run(plan)) == scores(rows)


def test_tables_of_other_settings_and_other_files_are_kept(plan, rows, tmp_path):
    before = (plan.output / "table.json").read_bytes()
    other = dataclasses.replace(plan, views=1, recipe=dataclasses.replace(RECIPE, steps=3))
    with pytest.raises(InputError, match="differs in recipe, views"):
        comparison.run(other)
    assert (plan.output / "table.json").read_bytes() == before
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(InputError, match="expected a table of variants .*choose another --output"):
        comparison.run(dataclasses.replace(plan, output=tmp_path))
    assert (tmp_path / "table.json").read_text() == "{}"


def test_what_cannot_be_compared_is_refused(plan, tmp_path):
    with pytest.raises(InputError, match="patch: expected a multiple of 4 for variant 'more', got 18"):
        comparison.run(dataclasses.replace(plan, recipe=dataclasses.replace(RECIPE, patch=18)))
    with pytest.raises(InputError, match="size: expected a multiple of 4"):
        comparison.run(dataclasses.replace(plan, size=33))
    with pytest.raises(InputError, match="views: expected 1 to 4, got 5"):
        comparison.run(dataclasses.replace(plan, views=5))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="found none that can be used"):
        comparison.run(dataclasses.replace(plan, meshes=tmp_path, output=tmp_path / "out"))


# --- the variants -----------------------------------------------------------------------------------------------------


def test_variants_are_picked_by_name_and_in_order():
    assert list(comparison.pick(["wide", "compact"])) == ["wide", "compact"]
    with pytest.raises(InputError, match="expected some of compact, .*, got wider"):
        comparison.pick(["wide", "wider"])
    with pytest.raises(InputError, match="got none"):
        comparison.pick([])


def test_variants_differ_and_keep_within_40_gflop():
    configs = comparison.VARIANTS
    assert len(configs) >= 6 and all(config.name == name for name, config in configs.items())
    assert len({dataclasses.replace(config, name="") for config in configs.values()}) == len(configs)
    gflop = {name: comparison.count_gflop(config, 512) for name, config in configs.items()}
    assert max(gflop.values()) <= 40 and gflop["narrow"] < gflop["compact"] < gflop["deep"]
    assert gflop["compact"] > 4 * comparison.count_gflop(configs["compact"], 256) * 0.99 > 20


@pytest.mark.parametrize("name", comparison.VARIANTS)
def test_variant_has_its_heads_at_its_smallest_picture(name):
    config = comparison.VARIANTS[name]
    side = config.multiple // config.upsample
    grid = jax.ShapeDtypeStruct((1, side, side, config.depth, 1), np.float32)
    drawn = jax.eval_shape(lambda p, g: network.apply(p, config, g), network.shapes(config), grid)
    assert {name: buffer.shape for name, buffer in drawn.items()} == {
        name: (1, config.multiple, config.multiple, count) for name, count in config.heads
    }
