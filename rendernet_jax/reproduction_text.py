"""A reproduction's report as a reader sees it: Markdown tables and pictures."""

from rendernet_jax.evaluation import show
from rendernet_jax.mesh_references import OCCUPANCIES
from rendernet_jax.report import COLUMNS, FOREGROUND, bold_cells, scores_table, split_method, table
from rendernet_jax.reproduction_plan import (
    CHAIRS_RUN,
    OWN,
    SCORES,
    Plan,
    image_run,
    search_name,
    show_command,
    train_name,
)


def markdown(plan: Plan, report: dict) -> str:
    """Tables and pictures of a report (see :func:`rendernet_jax.reproduction_report.make_report`)."""
    lines = [*_head(plan, report), *_search(plan, report), *_networks(plan, report), *_baselines(report, "")]
    lines += [*_image_mode(plan, report), *_generalisation(plan, report, "")]
    if plan.meshes is not None:
        lines += [*_baselines(report, OWN), *_generalisation(plan, report, OWN)]
    return "\n".join([*lines, *_stages(report)])


def _head(plan: Plan, report: dict) -> list[str]:
    scale = plan.scale
    minutes = sum(record["seconds"] for record in report["stages"].values()) / 60
    versions = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    return [
        f"# Reproduction, scale `{scale.name}`",
        "",
        f"{minutes:.0f} minutes on {report['machine']}, {report['cores']} cores; {versions}.",
        "",
        f"Command: `{report['command']}`. The commands of its stages are at the end.",
        "",
        f"Networks are trained on {scale.shapes} procedural shapes of {len(scale.families)} families, {scale.views} "
        f"views each, {scale.size} x {scale.size} pixels, and scored on {scale.test_shapes} others of each family, of "
        f"seeds that no data set reaches, {scale.test_views} views each, against ray tracing. PSNR in dB over the full "
        "frame, over the object alone where it says so; means over views, then over meshes. Bold: the best from the "
        "same voxels.",
        "",
    ]


def _search(plan: Plan, report: dict) -> list[str]:
    """Validation PSNR by network and rate."""
    scale, rows = plan.scale, []
    for contender in scale.contenders:
        best = report["rates"][contender.name]
        figures = {rate: _figures(report, search_name(contender, rate)) for rate in scale.rates}
        cells = [show(figures[rate]["psnr"]) for rate in scale.rates]
        cells = [f"**{cell}**" if rate == best else cell for rate, cell in zip(scale.rates, cells, strict=True)]
        rows.append([contender.name, *cells, show(figures[best]["steps"], 0)])
    edges = [name for name, rate in report["rates"].items() if rate in (min(scale.rates), max(scale.rates))]
    note = f" At the edge of the search, so perhaps not the best there is: {', '.join(edges)}." if edges else ""
    return [
        "## Search of the learning rate",
        "",
        f"Each network was trained for {scale.search_seconds:g} s of steps at each rate; validation PSNR of Phong in "
        f"the end, `-` where training diverged. The best rate is used from here on.{note}",
        "",
        *table(["network", *(f"{rate:g}" for rate in scale.rates), "steps"], rows),
    ]


def _networks(plan: Plan, report: dict) -> list[str]:
    """What was trained, and for how long."""
    scale = plan.scale
    first = scale.contenders[0]
    runs = [(contender.name, contender, "all families") for contender in scale.contenders]
    runs += [(CHAIRS_RUN, first, "chairs alone")]
    runs += [(image_run(shader), first, f"all families, {shader} pictures") for shader in scale.shaders]
    rows = []
    for run, contender, data in runs:
        figures = _figures(report, train_name(run))
        batch = f"{contender.batch} of {contender.patch or scale.size} px"
        cost = [f"{figures['parameters']:,}", f"{report['rates'][contender.name]:g}", batch, show(figures["steps"], 0)]
        rows.append([run, contender.preset, data, *cost, show(figures["seconds"] / 60, 1), show(figures["best_psnr"])])
    heads = ["network", "preset", "data", "parameters", "rate", "batch", "steps", "minutes", "validation PSNR"]
    return [
        "## Networks",
        "",
        "Trained from random weights. Steps are as many as fit into the same time, by each network's own measured "
        "speed; minutes are those of the steps, compilation included. Validation is on held-back shapes of the data "
        "each was trained on; an image network's is of its own shader.",
        "",
        *table(heads, rows),
    ]


