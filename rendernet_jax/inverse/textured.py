"""Shape, texture, pose and light of an upright object of one kind, such as a head, in a picture.

Shape is a latent of a prior of that kind, texture a vector that the network's decoder paints the shape with. Such
objects have silhouettes much alike, so views are compared by what the mean object would look like from there, colours
and all; then everything descends together (section 4.4 of Nguyen-Phuoc et al. 2018, with a Gaussian penalty on both
vectors as there).
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rendernet_jax import shape_prior
from rendernet_jax.camera import direction
from rendernet_jax.config import Config
from rendernet_jax.conv import one_by_one
from rendernet_jax.errors import InputError
from rendernet_jax.inverse import candidates, photometric, silhouette, unknowns
from rendernet_jax.inverse.candidates import Fit, pick, ranked, resize, take
from rendernet_jax.inverse.descent import CHUNK, descend, steps_of_all
from rendernet_jax.inverse.shape import grids, upright, voxels
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.network import decode_texture
from rendernet_jax.rendering import render_buffers
from rendernet_jax.shape_prior import PriorConfig

NAMES = ("pose", "light", "albedo", "shape", "texture")
_ELEVATION = (-0.3, 0.05, 0.4)  # radians, from which the mean object is compared
ELEVATIONS = len(_ELEVATION)
_COARSE = 32  # side of silhouettes
_LIGHTS = 200  # directions that are tried
_SHARE_PRIOR = 0.02  # of the usual share of ambient light, beside the mean squared pixel
_RATES = Unknowns(
    pose=0.015, light=0.05, albedo=0.02, latent=0.06, texture=0.08
)  # of first steps; vectors' in deviations
_ROLL = 0.2  # radians, deviation of the roll of photos
_POSE_SHARE = 0.1  # of roll and perspective beside the vectors


@dataclasses.dataclass(frozen=True)
class TextureSettings:
    """How much is searched and refined."""

    azimuths: int = 24  # from which the mean object is compared, at three elevations each
    sizes: tuple[int, ...] = (64, 128, 256)  # of the pictures, the first also of the search
    steps: tuple[int, ...] = (60, 60, 40)  # at each of them, in tens
    candidates: tuple[int, ...] = (6, 3, 1)  # how many are refined so
    typical: float = 1e-4  # weight of mean squared deviations of the vectors, beside that of mean squared pixels


def fit_textured(params: dict, config: Config, prior, picture, mask, settings=TextureSettings(), **more) -> Fit:
    """Find shape, texture, pose and light in a picture: the end of :func:`fit_textured_steps`, which see."""
    for found in fit_textured_steps(params, config, prior, picture, mask, settings, **more):  # noqa: B007
        pass
    return found


def fit_textured_steps(
    params: dict,
    config: Config,
    prior: tuple[dict, PriorConfig],
    picture: jax.Array,
    mask: jax.Array,
    settings: TextureSettings = TextureSettings(),
    *,
    start: dict | None = None,
    fixed: tuple[str, ...] = ("albedo",),
) -> Iterator[Fit]:
    """Find shape, texture, pose and light of an upright object of the prior's kind, and tell what is found on the way.

    Args:
        params, config: a network of coloured objects, its texture vectors of that kind, with heads normal and mask.
        prior: what :func:`rendernet_jax.weights.load_prior` returns, of shapes of that kind.
        picture: ``[S, S, 3]`` in [0, 1]; what lies outside the mask does not matter.
        mask: ``[S, S, 1]`` in [0, 1], the part of each pixel that the object covers.
        settings: how much is searched and refined.
        start: any of :data:`NAMES` to begin with (:class:`Pose`, :class:`Light`, ``[3]``, latent ``[L]``, vector
            ``[V]``); poses are searched unless it holds one.
        fixed: names out of these that stay as ``start`` gives them; an albedo, which multiplies the texture, is 1
            unless it is given or left free.

    Yields:
        the candidates after each stage, the best first; :func:`coloured_grids` turns them into voxels.

    Raises:
        InputError: shapes that do not fit, an empty mask, a network without colours or without normals and mask, a
            prior of other grids, or a fixed unknown that is not given.
    """
    start = {"albedo": jnp.ones(3), **(start or {})}
    picture, mask = candidates.prepare(picture, mask)
    candidates.check_start(start, fixed)
    candidates.check_network(config)
    check(config, prior[1], picture)
    found = _search(params, config, prior, picture, mask, settings, start)
    yield found
    free = Unknowns(*(jnp.float32(name not in fixed) for name in NAMES))
    for size, steps, count in zip(settings.sizes, settings.steps, settings.candidates, strict=True):
        drawn = resize(picture, size), resize(mask, size)
        some = functools.partial(_some_steps, params, config, *prior, *drawn, settings.typical)
        first = take(found.candidates, slice(count))
        if "light" not in fixed:
            first = _relight(params, config, *prior, *drawn, first)
        found = yield from descend(some, first, free, steps, f"picture {size}")


def coloured_grids(params: dict, config: Config, prior: tuple[dict, PriorConfig], found: Unknowns) -> jax.Array:
    """Occupancy and colours ``[K, G, G, G, 4]`` of candidates ``[K, ...]``."""
    colours = _colours(params, config, found.texture)
    return jnp.concatenate([grids(prior, found.latent), colours], axis=-1)


def count_texture_reports(settings: TextureSettings) -> int:
    """How often :func:`fit_textured_steps` tells what it found."""
    return 1 + sum(-(-steps // CHUNK) for steps in settings.steps)


def check(config: Config, prior: PriorConfig, picture) -> None:
    """Raise InputError unless network, prior and picture are of coloured objects and go together."""
    if config.paint is None:
        raise InputError(f"network {config.name!r}: expected one of coloured objects, got another; use other weights")
    if config.paint.texture.grid != prior.grid:
        raise InputError(f"prior: expected grids of {config.paint.texture.grid} cells, got {prior.grid}; use another")
    if picture.shape[-1] != 3:
        raise InputError(f"picture: expected [S, S, 3], got {picture.shape}; colours are what is looked for")


def _search(params, config, prior, picture, mask, settings: TextureSettings, start: dict) -> Fit:
    """The mean object, or what the start says of it, from different sides."""
    mean, _ = shape_prior.usual(prior[0])
    latent = jnp.asarray(start.get("shape", mean), jnp.float32)
    texture = jnp.asarray(start.get("texture", jnp.zeros(config.paint.texture.vector)), jnp.float32)
    poses = unknowns.from_pose(start["pose"])[None] if "pose" in start else upright(settings.azimuths, _ELEVATION)
    size = settings.sizes[0]
    small = resize(picture, size), resize(mask, size)
    held = candidates.given(start)
    poses = _place(*prior, resize(mask, _COARSE)[..., 0], latent, poses) if "pose" not in start else poses
    lights, losses = _judge(params, config, *prior, *small, latent, texture, held["albedo"], poses, held["light"])
    chosen = pick(poses, losses, settings.candidates[0])
    alike = lambda x: jnp.broadcast_to(x, (len(chosen), *x.shape))  # noqa: E731
    found = Unknowns(poses[chosen], lights[chosen], *map(alike, (held["albedo"], latent, texture)))
    return ranked(found, losses[chosen], "search")


def fit_light(normal, albedo, weight, picture) -> jax.Array:
    """Light vector ``[3]`` under which normals and albedo ``[S, S, 3]`` look most like a picture ``[S, S, 3]``.

    Directions over the sphere are tried one by one. With ambient light and intensity adding up to 1, a picture is
    linear in the ambient share, whose least squares have a closed form; it is drawn to :data:`photometric.AMBIENT`.
    """
    azimuth, elevation = unknowns.sphere(_LIGHTS)
    lit = jnp.maximum(jnp.einsum("ijc,lc->lij", normal, direction(azimuth, elevation)), 0.0)
    weight = weight[..., 0]
    energy, match = jnp.sum(albedo**2, axis=-1) * weight, jnp.sum(albedo * picture, axis=-1) * weight
    dark = 1.0 - lit
    # picture = albedo (lit + share dark): the error's slope by the share is 0.
    pull = _SHARE_PRIOR * jnp.maximum(jnp.sum(energy), 1e-6)
    above = jnp.sum(match[None] * dark - energy[None] * lit * dark, axis=(1, 2)) + pull * photometric.AMBIENT
    share = jnp.clip(above / (jnp.sum(energy[None] * dark**2, axis=(1, 2)) + pull), 0.0, 1.0)
    shade = lit + share[:, None, None] * dark
    error = jnp.sum(energy[None] * shade**2 - 2.0 * match[None] * shade, axis=(1, 2))
    best = jnp.argmin(error + pull * (share - photometric.AMBIENT) ** 2)
    return jnp.stack([azimuth[best], elevation[best], share[best]])


# --- compiled once for each size --------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=1)
def _colours(params, config, vectors):
    return one_by_one(lambda vector: decode_texture(params, config, vector[None])[0], vectors)


@functools.partial(jax.jit, static_argnums=1)
def _place(prior, prior_config, mask, latent, poses):
    """Poses whose silhouettes have a mask's place and size."""
    grid = voxels(prior, prior_config, latent)
    return silhouette.place(silhouette.opaque(grid, _COARSE), mask, poses)


