"""Building a data set: the same bytes whatever interrupts it, bad meshes skipped, other sets refused."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from rendernet_jax import files
from rendernet_jax.camera import pose_from_degrees, to_camera
from rendernet_jax.data import dataset, pool, shards
from rendernet_jax.data.tasks import folder_tasks, procedural_tasks
from rendernet_jax.errors import InputError

SETTINGS = dataset.Settings(views=2, size=64, grid=16)
TASKS = procedural_tasks(3, ("table", "vase", "shelf"), seed=5)
ARGUMENTS = {"source": "procedural", "seed": 5}
# A slab of 1 x 0.5 x 0.25, of quads.
SLAB = "\n".join(
    [f"v {x} {y} {z}" for x in (0, 4) for y in (0, 2) for z in (0, 1)]
    + ["f 1 2 4 3", "f 5 7 8 6", "f 1 5 6 2", "f 3 4 8 7", "f 1 3 7 5", "f 2 6 8 4", ""]
)


def build(folder, tasks=TASKS, settings=SETTINGS, workers=0, arguments=ARGUMENTS, overwrite=False):
    folder.mkdir(exist_ok=True)
    return dataset.build(tasks, folder, settings, workers, arguments, overwrite)


def read_files(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A set that nothing interrupted, which tests must not change."""
    folder = tmp_path_factory.mktemp("finished")
    build(folder)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    for name, content in read_files(finished).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def jobs_run(monkeypatch):
    """Names of the shapes that are made in the test, in order."""
    names, do_job = [], dataset._do_job
    monkeypatch.setattr(dataset, "_do_job", lambda job: names.append(job.task.name) or do_job(job))
    return names


def interrupt_after(monkeypatch, count):
    run_tasks = pool.run_tasks

    def run_some(*arguments):
        for done, result in enumerate(run_tasks(*arguments), start=1):
            yield result
            if done == count:
                raise KeyboardInterrupt

    monkeypatch.setattr(pool, "run_tasks", run_some)


# --- the set --------------------------------------------------------------------------------------------------------


def test_manifest_describes_every_file(finished):
    files = read_files(finished)
    manifest = json.loads(files.pop("manifest.json"))
    assert set(files) == {"contact_sheet.png", *(entry["file"] for entry in manifest["shards"])}
    assert [entry["name"] for entry in manifest["shards"]] == [task.name for task in TASKS]
    assert manifest["counts"] == {"shapes": 3, "views": 6, "skipped": 0}
    assert manifest["arguments"] == ARGUMENTS and manifest["skipped"] == []
    assert manifest["settings"] == {"views": 2, "size": 64, "grid": 16}
    assert {"rendernet_jax", "numpy", "numba"} >= manifest["packages"].keys() - {"open3d", "open3d-cpu"}
    for entry in manifest["shards"]:
        assert entry["sha256"] == hashlib.sha256(files[entry["file"]]).hexdigest()
        arrays = shards.read_shard(finished / entry["file"])
        for row, pose in zip(arrays["poses"], entry["poses"], strict=True):
            np.testing.assert_array_equal(shards.encode_pose(pose_from_degrees(**pose)), row)


def test_contact_sheet_has_a_row_for_each_shape(finished):
    with Image.open(finished / "contact_sheet.png") as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert 3 * 128 < pixels.shape[0] < 4 * 128 and pixels.shape[1] > 6 * 128
    rows = np.array_split(pixels, 3)
    assert all(row.std() > 10 for row in rows)


def test_two_processes_make_the_same_bytes(finished, tmp_path):
    build(tmp_path, workers=2)
    assert read_files(tmp_path) == read_files(finished)


