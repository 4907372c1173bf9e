"""Scores of a network on whole validation views, and a sheet of them."""

import itertools
import pathlib

import jax
import numpy as np

from rendernet_jax import metrics, shading
from rendernet_jax.camera import Pose
from rendernet_jax.config import Config
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.data.source import TARGETS
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import DEFAULT_LIGHT, render_buffers, targets
from rendernet_jax.training.step import make_grid

KINDS = ("coverage", "binary")  # of voxels, which the views take in turn where the source has no ``kinds`` of its own
_VIEWS = 16
_SHEET_VIEWS = 4
_BEST = 100.0  # dB; equal pictures would score infinity, which JSON has no word for


class Evaluation:
    """``evaluation(params, step)`` draws views spread over the validation set, in turn from coverage and binary voxels.

    It writes ``folder/{step}.png`` (reference, what parameters ``before`` draw if given, and the network) and returns
    means over the views: ``psnr_{output}``, ``psnr_phong_{kind}`` for each kind of voxels, ``mask_iou``, and ``psnr``,
    by which the best weights are chosen: the mean of ``psnr_phong_coverage`` and ``psnr_phong_binary``, of the same of
    ``colour`` where that is drawn, or of every
    ``psnr_{output}`` of a network that draws no Phong picture.

    Raises (when called):
        InputError: the network has no head that the data can judge.
    """

    def __init__(self, config: Config, source, folder: pathlib.Path, before: dict | None = None):
        self._config, self._folder = config, folder
        self._kinds = kinds = getattr(source, "kinds", KINDS)
        places = np.linspace(0, len(source.validation) - 1, max(len(kinds), min(_VIEWS, len(source.validation))))
        indices = [source.validation[place] for place in places.astype(int)]
        self._views = [(kind, source.views([index], kind)) for index, kind in zip(indices, itertools.cycle(kinds))]
        size = next(value.shape[1] for name, value in self._views[0][1].items() if name in TARGETS)
        self._draw = jax.jit(
            lambda params, view: render_buffers(
                params, config, make_grid(params, config, view), Pose(**view["pose"]), size
            )
        )
        shown = self._views[:_SHEET_VIEWS] if before else []
        self._before = [self._draw(before, _without_targets(view)) for _, view in shown]

    def __call__(self, params: dict, step: int) -> dict:
        strips, scores = [], []
        for number, (kind, view) in enumerate(self._views):
            target = {name: value for name, value in view.items() if name in TARGETS}
            drawn = self._draw(params, _without_targets(view))
            pictures = _shade(self._config, target, drawn)
            scores.append(_score(pictures, kind))
            if "mask" in drawn:
                scores[-1]["mask_iou"] = float(metrics.mask_iou(drawn["mask"], target["mask"])[0])
            if number < _SHEET_VIEWS:
                before = _shade(self._config, target, self._before[number]) if self._before else {}
                strips.append((kind, _strip(pictures, before)))
        self._folder.mkdir(exist_ok=True)
        save_png(self._folder / f"{step:07d}.png", _sheet(strips, list(pictures)))
        names = dict.fromkeys(name for score in scores for name in score)
        mean = {name: float(np.mean([score[name] for score in scores if name in score])) for name in names}
        shaded = "colour" if "psnr_colour" in mean else "phong"
        judged = [name for kind in self._kinds if (name := f"psnr_{shaded}_{kind}") in mean]
        judged = judged or [f"psnr_{output}" for output in pictures]
        return {"psnr": float(np.mean([mean[name] for name in judged])), **mean}


def _without_targets(view: dict) -> dict:
    return {name: value for name, value in view.items() if name not in TARGETS}


def _strip(pictures: dict[str, list], before: dict[str, list]) -> dict[str, list]:
    """Rows of one view, a picture of each output."""
    rows = {"reference": [pair[0] for pair in pictures.values()]}
    if before:
        rows["before"] = [pair[1] for pair in before.values()]
    rows["network"] = [pair[1] for pair in pictures.values()]
    return {name: [np.asarray(picture[0]) for picture in row] for name, row in rows.items()}


def _sheet(strips: list[tuple[str, dict]], outputs: list[str]) -> np.ndarray:
    """Views one below the other, their outputs side by side; of a single output, the views side by side."""
    if len(outputs) == 1:
        rows = {name: [strip[name][0] for _, strip in strips] for name in strips[0][1]}
        columns = [outputs[0] if kind == "given" else f"{outputs[0]}, {kind}" for kind, _ in strips]
        return picture_sheet(list(rows.values()), list(rows), columns, cell=192)
    rows = [row for _, strip in strips for row in strip.values()]
    labels = [name if name != "network" or kind == "given" else kind for kind, strip in strips for name in strip]
    return picture_sheet(rows, labels, outputs, cell=192)


def _shade(config: Config, target: dict, drawn: dict) -> dict[str, list]:
    """Each output that both can draw -> [reference, network]."""
    if config.draws_images:
        return {config.shader or "image": [targets(config, target)["image"], drawn["image"]]}
    outputs = [o for o in shading.OUTPUTS if all(n in drawn and n in target for n in shading.NEEDS[o])]
    if not outputs:
        raise InputError(f"heads: expected some that the data can judge, {', '.join(target)}, got {', '.join(drawn)}")
    return {o: [shading.shade(buffers, DEFAULT_LIGHT, o) for buffers in (target, drawn)] for o in outputs}


def _score(pictures: dict, kind: str) -> dict:
    score = {f"psnr_{o}": min(float(metrics.psnr(b, a)[0]), _BEST) for o, (a, b) in pictures.items()}
    return {**score, **{f"psnr_{o}_{kind}": score[f"psnr_{o}"] for o in ("phong", "colour") if o in pictures}}
