"""Damage to what is kept: flipped bits, cuts and losses are told by name, and training goes back to what is good."""

import contextlib
import json
import logging
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from test_source import make_set

from rendernet_jax import weights
from rendernet_jax.data import shards
from rendernet_jax.data.source import Source
from rendernet_jax.errors import InputError
from rendernet_jax.files import seal, unseal
from rendernet_jax.training.checkpoints import Checkpoints


def flip(path, rng):
    """Flip one bit anywhere."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def cut(path, rng):
    """Lose the end, from anywhere on."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(max(1, len(content) - 1))])


def delete(path, _):
    path.unlink()


DAMAGES = (flip, cut, delete)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- checkpoints ------------------------------------------------------------------------------------------------------


def make_state(step):
    numbers = np.random.default_rng(step).normal(size=(40, 50)).astype(np.float32)
    return {"params": {"a": jnp.asarray(numbers)}, "step": jnp.asarray(step)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, make_state(step), float(step))
    return folder


def restored_step(folder):
    found = Checkpoints(folder).restore(make_state(0))
    np.testing.assert_array_equal(found["params"]["a"], make_state(int(found["step"]))["params"]["a"])
    return int(found["step"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_of_a_checkpoint_goes_back_to_the_one_before(saved, tmp_path, caplog, damage):
    rng, names = np.random.default_rng(0), [path.relative_to(saved) for path in files(saved)]
    names = [name for name in names if name.parts[0].startswith("2")]
    assert len(names) > 5
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        damage(folder / name, rng)
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            assert restored_step(folder) == 1, name
        wanted = "manifest" if len(name.parts) == 1 else str(name.relative_to("2"))
        assert "checkpoint of step 2" in caplog.text and wanted in caplog.text, name


def test_a_step_that_is_half_deleted_or_gone_is_not_taken_for_whole(saved, tmp_path, caplog):
    rng = np.random.default_rng(0)
    for number, share in enumerate((0.2, 0.5, 0.8, 1.0)):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        if share == 1.0:
            shutil.rmtree(folder / "2")
        for path in files(folder / "2"):
            if rng.random() < share:
                path.unlink()
        caplog.clear()
        assert restored_step(folder) == 1
        assert "checkpoint of step 2" in caplog.text and "missing, added or altered files" in caplog.text


@pytest.mark.parametrize("what", ["steps", "manifests"])
def test_checkpoints_that_lost_everything_are_no_fresh_start(saved, tmp_path, what):
    """Manifests without steps, and steps without manifests."""
    shutil.copytree(saved, tmp_path / "x")
    for path in (tmp_path / "x").iterdir():
        if path.is_dir() == (what == "steps"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match="none can be used .*step 2.*step 1.*move the folder away"):
        Checkpoints(tmp_path / "x").restore(make_state(0))


def test_a_manifest_without_score_and_seal_is_still_read(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "x")
    path = tmp_path / "x" / "2.sha256.json"
    path.write_text(json.dumps(json.loads(path.read_text())["files"]))
    assert restored_step(tmp_path / "x") == 2


# --- data sets and weights --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set as build_dataset seals it."""
    folder = tmp_path_factory.mktemp("data") / "set"
    make_set(folder, ["chair-1", "lamp-2", "table-3"])
    path = folder / "manifest.json"
    path.write_text(json.dumps(seal(json.loads(path.read_text())), indent=1))
    return folder


def refuse(path, rng, damage, read):
    """Damage a file, read what it belongs to, and mend the file: it is named, or what it says is unchanged."""
    before = path.read_bytes()
    damage(path, rng)
    if path.exists() and path.suffix == ".json":
        try:
            if json.loads(path.read_bytes()) == json.loads(before):  # 1e5 and 1E5 are the same number
                damage, read = None, lambda: None
        except ValueError:
            pass
    try:
        with pytest.raises(InputError) if damage else contextlib.nullcontext() as caught:
            read()
        assert damage is None or path.stem in str(caught.value)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_of_a_data_set_is_named(data, damage):
    rng = np.random.default_rng(0)
    for path in files(data):
        for _ in range(40 if path.suffix == ".json" else 8):
            refuse(path, rng, damage, lambda: Source(data))
    assert len(Source(data).names) == 3


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", weights.shipped())
def test_damage_to_any_file_of_shipped_weights_is_named(tmp_path, monkeypatch, name, damage):
    for suffix in (".npz", ".json"):
        shutil.copy(weights.find_weights(name).with_suffix(suffix), tmp_path)
    rng = np.random.default_rng(0)
    assert "seal" in json.loads((tmp_path / f"{name}.json").read_text()), "written by weights.write_card"
    for path, count in ((tmp_path / f"{name}.json", 60), (tmp_path / f"{name}.npz", 12)):
        for _ in range(count):
            refuse(path, rng, damage, lambda: weights.read_params(tmp_path / f"{name}.npz"))


def test_a_sealed_object_is_what_it_was():
    value = {"a": [1, 2.5], "b": {"c": None}}
    assert unseal(json.loads(json.dumps(seal(value)))) == value == unseal(value)
    for altered in ({**seal(value), "a": [1, 2.25]}, {**seal(value), "d": 1}, [1]):
        with pytest.raises(ValueError):
            unseal(altered)


@pytest.mark.parametrize("file", ["../shards/000000.npz", "/etc/passwd", "shards/../../x.npz", 3, None])
def test_no_path_of_a_manifest_leaves_its_folder(data, tmp_path, file):
    manifest = unseal(json.loads((data / "manifest.json").read_text()))
    manifest["shards"][1]["file"] = file
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="shard 1 without name, sha256, and a file shards/NUMBER.npz"):
        shards.read_manifest(tmp_path)
