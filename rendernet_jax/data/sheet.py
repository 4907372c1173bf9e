"""Sheets of labelled pictures, and the one place where float pictures become bytes of PNG and GIF files."""

import io
import pathlib
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rendernet_jax.data.optional import import_ffmpeg
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_atomically

_GAP = 4  # pixels between pictures
_FONT_SIZE = 12
_CLEAR = 255  # palette index of a GIF's transparent colour
_BACKGROUND = (224, 224, 224)  # not white, so that a picture's own white background shows its edge


def to_bytes(picture) -> np.ndarray:
    """Picture ``[H, W]`` or ``[H, W, 1|3|4]``, float in [0, 1] or uint8 -> uint8 ``[H, W, 3|4]``, ``round(255 v)``.

    Raises:
        InputError: another shape, or NaN or infinity.
    """
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4) or 0 in picture.shape:
        raise InputError(f"picture: expected [H, W] or [H, W, 1, 3 or 4], got {picture.shape}")
    if picture.dtype != np.uint8:
        if bad := int((~np.isfinite(picture)).sum()):
            raise InputError(f"picture: expected finite numbers, got {bad} that are NaN or infinite; correct its maker")
        picture = np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def save_png(path, picture) -> None:
    """Write a picture (see :func:`to_bytes`) as PNG, atomically: a reader sees the old file or the whole new one."""
    content = io.BytesIO()
    Image.fromarray(to_bytes(picture)).save(content, format="PNG")
    write_atomically(path, content.getvalue())


def save_gif(path, frames: Sequence, seconds: float = 4.0) -> None:
    """Write pictures of one size (see :func:`to_bytes`) as an endless GIF lasting about ``seconds`` a turn, atomically.

    GIF knows no partial cover: a pixel of an RGBA picture is transparent where it is less than half covered.
    """
    images = [Image.fromarray(to_bytes(frame)) for frame in frames]
    options = {"duration": max(20, round(100 * seconds / len(images)) * 10), "loop": 0}
    if images[0].mode == "RGBA":
        images = [_one_bit_cover(image) for image in images]
        options |= {"transparency": _CLEAR, "disposal": 2, "optimize": False}
    content = io.BytesIO()
    images[0].save(content, format="GIF", save_all=True, append_images=images[1:], **options)
    write_atomically(path, content.getvalue())


def save_mp4(path, frames: Sequence, seconds: float = 4.0) -> None:
    """Write pictures of one size (see :func:`to_bytes`) as an H.264 film of about ``seconds``, atomically.

    An odd row or column at the end is left out: the format wants even sides. What is transparent shows white.

    Raises:
        InputError: imageio-ffmpeg is not installed, or ffmpeg fails.
    """
    ffmpeg = import_ffmpeg().get_ffmpeg_exe()
    pixels = [np.asarray(_on_white(to_bytes(frame))) for frame in frames]
    height, width = (side // 2 * 2 for side in pixels[0].shape[:2])
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(max(1.0, len(frames) / seconds))]
    with tempfile.TemporaryDirectory() as folder:
        film = pathlib.Path(folder) / "film.mp4"
        command = [ffmpeg, "-loglevel", "error", *raw, "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(film)]
        content = b"".join(frame[:height, :width].tobytes() for frame in pixels)
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise InputError(f"mp4: expected ffmpeg to write a film, got {reason}; use a GIF")
        write_atomically(path, film.read_bytes())


def _on_white(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _one_bit_cover(image: Image.Image) -> Image.Image:
    colors = image.convert("RGB").quantize(_CLEAR)
    colors.paste(_CLEAR, mask=image.getchannel("A").point(lambda alpha: 255 * (alpha < 128)))
    return colors


def picture_sheet(
    rows: Sequence[Sequence], row_labels: Sequence[str] = (), column_labels: Sequence[str] = (), cell: int | None = None
) -> np.ndarray:
    """Lay out pictures in a grid, each row labelled at its left and each column above.

    Args:
        rows: rows of pictures (see :func:`to_bytes`), of any sizes; a row may be shorter, and None leaves a gap.
        row_labels: one for each row, or none.
        column_labels: one for each column, or none.
        cell: side in pixels that every picture is resized into, its aspect kept; by default the largest picture's.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        InputError: no picture, or labels that do not fit the rows or columns.
    """
    pictures = [[None if p is None else Image.fromarray(to_bytes(p)).convert("RGB") for p in row] for row in rows]
    present = [p for row in pictures for p in row if p is not None]
    columns = max((len(row) for row in pictures), default=0)
    if not present:
        raise InputError("rows: expected at least one picture, got none")
    for name, labels, count in (("row_labels", row_labels, len(pictures)), ("column_labels", column_labels, columns)):
        if len(labels) not in (0, count):
            raise InputError(f"{name}: expected {count} or none, got {len(labels)}")
    cell = cell or max(max(p.size) for p in present)
    font = ImageFont.load_default(_FONT_SIZE)
    left = _GAP + max((int(font.getlength(label)) + _GAP for label in row_labels), default=0)
    top = _GAP + (_FONT_SIZE + 2 * _GAP if column_labels else 0)
    step = cell + _GAP
    sheet = Image.new("RGB", (left + columns * step, top + len(pictures) * step), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, label in enumerate(column_labels):
        draw.text((left + index * step + cell // 2, top // 2), label, fill="black", font=font, anchor="mm")
    for index, label in enumerate(row_labels):
        draw.text((_GAP, top + index * step + cell // 2), label, fill="black", font=font, anchor="lm")
    for row, line in enumerate(pictures):
        for column, picture in enumerate(line):
            if picture is not None:
                picture = _fit(picture, cell)
                offset = ((cell - picture.width) // 2, (cell - picture.height) // 2)
                sheet.paste(picture, (left + column * step + offset[0], top + row * step + offset[1]))
    return np.asarray(sheet)


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    ratio = cell / max(picture.size)
    size = tuple(max(1, round(side * ratio)) for side in picture.size)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.BOX)
