"""One photo of one object, made ready for fitting: a centred square picture and the object's mask in it."""

import dataclasses
import io
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rendernet_jax.data.photo_mask import COVERAGE, find_mask
from rendernet_jax.data.picture_files import MAX_BYTES
from rendernet_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")
MIN_SIDE = 16  # pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A photo, the square around it, and where its object is.

    The square is centred on the photo and as wide as its longer side; what it has beyond the photo is white.
    """

    picture: np.ndarray  # float32 [S, S, 3] in [0, 1], the square as photographed
    mask: np.ndarray  # float32 [S, S, 1], the part of each pixel that the object covers
    original: np.ndarray  # uint8 [H, W, 3], the photo in its own size; what is transparent shows white
    left: int  # first column of the square in the photo's pixels; negative where the photo is padded
    top: int  # first row, likewise
    side: int  # of the square, in the photo's pixels
    source: str  # how the mask was found: "given", "alpha", "plain background" or "grabcut"


def load_photo(path, mask=None, size: int = 256) -> Photo:
    """Read a photo, turned as its EXIF data say, and find its object.

    The mask is the file given, else the alpha channel if the photo is a cut-out, else what stands out from a plain
    background, else what GrabCut finds.

    Args:
        path: a PNG, JPEG or WebP file.
        mask: such a file of the same height and width: its alpha channel if it has one, else its brightness.
        size: of the square picture, S, in pixels.

    Raises:
        InputError: a file that is missing, damaged, too large or of another format; a mask of another size or an empty
            one; a photo that is transparent everywhere; no object found.
    """
    content, alpha = _read(path, "photo")
    given = None if mask is None else _read_mask(mask, content.shape[:2])
    try:
        found, source = (given, "given") if given is not None else _own_mask(content, alpha)
    except InputError as error:
        raise InputError(f"photo {path}: {error}") from error
    height, width = content.shape[:2]
    side = max(height, width)
    left, top = -((side - width) // 2), -((side - height) // 2)
    window = (top, side, size), (left, side, size)
    return Photo(
        picture=np.clip(_resample(content, *window, pad=255) / 255, 0, 1),
        mask=np.clip(_resample(found[..., None], *window, pad=0) / 255, 0, 1),
        original=content,
        left=left,
        top=top,
        side=side,
        source=source,
    )


def paste_back(photo: Photo, picture: np.ndarray) -> np.ndarray:
    """A picture of the square ``[S, S, C]``, as the photo's own pixels see it: float32 ``[H, W, C]``.

    Raises:
        InputError: the picture is not square.
    """
    picture = np.asarray(picture, np.float32)
    if picture.ndim != 3 or picture.shape[0] != picture.shape[1]:
        raise InputError(f"picture: expected [S, S, C], got {picture.shape}; give the square that was fitted")
    height, width = photo.original.shape[:2]
    unit = len(picture) / photo.side  # the square's pixels for one of the photo's
    rows, columns = (-photo.top * unit, height * unit, height), (-photo.left * unit, width * unit, width)
    return _resample(picture, rows, columns, pad=0)


def _read(path, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours on white, uint8 ``[H, W, 3]``, and alpha ``[H, W]`` if there is any."""
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{what} {path}: expected at most {MAX_BYTES} bytes, got more; make it smaller")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what} {path}: expected a file, got {error.strerror}; check the path") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _decode(image)
    except UnidentifiedImageError as error:
        got = "an empty file" if not content else "another format"
        raise InputError(f"{what} {path}: expected {', '.join(FORMATS)}, got {got}; convert it") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = Image.MAX_IMAGE_PIXELS
        raise InputError(f"{what} {path}: expected at most {most} pixels, got more; make it smaller") from error
    except InputError as error:
        raise InputError(f"{what} {path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise InputError(f"{what} {path}: expected a whole file, got a damaged one ({error})") from error


def _decode(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if min(image.size) < MIN_SIDE:
        raise InputError(f"expected at least {MIN_SIDE} pixels a side, got {image.width} x {image.height}")
    if image.mode.startswith(("I", "F")):
        raise InputError(f"expected 8 bits a channel, got mode {image.mode!r}; convert it")
    image = ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB")), None
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB")), np.asarray(image.getchannel("A"))


def _read_mask(path, shape: tuple[int, int]) -> np.ndarray:
    color, alpha = _read(path, "mask")
    mask = np.asarray(Image.fromarray(color).convert("L")) if alpha is None or alpha.min() == 255 else alpha
    if mask.shape != shape:
        sizes = [f"{width} x {height}" for height, width in (shape, mask.shape)]
        raise InputError(f"mask {path}: expected the photo's {sizes[0]} pixels, got {sizes[1]}; resize it")
    _require_some(mask, f"mask {path}: ")
    return mask


def _own_mask(content: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Mask uint8 ``[H, W]`` and how it was found."""
    # A window's rounded corners, or a haze over the whole, cut nothing out.
    if alpha is None or (alpha > 127).mean() > COVERAGE[1]:
        return find_mask(content)
    if not alpha.any():
        raise InputError("expected an object in the alpha channel, got one that is transparent everywhere; give --mask")
    _require_some(alpha, "alpha channel: ")
    return alpha, "alpha"


def _require_some(mask: np.ndarray, name: str) -> None:
    if mask.max() <= 127:
        raise InputError(f"{name}expected white where the object is, got nothing above half, {mask.max()} at most")


def _resample(picture: np.ndarray, rows: tuple, columns: tuple, pad: float) -> np.ndarray:
    """Cut a window ``(start, length, size)`` of rows and of columns, in pixels, to ``[size, size', C]`` float32.

    Means over areas where that is smaller, linear between pixel centres where it is larger; ``pad`` outside.
    """
    return _resample_rows(_resample_rows(picture, rows, pad).swapaxes(0, 1), columns, pad).swapaxes(0, 1)


def _resample_rows(picture: np.ndarray, window: tuple[float, float, int], pad: float) -> np.ndarray:
    # Row by row and without building the padded square, which can be a thousand times a long photo.
    start, length, size = window
    step, count = length / size, len(picture)
    out = np.full((size, *picture.shape[1:]), pad, np.float32)
    for i in range(size):
        low, high = np.clip((start + i * step, start + (i + 1) * step), 0, count)
        inside = (high - low) / step
        if inside <= 1e-9:
            continue
        if step < 1:
            center = np.clip(start + (i + 0.5) * step - 0.5, 0, count - 1)
            low, high = center, center + 1
        first, last = int(low), min(int(np.ceil(high)), count)
        pixels = np.arange(first, last)
        weight = np.minimum(pixels + 1, high) - np.maximum(pixels, low)
        mean = np.tensordot(np.float32(weight / weight.sum()), picture[first:last].astype(np.float32), 1)
        out[i] = inside * mean + (1 - inside) * pad
    return out
