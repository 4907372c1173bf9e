"""Figures of coloured pictures, and of fits to one, on procedural heads that no data set holds.

Everything that is compared with is ray traced. A head's picture to fit, its pose and its light come by chance from a
seed and the head's own number.
"""

import dataclasses
import time

import jax
import numpy as np

from rendernet_jax import inverse, metrics
from rendernet_jax.camera import broadcast, light_from_degrees, pose_from_degrees
from rendernet_jax.config import Config
from rendernet_jax.data.colour_voxels import colour_voxels
from rendernet_jax.data.families import make_shape, vectors
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.tasks import FIRST_TEST_SEED
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.evaluation import draw_view, finite_psnr, mean_figures
from rendernet_jax.fit_scores import light_error, rotation_error
from rendernet_jax.fit_targets import Target, new_views, voxel_iou
from rendernet_jax.inverse import unknowns
from rendernet_jax.inverse.unknowns import Unknowns
from rendernet_jax.rendering import textured
from rendernet_jax.shape_prior import PriorConfig

OUTPUTS = ("colour", "albedo")
VIEWS = ((0.0, 5.0), (40.0, 15.0), (-60.0, 0.0), (140.0, 20.0))  # azimuth, elevation in degrees
_SCALE = 1.4  # a head fills the frame
_AZIMUTH, _ELEVATION, _ROLL = 70.0, (-15.0, 30.0), 8.0  # degrees: faces are photographed from the front


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """One head that no data set holds."""

    name: str
    mesh: Mesh
    grid: np.ndarray  # [1, G, G, G, 4], coverage and colours
    texture: np.ndarray  # [V]


def make_head(index: int, cells: int = 64) -> Head:
    """Head number ``index``. Raises InputError where Open3D or Numba is missing."""
    seed = FIRST_TEST_SEED + index
    mesh = make_shape("face", seed)
    coverage = voxelise(mesh, cells, "coverage")
    grid = np.concatenate([coverage, colour_voxels(mesh, coverage)], axis=-1)[None]
    return Head(f"face-{seed}", mesh, grid, vectors("face", seed)[1])


# --- drawing ----------------------------------------------------------------------------------------------------------


def score_drawing(params: dict, config: Config, head: Head, size: int) -> tuple[dict, list[list[np.ndarray]]]:
    """How well a head is drawn, from its own colours and from what is made of its texture vector.

    Returns:
        - ``psnr_{output}`` and ``ssim_{output}`` for each of :data:`OUTPUTS`, means over :data:`VIEWS`, from the
          colours; ``vector_...`` the same from the vector.
        - for each view a row of colour pictures: reference, from the colours, from the vector.

    Raises:
        InputError: the network can't draw it.
    """
    scene, light = build_scene(head.mesh), light_from_degrees()
    made = textured(params, config, head.grid[..., :1], head.texture[None])
    figures, rows = [], []
    for azimuth, elevation in VIEWS:
        pose = pose_from_degrees(azimuth_deg=azimuth, elevation_deg=elevation, scale=_SCALE)
        wanted = reference_pictures(scene, pose, light, size, OUTPUTS)
        each, row = {}, [wanted["colour"]]
        for prefix, grid in (("", head.grid), ("vector_", made)):
            _, drawn = draw_view(params, config, grid, pose, light, size, OUTPUTS)
            for output in OUTPUTS:
                each[f"{prefix}psnr_{output}"] = finite_psnr(drawn[output], wanted[output])
                each[f"{prefix}ssim_{output}"] = float(metrics.ssim(drawn[output][None], wanted[output][None])[0])
            row.append(drawn["colour"])
        figures.append(each)
        rows.append(row)
    return mean_figures(figures), rows


# --- fitting ----------------------------------------------------------------------------------------------------------


