"""Ways to fit a target: with its shape given, through the shape prior, and what that must beat."""

import dataclasses
import functools
import pathlib
import time
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import inverse, retrieval, shape_prior, weights
from rendernet_jax.config import Config
from rendernet_jax.data import shape_grids
from rendernet_jax.data.references import surface_of
from rendernet_jax.errors import InputError
from rendernet_jax.fit_scores import Found, Method
from rendernet_jax.fit_targets import Target
from rendernet_jax.inverse import KNOWN, photometric, schedules, unknowns
from rendernet_jax.mesh_references import GRID

UNKNOWN = ("shape", "prior", "retrieval", "mean")
METHODS = (*KNOWN, *UNKNOWN)
_MEAN_FROM = 2000  # shapes


def load_methods(
    network, names: Sequence[str], *, seed: int, prior: str, single_view: str, training: pathlib.Path | None
) -> dict[str, Method]:
    """Methods by name, in the order of the names.

    Args:
        network: a ``mesh_scores.Network`` with the heads normal and mask.
        names: some of :data:`METHODS`.
        seed: of the methods that start at random.
        prior, single_view: weights by name or folder, read if a method needs them.
        training: folder of the grids that the prior was trained on.

    Raises:
        InputError: no name or an unknown one, or weights or grids that can't be read.
    """
    if unknown := [name for name in names if name not in METHODS]:
        raise InputError(f"methods: expected some of {', '.join(METHODS)}, got {unknown[0]!r}; correct the name")
    if not names:
        raise InputError(f"methods: expected some of {', '.join(METHODS)}, got none; name one")
    known, unknown = ([name for name in names if name in group] for group in (KNOWN, UNKNOWN))
    methods = known_methods(network.params, network.config, known, seed)
    if unknown:
        found = {"prior": weights.load_prior(prior)} if "prior" in unknown else {}
        if "shape" in unknown:
            found["single_view"] = weights.load_single_view(single_view)
        for name, (_, config) in found.items():
            if config.grid != GRID:
                raise InputError(f"{name}: expected grids of {GRID} cells a side, got {config.grid}; use others")
        shapes = None if training is None else _Grids(shape_grids.read_kept(training, GRID))
        methods |= unknown_methods(network.params, network.config, shapes, unknown, **found)
    return {name: methods[name] for name in names}


@dataclasses.dataclass(frozen=True)
class _Grids(Sequence):
    """Set cells ``[G, G, G, 1]`` that are unpacked when they are asked for."""

    shapes: list[shape_grids.Shape]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index) -> np.ndarray:
        return self.shapes[index].cells(GRID)


def known_methods(params: dict, config: Config, names: Sequence[str], seed: int) -> dict[str, Method]:
    """Methods, by name, that are given the target's coverage grid; ``default`` and ``one-start`` its mesh, too.

    Args:
        params, config: a network with the heads normal and mask.
        names: some of ``inverse.KNOWN``.
        seed: of the methods that start at random.
    """
    return {name: functools.partial(_fit_known, params, config, name, seed) for name in dict.fromkeys(names)}


def unknown_methods(
    params: dict,
    config: Config,
    shapes: Sequence[np.ndarray] | None,
    names: Sequence[str],
    *,
    prior: tuple | None = None,
    single_view: tuple | None = None,
) -> dict[str, Method]:
    """Methods, by name, that are given a picture and its mask alone.

    ``shape`` is :func:`rendernet_jax.inverse.fit_carved`, ``prior`` is :func:`rendernet_jax.inverse.fit_shape`;
    ``retrieval`` the training shape, and its view, with the silhouette most like the mask; ``mean`` the mean shape, in
    the pose at which it fits best.

    Args:
        params, config: a network with the heads normal and mask.
        shapes: grids ``[G, G, G, 1]`` that the prior was trained on, without which there are only the first two.
        names: some of :data:`UNKNOWN`.
        prior, single_view: what ``weights.load_prior`` and ``load_single_view`` return, where a method needs it.

    Raises:
        InputError: no shapes for a method that needs them.
    """
    if shapes is None and (needy := [name for name in names if name in ("retrieval", "mean")]):
        raise InputError(f"methods: expected the prior's training shapes for {needy[0]}, got none; name their folder")
    methods = {}
    for name in dict.fromkeys(names):
        if name == "shape":
            methods[name] = functools.partial(_fit_carved, params, config, single_view)
        elif name == "prior":
            methods[name] = functools.partial(_fit_shape, params, config, prior)
        elif name == "retrieval":
            print(f"silhouettes of {len(shapes)} shapes from all around: about {len(shapes) // 1300} min", flush=True)
            methods[name] = functools.partial(_retrieve, params, config, shapes, retrieval.Bank(shapes))
        else:
            some = [shapes[index] for index in range(min(len(shapes), _MEAN_FROM))]
            mean = jnp.asarray(retrieval.mean_shape(some))[None]
            methods[name] = functools.partial(_fit_mean, params, config, mean)
    return methods


def _fit_known(params: dict, config: Config, name: str, seed: int, target: Target, index: int) -> Found:
    mesh = None if target.make is None else target.make()
    began = time.perf_counter()
    surface = None if mesh is None else surface_of(mesh)
    given = {"light_elevation": float(target.light.elevation), "surface": surface}
    seen = target.picture, target.mask, target.grid
    own = zlib.crc32(f"{seed} {target.name}".encode())
    fit = jax.block_until_ready(schedules.fit_known(name, params, config, *seen, seed=own, **given))
    seconds = time.perf_counter() - began
    return Found(fit.pose, fit.light, np.asarray(fit.best.albedo), target.grid, seconds, index == 0, given=True)


def _fit_carved(params, config, sight, target: Target, index: int) -> Found:
    began = time.perf_counter()
    fit = inverse.fit_carved(params, config, sight, target.picture, target.mask)
    grid = np.asarray(fit.best.cells)[None]
    seconds = time.perf_counter() - began
    cut = shape_prior.SET_FROM["coverage"]
    return Found(fit.pose, fit.light, np.asarray(fit.best.albedo), grid, seconds, index == 0, cut=cut)


def _fit_shape(params, config, prior, target: Target, index: int) -> Found:
    began = time.perf_counter()
    fit = inverse.fit_shape(params, config, prior, target.picture, target.mask)
    grid = np.asarray(inverse.grids(prior, fit.best.latent[None]))
    seconds = time.perf_counter() - began
    cut = shape_prior.SET_FROM[prior[1].occupancy]
    return Found(fit.pose, fit.light, np.asarray(fit.best.albedo), grid, seconds, index == 0, cut=cut)


def _fit_mean(params, config, mean, target: Target, index: int) -> Found:
    began = time.perf_counter()
    fit = jax.block_until_ready(inverse.fit(params, config, target.picture, target.mask, mean))
    seconds = time.perf_counter() - began
    return Found(fit.pose, fit.light, np.asarray(fit.best.albedo), np.asarray(mean), seconds, index == 0)


def _retrieve(params, config, shapes, bank: retrieval.Bank, target: Target, index: int) -> Found:
    began = time.perf_counter()
    match = bank.find(target.mask)
    grid = np.asarray(shapes[match.shape], np.float32)[None]
    vector = unknowns.from_pose(match.pose)
    point, _ = _judge(params, config, grid, jnp.asarray(target.picture), jnp.asarray(target.mask), vector)
    seconds = time.perf_counter() - began
    light = unknowns.to_light(point.light)
    return Found(match.pose, light, np.asarray(point.albedo), grid, seconds, index == 0)


_judge = jax.jit(photometric.judge, static_argnums=1)
