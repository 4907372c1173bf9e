"""Trained weights: ``NAME.npz`` (bfloat16 bit patterns) beside ``NAME.json`` (config, sha256, provenance)."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from rendernet_jax import network, shape_prior, single_view
from rendernet_jax.array_files import read_arrays
from rendernet_jax.config import Config, config_from_dict
from rendernet_jax.errors import InputError
from rendernet_jax.files import seal, unseal, write_atomically, write_json
from rendernet_jax.shape_prior import PriorConfig
from rendernet_jax.single_view import SingleViewConfig

_FOLDER = pathlib.Path(__file__).parent
_STEM = "weights"  # in a training run's folder


def shipped() -> list[str]:
    """Names of the weights that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.npz"))


def find_weights(name: str | os.PathLike) -> pathlib.Path:
    """Path of the ``.npz`` of shipped weights, a training folder, or a ``.npz`` itself.

    Raises:
        InputError: there is none.
    """
    if str(name) in shipped():
        return _FOLDER / f"{name}.npz"
    path = pathlib.Path(name)
    path = path / f"{_STEM}.npz" if path.is_dir() else path
    if path.suffix == ".npz" and path.is_file() and path.with_suffix(".json").is_file():
        return path
    raise InputError(
        f"weights: expected one of {', '.join(shipped()) or '(none shipped)'}, or a folder with {_STEM}.npz and "
        f"{_STEM}.json, got {str(name)!r}; train writes such a folder"
    )


def load_weights(name: str | os.PathLike = "compact") -> tuple[dict, Config]:
    """Load weights by shipped name or from a training folder -> (params as float32, config).

    Raises:
        InputError: not found, damaged (sha256 differs), or names and shapes that do not fit the config.
    """
    return _load(name, config_from_dict, network.check_params)


def load_prior(name: str | os.PathLike = "shape_prior") -> tuple[dict, PriorConfig]:
    """Load a shape prior by shipped name or from a training folder -> (params as float32, config).

    Raises:
        InputError: not found, damaged, weights of another network, or names and shapes that do not fit the config.
    """
    return _load(name, shape_prior.config_from_dict, shape_prior.check_params)


def load_single_view(name: str | os.PathLike = "single_view") -> tuple[dict, SingleViewConfig]:
    """Load a single-view network by shipped name or from a training folder -> (params as float32, config).

    Raises:
        InputError: not found, damaged, weights of another network, or names and shapes that do not fit the config.
    """
    return _load(name, single_view.config_from_dict, single_view.check_params)


def _load(name, read_config, check) -> tuple:
    params, fields = read_params(name)
    try:
        config = read_config(fields)
        check(params, config)
    except InputError as error:
        raise InputError(f"weights {find_weights(name)}: {error}") from error
    return params, config


def read_params(name: str | os.PathLike) -> tuple[dict, dict]:
    """Weights of any network -> (params as float32, config as JSON values), whose fit is not checked.

    Raises:
        InputError: not found, or damaged (sha256 differs).
    """
    path, card = find_weights(name), read_card(name)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != card["sha256"]:
        raise InputError(f"weights {path}: expected sha256 {card['sha256']}, got {digest}; the file is damaged")
    try:
        arrays = read_arrays(data)
        flat = {key: array.view(ml_dtypes.bfloat16).astype(np.float32) for key, array in arrays.items()}
    except ValueError as error:  # of another origin: the sum was right
        raise InputError(f"weights {path}: expected arrays of bfloat16 bit patterns, got {error}") from error
    return unflatten({key: jnp.asarray(leaf) for key, leaf in flat.items()}), card["config"]


def read_card(name: str | os.PathLike) -> dict:
    """The JSON beside the weights: config, sha256, provenance. Raises InputError if it can't be read or was altered."""
    path = find_weights(name).with_suffix(".json")
    try:
        card = unseal(json.loads(path.read_text(encoding="utf-8")))
        card["sha256"], card["config"]
        if unknown := sorted(card.keys() - {"sha256", "config", "provenance"}):
            raise ValueError(f"unknown key {unknown[0]!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"weights card {path}: expected JSON with sha256 and config, got {error!r}") from error
    return card


def save_weights(
    folder: str | os.PathLike,
    params: dict,
    config: Config | PriorConfig | SingleViewConfig,
    provenance: dict,
    stem: str = _STEM,
):
    """Write ``stem.npz`` and ``stem.json`` into a folder; each file appears whole or not at all."""
    folder = pathlib.Path(folder)
    flat = {key: np.asarray(leaf).astype(ml_dtypes.bfloat16).view(np.uint16) for key, leaf in flatten(params).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # fixed dates: same weights, same bytes
        for key in sorted(flat):
            member = io.BytesIO()
            np.save(member, flat[key], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), member.getvalue())
    data = buffer.getvalue()
    card = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "config": dataclasses.asdict(config),
        "provenance": provenance,
    }
    write_atomically(folder / f"{stem}.npz", data)
    write_card(folder / f"{stem}.json", card)


def write_card(path: str | os.PathLike, card: dict) -> None:
    """Write the JSON beside weights, as :func:`read_card` gives it: what is changed by other means is refused."""
    write_json(path, seal(card))


def flatten(tree: dict, prefix: str = "") -> dict:
    """Nested dict -> {"a.b.c": leaf}."""
    flat = {}
    for key, value in tree.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def unflatten(flat: dict) -> dict:
    """Inverse of :func:`flatten`."""
    tree = {}
    for name, leaf in flat.items():
        *folders, last = name.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = leaf
    return tree
