"""Shape, pose, light and albedo of an upright object in a picture, its shape a latent of the prior.

The latent has hundreds of numbers, so what follows the search is gradient descent on all unknowns together, not
Gauss-Newton.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import shape_prior
from rendernet_jax.config import Config
from rendernet_jax.conv import one_by_one
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import candidates, photometric, silhouette, unknowns
from rendernet_jax.inverse.candidates import Fit, crop_both, pick, ranked, resize, surround, take
from rendernet_jax.inverse.descent import CHUNK, descend, steps_of_all
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.shape_prior import PriorConfig

_ELEVATION = (-0.2, 0.15, 0.5, 0.9)  # radians, from which objects that stand upright are looked at
ELEVATIONS = len(_ELEVATION)
_RATES = Unknowns(pose=0.01, light=0.04, albedo=0.02, latent=0.06)  # of first steps; the latent along principal axes
_ROLL = 0.1  # radians, deviation of the roll of photos
# Deviations of poses, in the order of unknowns.POSE, from upright ones and the usual distance. A shape that is not
# right yet is easily made so by a pose that is wrong: it is held by more than the picture.
_UPRIGHT = (math.inf, math.inf, 0.5, math.inf, math.inf, math.inf, 0.8)
_MARGIN = 1.25  # of the window about the object that is looked at, its width
_SHARPNESS = 3.0  # of the edge between set and empty cells, against what the prior decodes
_CUT = 0.3  # probability from which a cell is set: the overlap that can be expected is largest well below one half
_FAINT = 0.02  # occupancy of a cell that counts as empty
_FIRST_LIGHT = (0.6, 0.7, photometric.AMBIENT)  # until the shape is good enough to tell


@dataclasses.dataclass(frozen=True)
class ShapeSettings:
    """How much is searched and refined."""

    shapes: int = 48  # of the prior's gallery, spread over it
    azimuths: int = 16  # from which each shape of the prior's gallery is compared, at four elevations each
    sizes: tuple[int, int] = (32, 64)  # of the silhouettes by which its views are searched, then refined
    kept: int = 12  # different ones of those, which are refined by silhouettes
    # Of three descents of all unknowns: of several candidates, of the best of them, and once more, held by little.
    pictures: tuple[int, ...] = (128, 128, 128)  # sizes
    steps: tuple[int, ...] = (8, 60, 120, 60)  # by silhouettes, the pose alone; then of the descents, in tens
    candidates: tuple[int, ...] = (4, 2, 2)
    # Weights beside half the mean squared pixel of the frame: of how unusual the latent is,
    typical: tuple[float, ...] = (1e-4, 3e-5, 1e-5)
    posed: tuple[float, ...] = (1e-3, 3e-4, 2e-4)  # and how far the pose is from upright


def fit_shape(params: dict, config: Config, prior, picture, mask, settings=ShapeSettings(), **more) -> Fit:
    """Find shape, pose, light and albedo in a picture: the end of :func:`fit_shape_steps`, which see."""
    for found in fit_shape_steps(params, config, prior, picture, mask, settings, **more):  # noqa: B007
        pass
    return found


def fit_shape_steps(
    params: dict,
    config: Config,
    prior: tuple[dict, PriorConfig],
    picture: jax.Array,
    mask: jax.Array,
    settings: ShapeSettings = ShapeSettings(),
    *,
    start: dict | None = None,
    fixed: tuple[str, ...] = (),
) -> Iterator[Fit]:
    """Find shape, pose, light and albedo of an upright object, and tell what is found on the way.

    Shapes of the prior's gallery, or the one that is given, are compared by silhouette from all around, and the poses
    of the best refined so. Shapes are judged and refined, together with all else, through the network alone: it draws a
    grid as large as the object is, while the silhouette of the cells themselves is up to half a cell wider, which would
    make all parts thin. What is compared is a window about the object.

    Args:
        params, config: a network with the heads normal and mask.
        prior: what :func:`rendernet_jax.weights.load_prior` returns.
        picture: ``[S, S, C]`` in [0, 1]; what lies outside the mask does not matter.
        mask: ``[S, S, 1]`` in [0, 1], the part of each pixel that the object covers.
        settings: how much is searched and refined.
        start: ``pose``, ``light``, ``albedo`` or ``shape`` to begin with (:class:`Pose`, :class:`Light`, ``[C]``, a
            latent ``[L]``); poses are searched unless it holds one, shapes unless it holds one.
        fixed: names out of these four that stay as ``start`` gives them.

    Yields:
        the candidates after each stage, the best first; :func:`grids` turns them into voxels.

    Raises:
        InputError: shapes that do not fit, an empty mask, a network without normals and mask, a prior that does not fit
            settings, or a fixed unknown that is not given.
    """
    start = start or {}
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_start(start, fixed)
    candidates.check_network(config)
    _check_prior(prior[1], settings)
    free = Unknowns(*(jnp.float32(name not in fixed) for name in ("pose", "light", "albedo", "shape")))
    found = _search(prior, mask, settings, start, picture.shape[-1])
    yield found
    fine = resize(mask, settings.sizes[1])[..., 0]
    poses, losses = _refine_poses(*prior, fine, found.candidates, free.pose, settings.steps[0])
    found = ranked(found.candidates.replace(pose=poses), losses, f"silhouette {settings.sizes[1]}")
    yield found
    window = surround(mask, _MARGIN)
    area = (0.5 * window.extent) ** 2  # of the frame
    drawn = crop_both(picture, mask, window, settings.pictures[0])
    judged, losses = _judge(params, config, *prior, *drawn, found.candidates, candidates.given(start), window)
    found = ranked(judged, area * losses, "judge")
    yield found
    axes = shape_prior.principal_axes(prior[0])
    weights = zip(settings.typical, settings.posed, strict=True)
    stages = zip(settings.pictures, settings.steps[1:], settings.candidates, weights, strict=True)
    for size, steps, count, pulls in stages:
        drawn = crop_both(picture, mask, window, size)
        some_steps = functools.partial(_by_picture, params, config, *prior, axes, *drawn, window, area, pulls)
        first = take(found.candidates, pick(found.candidates.pose, found.losses, count))
        for told in descend(some_steps, _along_axes(axes, first), free, steps, f"picture {size}"):
            found = _from_axes(axes, told, start["shape"] if "shape" in fixed else None)
            yield found


def _along_axes(principal: tuple, points: Unknowns) -> Unknowns:
    """Points ``[K, ...]`` whose latents are told along the prior's principal axes."""
    mean, axes = principal
    return points.replace(latent=jnp.linalg.solve(axes, (points.latent - mean[None]).T).T)


