"""Residuals between a picture and the network's drawing of a known shape, and their derivatives by all unknowns."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from rendernet_jax import shading
from rendernet_jax.camera import direction
from rendernet_jax.config import Config
from rendernet_jax.conv import one_by_one
from rendernet_jax.inverse import least_squares, unknowns
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.rendering import render_buffers
from rendernet_jax.voxels import Window

MASK = 0.5  # what the mask counts for beside the picture
HUBER = 0.15  # residuals beyond it count by their size, not its square: shadows, texture, what no model knows
_LIGHTS = 400  # directions that are tried
# Rows and columns, at most, of the pictures in which they are tried and the best refined, and the best of those made
# exact; and brightness: what pixels of each differ by more than this says little of the light. Wide at first, since a
# narrow loss would follow any few pixels that agree.
_LOOKED_AT, _DOUBTS = (64, 128), (0.08, 0.02)
_LIGHT_STEPS = 8
AMBIENT = 0.1  # share of the light that is expected to come from everywhere
# What departures from that share, and from a white object, count for: a light that falls on surfaces of few directions
# can't be told from others, brighter or dimmer, that stand elsewhere.
_AMBIENT_PRIOR, _WHITE_PRIOR = 0.02, 0.01
# Pictures of plain models are of white objects: that is believed if it leaves an error no larger than this many times
# the least one, and some noise; the prior is strong then.
_AS_GOOD, _NOISE, _WHITE_HELD, _WHITE_WITHIN = 1.3, 0.02, 1.0, 0.05


def draw(buffers: dict, light: jax.Array, albedo: jax.Array) -> jax.Array:
    """Picture ``[N, S, S, C]`` of a G-buffer under lights ``[N, 3]`` with albedos ``[N, C]``, on white.

    Where it holds a ``tint`` ``[N, S, S, C]``, that is multiplied by the albedo.
    """
    mask = buffers["mask"]
    grey = shading.phong(buffers["normal"], jnp.ones_like(mask), unknowns.to_light(light))
    return mask * albedo[:, None, None, :] * buffers.get("tint", 1.0) * grey + (1.0 - mask)


def draw_point(
    params: dict, config: Config, grid, point: Unknowns, size: int, window: Window | None = None
) -> tuple[jax.Array, jax.Array]:
    """Picture ``[S, S, C]`` and mask ``[S, S, 1]`` of one point, of a window or of the frame."""
    buffers = _look(params, config, grid, point.pose, size, window)
    return draw(buffers, point.light[None], point.albedo[None])[0], buffers["mask"][0]


def refine(
    params: dict,
    config: Config,
    grid,
    picture,
    mask,
    start: Unknowns,
    free: Unknowns,
    steps: jax.Array | int,
    window: Window | None = None,
):
    """Move the unknowns of one picture ``[S, S, C]`` with a mask ``[S, S, 1]``: (unknowns, half mean square).

    Picture and mask show a window of the frame, all of it if None; the pose is that in the frame.
    """
    flat, unflatten = jax.flatten_util.ravel_pytree(start)
    size, poses = picture.shape[0], start.pose.size

    def linearise(vector):
        point = unflatten(vector)
        look = lambda pose: _look(params, config, grid, pose, size, window)  # noqa: E731
        buffers, push = jax.linearize(look, point.pose)
        moved = jax.vmap(push)(jnp.eye(poses))

        def residuals(buffers, light, albedo):
            return differences(draw(buffers, light[None], albedo[None])[0], buffers["mask"][0], picture, mask)

        value, push = jax.linearize(residuals, buffers, point.light, point.albedo)
        zeros = jax.tree.map(jnp.zeros_like, (point.light, point.albedo))
        by_pose = jax.vmap(lambda moved: push(moved, *zeros))(moved)
        still = jax.tree.map(jnp.zeros_like, buffers)
        by_light = jax.vmap(lambda step: push(still, step, zeros[1]))(jnp.eye(point.light.size))
        by_albedo = jax.vmap(lambda step: push(still, zeros[0], step))(jnp.eye(point.albedo.size))
        value, slope = _robust(value)
        derivatives = jnp.concatenate([by_pose, by_light, by_albedo]) * slope[None]
        pulls, push = jax.linearize(lambda vector: _priors(unflatten(vector), mask), vector)
        pulled = jax.vmap(push)(jnp.eye(len(vector)))
        return jnp.concatenate([value, pulls]), jnp.concatenate([derivatives, pulled], axis=1)

    project = lambda vector: jax.flatten_util.ravel_pytree(unknowns.clip(unflatten(vector)))[0]  # noqa: E731
    held = jax.flatten_util.ravel_pytree(free)[0]
    best, cost = least_squares.minimise(linearise, flat, steps, project, held)
    return unflatten(best), cost


def cost(params: dict, config: Config, grid, picture, mask, point: Unknowns, window: Window | None = None) -> jax.Array:
    """What :func:`refine` minimises, as one number to descend: half the mean square, less for large residuals."""
    drawn = draw_point(params, config, grid, point, picture.shape[0], window)
    residuals = differences(*drawn, picture, mask)
    pulls = _priors(point, mask)
    return (jnp.sum(optax.losses.huber_loss(residuals, delta=HUBER)) + 0.5 * jnp.sum(pulls**2)) / residuals.size


def compare(drawn, covered, picture, mask) -> jax.Array:
    """Half the mean square, less for large residuals, between a drawing and its mask and a picture and its own."""
    return mean_loss(differences(drawn, covered, picture, mask))


def mean_loss(residuals) -> jax.Array:
    """Half the mean square of what :func:`differences` returns, less for large ones (Huber 1964)."""
    return jnp.mean(optax.losses.huber_loss(residuals, delta=HUBER))


def judge(
    params: dict, config: Config, grid, picture, mask, pose: jax.Array, light=None, albedo=None, window=None
) -> tuple[Unknowns, jax.Array]:
    """Light and albedo that suit a pose vector ``[7]`` best, unless given, and the loss then; see :func:`refine`."""
    buffers = _look(params, config, grid, pose, picture.shape[0], window)
    found_light, found_albedo = fit_light(buffers["normal"][0], buffers["mask"][0] * mask, picture, light)
    point = Unknowns(pose, found_light if light is None else light, found_albedo if albedo is None else albedo)
    point = unknowns.clip(point)
    residuals = differences(draw(buffers, point.light[None], point.albedo[None])[0], buffers["mask"][0], picture, mask)
    return point, 0.5 * jnp.mean(residuals**2)


def fit_light(normal, weight, picture, light=None, starts: int = 1) -> tuple[jax.Array, jax.Array]:
    """Light vector ``[3]`` and albedo ``[C]`` that draw normals ``[S, S, 3]`` most like a picture ``[S, S, C]``.

    Directions over the sphere are tried one by one, the best ``starts`` of them refined, and the best of those made
    exact: where few faces are lit, many suit the largest, and from some of those no way leads down to what suits all.
    If a white object with the usual ambient light explains the picture about as well as any, that is what it is. A
    network's normals are far off where parts are thin: pixels count by Cauchy's loss. A light that is given is kept,
    and the albedo found for it.
    """
    white, trust = jnp.asarray(False), weight
    if light is None:
        spaces = [-(-picture.shape[0] // size) for size in _LOOKED_AT]
        few, some = ([x[::space, ::space] for x in (normal, weight[..., 0], picture)] for space in spaces)
        begun, white = _search_light(*few, starts)
        settled, costs = one_by_one(lambda one: _settle_light(*few, one, white, _DOUBTS[0]), begun)
        found, _ = _settle_light(*some, settled[jnp.argmin(costs)], white, _DOUBTS[1])
        light = found[:3]
        residuals = found[3] * _shade(normal, light) - jnp.mean(picture, axis=-1)
        trust = weight / (1.0 + (residuals / _DOUBTS[-1]) ** 2)[..., None]
    grey = _shade(normal, light)[..., None]
    albedo = jnp.sum(trust * grey * picture, axis=(0, 1)) / jnp.maximum(jnp.sum(trust * grey**2, axis=(0, 1)), 1e-6)
    return light, jnp.where(white, 1.0, albedo)


def _shade(normal, light) -> jax.Array:
    """Brightness ``[S, S]`` of white under a light vector."""
    return shading.phong(normal[None], jnp.ones_like(normal[None, ..., :1]), unknowns.to_light(light[None]))[0, ..., 0]


def _search_light(normal, covered, picture, starts: int) -> tuple[jax.Array, jax.Array]:
    """The best light vectors, with lightness, ``[starts, 4]``, and whether the object passes for white.

    Pixels count by ``covered [S, S]``. For each direction brightness is linear in ambient light and intensity.
    """
    azimuth, elevation = unknowns.sphere(_LIGHTS)
    lit = jnp.maximum(jnp.einsum("ijc,lc->lij", normal, direction(azimuth, elevation)), 0.0)
    brightness = jnp.mean(picture, axis=-1)
    every = jnp.maximum(jnp.sum(covered), 1e-3)  # the object may miss the mask
    sums = lambda *factors: jnp.einsum(",".join(["lij"] * len(factors)) + ",ij->l", *factors, covered)  # noqa: E731
    one, two = sums(lit), sums(lit, lit)
    bright, bright_lit = jnp.sum(covered * brightness), sums(lit * brightness[None])

    def error(ambient, intensity):  # without the picture's own square
        product = 2.0 * (ambient * bright + intensity * bright_lit)
        return every * ambient**2 + 2.0 * one * ambient * intensity + two * intensity**2 - product

    # Normal equations of ambient a and intensity b, with the priors a (1 - AMBIENT) = b AMBIENT and a + b = 1.
    share, pull = _AMBIENT_PRIOR * every, _WHITE_PRIOR * every
    aa = every + share * (1.0 - AMBIENT) ** 2 + pull
    ab = one - share * AMBIENT * (1.0 - AMBIENT) + pull
    bb = two + share * AMBIENT**2 + pull
    ya, yb = bright + pull, bright_lit + pull
    determinant = jnp.maximum(aa * bb - ab**2, 1e-6 * every**2)
    ambient = jnp.maximum((bb * ya - ab * yb) / determinant, 0.0)
    intensity = jnp.maximum((yb - ab * ambient) / jnp.maximum(bb, 1e-6), 0.0)
    gain = aa * ambient**2 + 2 * ab * ambient * intensity + bb * intensity**2 - 2 * (ya * ambient + yb * intensity)
    plain = error(AMBIENT, 1.0 - AMBIENT)
    least = error(ambient, intensity)[jnp.argmin(gain)] + jnp.sum(covered * brightness**2)
    as_white = jnp.min(plain) + jnp.sum(covered[..., None] * picture**2) / picture.shape[-1]
    white = as_white <= _AS_GOOD * least + _NOISE**2 * every
    doubted = jnp.log1p(((AMBIENT + (1.0 - AMBIENT) * lit - brightness[None]) / _DOUBTS[0]) ** 2)
    _, best = jax.lax.top_k(-jnp.where(white, sums(doubted), gain), starts)
    scale = jnp.maximum(ambient + intensity, 1e-6)[best]
    share, lightness = jnp.where(white, AMBIENT, ambient[best] / scale), jnp.where(white, 1.0, scale)
    told = jnp.broadcast_arrays(azimuth[best], elevation[best], share, lightness)
    return jnp.stack(told, axis=-1), white


def _settle_light(normal, covered, picture, start, white, doubt: float) -> tuple[jax.Array, jax.Array]:
    """Light vector and lightness ``[4]``, refined, of a white object's the direction alone; and what it costs."""
    brightness = jnp.mean(picture, axis=-1)

    area = jnp.sum(covered)

    def linearise(vector):
        shade = lambda vector: (vector[3] * _shade(normal, vector[:3]) - brightness).reshape(-1)  # noqa: E731
        off, push = jax.linearize(shade, vector)
        # Large residuals count for less than in refinement, and so must the priors.
        prior = lambda vector: doubt / HUBER * _pulls(vector[2], vector[3], area, white)  # noqa: E731
        pulls, pull = jax.linearize(prior, vector)
        value, slope = _cauchy(off, doubt)
        weight, steps = jnp.sqrt(covered).reshape(-1), jnp.eye(len(vector))
        derivatives = jax.vmap(push)(steps) * (weight * slope)[None]
        return jnp.concatenate([weight * value, pulls]), jnp.concatenate([derivatives, jax.vmap(pull)(steps)], axis=1)

    free = jnp.ones(4).at[2:].set(jnp.where(white, 0.0, 1.0))
    project = lambda vector: vector.at[2].set(jnp.clip(vector[2], 0.0, 1.0))  # noqa: E731
    return least_squares.minimise(linearise, start, _LIGHT_STEPS, project, free)


