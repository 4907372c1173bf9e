"""A scoreboard's report as a reader sees it: Markdown tables, and a sheet of pictures with maps of their errors."""

from collections.abc import Sequence

import numpy as np

from rendernet_jax import rendering
from rendernet_jax.camera import Pose
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.data.sheet import picture_sheet, to_bytes
from rendernet_jax.evaluation import show
from rendernet_jax.mesh_scores import Scored

LARGEST_ERROR = 0.5  # absolute difference that an error map draws white
COLUMNS = {  # heading of each figure, and its digits
    "phong": ("Phong", 2),
    "phong_foreground": ("Phong, object", 2),
    "phong_ssim": ("SSIM", 3),
    "normal": ("normal", 2),
    "ao": ("ao", 2),
    "toon": ("toon", 2),
    "contour": ("contour", 2),
    "depth": ("depth", 2),
    "mask_iou": ("mask IoU", 3),
}
FOREGROUND = {f"{name}_foreground": COLUMNS[name] for name in ("phong", "normal", "ao", "toon", "contour", "depth")}
_CELL = 200  # pixels
_ERROR = ": error"  # ends the name of an error map's column


def markdown(report: dict) -> str:
    """Tables of a report (see :func:`rendernet_jax.scoreboard.run`): all meshes, categories, closed and open ones."""
    settings = report["settings"]
    lines = [
        "# Scores",
        "",
        f"{_count(len(report['meshes']), 'mesh', 'meshes')}, {_count(len(settings['views']), 'view', 'views')} each, "
        f"{settings['size']} x {settings['size']} "
        f"pixels, {settings['grid']}^3 voxels, against ray tracing of the mesh. PSNR in dB over the full frame, over "
        "the object alone where it says so; means over views, then over meshes. Bold: the best from the same voxels.",
        "",
        *_weights_table(report["weights"]),
        *_section("## All meshes", report["mean"], COLUMNS),
        *_section("## All meshes, over the object alone", report["mean"], FOREGROUND),
    ]
    for title, kind in (("By category", "categories"), ("Closed and open meshes", "surfaces")):
        lines += [f"## {title}", ""]
        for name, group in report[kind].items():
            lines += _section(f"### {name}: {_count(group['meshes'], 'mesh', 'meshes')}", group["mean"], COLUMNS)
    if "robustness" in report:
        lines += _robustness(report["robustness"])
    if report["skipped"]:
        lines += ["## Passed over", "", *(f"- {name}: {reason}" for name, reason in report["skipped"].items()), ""]
    return "\n".join([*lines, "![one view of some meshes](sheet.png)", ""])


def _weights_table(weights: dict) -> list[str]:
    rows = [[label, each["network"], each["weights"], each["sha256"][:12]] for label, each in weights.items()]
    return table(["label", "network", "weights", "sha256"], rows)


def _section(title: str, means: dict[str, dict], columns: dict) -> list[str]:
    return [title, "", *scores_table(means, columns)]


def scores_table(means: dict[str, dict], columns: dict) -> list[str]:
    """Markdown lines of methods' figures, one row a method; ``columns`` as :data:`COLUMNS`."""
    rows = [[*split_method(method), *cells] for method, cells in bold_cells(means, columns).items()]
    return table(["method", "voxels", *(heading for heading, _ in columns.values())], rows)


def _robustness(robustness: dict) -> list[str]:
    cases = robustness["cases"]
    some = _count(len(robustness["meshes"]), "mesh", "meshes")
    lines = ["## Robustness", "", f"{some}, one view each. `usual` is the input of the tables above.", ""]
    for title, figure, digits in (("### Phong, full frame", "phong", 2), ("### Mask IoU", "mask_iou", 3)):
        cells = {case: bold_cells(each["mean"], {figure: (figure, digits)}) for case, each in cases.items()}
        rows = [
            [*split_method(method), *(cells[case][method][0] for case in cases)]
            for method in next(iter(cells.values()))
        ]
        lines += [title, "", *table(["method", "voxels", *cases], rows)]
    return lines


def bold_cells(means: dict[str, dict], columns: dict) -> dict[str, list[str]]:
    """Each method's figures as text, in bold where none from the same voxels is better."""
    best = {}
    for method, figures in means.items():
        for name in columns:
            if figures[name] is not None:
                key = split_method(method)[1], name
                best[key] = max(best.get(key, figures[name]), figures[name])
    return {
        method: [
            f"**{show(figures[name], digits)}**"
            if figures[name] is not None and figures[name] == best[split_method(method)[1], name]
            else show(figures[name], digits)
            for name, (_, digits) in columns.items()
        ]
        for method, figures in means.items()
    }


