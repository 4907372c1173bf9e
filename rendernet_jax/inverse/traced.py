"""Candidates for a mesh, lit, made exact and compared by what is ray traced of it, which no network draws so well."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from rendernet_jax.inverse import photometric, unknowns
from rendernet_jax.inverse.candidates import crop_pixels, different, surround
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.voxels import Window

# Pixels of a mesh across whose edges normals differ so much that their mean is shorter than this count for little.
_ONE_FACE, _EDGES = 0.98, 0.01
# Pixels on a side, about, at most, of the pictures that tell the light; and of what is used of small and large ones.
_LIT, _USED = 256, (64, 128)
_STARTS = 8  # directions that it is refined from
_MARGIN = 1.25  # of the window about the object, its width
# Pictures in which poses move, coarse to fine: pixels on a side at most, about, and drawings compared. Edges of parts
# that are thinner than a pixel's share of the error are met from further away in coarse ones. A few steps in them tell
# which candidates are hopeless.
_SIZES, _TRIALS = (32, 32, 160), (5, 8, 6)
_PIXELS = 2.0  # by how much, about, things move on a side for central differences: by less, and sampling drowns them;
_SAMPLES = 2  # on a pixel's side in them, which take most of the time
_LEAST_GAIN = 1e-3  # share of the loss, by less than which poses are not moved further
_HOPELESS = 3.0  # times the least loss: what has more in coarse pictures is not looked at in fine ones


def settle(surface: Callable, found: Unknowns, picture, mask, held: dict, moving: bool) -> tuple[Unknowns, jax.Array]:
    """Candidates ``[K, ...]`` in the poses, and with the lights and albedos, in which a surface is most like a picture.

    Args:
        surface: ``(pose, window, size, samples)`` -> normals and covered fraction; see :func:`inverse.fit_steps`.
        found: where to begin.
        picture, mask: ``[S, S, C]`` and ``[S, S, 1]``, those of the frame.
        held: ``light`` and ``albedo``, None unless given.
        moving: whether poses may move.

    Returns:
        the candidates, and the losses ``[K]`` of what is drawn of the surface (:func:`photometric.compare`).
    """
    window = surround(mask, _MARGIN)
    lit, *shown = (crop_pixels(picture, mask, window, size) for size in (_LIT, *_SIZES))
    relight = functools.partial(_relight, surface, shown=lit, held=held)
    everyone = chosen = np.arange(len(found.pose))
    for seen, trials in zip(shown, _TRIALS, strict=True) if moving else ():
        found = relight(found, chosen)
        found = _move(surface, found, chosen, seen, trials)
        losses = _assess(surface, found, chosen, seen)
        apart = different(found.pose[chosen], losses, len(chosen))  # several may have met
        chosen = chosen[apart[losses[apart] <= _HOPELESS * losses.min()]]
    found = relight(found, everyone)  # losses of what was given up on the way are told, too
    return found, jnp.asarray(_assess(surface, found, everyone, shown[-1]))


def _draw(surface: Callable, vector, window: Window, size: int, samples: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Normals and covered fraction of a pose vector ``[7]``; nothing is covered outside the frame."""
    normal, covered = surface(_to_pose(jnp.asarray(vector, jnp.float32)), window, size, samples)
    middles = (np.arange(size) + 0.5) * (float(window.extent) / size)
    inside = [np.abs(axis) < 1.0 for axis in (float(window.top) - middles, float(window.left) + middles)]
    return normal, covered * (inside[0][:, None] & inside[1][None])[..., None]


def _relight(surface: Callable, found: Unknowns, chosen, shown: tuple, held: dict) -> Unknowns:
    """Candidates; those chosen, by index, with lights and albedos that suit the surface's normals, unless held.

    ``shown`` is what :func:`crop_pixels` returns.
    """
    picture, mask, window = shown
    lights, albedos = np.array(found.light), np.array(found.albedo)
    for index in chosen:
        normal, covered = _draw(surface, found.pose[index], window, len(picture))
        edges = np.linalg.norm(normal, axis=-1, keepdims=True) < _ONE_FACE
        weight = mask * covered * np.where(edges | (covered < 1.0), _EDGES, 1.0)
        lights[index], albedos[index] = _light_surface(*map(_thin_out, (normal, weight, picture)), held)
    return found.replace(light=jnp.asarray(lights), albedo=jnp.asarray(albedos))