def _look(params, config, grid, pose, size):
    buffers = render_buffers(params, config, grid, unknowns.to_pose(pose[None]), size)
    return {"normal": buffers["normal"], "mask": buffers["mask"], "tint": buffers["albedo"]}


def _compare(buffers, light, albedo, picture, mask):
    drawn = photometric.draw(buffers, light[None], albedo[None])[0]
    return photometric.compare(drawn, buffers["mask"][0], picture, mask)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _judge(params, config, prior, prior_config, picture, mask, latent, texture, albedo, poses, light):
    colours = decode_texture(params, config, texture[None])
    grid = jnp.concatenate([voxels(prior, prior_config, latent), colours], axis=-1)

    def one(pose):
        buffers = _look(params, config, grid, pose, len(picture))
        found = light
        if light is None:
            normal, tint, covered = (buffers[name][0] for name in ("normal", "tint", "mask"))
            found = fit_light(normal, tint * albedo[None, None], covered * mask, picture)
        return found, _compare(buffers, found, albedo, picture, mask)

    return one_by_one(one, poses)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _relight(params, config, prior, prior_config, picture, mask, found):
    """Candidates under the light that suits them best: another than descent finds, where textures tell of shades."""

    def one(point):
        buffers = _look(params, config, _paint(params, config, prior, prior_config, point), point.pose, len(picture))
        normal, tint, covered = (buffers[name][0] for name in ("normal", "tint", "mask"))
        light = fit_light(normal, tint * point.albedo[None, None], covered * mask, picture)
        losses = [_compare(buffers, x, point.albedo, picture, mask) for x in (light, point.light)]
        return point.replace(light=jnp.where(losses[0] < losses[1], light, point.light))

    return one_by_one(one, found)