def make_target(head: Head, index: int, size: int, seed: int) -> Target:
    """A ray-traced colour picture of a head from about its front under a light by chance, and new views of it."""
    rng = np.random.default_rng([seed, index])
    pose = pose_from_degrees(
        azimuth_deg=float(rng.uniform(-_AZIMUTH, _AZIMUTH)),
        elevation_deg=float(rng.uniform(*_ELEVATION)),
        roll_deg=float(rng.uniform(-_ROLL, _ROLL)),
        scale=_SCALE * float(rng.uniform(0.85, 1.0)),
        translation=(*rng.uniform(-0.05, 0.05, 2).tolist(), 0.0),
        inverse_distance=float(rng.uniform(0.0, 0.25)),
    )
    light = light_from_degrees(float(rng.uniform(-60.0, 60.0)), float(rng.uniform(-10.0, 60.0)))
    scene = build_scene(head.mesh)
    traced = [reference_pictures(scene, view, light, size, ("colour", "mask")) for view in (pose, *new_views(pose))]
    pictures, masks = (np.stack([each[name] for each in traced]) for name in ("colour", "mask"))
    return Target(
        head.name,
        "face",
        pictures[0],
        masks[0],
        pose,
        light,
        head.grid,
        voxelise(head.mesh, head.grid.shape[1], "binary")[None],
        pictures[1:],
        masks[1:],
        (),
    )


def fit_head(method: str, params: dict, config: Config, prior: tuple[dict, PriorConfig], target: Target) -> tuple:
    """Fit one picture -> (unknowns, seconds); ``method`` is one of :data:`METHODS`."""
    began = time.perf_counter()
    run = {"default": inverse.fit_textured, "paper": inverse.fit_textured_2018}[method]
    more = {"light_elevation": float(target.light.elevation)} if method == "paper" else {}
    found = run(params, config, prior, target.picture, target.mask, **more)
    jax.block_until_ready(found.losses)
    return found.best, time.perf_counter() - began


METHODS = ("default", "paper")


def score_fit(params, config, prior, found: Unknowns, target: Target, head: Head) -> tuple[dict, list[np.ndarray]]:
    """Figures of a fit, and its pictures.

    Returns:
        - ``rotation_deg``, ``light_deg``, ``mask_iou``, ``psnr`` (colour, dB, at the fitted view), ``new_psnr`` and
          ``new_mask_iou`` (means over eight new views), ``voxel_iou`` of cells that are covered by half or more,
          ``texture_correlation`` (Pearson's, of the texture vector with the true one).
        - colour pictures: the fitted view, then the new ones.
    """
    pose, light = unknowns.to_pose(found.pose), unknowns.to_light(found.light)
    grid = inverse.coloured_grids(params, config, prior, unknowns.stacked(found))
    size, views = len(target.picture), []
    pictures, masks = [], []
    for view in (broadcast(pose), *new_views(broadcast(pose))):
        _, drawn = draw_view(params, config, grid, view, light, size, ("colour", "mask"))
        pictures.append(drawn["colour"])
        masks.append(drawn["mask"])
    wanted = [target.picture, *target.new_pictures]
    wanted_masks = [target.mask, *target.new_masks]
    for picture, mask, true, true_mask in zip(pictures, masks, wanted, wanted_masks, strict=True):
        iou = float(metrics.mask_iou(mask[None], true_mask[None])[0])
        views.append({"mask_iou": iou, "psnr": finite_psnr(picture, true)})
    texture = np.asarray(found.texture)
    figures = {
        "rotation_deg": rotation_error(pose, target)[0],
        "light_deg": light_error(light, target.light),
        **views[0],
        **{f"new_{name}": mean for name, mean in mean_figures(views[1:]).items()},
        "voxel_iou": voxel_iou(np.asarray(grid[..., :1]) > 0.5, head.grid[..., :1] > 0.5),
        "texture_correlation": float(np.corrcoef(texture, head.texture)[0, 1]) if texture.std() > 0 else 0.0,
    }
    return figures, pictures