def _baselines(report: dict, ending: str) -> list[str]:
    folder = f"scores/baselines{ending}"
    scores = report["scores"][folder]
    lines = [
        _title("baselines", ending),
        "",
        f"{len(scores['meshes'])} meshes, {len(scores['skipped'])} passed over. The weights that ship go by their own "
        f"name. By category, closed and open meshes: [scores]({folder}/report.md).",
        "",
        *scores_table(scores["mean"], COLUMNS),
        "Over the object alone:",
        "",
        *scores_table(scores["mean"], FOREGROUND),
        f"![one view of some meshes]({folder}/sheet.png)",
        "",
    ]
    if "robustness" not in scores:
        return lines
    cases = scores["robustness"]
    lines += ["### Robustness", "", "Some of the meshes, one view each, Phong over the full frame, then mask IoU.", ""]
    for figure, digits in (("phong", 2), ("mask_iou", 3)):
        columns = {case: bold_cells(means, {figure: (figure, digits)}) for case, means in cases.items()}
        methods = list(next(iter(columns.values()), {}))
        lines += table(
            ["method", "voxels", *columns],
            [[*split_method(method), *(column[method][0] for column in columns.values())] for method in methods],
        )
    return lines


def _image_mode(plan: Plan, report: dict) -> list[str]:
    """The four image networks beside the G-buffer network, each shader over the frame and the object."""
    folder = "scores/image-mode"
    means, network = report["scores"][folder]["mean"], plan.scale.contenders[0].name
    rows, pictures = [], []
    for shader in plan.scale.shaders:
        columns = (shader, f"{shader}_foreground")
        pair = [means[f"{label} coverage"] for label in (image_run(shader), network)]
        rows.append([shader, *(show(each[column]) for column in columns for each in pair)])
        step = _figures(report, train_name(image_run(shader)))["steps"]
        run = f"runs/{image_run(shader)}"
        pictures += [
            f"{shader}, validation views; the labels tell reference and network apart:",
            "",
            f"![{shader}]({run}/sheets/{step:07d}.png)",
            "",
        ]
    return [
        _title("image-mode", ""),
        "",
        "One network for each shader, light fixed, from coverage voxels, beside the G-buffer network, which draws all "
        "of them; how long each was trained is told above.",
        "",
        *table(["shader", "image network", "G-buffer network", "object: image", "object: G-buffer"], rows),
        f"![one view of some meshes]({folder}/sheet.png)",
        "",
        *pictures,
    ]


def _generalisation(plan: Plan, report: dict, ending: str) -> list[str]:
    """By category, the network trained on chairs beside that trained on everything."""
    folder = f"scores/generalisation{ending}"
    network = plan.scale.contenders[0].name
    heads = ["category", "meshes"]
    heads += [f"{label}, {occupancy}" for occupancy in OCCUPANCIES for label in ("chairs alone", "all families")]
    heads += ["mask IoU, chairs alone", "mask IoU, all families"]
    rows = []
    for name, group in report["generalisation"][folder].items():
        mean = {(run, o): group["mean"][f"{run} {o}"] for run in (CHAIRS_RUN, network) for o in OCCUPANCIES}
        phong = [show(mean[run, occupancy]["phong"]) for occupancy in OCCUPANCIES for run in (CHAIRS_RUN, network)]
        iou = [show(mean[run, "coverage"]["mask_iou"], 3) for run in (CHAIRS_RUN, network)]
        rows.append([name, str(group["meshes"]), *phong, *iou])
    return [
        _title("generalisation", ending),
        "",
        f"The same network, trained for the same time on {plan.scale.chairs} chairs and nothing else, or on all "
        "families. Phong over the full frame, by voxels; mask IoU from coverage voxels.",
        "",
        *table(heads, rows),
        f"![one view of some meshes]({folder}/sheet.png)",
        "",
    ]


def _stages(report: dict) -> list[str]:
    rows = []
    for name, record in report["stages"].items():
        command = (
            f"`{show_command(record['launcher'], record['flags'])}`" if record["launcher"] else "(meshes to score)"
        )
        rows.append([name, show(record["seconds"], 0), command])
    about = "Run in the folder of this report; seconds are those of the last start of a stage that was interrupted."
    return ["## Stages", "", about, "", *table(["stage", "seconds", "command"], rows)]


def _title(name: str, ending: str) -> str:
    return f"## {SCORES[name]}{', on your meshes' if ending else ''}"


def _figures(report: dict, stage: str) -> dict:
    return report["stages"][stage]["figures"]
