"""The page of a reconstruction: one HTML file that holds its pictures, and can be mailed."""

import base64
import html
import io
import pathlib

import numpy as np
from PIL import Image

from rendernet_jax.evaluation import show

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; }
img { max-width: 300px; max-height: 300px; border: 1px solid #ccc; background: white; }
figcaption { color: #666; font-size: 13px; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border: 1px solid #ccc; padding: 2px 10px; text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""
_FIGURES = {
    "object.png": "what was taken for the object",
    "render.png": "fitted drawing",
    "overlay.png": "drawing over the photo",
    "normals.png": "normals",
    "turntable.gif": "turntable",
    "progress.gif": "how the fit went",
}

_MOST = 800  # pixels on a picture's longer side
_DOUBTFUL = 0.6  # mask IoU: pictures of slender chairs, fitted well, have more


def page(folder: pathlib.Path, fit: dict, history: list[dict], photo: np.ndarray) -> str:
    """HTML of a reconstruction.

    Args:
        folder: holds the pictures of the reconstruction already.
        fit: what fit.json holds.
        history: what history.jsonl holds.
        photo: uint8 ``[H, W, 3]``.
    """
    figures = [_figure("photo.png", _shrink(Image.fromarray(photo)), "photo")]
    for name, caption in _FIGURES.items():
        still = name.endswith(".png")
        content = _shrink(Image.open(folder / name)) if still else (folder / name).read_bytes()
        figures.append(_figure(name, content, caption))
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Reconstruction</title>",
        f"<style>{_STYLE}</style></head><body><h1>Reconstruction</h1>",
        _paragraph(_summary(fit)),
        *([_paragraph(doubt(fit))] if doubt(fit) else []),
        *figures,
        "<h2>Found</h2>",
        _table(["", *(f"candidate {i + 1}" for i in range(len(fit["candidates"])))], _candidate_rows(fit)),
        _paragraph(
            "Candidates are different poses, the best first: where their losses are close, the photo is ambiguous."
        ),
        "<h2>Progress</h2>",
        _table(
            ["stage", "seconds", "loss"], [[r["stage"], f"{r['seconds']:.1f}", f"{r['loss']:.3e}"] for r in history]
        ),
        _paragraph("Losses are of pictures of each stage's size: between stages they tell nothing."),
        _paragraph(f"Command: {fit.get('command', '')}"),
        "</body></html>",
    ]
    return "\n".join(parts)


def doubt(fit: dict) -> str:
    """What to look at first, where the drawing does not cover the object; nothing where it does."""
    if fit["mask_iou"] >= _DOUBTFUL:
        return ""
    return (
        f"Doubtful: the drawing and what was taken for the object have a mask IoU of {fit['mask_iou']:.2f} alone. "
        "If object.png does not show the whole object and nothing else, give --mask; otherwise check shape and --up."
    )


def _shrink(image: Image.Image) -> bytes:
    """PNG of a picture, no larger than a page shows it."""
    image.thumbnail((_MOST, _MOST))
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _summary(fit: dict) -> str:
    stopped = " The fit was interrupted: this is the best until then." if fit["interrupted"] else ""
    return (
        f"Mask IoU {fit['mask_iou']:.3f}, PSNR {show(fit['psnr'])} dB, loss {fit['loss']:.3e}, {fit['seconds']:.1f} s. "
        f"Mask: {fit['photo']['mask']}.{stopped}"
    )


def _candidate_rows(fit: dict) -> list[list[str]]:
    candidates = fit["candidates"]
    rows = [["loss", *(f"{c['loss']:.3e}" for c in candidates)]]
    for group in ("pose", "light"):
        for key in candidates[0][group]:
            rows.append([f"{group} {key}", *(_number(c[group][key]) for c in candidates)])
    return [*rows, ["albedo", *(_number(c["albedo"]) for c in candidates)]]


def _number(value) -> str:
    return ", ".join(f"{v:.2f}" for v in value) if isinstance(value, list) else f"{value:.2f}"


def _figure(name: str, content: bytes, caption: str) -> str:
    kind = pathlib.PurePath(name).suffix[1:]
    data = base64.b64encode(content).decode()
    image = f"<img src='data:image/{kind};base64,{data}' alt='{caption}'>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    line = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"  # noqa: E731
    return "<table>" + line(heads, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
