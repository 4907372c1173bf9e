"""Parameters of networks as plain nested dicts: the wall behind which Flax NNX modules stand."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.errors import InputError


class Wall:
    """Makes, binds and checks the parameters of one kind of network, by its hashable config, which has a ``name``."""

    def __init__(self, build: Callable[..., nnx.Module]):
        """``build(config, rngs)`` makes the module."""
        self._build = build
        self._structure = functools.cache(lambda config: nnx.split(nnx.eval_shape(lambda: build(config, nnx.Rngs(0)))))

    def shapes(self, config) -> dict:
        """Parameter tree of ``jax.ShapeDtypeStruct``; allocates nothing."""
        tree = nnx.to_pure_dict(self._structure(config)[1])
        # Anew: a structure first made while a parallel step was traced remembers the devices of that step.
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), tree)

    def init(self, key: jax.Array, config) -> dict:
        """Random parameters: a plain nested dict of float32 arrays."""
        return nnx.to_pure_dict(nnx.state(self._build(config, nnx.Rngs(key)), nnx.Param))

    def bind(self, params: dict, config, dtype=jnp.float32) -> nnx.Module:
        """The module with these parameters."""
        return nnx.merge(self._structure(config)[0], jax.tree.map(lambda p: p.astype(dtype), params))

    def check(self, params: dict, config) -> None:
        """Raise InputError unless the parameters have the names and shapes of :meth:`shapes`."""
        expected, found = _leaf_shapes(self.shapes(config)), _leaf_shapes(params)
        if expected != found:
            missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
            both = sorted(expected.keys() & found.keys())
            wrong = [f"{name} {found[name]} for {expected[name]}" for name in both if expected[name] != found[name]]
            raise InputError(
                f"params: do not fit network {config.name!r}: missing {missing[:5]}, surplus {surplus[:5]}, "
                f"shape {wrong[:5]}; use the config that was saved with them"
            )


def make_config(kind: type, name: str, fields):
    """A config of one kind of network, "a ..." by name, from JSON values. Raises InputError for others."""
    known = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(fields, dict) or (unknown := sorted(fields.keys() - known)):
        got = f"the settings {', '.join(unknown)}" if isinstance(fields, dict) else "no object"
        raise InputError(f"weights: expected those of {name}, got {got}; use others")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
    except TypeError as error:
        raise InputError(f"weights: expected settings as {name} has them, got others ({error}); use others") from error


def _leaf_shapes(tree) -> dict[str, tuple]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.shape(leaf) for path, leaf in leaves}