def _from_axes(principal: tuple, found: Fit, held: jax.Array | None) -> Fit:
    """The way back; a latent that was held comes out as it was."""
    mean, axes = principal
    points = found.candidates
    latent = mean[None] + points.latent @ axes.T if held is None else jnp.broadcast_to(held, points.latent.shape)
    return found.replace(candidates=points.replace(latent=latent))


def grids(prior: tuple[dict, PriorConfig], latent: jax.Array) -> jax.Array:
    """Voxels ``[K, G, G, G, 1]`` in [0, 1] of latents ``[K, L]``."""
    return _decode(prior[0], prior[1], latent)


def count_shape_reports(settings: ShapeSettings) -> int:
    """How often :func:`fit_shape_steps` tells what it found."""
    return 3 + sum(-(-steps // CHUNK) for steps in settings.steps[1:])


def _check_prior(config: PriorConfig, settings: ShapeSettings) -> None:
    if wrong := [size for size in settings.sizes if config.grid % size]:
        raise InputError(
            f"prior: expected a grid that silhouettes of {wrong[0]} cells divide, got {config.grid}; use another prior"
        )


def _search(prior, mask, settings: ShapeSettings, start: dict, channels: int) -> Fit:
    """The best of the gallery's shapes, or the one that is given, seen from different sides."""
    gallery = prior[0]["gallery"]
    latents = gallery[:: max(1, len(gallery) // settings.shapes)][: settings.shapes]
    if "shape" in start:
        latents = jnp.asarray(start["shape"], jnp.float32)[None]
    given = "pose" in start
    poses = unknowns.from_pose(start["pose"])[None] if given else upright(settings.azimuths, _ELEVATION)
    small = resize(mask, settings.sizes[0])[..., 0]
    vectors, losses = jax.tree.map(jnp.concatenate, _compare(*prior, small, latents, poses, not given))
    chosen = jnp.argsort(losses)[: settings.kept] if given else pick(vectors, losses, settings.kept)
    vectors, losses, shapes = vectors[chosen], losses[chosen], latents[chosen // len(poses)]
    return ranked(_unlit(vectors, shapes, start, channels), losses, "search")


def _unlit(poses, latents, start: dict, channels: int) -> Unknowns:
    """Candidates whose light and albedo are not known yet, unless they are given."""
    held = candidates.given(start)
    light = jnp.asarray(_FIRST_LIGHT) if held["light"] is None else held["light"]
    albedo = jnp.ones(channels) if held["albedo"] is None else held["albedo"]
    alike = lambda x: jnp.broadcast_to(x, (len(poses), *x.shape))  # noqa: E731
    return Unknowns(poses, alike(light), alike(albedo), latents)


def upright(azimuths: int, elevations: tuple[float, ...]) -> jax.Array:
    """Pose vectors ``[N, 7]`` all around an object that stands, from each of some elevations in radians."""
    turns = jnp.arange(azimuths, dtype=jnp.float32) * (2.0 * jnp.pi / azimuths)
    azimuth, elevation = jnp.meshgrid(turns, jnp.asarray(elevations))
    vectors = jnp.zeros((azimuth.size, 7)).at[:, 0].set(azimuth.reshape(-1)).at[:, 1].set(elevation.reshape(-1))
    return vectors.at[:, 6].set(unknowns.FIRST_DISTANCE)


# --- compiled once for each size --------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=1)
def _decode(params, config, latents):
    return one_by_one(lambda latent: voxels(params, config, latent)[0], latents)


def voxels(prior: dict, prior_config: PriorConfig, latent: jax.Array) -> jax.Array:
    """Grid ``[1, G, G, G, 1]`` of a latent as the network likes it: exactly 0 where there is hardly anything."""
    return jnp.maximum(_sharp(prior, prior_config, latent) - _FAINT, 0.0) / (1.0 - _FAINT)


def _sharp(prior, prior_config, latent):
    """Grid ``[1, G, G, G, 1]`` without the fog of cells that the prior is not sure of: many make a silhouette, too.

    Derivatives are those of the softer grid, which reach further around its edges. Coverage is between 0 and 1 where
    the prior is sure of it: it stays as it is.
    """
    if prior_config.occupancy == "coverage":
        return shape_prior.decode(prior, prior_config, latent[None])
    logits = shape_prior.decode_logits(prior, prior_config, latent[None]) - np.log(_CUT / (1.0 - _CUT))
    soft = jax.nn.sigmoid(logits)
    return soft + jax.lax.stop_gradient(jax.nn.sigmoid(_SHARPNESS * logits) - soft)


def _opacity(prior, prior_config, latent, side: int):
    """Cells ``[1, side, side, side, 1]`` of a latent, each the most opaque of several, so that no rod fades."""
    grid = _sharp(prior, prior_config, latent)
    factor = prior_config.grid // side
    return jnp.max(grid.reshape(1, side, factor, side, factor, side, factor), axis=(2, 4, 6))[..., None]


@functools.partial(jax.jit, static_argnums=(1, 5))
def _compare(prior, prior_config, mask, latents, poses, moving):
    def one(latent):
        cells = _opacity(prior, prior_config, latent, len(mask))
        if moving:
            return silhouette.search(cells, mask, poses)
        return poses, silhouette.compare(cells, mask, poses)

    return one_by_one(one, latents)


@functools.partial(jax.jit, static_argnums=(1, 5))
def _refine_poses(prior, prior_config, mask, found, free, steps):
    """Pose vectors ``[K, 7]`` whose silhouettes are most like a mask ``[S, S]``, and half the mean squares ``[K]``."""
    free = free * jnp.ones(7).at[6].set(0.0)  # perspective is hardly seen in a silhouette

    def one(point):
        return silhouette.refine(_opacity(prior, prior_config, point.latent, len(mask)), mask, point.pose, free, steps)

    return one_by_one(one, found)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _judge(params, config, prior, prior_config, picture, mask, found, held, window):
    def one(point):
        grid = voxels(prior, prior_config, point.latent)
        judged, loss = photometric.judge(params, config, grid, picture, mask, point.pose, **held, window=window)
        return judged.replace(latent=point.latent), loss

    return one_by_one(one, found)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _by_picture(
    params, config, prior, prior_config, principal, picture, mask, window, area, pulls, state, free, done, share
):
    """Descent with latents told along the prior's principal axes, in which shapes that it knows are unit normal."""
    mean, axes = principal
    typical, posed = pulls
    usual = jnp.zeros(7).at[6].set(unknowns.FIRST_DISTANCE)

    def loss(point, _):
        grid = voxels(prior, prior_config, mean + axes @ point.latent)
        unusual = jnp.mean(point.latent**2)  # far from any shape the prior decodes fog
        off = (point.pose - usual) / jnp.asarray(_UPRIGHT)
        error = area * photometric.cost(params, config, grid, picture, mask, point, window)
        return error + typical * unusual + posed * jnp.sum(off**2)

    return steps_of_all(loss, _RATES, state, free, done, share)
