"""Shape, pose, light and albedo of an upright object in a picture, its shape the cells of a grid.

A network that has seen many such objects (:mod:`rendernet_jax.single_view`) tells their poses, and carves their cells
in them. The cells of the best are then moved, together with pose, light and albedo, by smoothed derivatives of what the
renderer draws of them, so that what the network is not sure of, rods and slats, becomes what the picture shows.
"""

import dataclasses
import functools
from collections.abc import Iterator

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rendernet_jax import single_view, squares
from rendernet_jax.camera import half_turn
from rendernet_jax.config import Config
from rendernet_jax.conv import one_by_one
from rendernet_jax.inverse import candidates, photometric, unknowns
from rendernet_jax.inverse.candidates import Fit, crop_both, join, ranked, surround, take
from rendernet_jax.inverse.descent import CHUNK, MOMENTS, falling
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.shape_prior import SET_FROM
from rendernet_jax.single_view import SingleViewConfig

_VIEWS = 4  # likeliest ones, whose cells are carved and drawn
_MARGIN = 1.25  # of the window about the object that is looked at, its width
_VIEW = 3e-4  # weight of a view's surprise, nats, beside half the mean squared pixel
_EDGE = SET_FROM["coverage"]  # from which a cell counts as set
# What is hardly there is fog to the renderer: chances below the first take up to the second off the coverage's logit.
_DOUBT, _FOG = 0.3, 0.8
_FAINT = 0.02  # coverage that is drawn as none
_POSED = 1e-4  # weight of squared departures from the pose that was seen, in terms of how sure the network is of it
_MOVED = 5e-4  # and of the mean square of what is added to cells' logits
_SHADES = 0.2  # what the picture counts for while cells move: more, and texture and shadows become dents
_SMOOTHED = 2  # times, by (1, 2, 1) / 4 along each axis: the derivatives by cells
_INERTIA = 0.8  # of those
# Of first steps; they fall by half a cosine.
_RATES = {"pose": 0.002, "light": 0.02, "albedo": 0.015}
_CELL_RATE = 0.3
_MOST = 2.0  # times the usual one: step of a single cell


@dataclasses.dataclass(frozen=True)
class CarvedSettings:
    """How much is refined."""

    picture: int = 128  # pixels of the window that is compared
    steps: int = 60  # in tens; none leaves what the network saw


@flax.struct.dataclass
class _State:
    point: Unknowns  # its cells are what is added to the logits
    momentum: jax.Array  # of the cells
    moments: optax.OptState  # of all else
    best: Unknowns
    loss: jax.Array  # of the best


def fit_carved(params: dict, config: Config, sight, picture, mask, settings=CarvedSettings(), **more) -> Fit:
    """Find shape, pose, light and albedo in a picture: the end of :func:`fit_carved_steps`, which see."""
    for found in fit_carved_steps(params, config, sight, picture, mask, settings, **more):  # noqa: B007
        pass
    return found


def fit_carved_steps(
    params: dict,
    config: Config,
    sight: tuple[dict, SingleViewConfig],
    picture: jax.Array,
    mask: jax.Array,
    settings: CarvedSettings = CarvedSettings(),
    *,
    start: dict | None = None,
    fixed: tuple[str, ...] = (),
) -> Iterator[Fit]:
    """Find shape, pose, light and albedo of an upright object, and tell what is found on the way.

    Args:
        params, config: a network with the heads normal and mask.
        sight: what :func:`rendernet_jax.weights.load_single_view` returns.
        picture: ``[S, S, C]`` in [0, 1]; what lies outside the mask does not matter.
        mask: ``[S, S, 1]`` in [0, 1], the part of each pixel that the object covers.
        settings: how much is refined.
        start: ``pose``, ``light`` or ``albedo`` to begin with (:class:`Pose`, :class:`Light`, ``[C]``); the shape is
            carved in the pose if there is one, else in those that are seen.
        fixed: names out of these three that stay as ``start`` gives them.

    Yields:
        the candidates after each stage, the one that is refined first, each with its ``cells``: coverage
        ``[G, G, G, 1]``, alike on both sides, of which cells from 0.1 on count as set.

    Raises:
        InputError: shapes that do not fit, an empty mask, a network without normals and mask, or a fixed unknown that
            is not given.
    """
    start = start or {}
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_start(start, fixed)
    candidates.check_network(config)
    look = _look(sight, picture, mask, start)
    window = surround(mask, _MARGIN)
    area = (0.5 * window.extent) ** 2  # of the frame
    drawn = crop_both(picture, mask, window, settings.picture)
    points, losses = _judge(params, config, *drawn, look.poses, look.logits, candidates.given(start), window)
    losses = area * losses - _VIEW * look.log_odds
    found, chosen = ranked(points, losses, "seen"), int(np.argmin(np.asarray(losses)))
    yield found
    free = {name: jnp.float32(name not in fixed) for name in _RATES}
    logits = look.logits[chosen]
    first = found.best.replace(cells=jnp.zeros(logits.shape[:-1]))
    state = _State(first, first.cells, _moments(first), first, jnp.float32(jnp.inf))
    rest = take((found.candidates, found.losses), slice(1, None))
    for done in range(0, settings.steps, CHUNK):
        state = _refine(
            params, config, logits, look.deviations, *drawn, window, first.pose, state, free,
            done / settings.steps, 1.0 / settings.steps,
        )  # fmt: skip
        best, loss = _told(params, config, logits, *drawn, window, state.best)
        loss = area * loss - _VIEW * look.log_odds[chosen]
        every = join((best, loss), rest)
        yield Fit(*every, f"picture {settings.picture}")


