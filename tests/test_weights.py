"""Weights on disk: exact round trip, the same bytes twice, and every kind of damage named."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from rendernet_jax import network, provenance, weights
from rendernet_jax.config import preset
from rendernet_jax.errors import InputError

TINY = preset("tiny", heads=(("image", 3), ("mask", 1)))


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), s.dtype), network.shapes(TINY))


@pytest.fixture
def folder(tmp_path, params):
    weights.save_weights(tmp_path, params, TINY, {"step": 7})
    return tmp_path


def test_round_trip_is_exact_in_bfloat16(folder, params):
    for name in (folder, str(folder), folder / "weights.npz"):
        found, config = weights.load_weights(name)
        assert config == TINY
        jax.tree.map(
            lambda a, b: np.testing.assert_array_equal(a, np.asarray(b).astype(ml_dtypes.bfloat16).astype(np.float32)),
            found,
            params,
        )
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
    assert weights.read_card(folder)["provenance"] == {"step": 7}


def test_same_weights_same_bytes_and_nothing_left_over(folder, params):
    first = (folder / "weights.npz").read_bytes()
    weights.save_weights(folder, weights.load_weights(folder)[0], TINY, {"step": 8})
    assert (folder / "weights.npz").read_bytes() == first
    weights.save_weights(folder, params, TINY, {}, stem="other")
    assert {path.name for path in folder.iterdir()} == {"weights.npz", "weights.json", "other.npz", "other.json"}


def test_flatten_and_unflatten_invert_each_other(params):
    flat = weights.flatten(params)
    assert "stage0.entry.kernel" in flat
    assert jax.tree.structure(weights.unflatten(flat)) == jax.tree.structure(params)


def test_flipped_bit_is_noticed_anywhere(folder):
    path = folder / "weights.npz"
    data = path.read_bytes()
    for place in np.linspace(0, len(data) - 1, 7).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"weights .*expected sha256 .*the file is damaged"):
            weights.load_weights(folder)


def test_truncated_weights_are_refused(folder):
    path = folder / "weights.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        weights.load_weights(folder)


@pytest.mark.parametrize("missing", ["weights.npz", "weights.json"])
def test_missing_files_are_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(InputError, match="weights: expected one of .*weights.npz and weights.json"):
        weights.load_weights(folder)


@pytest.mark.parametrize("name", ["no_such_network", "", "weights.npz/../x"])
def test_unknown_weights_name_those_there_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"weights: expected one of .*got '{name}'"):
        weights.load_weights(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": "0"}', "\x00\xff"])
def test_broken_card_is_named(folder, text):
    (folder / "weights.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="weights card .*expected JSON with sha256 and config"):
        weights.load_weights(folder)


def change_card(folder, **change):
    card = json.loads((folder / "weights.json").read_text())
    card.pop("seal", None)
    card["config"].update(change)
    (folder / "weights.json").write_text(json.dumps(card))


def test_weights_of_another_config_are_refused_by_name(folder):
    change_card(folder, heads=[["image", 1]])
    with pytest.raises(InputError, match=r"weights .*shape \['head.bias"):
        weights.load_weights(folder)
    change_card(folder, heads=[["image", 3], ["mask", 1]], volume_blocks=2)
    with pytest.raises(InputError, match=r"weights .*missing \['volume_blocks.block1.*surplus \[\]"):
        weights.load_weights(folder)
    change_card(folder, volume_blocks=0)
    with pytest.raises(InputError, match=r"weights .*missing \[\], surplus \['volume_blocks"):
        weights.load_weights(folder)
    change_card(folder, colour="red")
    with pytest.raises(InputError, match="config: expected the keys"):
        weights.load_weights(folder)


@pytest.mark.parametrize("name", weights.shipped())
def test_shipped_weights_load_and_say_where_they_come_from(name):
    found, _ = weights.read_params(name)
    load = weights.load_prior if name.endswith("_prior") else weights.load_weights
    load = weights.load_single_view if name == "single_view" else load
    assert load(name)[1].name == {"head_prior": "small"}.get(name, name)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    card = weights.read_card(name)
    limit = {"single_view": 27.0}.get(name, 6.5)  # MiB
    assert (weights.find_weights(name)).stat().st_size <= limit * 2**20
    assert {"command", "packages"} <= set(card["provenance"])


def test_provenance_names_versions_and_the_command(monkeypatch):
    machine = provenance.machine()
    assert machine["packages"]["jax"] == jax.__version__ and machine["cores"] >= 1
    monkeypatch.setattr("sys.argv", ["/home/someone/experiments/train.py", "--steps=3"])
    assert provenance.command() == "python -m experiments.train --steps=3"
