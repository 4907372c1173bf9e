"""Pose, light and albedo of a known shape in a picture: search by silhouette, then refine through the network."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.config import Config
from rendernet_jax.conv import one_by_one
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import candidates, photometric, silhouette, traced, unknowns
from rendernet_jax.inverse.candidates import Fit, crop, crop_both, different, join, pick, ranked, surround, take
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.voxels import Window

_PLACED, _COARSE, _FINE = 16, 32, 48  # sides of silhouettes: by the first, starts are placed alone
# Of every so many directions, starts are rolled so, too, radians: most things in photos stand about upright.
_ROLLED, _ROLLS = 4, (-0.35, 0.35)
# Inverse distances of the first starts. Silhouettes that are coarse, or of what is small, hardly tell them and leave
# them as they are; from the pose that suits a wrong one there is often no way down to the right one.
_DISTANCES = (0.05, 0.4)
_LARGE = 1.0  # extent of a window about what is large, of the frame's 2
_KEPT = (48, 12)  # candidates that are refined by coarse and by fine silhouettes
# So many of the best poses are tried from the other distance, too, and of so many, so many turns of the object that
# look most like it: together as many as are refined by fine silhouettes, in the same compiled program.
_MOVED, _TWINS = 4, (2, 4)
_STEPS = (5, 6)  # of refinement by silhouette
# Half the mean square of residuals beyond which a drawing by the network, or a ray-traced one, is so unlike the picture
# that all is searched once more, so many times as thoroughly: about the largest that the true poses of plain models
# leave. And by what, radians, the best is turned after that: tables and stools look much alike from several sides.
_UNLIKE_DRAWN, _UNLIKE_TRACED, _AGAIN = 6e-4, 4e-4, 2
_TURNS = tuple(math.radians(turn) for turn in (60, 90, 120, 180, 240, 270, 300))
_LEAST_MET = 0.01  # share of the mask that an object covers in a pose that is given: from none no way leads to it
_TOLD, _TRACED = 5, 12  # different candidates that are left when the network has judged them, and to be ray traced
_CLOSE = 1.2  # times the least loss: what has more at one size is not looked at again at the next
_CHUNK = 4  # steps of refinement between two reports, or fewer; each begins with one linearisation more
_JUDGED = 96  # pixels, at most, of the pictures in which candidates are judged where ray tracing follows


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is searched and refined."""

    starts: int = 256  # view directions over the sphere
    sizes: tuple[int, ...] = (128, 192)  # of the pictures that refinement compares
    steps: tuple[int, ...] = (6, 3)  # of refinement at each of them
    candidates: tuple[int, ...] = (3, 2)  # how many are refined at each of them; after the first, close ones alone

    def before_tracing(self) -> "Settings":
        """No refinement through the network: where a mesh is given, what is ray traced of it does better."""
        return dataclasses.replace(self, sizes=(min(_JUDGED, self.sizes[0]),), steps=(0,), candidates=(0,))


def fit(params: dict, config: Config, picture, mask, grid, settings: Settings = Settings(), **given) -> Fit:
    """Find pose, light and albedo of a known shape in a picture: the end of :func:`fit_steps`, which see."""
    for found in fit_steps(params, config, picture, mask, grid, settings, **given):  # noqa: B007
        pass
    return found


def fit_all(
    params: dict, config: Config, pictures, masks, grids, settings: Settings = Settings(), **given
) -> list[Fit]:
    """:func:`fit` for each picture of a batch, one after the other, in the same compiled programs.

    Args:
        pictures, masks: ``[N, S, S, C]`` and ``[N, S, S, 1]``.
        grids: ``[N, X, Y, Z, 1]``, or ``[1, X, Y, Z, 1]`` if all show one shape.
        params, config, settings, given: as for :func:`fit_steps`, which says what is raised, too; what is given is
            given to each.

    Raises:
        InputError: batches of different lengths, or a surface for several grids.
    """
    counts = [len(batch) for batch in (pictures, masks, grids)]
    if counts[0] != counts[1] or counts[2] not in (1, counts[0]):
        raise InputError(
            f"batch: expected as many masks as pictures, and as many grids or one, got {counts[0]} pictures, "
            f"{counts[1]} masks and {counts[2]} grids; repeat or drop some"
        )
    if given.get("surface") is not None and counts[2] != 1:
        raise InputError(f"surface: expected one grid, whose surface it is, got {counts[2]}; fit them one by one")
    shape_of = lambda i: grids[i % counts[2]][None]  # noqa: E731
    return [
        fit(params, config, picture, mask, shape_of(i), settings, **given)
        for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True))
    ]