def test_stored_picture_is_where_the_pose_puts_the_voxels(finished):
    """Full voxels, projected by the stored pose, lie on the stored mask."""
    checked = 0
    for entry in json.loads((finished / "manifest.json").read_text())["shards"]:
        arrays = shards.read_shard(finished / entry["file"])
        solid = np.argwhere(arrays["coverage"] == 64)
        points = ((solid + 0.5) / 16 - 0.5).astype(np.float32)
        for pose, mask in zip(entry["poses"], arrays["mask"], strict=True):
            q = np.asarray(to_camera(points, pose_from_degrees(**pose)))
            column, row = ((q[:, 0] + 1) * 32).astype(int), ((1 - q[:, 1]) * 32).astype(int)
            shown = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
            assert (mask[row[shown], column[shown]] > 0).all()
            checked += shown.sum()
    assert checked > 50


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["none", "truncated", "flipped", "leftover"])
def test_resumed_build_equals_an_uninterrupted_one(finished, tmp_path, monkeypatch, jobs_run, damage):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        build(tmp_path)
    assert set(read_files(tmp_path)) == {"plan.json", "shards/000000.npz", "shards/000001.npz"}
    shard = tmp_path / "shards" / "000001.npz"
    content = shard.read_bytes()
    if damage == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        shard.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "leftover":
        for name in ("shards/.000002.npz.abc.partial", ".manifest.json.abc.partial", ".contact_sheet.png.x.partial"):
            (tmp_path / name).write_bytes(b"half of it")
    jobs_run.clear()
    build(tmp_path)
    assert jobs_run == [t.name for t in (TASKS[1:] if damage in ("truncated", "flipped") else TASKS[2:])]
    assert read_files(tmp_path) == read_files(finished)


