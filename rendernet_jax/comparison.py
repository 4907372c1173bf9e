"""Variants of the ``compact`` network: each trained alike, scored on the same meshes, and put into one table."""

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import metrics, network, rendering
from rendernet_jax.config import PRESETS, Config, Stage, Volume, config_from_dict, config_to_dict
from rendernet_jax.data import shards
from rendernet_jax.data.source import Source
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import VIEWS, draw_view, finite_psnr, mean_figures, show, view_pose
from rendernet_jax.files import lock_folder, remove_leftovers, write_atomically, write_json
from rendernet_jax.mesh_references import GRID, OCCUPANCIES, OUTPUTS, find_meshes, load_references, make_references
from rendernet_jax.training.checkpoints import Checkpoints
from rendernet_jax.training.loop import make_batch, train
from rendernet_jax.training.run_folder import CHECKPOINTS
from rendernet_jax.training.step import Recipe, init_state, make_step

TABLE, REPORT = "table.md", "table.json"
_REFERENCES = "references"
_EVAL_EVERY = 500  # steps; what an interrupted training loses at most
_TIMED = 5  # rounds


def _variants() -> dict[str, Config]:
    compact = PRESETS["compact"]
    first, trunk, middle, last = compact.stages
    change = dataclasses.replace
    fields = {
        "compact": {},
        "narrow": {"stages": (first, change(trunk, width=96), middle, last)},
        "wide": {"stages": (first, change(trunk, width=192, blocks=3), middle, last)},
        "deep": {"stages": (first, change(trunk, blocks=8), middle, last)},
        # Blocks moved from the lowest resolution to the next.
        "fine": {"stages": (first, change(trunk, blocks=3), change(middle, blocks=3), last)},
        # Blocks at the camera grid's own resolution, too.
        "sharp": {"stages": (first, trunk, middle, change(last, blocks=2))},
        # A third halving.
        "third": {
            "stages": (
                first,
                change(trunk, blocks=1),
                Stage(256, 3, blocks=2, resample=-1),
                Stage(128, 1, blocks=1, resample=1),
                middle,
                last,
            )
        },
        "volume": {"volume": (Volume(4, 3, (1, 1, 2)), Volume(8, 3, (1, 1, 2)))},
        # Half as many columns a side; the trunk is at the same 1/8 of the picture, with more blocks for equal work.
        "coarse": {"upsample": 4, "stages": (change(trunk, blocks=7), middle)},
        "learned": {"analytic": False},
        # No sub-pixel convolution at all: one stage more, since the head can't double the picture.
        "transposed": {
            "transposed": True,
            "stages": (first, trunk, change(middle, kernel=4), change(last, kernel=4), Stage(16, 4, resample=1)),
        },
    }
    return {name: change(compact, name=name, **changed) for name, changed in fields.items()}


