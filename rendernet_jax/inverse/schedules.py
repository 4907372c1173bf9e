"""Fits of a known shape that the default one is compared with: from one start, by silhouette, and as in 2018."""

import functools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import candidates, photometric, unknowns
from rendernet_jax.inverse.candidates import Fit, join, ranked, resize, take
from rendernet_jax.inverse.descent import descend_plainly
from rendernet_jax.inverse.fitting import Settings, fit, judge_all, search_by_silhouette
from rendernet_jax.inverse.unknowns import Unknowns

KNOWN = ("default", "one-start", "silhouette", "paper")
ROUNDS = 10
_STARTS, _STEPS = 5, 200  # in each round
_SIZE = 64  # pixels: what is far finds its way more easily in small pictures, in a sixteenth of the time
_CENTRE = Pose(elevation=0.35, inverse_distance=0.15)
_RANGE = (math.pi, 0.6, 0.0, 0.25, 0.1, 0.1, 0.15)  # about it, in the order of unknowns.POSE
# Steps of plain descent are the gradient times these: about the largest at which it comes to rest.
_RATES = Unknowns(pose=np.asarray([0.3, 0.3, 0.3, 0.05, 0.05, 0.05, 0.05], np.float32), light=1.0, albedo=0.2)


def fit_known(
    method: str,
    params: dict,
    config: Config,
    picture,
    mask,
    grid,
    *,
    seed: int = 0,
    light_elevation: float = 0.7,
    surface: Callable | None = None,
) -> Fit:
    """One fit of a known shape by one of the methods :data:`KNOWN`.

    Args:
        method: ``default`` is :func:`rendernet_jax.inverse.fit`; ``one-start`` is the same from one random azimuth,
            without a search; ``silhouette`` looks into the object for its light alone; ``paper``: :func:`fit_2018`.
        params, config, picture, mask, grid: as for ``fit``, which says what is raised, too.
        seed: of the random starts.
        light_elevation: radians, given to the schedule of 2018 alone.
        surface: of the shape's mesh, for ``default`` and ``one-start``; see :func:`rendernet_jax.inverse.fit_steps`.

    Raises:
        InputError: an unknown method.
    """
    if method not in KNOWN:
        raise InputError(f"method: expected one of {', '.join(KNOWN)}, got {method!r}; correct the name")
    if method == "one-start":
        azimuth = np.random.default_rng(seed).uniform(-math.pi, math.pi)
        start = {"pose": _CENTRE.replace(azimuth=jnp.float32(azimuth))}
        return fit(params, config, picture, mask, grid, start=start, surface=surface)
    if method == "silhouette":
        return fit_by_silhouette(params, config, picture, mask, grid)
    if method == "paper":
        for found in fit_2018(params, config, picture, mask, grid, seed=seed, light_elevation=light_elevation):  # noqa: B007
            pass
        return found
    return fit(params, config, picture, mask, grid, surface=surface)


def fit_by_silhouette(params: dict, config: Config, picture, mask, grid) -> Fit:
    """Poses by silhouette alone, in the order of how well the silhouettes fit; light and albedo as they suit each."""
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_network(config)
    settings, window = Settings(), candidates.surround(mask)
    vectors, losses = search_by_silhouette(grid, mask, window, settings.starts)
    size = settings.sizes[0]
    drawn = candidates.crop(picture, window, size, 1.0), candidates.crop(mask, window, size, 0.0)
    found, _ = judge_all(params, config, grid, *drawn, vectors, candidates.given({}), window)
    return ranked(found, losses, "silhouette")


def fit_2018(
    params: dict, config: Config, picture, mask, grid, *, seed: int = 0, light_elevation: float = 0.7
) -> Iterator[Fit]:
    """The schedule of the RenderNet paper (Nguyen-Phuoc et al. 2018): ten rounds from five starts of plain descent.

    In each round the starts are drawn about the best point so far, in half the range of the round before, and descend
    200 steps by the squared difference of pictures. The light's elevation is given.

    Args:
        params, config, picture, mask, grid: as for :func:`rendernet_jax.inverse.fit_steps`.
        seed: of the starts.
        light_elevation: radians.

    Yields:
        the best of each of the :data:`ROUNDS` so far.

    Raises:
        InputError: shapes that do not fit, an empty mask, or a network without normals and mask.
    """
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_network(config)
    picture, rng = resize(picture, _SIZE), np.random.default_rng(seed)
    light = [0.0, light_elevation, photometric.AMBIENT]
    best = Unknowns(unknowns.from_pose(_CENTRE), jnp.asarray(light, jnp.float32), jnp.ones(picture.shape[-1]))
    best, loss = jax.tree.map(lambda x: x[None], best), jnp.full(1, jnp.inf)
    for halved in range(ROUNDS):
        share = 0.5**halved
        around = rng.uniform(-1.0, 1.0, (_STARTS, 7)) * np.asarray(_RANGE)
        pose = best.pose + share * around.astype(np.float32)
        azimuth = best.light[:, 0] + share * rng.uniform(-math.pi, math.pi, _STARTS).astype(np.float32)
        starts = Unknowns(
            unknowns.clip_pose(pose),
            jnp.broadcast_to(best.light, (_STARTS, 3)).at[:, 0].set(azimuth),
            jnp.broadcast_to(best.albedo, (_STARTS, *best.albedo.shape[1:])),
        )
        ends, losses = _descend(params, config, jnp.asarray(grid, jnp.float32), picture, starts)
        joined = join((best, loss), (ends, losses))
        found = ranked(*joined, f"round {halved + 1}")
        best, loss = take((found.candidates, found.losses), slice(1))
        yield found


@functools.partial(jax.jit, static_argnums=1)
def _descend(params, config, grid, picture, starts) -> tuple[Unknowns, jax.Array]:
    """Plain descent from each start: where it ends, and half the mean squared difference there."""

    def loss(point):
        drawn = photometric.draw_point(params, config, grid, point, len(picture))[0]
        return 0.5 * jnp.mean((drawn - picture) ** 2)

    return descend_plainly(loss, _RATES, starts, _STEPS)