@pytest.mark.skipif(os.name != "posix", reason="kills with a signal")
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_command_is_continued_by_the_same_command(tmp_path, kills):
    """Killed at random moments, each after at least one more shape; a fast machine makes two or three meanwhile."""
    shapes = 12 if kills == 1 else 60
    output, rng = tmp_path / "new" / "set", np.random.default_rng(0)
    flags = [f"--shapes={shapes}", "--families=table,vase", "--views=2", "--size=64", "--grid=16", "--workers=1"]
    command = [sys.executable, "-m", "experiments.build_dataset", *flags, f"--output={output}"]
    made = lambda: len(list(output.glob("shards/0*.npz")))  # noqa: E731
    for _ in range(kills):
        before, deadline = made(), time.monotonic() + 600
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while made() == before and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1) if kills > 1 else 0)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL and made() > before
    assert not (output / "manifest.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"table {shapes // 4 * 3}, vase {shapes // 4}",
        f"wrote {output}: complete, {shapes} shapes, {2 * shapes} views, 0 skipped",
    ]
    assert f"{shapes}/{shapes} shapes, 0 skipped" in done.stderr
    arguments = json.loads((output / "manifest.json").read_text())["arguments"]
    build(tmp_path / "whole", procedural_tasks(shapes, ("table", "vase")), arguments=arguments)
    assert read_files(output) == read_files(tmp_path / "whole")


def test_two_builds_do_not_share_a_folder(copied):
    before = read_files(copied)
    with files.lock_folder(copied), pytest.raises(InputError, match="another process is using it"):
        build(copied)
    assert read_files(copied) == before


def test_finished_set_is_left_as_it_is(copied, jobs_run):
    before = {p: p.stat().st_mtime_ns for p in copied.rglob("*")}
    manifest = build(copied)
    assert manifest["counts"]["shapes"] == 3 and jobs_run == []
    assert {p: p.stat().st_mtime_ns for p in copied.rglob("*")} == before


@pytest.mark.parametrize("how", ["swapped", "missing"])
def test_damaged_shard_of_a_finished_set_is_made_again(copied, finished, jobs_run, how):
    shard = copied / "shards" / "000001.npz"
    shard.unlink()
    if how == "swapped":
        shard.write_bytes((copied / "shards" / "000000.npz").read_bytes())
    build(copied)
    assert jobs_run == [TASKS[1].name]
    assert read_files(copied) == read_files(finished)


# --- other sets in the folder ---------------------------------------------------------------------------------------

CHANGES = {
    "settings": (dict(settings=dataset.Settings(views=2, size=32, grid=16)), "size 64 .now 32."),
    "arguments": (dict(arguments={**ARGUMENTS, "seed": 6}), "seed 5 .now 6."),
    "tasks": (dict(tasks=TASKS[:2]), "other shapes"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_changed_flags_are_refused_and_nothing_is_touched(copied, change, state):
    if state == "unfinished":
        manifest = json.loads((copied / "manifest.json").read_text())
        plan = {name: manifest[name] for name in ("schema", "generator", "arguments", "settings", "names_sha256")}
        (copied / "plan.json").write_text(json.dumps(plan))
        (copied / "manifest.json").unlink()
    before = read_files(copied)
    changed, message = CHANGES[change]
    what = "an unfinished data set" if state == "unfinished" else "a data set"
    with pytest.raises(InputError, match=f"holds {what} of {message}.*--overwrite"):
        build(copied, **changed)
    assert read_files(copied) == before


def test_a_set_of_an_earlier_generator_is_not_continued(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["generator"], manifest["seal"]  # as it wrote them
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="earlier version's shapes and views"):
        build(copied)


def test_overwrite_replaces_another_set_entirely(copied, tmp_path_factory, jobs_run):
    changed = dict(tasks=TASKS[:1], arguments={"seed": 7})
    build(copied, **changed, overwrite=True)
    fresh = tmp_path_factory.mktemp("fresh")
    build(fresh, **changed)
    assert read_files(copied) == read_files(fresh)


def test_overwrite_makes_a_finished_set_again_but_continues_an_unfinished_one(copied, monkeypatch, jobs_run):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        build(copied, overwrite=True)
    build(copied, overwrite=True)
    assert jobs_run == [task.name for task in TASKS]


@pytest.mark.parametrize("name", ["notes.txt", "contact_sheet.png", "shards/mine.npz"])
def test_folder_of_other_files_is_refused(tmp_path, name):
    (tmp_path / "shards").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="expected an empty folder or a data set, got .*--overwrite"):
        build(tmp_path)
    assert read_files(tmp_path) == {name: b"mine"}


def test_overwrite_spares_files_that_are_not_the_sets(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    build(tmp_path, TASKS[:1], overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# --- meshes of a folder ---------------------------------------------------------------------------------------------


@pytest.fixture
def shapenet(tmp_path):
    """Three models in ShapeNet's layout; the second has a NaN."""
    root = tmp_path / "meshes"
    for name, text in (
        ("03001627/1a", SLAB),
        ("03001627/2b", SLAB.replace("v 0 0 0", "v 0 nan 0")),
        ("04379243/3c", SLAB),
    ):
        folder = root / name / "models"
        folder.mkdir(parents=True)
        (folder / "model_normalized.obj").write_text(text)
        (folder / "model_normalized.json").write_text("{}")
    return root


def test_broken_mesh_is_listed_and_the_rest_is_built(shapenet, tmp_path):
    manifest = build(tmp_path / "set", folder_tasks(shapenet, up="z"), workers=2)
    names = ["03001627/1a/models/model_normalized.obj", "04379243/3c/models/model_normalized.obj"]
    assert [entry["name"] for entry in manifest["shards"]] == names
    (skipped,) = manifest["skipped"]
    assert skipped["name"] == "03001627/2b/models/model_normalized.obj"
    assert "finite" in skipped["reason"] and "\n" not in skipped["reason"]
    assert manifest["counts"] == {"shapes": 2, "views": 4, "skipped": 1}
    assert {p.name for p in (tmp_path / "set" / "shards").iterdir()} == {"000000.npz", "000002.npz"}
    arrays = shards.read_shard(tmp_path / "set" / manifest["shards"][0]["file"])
    solid = np.argwhere(arrays["coverage"] == 64)
    assert len(solid) == 16 * 8 * 4
    assert np.ptp(solid, axis=0).tolist() == [15, 3, 7], "(x, y, z) of the file became (x, z, -y)"
    assert build(tmp_path / "set", folder_tasks(shapenet, up="z")) == manifest


def test_adding_a_file_changes_no_other_task(shapenet):
    before = folder_tasks(shapenet)
    (shapenet / "02691156").mkdir()
    (shapenet / "02691156" / "a.STL").write_bytes(b"solid")
    after = folder_tasks(shapenet)
    assert [task.name for task in after] == ["02691156/a.STL", *(task.name for task in before)]
    assert after[1:] == before
    assert len({task.seed for task in after}) == 4
    assert not {task.seed for task in after} & {task.seed for task in folder_tasks(shapenet, seed=1)}


def test_folder_without_a_usable_mesh_leaves_nothing(tmp_path):
    (tmp_path / "meshes").mkdir()
    with pytest.raises(InputError, match="none found|found none"):
        folder_tasks(tmp_path / "meshes")
    with pytest.raises(InputError, match="is no folder"):
        folder_tasks(tmp_path / "absent")
    (tmp_path / "meshes" / "a.obj").write_text("not a mesh")
    with pytest.raises(InputError, match=r"none of 1 shapes could be made; the first: .*a\.obj"):
        build(tmp_path / "set", folder_tasks(tmp_path / "meshes"))
    assert list((tmp_path / "set").iterdir()) == []


# --- what can go wrong in a shape -----------------------------------------------------------------------------------


def test_crash_and_error_of_a_shape_become_skipped_entries(tmp_path, monkeypatch, jobs_run):
    make_arrays = dataset.make_arrays

    def make_but_one(task, settings):
        if task == TASKS[1]:
            raise ValueError("no\nluck")
        return make_arrays(task, settings)

    def crash_on_last(function, jobs, workers, timeout):
        yield 2, pool.Crash("the process reading it died (signal SIGSEGV)")
        yield from pool_run(function, jobs[:2], workers, timeout)

    pool_run = pool.run_tasks
    monkeypatch.setattr(dataset, "make_arrays", make_but_one)
    monkeypatch.setattr(pool, "run_tasks", crash_on_last)
    manifest = build(tmp_path)
    assert [entry["name"] for entry in manifest["shards"]] == [TASKS[0].name]
    assert manifest["skipped"] == [
        {"name": TASKS[1].name, "reason": "ValueError: no luck"},
        {"name": TASKS[2].name, "reason": "the process reading it died (signal SIGSEGV)"},
    ]
    jobs_run.clear()
    assert build(tmp_path) == manifest and jobs_run == [], "what was skipped is not tried again"


def test_missing_open3d_ends_the_build(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(InputError, match=r"Open3D: expected to import it.*install rendernet_jax\[mesh\]"):
        build(tmp_path)


def test_full_disk_ends_the_build(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "write_atomically", fail)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path)


def test_open3d_is_quiet_while_a_shape_is_made(tmp_path, monkeypatch, capfd):
    import open3d

    def warn(*_):
        open3d.io.read_triangle_mesh(str(tmp_path / "absent.ply"))
        raise InputError("mesh: bad")

    warn_loudly = pytest.raises(InputError, match="mesh: bad")
    with warn_loudly:
        warn()
    assert "WARNING" in "".join(capfd.readouterr()), "the warning that must not be seen"
    monkeypatch.setattr(dataset, "make_arrays", warn)
    assert dataset._do_job(dataset._Job(TASKS[0], SETTINGS, tmp_path / "x")).reason == "mesh: bad"
    assert "WARNING" not in "".join(capfd.readouterr())


def test_settings_out_of_range_are_refused():
    for name, value in (("views", 0), ("size", 7), ("grid", 513)):
        with pytest.raises(InputError, match=f"{name}: expected .* got {value}"):
            dataset.Settings(**{name: value})