VARIANTS = _variants()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compare: networks by name, in the order of training, and what all of them share."""

    data: pathlib.Path
    meshes: pathlib.Path
    output: pathlib.Path
    recipe: Recipe
    networks: dict[str, Config] = dataclasses.field(default_factory=lambda: dict(VARIANTS))
    views: int = 2  # of each mesh, the first ones of evaluation.VIEWS
    size: int = 512
    up: str = "y"
    provenance: dict = dataclasses.field(default_factory=dict)


def pick(names: Iterable[str]) -> dict[str, Config]:
    """Variants by name, in this order. Raises InputError for an unknown name, or none."""
    names = list(names)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise InputError(f"variants: expected some of {', '.join(VARIANTS)}, got {', '.join(unknown)}; correct them")
    if not names:
        raise InputError(f"variants: expected some of {', '.join(VARIANTS)}, got none; name one")
    return {name: VARIANTS[name] for name in names}


def run(plan: Plan) -> list[dict]:
    """Train and score every network; a network that is done in the same folder is neither trained nor scored again.

    In the end all networks of the table are timed, in turns; so a finished command may be repeated on an idle machine.

    Writes table.md and table.json into the output folder after each network, the run of each into a folder of its
    name, and the voxels and references of the meshes into references/.

    Returns:
        the rows of table.json, by GFLOP.

    Raises:
        InputError: networks that can't make the pictures or the patches, no usable mesh, or a table with other
            settings in the folder; or, after the others are in the table, networks whose training failed.
    """
    _check(plan)
    source = Source(plan.data, max(config.upsample for config in plan.networks.values()))
    files = find_meshes(plan.meshes)
    settings = {
        "recipe": dataclasses.asdict(plan.recipe),
        "data": source.identity,
        "meshes_sha256": shards.sha256("\n".join(f"{name} {digest}" for name, digest in files.items()).encode()),
        "views": [list(view) for view in VIEWS[: plan.views]],
        "size": plan.size,
        "up": plan.up,
    }
    with lock_folder(plan.output):
        rows, failed = _read_rows(plan.output / REPORT, settings), {}
        remove_leftovers(plan.output)
        references, skipped = make_references(
            plan.meshes, files, plan.output / _REFERENCES, plan.views, plan.size, plan.up
        )
        head = {**plan.provenance, "settings": settings, "meshes": list(references), "skipped": skipped}
        for name, config in plan.networks.items():
            if name in rows and rows[name]["config"] == _as_json(config_to_dict(config)):
                continue
            try:
                rows[name] = _compare_one(plan, name, config, source, references.values())
            except (InputError, RuntimeError) as error:  # JAX raises the latter where memory ends
                failed[name] = str(error)
                print(f"{name}: failed: {error}", flush=True)
                continue
            print(f"{name}: " + ", ".join(f"{k} phong {show(rows[name][k]['phong'])}" for k in OCCUPANCIES), flush=True)
            _write_tables(plan.output, head, rows)
        _measure_cost(plan, source, rows)
        _write_tables(plan.output, head, rows)
    if failed:
        raise InputError("variants: " + "; ".join(f"{name} failed: {reason}" for name, reason in failed.items()))
    return _sorted(rows)


def _check(plan: Plan) -> None:
    for name, config in plan.networks.items():
        rendering.check_size(config, plan.size)
        if plan.recipe.patch % config.multiple:
            raise InputError(
                f"patch: expected a multiple of {config.multiple} for variant {name!r}, got {plan.recipe.patch}"
            )
    if not 1 <= plan.views <= len(VIEWS):
        raise InputError(f"views: expected 1 to {len(VIEWS)}, got {plan.views}")


def _compare_one(plan: Plan, name: str, config: Config, source, references) -> dict:
    """A network's row: trained, or trained already, then measured and scored with the averaged weights of its end."""
    folder = plan.output / name
    every = min(_EVAL_EVERY, plan.recipe.steps)
    inputs = {"data": source.identity}
    train(config, source, plan.recipe, folder, eval_every=every, inputs=inputs, provenance=plan.provenance)
    params = Checkpoints(folder / CHECKPOINTS).restore(init_state(config, plan.recipe))["ema"]
    return {
        "name": name,
        "config": _as_json(config_to_dict(config)),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        **_score(plan, params, config, references),
    }


# --- cost -----------------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("config", "size"))
def _picture(params, config, grid, pose, size):
    return rendering.render(params, config, grid, pose, size=size)


def count_gflop(config: Config, size: int) -> float:
    """10^9 floating-point operations of one Phong picture from 64^3 voxels, as XLA counts them; resampling included."""
    params = network.shapes(config)
    grid = jax.ShapeDtypeStruct((1, GRID, GRID, GRID, config.channels), jnp.float32)
    traced = _picture.trace(params, config, grid, view_pose(0), size)
    # As lowered for a GPU: of the loops that a CPU gets, XLA counts one turn.
    return float(traced.lower(lowering_platforms=("cuda",)).cost_analysis()["flops"]) / 1e9