def fit_steps(
    params: dict,
    config: Config,
    picture: jax.Array,
    mask: jax.Array,
    grid: jax.Array,
    settings: Settings = Settings(),
    *,
    start: dict | None = None,
    fixed: tuple[str, ...] = (),
    surface: Callable | None = None,
) -> Iterator[Fit]:
    """Find pose, light and albedo of a known shape in a picture, and tell what is found on the way.

    What is compared is a window about the object, so that a small one is seen as well as any. Directions over the whole
    sphere, from near and far, are compared by silhouette, and the best different ones refined so. The best of those are
    tried from the other distance, too, and turned to where the object looks most like itself. All are judged through
    the network, light and albedo solved for, and the best few refined with everything free, unless there is a surface.
    If what is drawn then is still unlike the picture, as it always is in a photo of what has a texture, the same is
    done after a search from twice as many directions, and then with the object turned about its upright axis.

    Args:
        params, config: a network with the heads normal and mask.
        picture: ``[S, S, C]`` in [0, 1]; what lies outside the mask does not matter.
        mask: ``[S, S, 1]`` in [0, 1], the part of each pixel that the object covers.
        grid: ``[1, X, Y, Z, 1]`` occupancy of the object.
        settings: how much is searched and refined.
        start: ``pose``, ``light`` or ``albedo`` to begin with (:class:`Pose`, :class:`Light`, ``[C]``); nothing is
            searched if it holds a pose.
        fixed: names out of these three that stay as ``start`` gives them.
        surface: ``(pose, window, size, samples)`` -> normals in camera axes ``[size, size, 3]`` and covered fraction
            ``[size, size, 1]`` of the shape's mesh, from so many sub-samples on a pixel's side, as
            :func:`rendernet_jax.data.references.surface_of` returns it. Nothing is then refined through the network:
            what is ray traced of the mesh makes poses exact, tells light and albedo, and compares the candidates, see
            :mod:`rendernet_jax.inverse.traced`.

    Yields:
        the candidates after each stage, the best first; in the end different poses, with losses that can be compared.

    Raises:
        InputError: shapes that do not fit, an empty mask, a network without normals and mask, a fixed unknown that is
            not given, or a start at which the object and the mask do not meet.
    """
    start = start or {}
    picture, mask = candidates.prepare(picture, mask)
    if jnp.ndim(grid) != 5 or jnp.shape(grid)[0] != 1:
        raise InputError(f"grid: expected [1, X, Y, Z, C], got {jnp.shape(grid)}; fit one shape at a time")
    candidates.check_start(start, fixed)
    candidates.check_network(config)
    grid = jnp.asarray(grid, jnp.float32)
    free = Unknowns(*(jnp.float32(name not in fixed) for name in ("pose", "light", "albedo")))
    window = surround(mask)
    told = _TOLD
    if surface is not None:
        settings, told = settings.before_tracing(), _TRACED
    drawn = [crop_both(picture, mask, window, size) for size in settings.sizes]
    improve = functools.partial(
        _improve, params, config, grid, drawn, window, settings, told, candidates.given(start), free
    )
    for found in improve(_first_poses(grid, mask, window, settings, start, fixed)):
        yield found
    if surface is not None:
        unlike, held = _UNLIKE_TRACED, candidates.given({name: start[name] for name in fixed})
        moving = "pose" not in fixed
        settle = lambda found: traced.settle(surface, found.candidates, picture, mask, held, moving)  # noqa: E731
    else:
        unlike, kept = _UNLIKE_DRAWN, tuple(name for name in ("light", "albedo") if name in start)
        settle = lambda found: _compare(params, config, grid, *drawn[-1], found.candidates, kept, window)  # noqa: E731
    compared, losses = settle(found)
    yield ranked(compared, losses, "compare")
    search = lambda: search_by_silhouette(grid, mask, window, settings.starts, _AGAIN)[0]  # noqa: E731
    turn = lambda: _turned(grid, mask, window, compared.pose[np.argmin(losses)])  # noqa: E731
    for more in () if "pose" in start else (search, turn):
        if (found.losses[0] if surface is None else min(losses)) > unlike:
            *_, others = improve(more())
            found = min(found, others, key=lambda fit: fit.losses[0])
            compared, losses = join((compared, losses), settle(others))
    chosen = different(compared.pose, losses, _TOLD)
    yield Fit(*take((compared, losses), chosen), "choose")