def split_method(method: str) -> list[str]:
    """Label and voxels of a method's name."""
    return method.rsplit(" ", 1)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown lines of a table, and an empty one."""
    line = lambda cells: f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"  # noqa: E731
    return [line(headings), line(["---"] * len(headings)), *map(line, rows), ""]


# --- pictures -------------------------------------------------------------------------------------------------------


def sheet_row(scored: Scored, shown: dict[str, str], pose: Pose) -> dict[str, np.ndarray]:
    """One mesh's pictures by column, uint8: references; then for each kind of voxels these, every method, its errors.

    All are cut to the square around the object.

    Args:
        scored: the mesh in some case.
        shown: by method, the output that is shown of it.
        pose: of the pictures.
    """
    outputs = dict.fromkeys(["phong", *shown.values()])
    row = {f"reference {output}": scored.reference[output] for output in outputs}
    for occupancy, grid in scored.voxels.items():
        row[f"voxels {occupancy}"] = draw_voxels(grid, pose, len(scored.reference["mask"]))
        for method, output in shown.items():
            if split_method(method)[1] == occupancy:
                row[method] = scored.pictures[method][output]
                row[method + _ERROR] = error_map(row[method], scored.reference[output])
    part = _around(scored.reference["mask"])
    return {column: to_bytes(picture[part]) for column, picture in row.items()}


def _around(mask: np.ndarray) -> tuple[slice, slice]:
    """The square around what a mask ``[H, W, 1]`` covers, with a margin; the whole frame if that is nothing."""
    rows, columns = np.nonzero(mask[..., 0])
    if not len(rows):
        return slice(None), slice(None)
    size = len(mask)
    side = max(np.ptp(rows), np.ptp(columns)) + 1 + size // 16
    starts = [int(np.clip((x.min() + x.max() + 1 - side) // 2, 0, max(size - side, 0))) for x in (rows, columns)]
    return tuple(slice(start, start + side) for start in starts)


def sheet(rows: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """Sheet of rows from :func:`sheet_row` by mesh, uint8 ``[H, W, 3]``."""
    columns = next(iter(rows.values()))
    labels = [f"error, 0 to {LARGEST_ERROR}" if name.endswith(_ERROR) else _ending(name, 30) for name in columns]
    return picture_sheet([list(row.values()) for row in rows.values()], [_ending(n, 30) for n in rows], labels, _CELL)


def _ending(text: str, length: int) -> str:
    return text if len(text) <= length else "..." + text[3 - length :]


def error_map(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Absolute difference of two pictures ``[H, W, C]``, mean over channels, as colours ``[H, W, 3]``.

    Black, red, yellow, white at 0, 1/3, 2/3, 1 of :data:`LARGEST_ERROR`.
    """
    heat = 3.0 / LARGEST_ERROR * np.abs(picture - reference).mean(axis=-1, keepdims=True)
    return np.clip(heat - np.arange(3, dtype=np.float32), 0.0, 1.0)


def draw_voxels(grid: np.ndarray, pose: Pose, size: int) -> np.ndarray:
    """Voxels ``[X, Y, Z, C]`` ray traced as blocks, the less in one, the darker it is.

    Returns:
        ``[size, size, 3]``, all white if the grid is empty.
    """
    if not (grid[..., 0] > 0).any():
        return np.ones((size, size, 3), np.float32)
    scene = build_scene(voxel_blocks(grid))
    return reference_pictures(scene, pose, rendering.DEFAULT_LIGHT, size, ("colour",))["colour"]


def voxel_blocks(grid: np.ndarray) -> Mesh:
    """Faces between the voxels of a grid ``[X, Y, Z, C]`` that hold something and those that hold nothing.

    They have the grey of their voxel: 0.4 if it is nearly empty, 1 if it is full; times its colour where C is 4.
    """
    value = np.pad(grid[..., 0], 1)
    colors = grid[..., 1:] if grid.shape[3] == 4 else np.ones((*grid.shape[:3], 3), np.float32)
    vertices, shades = [], []
    for axis in range(3):
        for side in (0, 1):
            exposed = np.argwhere((value > 0) & (np.roll(value, 1 - 2 * side, axis) <= 0))
            corners = np.repeat(exposed[:, None] - 1.0, 4, axis=1)
            corners[..., axis] += side
            for other, steps in zip(({0, 1, 2} - {axis}), ((0, 1, 1, 0), (0, 0, 1, 1)), strict=True):
                corners[..., other] += steps
            vertices.append(corners.reshape(-1, 3))
            shade = 0.4 + 0.6 * value[tuple(exposed.T)][:, None]
            shades.append(np.repeat(shade * colors[tuple(exposed.T - 1)], 4, axis=0))
    vertices, shades = np.concatenate(vertices), np.concatenate(shades)
    first = np.arange(0, len(vertices), 4)[:, None]
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]])
    return Mesh(vertices / grid.shape[:3] - 0.5, faces, shades)
