"""Figures of networks, and of marching cubes on the same voxels, against the ray-traced pictures of one mesh."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from rendernet_jax import metrics, rendering, shading, weights
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import draw_view, finite_psnr, mean_figures
from rendernet_jax.mesh_references import Case, keep_cubes, load_references

OUTPUTS = ("phong", "normal", "ao", "toon", "contour", "depth", "mask")  # what is scored
CUBES = "marching cubes"
_ssim = jax.jit(metrics.ssim)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Weights to score, under the label that tables and sheets show."""

    label: str
    source: str  # as the user gave it
    params: dict
    config: Config
    outputs: tuple[str, ...]  # which of OUTPUTS it draws

    @property
    def shown(self) -> str:
        """The output that a sheet shows of it."""
        return "phong" if "phong" in self.outputs else self.outputs[0]

    def describe(self) -> dict:
        """What a report says of it."""
        digest = weights.read_card(self.source)["sha256"]
        return {"weights": self.source, "sha256": digest, "network": self.config.name, "draws": list(self.outputs)}


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """One mesh in one case; a method is named "LABEL OCCUPANCY"."""

    closed: bool
    voxels: dict[str, np.ndarray]  # [X, Y, Z, 1] by occupancy
    reference: dict[str, np.ndarray]  # one view [H, W, C] by output
    pictures: dict[str, dict[str, np.ndarray]]  # the same by method
    scores: dict[str, dict]  # by method, what figures() returns, means over the views
    failed: dict[str, str]  # reason by method that could draw nothing


def load_networks(sources: Sequence[str | os.PathLike], size: int) -> list[Network]:
    """Weights by name or folder, in this order, checked for pictures of that side.

    The label is the name, or the folder's own name; where two would share it, the path as given.

    Raises:
        InputError: none, one named twice, one that is not there or damaged, or one that can't make the pictures.
    """
    sources = [str(source) for source in sources]
    if not sources:
        raise InputError("weights: expected a name or folder or more of them, got none; name one")
    short = [CUBES, *map(_short_name, sources)]
    labels = [name if short.count(name) == 1 else source for name, source in zip(short[1:], sources, strict=True)]
    if repeated := [label for label in labels if labels.count(label) > 1]:
        raise InputError(f"weights: expected each once, got {repeated[0]!r} twice; leave one out")
    networks = []
    for label, source in zip(labels, sources, strict=True):
        params, config = weights.load_weights(source)
        try:
            rendering.check_size(config, size)
            networks.append(Network(label, source, params, config, _scored_outputs(config)))
        except InputError as error:
            raise InputError(f"weights {source}: {error}") from error
    return networks


def _short_name(source: str) -> str:
    path = pathlib.Path(source)
    path = path.parent if path.name == "weights.npz" else path
    return path.name.removesuffix(".npz") or source


def _scored_outputs(config: Config) -> tuple[str, ...]:
    if config.channels != 1:
        raise InputError(f"expected a network of 1 voxel channel, got one of {config.channels}; use other weights")
    if config.draws_images:
        if config.shader not in OUTPUTS:
            raise InputError(
                f"expected an image network of one of {', '.join(OUTPUTS)}, which can be ray traced, got one of "
                f"{config.shader or 'an unnamed shader'!r}; use other weights"
            )
        rendering.check_light(config, rendering.DEFAULT_LIGHT)
        return (config.shader,)
    heads = dict(config.heads)
    outputs = tuple(output for output in OUTPUTS if all(need in heads for need in shading.NEEDS[output]))
    if not outputs:
        raise InputError(f"expected heads for one of {', '.join(OUTPUTS)}, got {', '.join(heads)}; use other weights")
    return outputs


def score_case(
    path: pathlib.Path,
    case: Case,
    networks: Sequence[Network],
    occupancies: Sequence[str],
    folder: pathlib.Path,
    view: int = 0,
) -> Scored:
    """Score every network, and marching cubes, on one mesh in one case.

    Args:
        path: of the mesh, from :func:`rendernet_jax.mesh_references.keep_mesh`.
        occupancies: voxels that are drawn, "coverage", "binary" or both.
        folder: where marching cubes' pictures are kept.
        view: of the case, whose pictures are returned.

    Raises:
        InputError: a kept file is damaged.
    """
    wanted = load_references(path)
    scores, pictures, failed = {}, {}, {}
    for occupancy in occupancies:
        grid = wanted[occupancy]
        makers = {network.label: functools.partial(draw_case, network, grid, case) for network in networks}
        makers[CUBES] = lambda: load_references(keep_cubes(folder, grid, case))  # noqa: B023 (called in this turn)
        for label, make in makers.items():
            method = f"{label} {occupancy}"
            try:
                drawn = make()
            except InputError as error:
                drawn, failed[method] = {}, str(error)
            scores[method] = _mean_over_views(drawn, wanted, case)
            pictures[method] = {output: views[view] for output, views in drawn.items()}
    return Scored(
        closed=bool(wanted["closed"]),
        voxels={occupancy: wanted[occupancy] for occupancy in occupancies},
        reference={output: wanted[output][view] for output in case.outputs},
        pictures=pictures,
        scores=scores,
        failed=failed,
    )


def draw_case(network: Network, grid: np.ndarray, case: Case) -> dict[str, np.ndarray]:
    """Pictures ``[V, size, size, C]`` of a grid ``[X, Y, Z, 1]``, of those outputs of the case that the network draws.

    Raises:
        InputError: it can't draw them.
    """
    outputs = tuple(output for output in network.outputs if output in case.outputs)
    light = rendering.DEFAULT_LIGHT
    draw = lambda pose: draw_view(network.params, network.config, grid[None], pose, light, case.size, outputs)  # noqa: E731
    views = [draw(pose)[1] for pose in case.poses()] if outputs else []
    return {output: np.stack([view[output] for view in views]) for output in outputs}


def _mean_over_views(drawn: dict, wanted: dict, case: Case) -> dict[str, float | None]:
    view = lambda pictures, v: {o: pictures[o][v] for o in case.outputs if o in pictures}  # noqa: E731
    return mean_figures([figures(view(drawn, v), view(wanted, v)) for v in range(len(case.views))])


def figures(drawn: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, float | None]:
    """Figures of one view's pictures ``[H, W, C]`` by output against the references, of which ``mask`` must be one.

    PSNR in dB under the output's name, and under NAME_foreground over the pixels that the reference's mask touches;
    ``phong_ssim``; ``mask_iou``. None where nothing was drawn, or PSNR is infinite.
    """
    result = {}
    for output, reference in wanted.items():
        picture = drawn.get(output)
        if output == "mask":
            result["mask_iou"] = None if picture is None else float(metrics.mask_iou(picture[None], reference[None])[0])
            continue
        result[output] = None if picture is None else finite_psnr(picture, reference)
        result[f"{output}_foreground"] = None if picture is None else finite_psnr(picture, reference, wanted["mask"])
        if output == "phong":
            result["phong_ssim"] = None if picture is None else float(_ssim(picture[None], reference[None])[0])
    return result