def count_reports(settings: Settings, traced: bool = False) -> int:
    """How often :func:`fit_steps` tells what it found; ``traced`` says whether it is given a surface."""
    settings = settings.before_tracing() if traced else settings
    return 3 + sum(-(-steps // _CHUNK) for steps in settings.steps)


def _improve(params, config, grid, drawn, window, settings: Settings, told, held, free, poses) -> Iterator[Fit]:
    """``told`` of the pose vectors ``[K, 7]``, judged by the first picture and mask of those drawn, refined by each."""
    found, losses = judge_all(params, config, grid, *drawn[0], poses, held, window)
    chosen = pick(found.pose, losses, told)
    found = Fit(*take((found, losses), chosen), "judge")
    yield found
    for size, seen, steps, count in zip(settings.sizes, drawn, settings.steps, settings.candidates, strict=True):
        if found.stage != "judge":
            count = int(np.sum(found.losses[:count] <= _CLOSE * found.losses[0]))
        for done in range(0, steps, _CHUNK):
            first = take(found.candidates, slice(count))
            moved = _refine(params, config, grid, *seen, first, free, min(_CHUNK, steps - done), window)
            refined = ranked(*moved, "")
            # Losses of other sizes can't be compared: those that are being refined stand first.
            found = join(refined, take(found.replace(stage=""), slice(count, None))).replace(stage=f"refine {size}")
            yield found


def _first_poses(grid, mask, window, settings: Settings, start: dict, fixed: tuple[str, ...]) -> jax.Array:
    """Pose vectors ``[K, 7]`` to judge through the network."""
    if "pose" not in start:
        return search_by_silhouette(grid, mask, window, settings.starts)[0]
    poses = unknowns.from_pose(start["pose"])[None]
    met = float(_met(grid, mask, window, poses))
    if not met >= _LEAST_MET:
        raise InputError(
            f"start: expected a pose at which the object meets the mask, got one at which it covers {met:.1%} of it; "
            "correct the pose"
        )
    return poses if "pose" in fixed else _refine_by_silhouette(grid, mask, window, poses, _FINE, _STEPS[1])[0]


def search_by_silhouette(grid, mask, window: Window, starts: int, thorough: int = 1) -> tuple[jax.Array, jax.Array]:
    """The best pose vectors ``[K, 7]`` from all over the sphere, near and far, and their twins; the losses ``[K]``.

    Args:
        grid, mask: as for :func:`fit_steps`.
        window: what of the mask to look at.
        starts: how many directions.
        thorough: so many times as many, of which so many times as many are refined; none of them rolled if not 1.
    """
    vectors, losses = _scan(grid, mask, window, thorough * starts, _ROLLS if thorough == 1 else ())
    for count, size, steps in zip(_KEPT, (_COARSE, _FINE), _STEPS, strict=True):
        chosen = pick(vectors, losses, thorough * count)
        parts = [take(vectors, part) for part in np.split(chosen, thorough)]  # of one size: compiled once
        vectors, losses = join(*(_refine_by_silhouette(grid, mask, window, part, size, steps) for part in parts))
    moved, turned = pick(vectors, losses, _MOVED), np.argsort(losses)[: _TWINS[0]]
    more = _others(grid, take(vectors, moved), take(vectors, turned))
    return join((vectors, losses), _refine_by_silhouette(grid, mask, window, more, _FINE, _STEPS[1]))


def _others(grid, moved, turned) -> np.ndarray:
    """Pose vectors ``[K, 7]``: some from the other distance, and some turned to where the object looks most alike."""
    moved, turned = np.array(moved), np.array(turned)
    moved[:, 6] = np.where(moved[:, 6] < np.mean(_DISTANCES), *_DISTANCES[::-1])
    # A chair without its back is a stool from four sides: what silhouettes hardly tell apart, shades may.
    turns = silhouette.turns(np.asarray(_opaque(grid))[0, ..., 0], _TWINS[1])
    twins = np.repeat(turned, len(turns), axis=0)
    twins[:, 0] += np.tile(turns, len(turned))
    return np.concatenate([moved, twins])


# --- compiled once for each size and number of steps ------------------------------------------------------------------

_opaque = jax.jit(functools.partial(silhouette.opaque, side=_COARSE))


@functools.partial(jax.jit, static_argnames=("starts", "rolls"))
def _scan(grid, mask, window, starts, rolls):
    """Pose vectors ``[K, 7]`` from all over the sphere, near and far, that suit the mask, and the losses ``[K]``."""
    half = window.extent / 2.0
    placed = jnp.stack([jnp.log(half), window.left + half, window.top - half])
    angles = [(*unknowns.sphere(starts), 0.0), *((*unknowns.sphere(starts // _ROLLED), roll) for roll in rolls)]
    angles = jnp.concatenate([jnp.stack(jnp.broadcast_arrays(*some), axis=-1) for some in angles])
    vectors = jnp.zeros((len(_DISTANCES), len(angles), 7)).at[..., :3].set(angles).at[..., 3:6].set(placed)
    vectors = vectors.at[..., 6].set(jnp.asarray(_DISTANCES)[:, None]).reshape(-1, 7)
    vectors = silhouette.place(*_shrink(grid, mask, window, _PLACED), vectors, window)
    return vectors, silhouette.compare(*_shrink(grid, mask, window, _COARSE), vectors, window)


@functools.partial(jax.jit, static_argnames=("size", "steps"))
def _refine_by_silhouette(grid, mask, window, vectors, size: int, steps: int):
    told = jnp.where(window.extent >= _LARGE, 1.0, 0.0) if size == _FINE else 0.0
    free = jnp.ones(7).at[6].set(told)
    cells, small = _shrink(grid, mask, window, size)
    return one_by_one(lambda vector: silhouette.refine(cells, small, vector, free, steps, window), vectors)


def _shrink(grid, mask, window, side: int):
    """Opacities ``[1, side, side, side, 1]`` of a grid, and what a window shows of a mask, ``[side, side]``."""
    return silhouette.opaque(grid, side), crop(mask, window, side, 0.0)[..., 0]


@jax.jit
def _met(grid, mask, window, vectors):
    """Share of a mask that the object covers in a pose vector ``[1, 7]``."""
    cells, small = _shrink(grid, mask, window, _COARSE)
    covered = silhouette.silhouette(cells, unknowns.to_pose(vectors), _COARSE, window)[0]
    return jnp.sum(covered * small) / jnp.sum(small)


@jax.jit
def _turned(grid, mask, window, vector):
    """Pose vectors ``[K, 7]`` of the object turned about its upright axis, from a pose ``[7]``."""
    turned = jnp.tile(vector[None], (len(_TURNS), 1)).at[:, 0].add(jnp.asarray(_TURNS))
    return _refine_by_silhouette(grid, mask, window, turned, _FINE, _STEPS[1])[0]


@functools.partial(jax.jit, static_argnames="config")
def judge_all(params, config, grid, picture, mask, poses, held, window) -> tuple[Unknowns, jax.Array]:
    """:func:`photometric.judge` for each of many pose vectors ``[K, 7]``; ``held`` is what is given of the rest."""
    judge = functools.partial(photometric.judge, params, config, grid, picture, mask, window=window)
    return one_by_one(lambda pose: judge(pose, **held), poses)


@functools.partial(jax.jit, static_argnames=("config", "kept"))
def _compare(params, config, grid, picture, mask, found, kept, window):
    """Light and albedo are found anew but for those named: their search bears outliers better."""

    def judge(point):
        held = {name: getattr(point, name) if name in kept else None for name in ("light", "albedo")}
        return photometric.judge(params, config, grid, picture, mask, point.pose, **held, window=window)

    return one_by_one(judge, found)


@functools.partial(jax.jit, static_argnames="config")
def _refine(params, config, grid, picture, mask, found, free, steps, window):
    free = jax.tree.map(lambda f, x: jnp.broadcast_to(f, x.shape[1:]), free, found)
    refine = functools.partial(photometric.refine, params, config, grid, picture, mask)
    return one_by_one(lambda start: refine(start, free, steps, window), found)
