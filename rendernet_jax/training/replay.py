"""The batch that stopped a training run because its figures were not finite, example by example."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.array_files import read_arrays
from rendernet_jax.config import config_from_dict
from rendernet_jax.errors import InputError
from rendernet_jax.network import check_params
from rendernet_jax.training.run_folder import CARD, FAULT
from rendernet_jax.training.step import Recipe, make_keys, make_loss
from rendernet_jax.weights import flatten, unflatten


def replay(folder) -> list[dict]:
    """What each example of the batch in ``folder``'s not_finite.npz does to the network.

    Returns:
        for each example ``{"loss": number, "given": names, "gradient": names}``: the names of arrays of the batch, and
        of parameters, where numbers are, or gradients become, not finite.

    Raises:
        InputError: no such run of the network, nothing kept in it, or damaged files.
    """
    folder = pathlib.Path(folder)
    config, recipe = _read_card(folder / CARD)
    path = folder / FAULT
    try:
        kept = unflatten(read_arrays(path.read_bytes()))
        params, batch, step = kept["params"], kept["batch"], int(kept["step"])
        count = len(batch["grid"])
    except FileNotFoundError as error:
        raise InputError(f"run {folder}: expected {FAULT}, got none; it was not stopped by a bad number") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the batch that stopped a run, got {error!r}; train again") from error
    check_params(params, config)
    look = jax.jit(jax.value_and_grad(make_loss(config, recipe), has_aux=True))
    examples = []
    for place in range(count):
        example = jax.tree.map(lambda leaf, at=place: leaf[at : at + 1], batch)
        (loss, _), gradient = look(params, example, make_keys(recipe, step, jnp.arange(place, place + 1)))
        examples.append({"loss": float(loss), "given": _not_finite(example), "gradient": _not_finite(gradient)})
    return examples


def _not_finite(tree: dict) -> list[str]:
    return sorted(name for name, leaf in flatten(tree).items() if not np.isfinite(np.asarray(leaf)).all())


def _read_card(path: pathlib.Path) -> tuple:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return config_from_dict(card["config"]), Recipe(**card["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected that of a training run of the network, got {error}; check --run") from error