def _measure_cost(plan: Plan, source, rows: dict[str, dict]) -> None:
    """Fill in the GFLOP and the median milliseconds of one Phong picture, and those of one training step.

    Networks take turns, so that whatever else the machine does slows all of them.
    """
    batch = make_batch(source, plan.recipe, 0)
    grid = jnp.ones((1, GRID, GRID, GRID, 1))
    tasks = {}
    for name, row in rows.items():
        config = config_from_dict(row["config"])
        rows[name]["gflop"] = count_gflop(config, plan.size)
        state = init_state(config, plan.recipe)
        step = jax.jit(make_step(config, plan.recipe, axis=None))
        tasks[name, "milliseconds"] = functools.partial(
            _picture, state["params"], config, grid, view_pose(0), plan.size
        )
        tasks[name, "train_milliseconds"] = functools.partial(step, state, batch)
    seconds = {key: [] for key in tasks}
    for _ in range(1 + _TIMED):
        for key, task in tasks.items():
            began = time.perf_counter()
            jax.block_until_ready(task())
            seconds[key].append(time.perf_counter() - began)
    for (name, key), each in seconds.items():
        rows[name][key] = 1e3 * float(np.median(each[1:]))


# --- quality --------------------------------------------------------------------------------------------------------


def _score(plan: Plan, params: dict, config: Config, references) -> dict[str, dict]:
    """Means over views and meshes, by occupancy, then by figure."""
    figures = {occupancy: [] for occupancy in OCCUPANCIES}
    for path in references:
        arrays = load_references(path)
        for occupancy, rows in figures.items():
            grid, each = arrays[occupancy][None], []
            for view in range(plan.views):
                light = rendering.DEFAULT_LIGHT
                _, drawn = draw_view(params, config, grid, view_pose(view), light, plan.size, OUTPUTS)
                each.append(_figures(drawn, {output: arrays[output][view] for output in OUTPUTS}))
            rows.append(mean_figures(each))
    return {occupancy: mean_figures(rows) for occupancy, rows in figures.items()}


def _figures(drawn: dict, wanted: dict) -> dict:
    psnr = {output: finite_psnr(drawn[output], wanted[output]) for output in ("phong", "normal")}
    return {**psnr, "mask_iou": float(metrics.mask_iou(drawn["mask"][None], wanted["mask"][None])[0])}


# --- tables ---------------------------------------------------------------------------------------------------------


def _read_rows(path: pathlib.Path, settings: dict) -> dict[str, dict]:
    """Rows by name of an earlier command with the same settings; none if there is no table."""
    if not path.exists():
        return {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found, rows = report["settings"], {row["name"]: row for row in report["variants"]}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"output: expected a table of variants in {path}, got {error}; choose another --output") from (
            error
        )
    if differing := [name for name, value in _as_json(settings).items() if found.get(name) != value]:
        raise InputError(
            f"output: {path} holds a table with other settings (differs in {', '.join(differing)}); choose another "
            "--output, or give the same flags to continue it"
        )
    return rows


def _as_json(value: dict) -> dict:
    """As it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(value))


def _write_tables(folder: pathlib.Path, head: dict, rows: dict[str, dict]) -> None:
    write_json(folder / REPORT, {**head, "variants": _sorted(rows)})
    recipe = head["settings"]["recipe"]
    about = (
        f"{recipe['steps']} steps of {recipe['batch']} patches, {recipe['patch']} pixels wide; "
        f"{len(head['meshes'])} meshes, {len(head['settings']['views'])} views each, {head['settings']['size']} pixels"
    )
    columns = "variant", "parameters", "GFLOP", "ms a picture", "ms a training step", *_SCORES
    lines = [about, "", _line(columns), _line(["---", *["---:"] * (len(columns) - 1)])]
    lines += [_line(_cells(row)) for row in _sorted(rows)]
    write_atomically(folder / TABLE, ("\n".join(lines) + "\n").encode())


_SCORES = {
    f"{label}, {occupancy}": (occupancy, figure, digits)
    for label, figure, digits in (("Phong dB", "phong", 2), ("normals dB", "normal", 2), ("mask IoU", "mask_iou", 4))
    for occupancy in OCCUPANCIES
}


def _cells(row: dict) -> list[str]:
    cost = [f"{row['parameters']:,}", show(row.get("gflop"), 1)]
    times = [show(row.get(key), 0) for key in ("milliseconds", "train_milliseconds")]
    scores = [show(row[occupancy][figure], digits) for occupancy, figure, digits in _SCORES.values()]
    return [row["name"], *cost, *times, *scores]


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _sorted(rows: dict[str, dict]) -> list[dict]:
    return sorted(rows.values(), key=lambda row: (row.get("gflop", 0.0), row["name"]))