def _thin_out(image: np.ndarray) -> np.ndarray:
    """Some rows and columns of an image ``[S, S, C]``, filled up with zeros to one of two sizes.

    A program is compiled for each. Of large pictures directions are tried with half of the rows and columns
    (:func:`photometric.fit_light`), and those of small ones all count.
    """
    apart = -(-len(image) // _USED[-1])
    image = image[::apart, ::apart]
    side = next(size for size in _USED if len(image) <= size)
    return np.pad(image, (*((0, side - len(image)),) * 2, (0, 0)))


def _move(surface: Callable, found: Unknowns, chosen, shown: tuple, trials: int) -> Unknowns:
    """Candidates, the poses of those chosen, by index, moved so that they draw the picture better.

    By Gauss-Newton's method within a trust region, from central differences, with lights and albedos held; ``trials``
    drawings are compared of each at most, derivatives apart. ``shown`` is what :func:`crop_pixels` returns.
    """
    picture, _, window = shown
    reach = 0.5 * float(window.extent)  # of the object about its middle
    steps = _PIXELS * 2.0 / len(picture) * np.array([1.0, 1.0, 1.0, 1.0, reach, reach, 3.0])
    poses = np.array(found.pose)
    for index in chosen:
        differ = functools.partial(_differ, surface, found.light[index], found.albedo[index], shown)
        derive = functools.partial(_differentiate, functools.partial(differ, samples=_SAMPLES), steps)
        poses[index] = scipy.optimize.least_squares(
            differ,
            np.clip(poses[index], *unknowns.BOUNDS),
            derive,
            unknowns.BOUNDS,
            ftol=_LEAST_GAIN,
            x_scale=steps,
            loss="huber",
            f_scale=photometric.HUBER,
            max_nfev=trials,
        ).x
    return found.replace(pose=jnp.asarray(poses))


def _assess(surface: Callable, found: Unknowns, chosen, shown: tuple) -> np.ndarray:
    """Losses ``[N]`` of candidates, by index."""
    points = ((found.light[index], found.albedo[index], found.pose[index]) for index in chosen)
    return np.asarray([_loss(_differ(surface, light, albedo, shown, pose)) for light, albedo, pose in points])


def _differ(surface: Callable, light, albedo, shown: tuple, vector, samples: int = 3) -> np.ndarray:
    """Residuals of what is drawn of a surface in a pose vector ``[7]``, float64."""
    picture, mask, window = shown
    normal, covered = _draw(surface, vector, window, len(picture), samples)
    return np.asarray(_residuals(normal, covered, light, albedo, picture, mask), np.float64)


def _differentiate(function: Callable, steps: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Central differences ``[M, P]`` of a function ``[P] -> [M]``."""
    return np.stack([function(vector + by) - function(vector - by) for by in np.diag(steps)], axis=1) / (2.0 * steps)


# --- compiled once for each size --------------------------------------------------------------------------------------

_to_pose = jax.jit(unknowns.to_pose)
_loss = jax.jit(photometric.mean_loss)


@jax.jit
def _light_surface(normal, weight, picture, held):
    """Light and albedo that suit a surface, by the weights of its pixels."""
    light, albedo = photometric.fit_light(normal, weight, picture, held["light"], _STARTS)
    albedo = albedo if held["albedo"] is None else held["albedo"]
    return light, jnp.clip(albedo, *unknowns.ALBEDO)


@jax.jit
def _residuals(normal, covered, light, albedo, picture, mask):
    drawn = photometric.draw({"normal": normal[None], "mask": covered[None]}, light[None], albedo[None])[0]
    return photometric.differences(drawn, covered, picture, mask)
