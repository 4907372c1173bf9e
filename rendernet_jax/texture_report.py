"""What ``evaluate_texture`` runs: heads drawn and fitted, means, and sheets to look at."""

import dataclasses
import pathlib

import numpy as np
from tqdm import tqdm

from rendernet_jax import texture_scores, weights
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import check_outputs, mean_figures
from rendernet_jax.files import write_json
from rendernet_jax.rendering import check_size

SCORES = "scores.json"
_SHOWN = 3  # heads on the sheet of drawings
_VIEWS = (0, 1, 4, 7)  # of the nine of a fit: its own, and new ones


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score; see ``experiments.evaluate_texture`` for the meaning of each."""

    weights: str = "compact-texture"
    prior: str = "head_prior"
    heads: int = 20
    fits: int = 10
    methods: tuple[str, ...] = ("default",)
    size: int = 256
    seed: int = 0


def run(plan: Plan, output: pathlib.Path, provenance: dict) -> dict:
    """Score and write; returns ``drawing``, means by name, and ``fits``, by method medians and means by name.

    Raises:
        InputError: an unknown method, weights that draw no colours, or a size that they can't draw.
    """
    if unknown := [name for name in plan.methods if name not in texture_scores.METHODS]:
        known = ", ".join(texture_scores.METHODS)
        raise InputError(f"methods: expected some of {known}, got {unknown[0]!r}; correct the name")
    params, config = weights.load_weights(plan.weights)
    check_outputs(config, texture_scores.OUTPUTS)
    check_size(config, plan.size)
    prior = weights.load_prior(plan.prior) if plan.fits else None
    cells = config.paint.texture.grid
    drawing, strips, heads = {}, [], []
    for index in tqdm(range(plan.heads), disable=None, unit="head"):
        head = texture_scores.make_head(index, cells)
        drawing[head.name], rows = texture_scores.score_drawing(params, config, head, plan.size)
        heads += [head] if index < plan.fits else []
        strips += rows if index < _SHOWN else []
    save_png(output / "drawing.png", picture_sheet(strips, [""] * len(strips), ["reference", "colours", "vector"], 192))
    heads += [texture_scores.make_head(index, cells) for index in range(len(heads), plan.fits)]
    fits = {method: _fit(plan, method, params, config, prior, heads, output) for method in plan.methods if heads}
    scores = {
        "drawing": mean_figures(list(drawing.values())),
        "fits": {method: _summarise(figures) for method, figures in fits.items()},
        "plan": dataclasses.asdict(plan),
        "drawn": drawing,
        "fitted": fits,
        **provenance,
    }
    write_json(output / SCORES, scores)
    return scores


def _fit(plan: Plan, method: str, params, config, prior, heads, output: pathlib.Path) -> dict:
    """Figures by head; draws a sheet of the first."""
    figures, rows, labels = {}, [], []
    for index, head in enumerate(tqdm(heads, disable=None, unit=f"fit ({method})")):
        target = texture_scores.make_target(head, index, plan.size, plan.seed)
        found, seconds = texture_scores.fit_head(method, params, config, prior, target)
        scored, pictures = texture_scores.score_fit(params, config, prior, found, target, head)
        figures[head.name] = {**scored, "seconds": seconds}
        truth = [target.picture, *target.new_pictures]
        rows += [[truth[view] for view in _VIEWS], [pictures[view] for view in _VIEWS]]
        labels += ["truth", "found"]
        save_png(output / f"fits_{method}.png", picture_sheet(rows, labels, ["picture", "new", "new", "new"], 160))
    return figures


def _summarise(figures: dict) -> dict:
    """Medians of angles and seconds, means of all else."""
    means = mean_figures(list(figures.values()))
    medians = {
        f"{name}_median": float(np.median([each[name] for each in figures.values()]))
        for name in ("rotation_deg", "light_deg", "seconds")
    }
    return {**medians, **{name: value for name, value in means.items() if f"{name}_median" not in medians}}