def count_carved_reports(settings: CarvedSettings) -> int:
    """How often :func:`fit_carved_steps` tells what it found."""
    return 1 + -(-settings.steps // CHUNK)


@flax.struct.dataclass
class _Look:
    poses: jax.Array  # [K, 7], in the frame
    log_odds: jax.Array  # [K], of being the true one's sector, normalised
    deviations: jax.Array  # [7], of poses in the frame
    logits: jax.Array  # [K, G, G, G, 2], alike on both sides, see single_view.carve


def _look(sight, picture, mask, start: dict) -> _Look:
    """What the network sees: the likeliest poses, or the given one, and the cells in each."""
    place = squares.square(np.asarray(mask))
    crop = jnp.asarray(squares.crop(np.asarray(picture), np.asarray(mask), sight[1].size))[None]
    seen = _see(*sight, crop)
    log_odds = jax.nn.log_softmax(seen[0].log_odds[0])
    if "pose" in start:
        vectors = unknowns.from_pose(start["pose"])[None]
        chosen, told = squares.to_square(vectors, place), jnp.zeros(1)
    else:
        order = jnp.argsort(-log_odds)[:_VIEWS]
        chosen, told = seen[0].poses[0, order], log_odds[order]
        vectors = unknowns.clip_pose(squares.to_frame(chosen, place))
    # A square's lengths, and the distance that goes with them, are those of the frame but for its size.
    deviations = seen[0].deviations[0] * jnp.asarray([1, 1, 1, 1, place[2], place[2], 1.0 / place[2]])
    return _Look(vectors, told, deviations, _carve(*sight, crop, seen, chosen))


_see = jax.jit(single_view.see_turned, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def _carve(params, config, crop, seen, poses):
    """Logits ``[K, G, G, G, 2]`` in each pose ``[K, 7]`` of one picture ``[1, S, S, C]``."""
    cells = lambda pose: single_view.carve_symmetric(params, config, crop, seen, pose[None])  # noqa: E731
    chance, coverage = one_by_one(lambda pose: jax.tree.map(lambda x: x[0], cells(pose)), poses)
    doubt = _FOG * jnp.maximum(_DOUBT - chance, 0.0) / _DOUBT
    logit = lambda x: jnp.log(x) - jnp.log1p(-x)  # noqa: E731
    sure = lambda x: logit(jnp.clip(x, 1e-5, 1.0 - 1e-5))  # noqa: E731
    return jnp.concatenate([sure(chance), sure(coverage) - doubt], axis=-1)


def _settle(logits, added) -> jax.Array:
    """Coverage ``[G, G, G, 1]`` of logits ``[G, G, G, 2]`` and what is added; from 0.1 on where cells count as set."""
    chance, coverage = jax.nn.sigmoid(logits[..., 0] + added), _coverage(logits, added)[0, ..., 0]
    below = np.nextafter(np.float32(_EDGE), np.float32(0.0))
    is_set = chance > single_view.SET_FROM
    return jnp.where(is_set, jnp.maximum(coverage, _EDGE), jnp.minimum(coverage, below))[..., None]


def _coverage(logits, added) -> jax.Array:
    """Grid ``[1, G, G, G, 1]`` as the renderer likes it: exactly 0 where there is hardly anything."""
    coverage = jax.nn.sigmoid(logits[..., 1] + added)
    return (jnp.maximum(coverage - _FAINT, 0.0) / (1.0 - _FAINT))[None, ..., None]


@functools.partial(jax.jit, static_argnums=1)
def _judge(params, config, picture, mask, poses, logits, held, window):
    """Points ``[K]`` with the light and albedo that suit each best, unless held, and half the mean squares."""

    def one(pair):
        pose, own = pair
        grid = _coverage(own, 0.0)
        point, loss = photometric.judge(params, config, grid, picture, mask, pose, **held, window=window)
        return point.replace(cells=_settle(own, 0.0)), loss

    return one_by_one(one, (poses, logits))


@functools.partial(jax.jit, static_argnums=1)
def _told(params, config, logits, picture, mask, window, point):
    """A point, whose cells are added to logits, as a list of one candidate; and half the mean square, as of others."""
    residuals = photometric.differences(*_draw(params, config, logits, point, picture, window), picture, mask)
    settled = point.replace(cells=_settle(logits, point.cells))
    return unknowns.stacked(settled), 0.5 * jnp.mean(residuals**2)[None]


def _draw(params, config, logits, point, picture, window):
    grid = _coverage(logits, point.cells)
    return photometric.draw_point(params, config, grid, point, picture.shape[0], window)


# --- refinement -------------------------------------------------------------------------------------------------------


def _moments(point: Unknowns):
    return MOMENTS.init({name: getattr(point, name) for name in _RATES})


@functools.partial(jax.jit, static_argnums=1)
def _refine(params, config, logits, deviations, picture, mask, window, seen, state, free, done, share):
    """:data:`CHUNK` steps of one candidate; ``seen`` is the pose vector ``[7]`` that it is pulled to."""
    area = (0.5 * window.extent) ** 2

    def loss(point):
        drawn, covered = _draw(params, config, logits, point, picture, window)
        residuals = jnp.concatenate([_SHADES * (drawn - picture), photometric.MASK * (covered - mask)], axis=-1)
        off = point.pose - seen
        off = off.at[:3].set(half_turn(off[:3])) / deviations
        pulls = _MOVED * jnp.mean(point.cells**2) + _POSED * jnp.sum(off**2)
        return area * photometric.mean_loss(residuals) + pulls

    def step(state, index):
        value, gradient = jax.value_and_grad(loss)(state.point)
        gradient = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0.0), gradient)
        better = value < state.loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.point, state.best)
        rate = falling(done + share * index)
        momentum = _INERTIA * state.momentum + (1.0 - _INERTIA) * _smooth(gradient.cells)
        # The usual size of a derivative where there are any: most cells are far from all surfaces.
        usual = jnp.sqrt(jnp.sum(momentum**4) / jnp.maximum(jnp.sum(momentum**2), 1e-30) + 1e-30)
        cells = state.point.cells - rate * _CELL_RATE * jnp.clip(momentum / usual, -_MOST, _MOST)
        updates, moments = MOMENTS.update({name: getattr(gradient, name) for name in _RATES}, state.moments)
        moved = {name: getattr(state.point, name) - rate * free[name] * _RATES[name] * updates[name] for name in _RATES}
        point = unknowns.clip(state.point.replace(cells=cells, **moved))
        return _State(point, momentum, moments, best, jnp.minimum(value, state.loss)), None

    return jax.lax.scan(step, state, jnp.arange(CHUNK, dtype=jnp.float32))[0]


def _smooth(cells) -> jax.Array:
    """Cells ``[G, G, G]`` averaged with their neighbours, and with their mirror images."""
    for _ in range(_SMOOTHED):
        for axis in range(3):
            padded = jnp.pad(cells, [(int(axis == k),) * 2 for k in range(3)])
            low, high = (jax.lax.slice_in_dim(padded, i, i + cells.shape[axis], axis=axis) for i in (0, 2))
            cells = 0.25 * low + 0.5 * cells + 0.25 * high
    return 0.5 * (cells + cells[::-1])
