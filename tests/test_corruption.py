"""Damage to what is kept: flipped bits, cuts and losses are told by name, and training goes back to what is good."""

import json
import logging
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax.errors import InputError
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