def _robust(residuals):
    """What half the squares of which are Huber's loss of residuals, and its derivative by them."""
    size = jnp.abs(residuals)
    far = jnp.sqrt(HUBER * jnp.maximum(2.0 * size - HUBER, HUBER))
    return jnp.where(size > HUBER, jnp.sign(residuals) * far, residuals), jnp.where(size > HUBER, HUBER / far, 1.0)


def _cauchy(residuals, scale: float):
    """What the squares of which are Cauchy's loss of residuals, ``scale^2 log(1 + (r / scale)^2)``, and its derivative.

    The derivative is written out: where a residual is about 0, that of the compiler is a difference of large numbers.
    """
    square = (residuals / scale) ** 2 + 1e-6
    root = jnp.sqrt(jnp.log1p(square) / square)
    return residuals * root, 1.0 / ((1.0 + square) * root)


def _priors(point: Unknowns, mask) -> jax.Array:
    """What light and albedo should be, where nothing tells, as residuals beside those of the pixels.

    What passes for white under the usual ambient light is held to that.
    """
    off = jnp.maximum(jnp.abs(point.light[2] - AMBIENT), jnp.max(jnp.abs(point.albedo - 1.0)))
    white = jax.lax.stop_gradient(off) < _WHITE_WITHIN
    return _pulls(point.light[2], jnp.mean(point.albedo), jnp.sum(mask), white)


def _pulls(share, lightness, area, white) -> jax.Array:
    """Residuals ``[2]`` of an ambient share and a lightness beside those of as many pixels as the object covers."""
    weights = jnp.where(white, _WHITE_HELD, jnp.asarray([_AMBIENT_PRIOR, _WHITE_PRIOR]))
    return jnp.sqrt(area * weights) * jnp.stack([share - AMBIENT, lightness - 1.0])


def _look(params, config, grid, pose, size, window=None):
    buffers = render_buffers(params, config, grid, unknowns.to_pose(pose[None]), size, window=window)
    return {name: buffers[name] for name in ("normal", "mask")}


def differences(drawn, covered, picture, mask):
    """All residuals of one picture in a row; each part has the mean square that it is to count for."""
    return jnp.concatenate([(drawn - picture), MASK * (covered - mask)], axis=-1).reshape(-1)