def _paint(params, config, prior, prior_config, point):
    """Grid ``[1, G, G, G, 4]`` of one candidate."""
    colours = decode_texture(params, config, point.texture[None])
    return jnp.concatenate([voxels(prior, prior_config, point.latent), colours], axis=-1)


def cost(params, config, prior, prior_config, picture, mask, point: Unknowns) -> jax.Array:
    """:func:`photometric.compare` of what one point looks like and a picture."""
    grid = _paint(params, config, prior, prior_config, point)
    buffers = _look(params, config, grid, point.pose, len(picture))
    return _compare(buffers, point.light, point.albedo, picture, mask)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _some_steps(params, config, prior, prior_config, picture, mask, typical, state, free, done, share):
    mean, spread = shape_prior.usual(prior)

    def loss(point, first):
        error = cost(params, config, prior, prior_config, picture, mask, point)
        pulls = jnp.mean(((point.latent - mean) / spread) ** 2) + jnp.mean(point.texture**2)
        roll, distance = point.pose[2] / _ROLL, (point.pose[6] - unknowns.FIRST_DISTANCE) / unknowns.FIRST_DISTANCE
        return error + typical * (pulls + _POSE_SHARE * (roll**2 + distance**2))

    return steps_of_all(loss, _RATES.replace(latent=_RATES.latent * spread), state, free, done, share)
