"""Packed data sets: the same bits as from memory, whoever reads them; damage and half-done work do not go unseen."""

import functools
import json
import multiprocessing
import shutil

import jax
import numpy as np
import pytest
from test_corruption import DAMAGES, cut, delete
from test_source import UPSAMPLE, VIEWS, make_set

from rendernet_jax.data import records, shards
from rendernet_jax.data.records import pack
from rendernet_jax.data.source import Source
from rendernet_jax.errors import InputError
from rendernet_jax.files import seal, unseal
from rendernet_jax.training.loop import make_batch
from rendernet_jax.training.prefetch import prefetch
from rendernet_jax.training.step import Recipe

pytest.importorskip("array_record", exc_type=ImportError)
NAMES = ["chair-1", "lamp-2", "table-3", "vase-4", "sofa-5"]


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(records, "_SHAPES", 2)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "set"
    make_set(folder, NAMES)
    return folder


@pytest.fixture(scope="module")
def packed(stored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_SHAPES", 2)
        pack(stored, folder)
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_packed_set_is_the_set_in_memory(stored, packed):
    memory, disk = Source(stored, UPSAMPLE), Source(packed, UPSAMPLE)
    assert disk.packed and not memory.packed and disk.names == NAMES
    assert memory.identity == disk.identity and memory.description == disk.description
    np.testing.assert_array_equal(memory.training, disk.training)
    for kind in ("coverage", "binary", "sampled"):
        everything = range(len(NAMES) * VIEWS)
        assert_same(memory.views(everything, kind), disk.views(everything, kind))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.filterwarnings("default"))])
def test_batches_are_those_from_memory_bit_for_bit(stored, packed, workers):
    """From the fourth on, and of a process that makes the middle of each."""
    if workers:
        pytest.importorskip("grain", exc_type=ImportError)
    recipe, places = Recipe(steps=8, batch=6, patch=16, seed=3), range(2, 5)
    memory, disk = Source(stored, UPSAMPLE), Source(packed, UPSAMPLE)
    with prefetch(functools.partial(make_batch, disk, recipe, places=places), 3, 8, workers) as batches:
        for number in range(3, 8):
            assert_same(next(batches), make_batch(memory, recipe, number, places))


def fail_at(number, limit):
    if number >= limit:
        raise InputError(f"number {number}: expected less")
    return {"number": np.asarray(number)}


@pytest.mark.filterwarnings("default")
def test_what_a_worker_raises_and_its_death_are_told():
    pytest.importorskip("grain", exc_type=ImportError)
    with prefetch(functools.partial(fail_at, limit=2), 0, 9, workers=2) as batches:
        assert [int(next(batches)["number"]) for _ in range(2)] == [0, 1]
        with pytest.raises(InputError, match="number 2: expected less"):
            next(batches)
    with prefetch(functools.partial(fail_at, limit=10_000), 0, 10_000, workers=1) as batches:
        next(batches)
        (child,) = multiprocessing.active_children()
        child.kill()
        with pytest.raises(InputError, match="--workers: expected processes that make batches, got one that died"):
            for _ in range(9_000):
                next(batches)


# --- packing ----------------------------------------------------------------------------------------------------------


def test_an_interrupted_packing_goes_on_to_the_same_bytes(stored, packed, tmp_path, monkeypatch):
    write, done = records._write, []

    def stop_at_third(path, *arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        write(path, *arguments)
        done.append(path.name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(records, "_write", stop_at_third)
        pack(stored, tmp_path)
    with pytest.raises(InputError, match="data set: no .*manifest.json"):
        Source(tmp_path)
    (tmp_path / "records" / ".x.array_record.y.partial").write_bytes(b"half of it")
    written = []
    with monkeypatch.context() as patch:
        patch.setattr(records, "_write", lambda path, *rest: (written.append(path.name), write(path, *rest)))
        pack(stored, tmp_path)
    assert len(written) == 1 and written[0] not in done
    assert contents(tmp_path) == contents(packed)


def test_a_damaged_file_is_made_anew_by_the_same_command(stored, packed, tmp_path):
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    path = sorted((tmp_path / "records").iterdir())[1]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    pack(stored, tmp_path)
    assert contents(tmp_path) == contents(packed)


def test_folders_of_other_content_are_refused(stored, packed, tmp_path):
    with pytest.raises(InputError, match="is packed already"):
        pack(packed, tmp_path)
    (tmp_path / "other").mkdir()
    make_set(tmp_path / "another", NAMES[:2], seed=7)
    pack(tmp_path / "another", tmp_path / "other")
    before = contents(tmp_path / "other")
    with pytest.raises(InputError, match="expected an empty folder or this data set packed"):
        pack(stored, tmp_path / "other")
    with pytest.raises(InputError, match="expected an empty folder or this data set packed"):
        pack(stored, tmp_path)
    with pytest.raises(InputError, match="expected an empty folder or this data set packed"):
        pack(stored, stored)
    (tmp_path / "emptied").mkdir()
    shutil.copy(tmp_path / "other" / "manifest.json", tmp_path / "emptied")
    with pytest.raises(InputError, match="holds another data set"):
        pack(stored, tmp_path / "emptied")
    assert contents(tmp_path / "other") == before


# --- damage -----------------------------------------------------------------------------------------------------------


def use(folder):
    """Everything that training may read."""
    source = Source(folder, UPSAMPLE)
    return source.views(range(len(NAMES) * VIEWS))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_file_is_named(packed, tmp_path, damage):
    """But for flips of what fills a block up, which change nothing that is read."""
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    rng, whole, named = np.random.default_rng(0), use(packed), 0
    for path in sorted((tmp_path / "records").iterdir()):
        before = path.read_bytes()
        for _ in range(20 if damage not in (cut, delete) else 4):
            damage(path, rng)
            try:
                assert_same(use(tmp_path), whole)
            except InputError as error:
                assert path.name in str(error) and "pack the data set again" in str(error)
                named += 1
            path.write_bytes(before)
    assert named == 12 if damage in (cut, delete) else named > 10


def test_files_that_changed_places_are_named(packed, tmp_path):
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    first, second = sorted((tmp_path / "records").iterdir())[:2]
    first.rename(tmp_path / "x")
    second.rename(first)
    (tmp_path / "x").rename(second)
    manifest = unseal(json.loads((tmp_path / "manifest.json").read_text()))
    sizes = [entry["bytes"] for entry in manifest["records"]]
    manifest["records"][0]["bytes"], manifest["records"][1]["bytes"] = sizes[1], sizes[0]
    (tmp_path / "manifest.json").write_text(json.dumps(seal(manifest)))
    with pytest.raises(InputError, match="expected view 0 of a data set, got another view"):
        use(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../x.array_record"}, "record file 1 without bytes"),
        ({"views": 0}, "record file 1 without bytes"),
        ({"views": 5}, "14 views in record files, not 15"),
        ({"bytes": None}, "record file 1 without bytes"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(packed, tmp_path, change, message):
    manifest = unseal(json.loads((packed / "manifest.json").read_text()))
    manifest["records"][1] |= change
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=message):
        shards.read_manifest(tmp_path)
