"""Figures of fits against ray-traced targets: errors of pose, light and shape, and of pictures from old and new views.

A method is a function ``(target, index) -> Found``; ``index`` counts the targets it has been given before.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from rendernet_jax import camera, metrics, shading
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import Config
from rendernet_jax.data.raycast import camera_axes, direction, scalar
from rendernet_jax.evaluation import draw_view, finite_psnr, mean_figures
from rendernet_jax.fit_targets import Target, new_views, voxel_iou
from rendernet_jax.rendering import DEFAULT_LIGHT

_MEANS = ("mask_iou", "psnr", "new_mask_iou", "new_psnr", "voxel_iou")
FAILED = dict.fromkeys(("rotation_deg", "rotation_plain_deg", "light_deg", *_MEANS, "seconds", "first"))


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a method found in a target's picture."""

    pose: Pose
    light: Light | None  # None: it tells nothing of the light
    albedo: np.ndarray  # [C], C 1 or 3
    grid: np.ndarray  # [1, X, Y, Z, 1] that the network is to draw
    seconds: float
    first: bool  # compilation is part of the seconds
    cut: float = 0.5  # number in the grid from which a cell is set
    given: bool = False  # the grid was the target's own: shape is nothing it found


Method = Callable[[Target, int], Found]


# --- one fit ----------------------------------------------------------------------------------------------------------


def score(params: dict, config: Config, found: Found, target: Target) -> tuple[dict, np.ndarray]:
    """Figures of a fit, and what it looks like.

    Returns:
        - ``rotation_deg`` and ``rotation_plain_deg``, see :func:`rotation_error`; ``light_deg``; ``mask_iou`` and
          ``psnr`` (Phong, dB) at the fitted view; ``new_mask_iou`` and ``new_psnr``, means over the new views;
          ``voxel_iou`` of the cells that are set with the binary grid, in the object's own frame; ``seconds``;
          ``first``. None where there is nothing to compare, or PSNR is infinite.
        - pictures ``[9, S, S, C]``: the fitted view, then the new ones.

    Raises:
        InputError: the network can't draw what was found.
    """
    pictures, masks = look(params, config, found, len(target.picture))
    wanted = np.concatenate([target.picture[None], target.new_pictures])
    wanted_masks = np.concatenate([target.mask[None], target.new_masks])
    wanted = np.broadcast_to(wanted, pictures.shape)  # of a coloured drawing, every channel is compared
    ious = np.asarray(metrics.mask_iou(masks, wanted_masks)).tolist()
    psnrs = [None if found.light is None else finite_psnr(*pair) for pair in zip(pictures, wanted)]
    views = [{"mask_iou": iou, "psnr": psnr} for iou, psnr in zip(ious, psnrs)]
    rotation, plain = rotation_error(found.pose, target)
    figures = {
        "rotation_deg": rotation,
        "rotation_plain_deg": plain,
        "light_deg": light_error(found.light, target.light),
        **views[0],
        **{f"new_{name}": mean for name, mean in mean_figures(views[1:]).items()},
        "voxel_iou": None if found.given else voxel_iou(np.asarray(found.grid) >= found.cut, target.binary > 0.5),
        "seconds": found.seconds,
        "first": found.first,
    }
    return figures, pictures


def look(params: dict, config: Config, found: Found, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Phong pictures ``[9, size, size, C]`` of what was found, and masks ``[9, size, size, 1]``.

    The fitted view, then that turned as :func:`rendernet_jax.fit_targets.new_views` does, under the same light.

    Raises:
        InputError: the network can't draw it.
    """
    pose = camera.broadcast(found.pose)
    light = DEFAULT_LIGHT if found.light is None else found.light
    albedo = jnp.asarray(found.albedo, jnp.float32)[None, None]
    pictures, masks = [], []
    for view in (pose, *new_views(pose)):
        buffers, drawn = draw_view(params, config, found.grid, view, DEFAULT_LIGHT, size, ("mask",))
        picture = shading.phong(buffers["normal"], buffers["mask"], light, albedo)
        pictures.append(np.clip(np.asarray(picture), 0.0, 1.0))
        masks.append(drawn["mask"])
    return np.stack(pictures), np.stack(masks)


def rotation_error(found: Pose, target: Target) -> tuple[float, float]:
    """Degrees between a found rotation and the true one: the least over the target's symmetries, and without them.

    An object that is the same when it is turned by s about y, is the same seen from s less of azimuth.
    """
    axes, azimuth = camera_axes(found), float(target.pose.azimuth)
    turned = [dataclasses.replace(target.pose, azimuth=azimuth - math.radians(s)) for s in (0, *target.symmetries)]
    errors = [_angle_between(axes, camera_axes(pose)) for pose in turned]
    return min(errors), errors[0]


def _angle_between(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees of the rotation between two ``[3, 3]``: the norm of their difference is sqrt(8) |sin(angle / 2)|."""
    return math.degrees(2.0 * math.asin(min(1.0, float(np.linalg.norm(first - second)) / math.sqrt(8.0))))


def light_error(found: Light | None, true: Light) -> float | None:
    """Degrees between the directions of two lights; None if there is none."""
    if found is None:
        return None
    angles = [
        [scalar(f"light.{name}", getattr(one, name)) for name in ("azimuth", "elevation")] for one in (found, true)
    ]
    first, second = (direction(*pair) for pair in angles)
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(first, second))), float(first @ second)))


# --- many fits --------------------------------------------------------------------------------------------------------


def summarise(figures: Sequence[dict]) -> dict:
    """One method's figures over targets, each from :func:`score` or :data:`FAILED`.

    A failed fit is none below 5 or 10 degrees; it is left out of medians and means, which are None over nothing.
    ``seconds_median`` is over all fits but those with compilation, of which ``seconds_first`` tells.
    """
    rotations = _present(figures, "rotation_deg")
    below = lambda limit: 100.0 * sum(angle < limit for angle in rotations) / len(figures)  # noqa: E731
    return {
        "targets": len(figures),
        "failed": len(figures) - len(rotations),
        "rotation_median_deg": _median(rotations),
        "rotation_mean_deg": float(np.mean(rotations)) if rotations else None,
        "rotation_plain_median_deg": _median(_present(figures, "rotation_plain_deg")),
        "below_5_deg": below(5.0),
        "below_10_deg": below(10.0),
        "light_median_deg": _median(_present(figures, "light_deg")),
        **mean_figures([{name: each[name] for name in _MEANS} for each in figures]),
        "seconds_median": _median(_present([each for each in figures if not each["first"]], "seconds")),
        "seconds_first": _median(_present([each for each in figures if each["first"]], "seconds")),
    }


def _present(figures: Sequence[dict], name: str) -> list[float]:
    return [each[name] for each in figures if each[name] is not None]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
