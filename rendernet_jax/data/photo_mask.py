"""Where the object of a photo is: against a plain background by colour, against any other by OpenCV's GrabCut.

Distances are those of CIELAB, where 100 lies between black and white and about 2 is the least that is seen.
"""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from rendernet_jax.errors import InputError

PLAIN, GRABCUT = "plain background", "grabcut"
COVERAGE = (0.002, 0.98)  # least and largest share of a photo that counts as an object in it
_WORKING_SIDE, _LEAST_SIDE = 1024, 16  # pixels: larger photos are made smaller before anything is looked for
_GRABCUT_SIDE = 320  # pixels: GrabCut takes long for larger photos, and finds no more in them
_RING = 0.02  # of the shorter side: the border that tells the background
_SCALES = (40.0, 20.0, 10.0, 5.0, 5.0)  # what counts as near while the background is fitted
_NEAR, _NOISE = 4.0, 3.0  # from the fitted background: at least, and in units of the border's median distance
_NOISY = 10.0  # a background whose "near" is farther than this is not plain
_GRAIN = 1.0  # pixels, deviation of the blur that evens out a noisy photo
_PLAIN_SHARE = 0.7  # of the border that must be near it, and of three of its sides
_SHADOW_DEPTH, _SHADOW_TINT, _SHADOW_SLOPE = 35.0, 6.0, 1.0  # other lightness, other colour, change from pixel to pixel
_HOLE = 0.6  # of "near": what is enclosed must be this much nearer to count as background
_GAP = 0.015  # of the longer side: pieces closer than this belong together
_PIECE = 0.1  # of the largest piece: smaller ones far from it are dropped
_SPECK, _PINHOLE = 1e-3, 2e-4  # of the largest piece: smaller ones, and smaller holes, are noise
_RIM = 2  # pixels
_BLOCK, _RINGING = 15, 0.08  # pixels; what JPEG leaves that far from an edge, of the edge's height
_ITERATIONS = 5  # of GrabCut
_EIGHT = np.ones((3, 3), bool)


def find_mask(photo: np.ndarray) -> tuple[np.ndarray, str]:
    """Find the one object in a photo.

    Args:
        photo: uint8 ``[H, W, 3]``.

    Returns:
        The part of each pixel that the object covers, uint8 ``[H, W]`` (255 is all of it), and how it was found.

    Raises:
        InputError: nothing found, or a background that is not plain while OpenCV is missing.
    """
    height, width = photo.shape[:2]
    small = _shrink(photo, _WORKING_SIDE)
    lab = _to_lab(small)
    offset, near, share = _fit_background(lab)
    if near > _NOISY:  # perhaps no more than a sensor's grain
        lab = _to_lab(np.asarray(Image.fromarray(small).filter(ImageFilter.GaussianBlur(_GRAIN))))
        offset, near, share = _fit_background(lab)
    if share >= _PLAIN_SHARE and near <= _NOISY:
        mask, source = _find_against_plain(lab[..., 0], offset, near), PLAIN
    else:
        small = _shrink(small, _GRABCUT_SIDE)
        mask, source = _clean(_grabcut(small), small.shape[:2]).astype(np.float32), GRABCUT
    covered = (mask > 0.5).mean()
    if not COVERAGE[0] <= covered <= COVERAGE[1]:
        raise InputError(
            f"expected one object that stands out from the background, got {100 * covered:.1f}% of the photo ({source})"
            "; give --mask, white where the object is"
        )
    picture = Image.fromarray(np.rint(255 * mask).astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.BILINEAR)), source


def _shrink(photo: np.ndarray, most: int) -> np.ndarray:
    """The photo with no side longer than ``most`` pixels, and none much shorter than it takes to find something."""
    lengths = photo.shape[1::-1]
    shrink = max(1.0, max(lengths) / most)
    size = [max(round(length / shrink), min(length, _LEAST_SIDE)) for length in lengths]
    return np.asarray(Image.fromarray(photo).resize(size, Image.BOX))


def _to_lab(photo: np.ndarray) -> np.ndarray:
    """CIELAB of sRGB bytes, white D65 (CIE 15; IEC 61966-2-1)."""
    c = np.arange(256, dtype=np.float32) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)[photo]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    t = linear @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _fit_background(lab: np.ndarray) -> tuple[np.ndarray, float, float]:
    """A quadratic in the pixel's place through the border's colours, whatever else touches the border.

    Returns:
        Difference from it ``[H, W, 3]``, the distance that counts as near, and the near share of the border: of all of
        it, or of its second worst side where that is less (an object may leave the photo on one side).
    """
    height, width = lab.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    wide = _border_width((height, width))
    ring = np.ones((height, width), bool)
    ring[wide:-wide, wide:-wide] = False
    terms, colors = basis[ring], lab[ring]
    offset = colors - np.median(colors, 0)
    for scale in _SCALES:
        weight = 1 / (1 + (np.linalg.norm(offset, axis=-1) / scale) ** 2)  # square root of Geman and McClure's
        fitted = np.linalg.lstsq(terms * weight[:, None], colors * weight[:, None], rcond=None)[0]
        offset = colors - terms @ fitted
    near = max(_NEAR, _NOISE * float(np.median(np.linalg.norm(offset, axis=-1))))
    offset = lab - basis @ fitted
    is_near = np.linalg.norm(offset, axis=-1) < near
    sides = is_near[:wide], is_near[-wide:], is_near[:, :wide], is_near[:, -wide:]
    return offset, near, float(min(is_near[ring].mean(), sorted(side.mean() for side in sides)[1]))


def _border_width(shape: tuple[int, int]) -> int:
    return max(1, round(_RING * min(shape)))


def _find_against_plain(lightness: np.ndarray, offset: np.ndarray, near: float) -> np.ndarray:
    """Covered part of each pixel ``[H, W]``, from its difference to the background."""
    distance = np.linalg.norm(offset, axis=-1)
    near = np.maximum(near, _RINGING * ndimage.maximum_filter(distance, _BLOCK))
    background = distance < near
    tint = np.linalg.norm(offset[..., 1:], axis=-1)
    slope = ndimage.gaussian_gradient_magnitude(lightness, 1.0)
    shadow = (tint < _SHADOW_TINT) & (np.abs(offset[..., 0]) < _SHADOW_DEPTH) & (slope < _SHADOW_SLOPE)
    outside = _flood(background, background | shadow)
    holes = (distance < _HOLE * near) & ~outside
    # What lies between near and much nearer counts with the hole that it surrounds.
    holes = ndimage.binary_propagation(holes, mask=background & ~outside)
    found = _clean(~outside & ~holes, distance.shape)
    return _soften(found, distance)


def _flood(background: np.ndarray, passable: np.ndarray) -> np.ndarray:
    """What is reached from the border: through the background, and into soft shadows by ways three pixels wide."""
    border = np.zeros_like(background)
    border[[0, -1]] = border[:, [0, -1]] = True
    reached = ndimage.binary_propagation(border & background, mask=background)
    wide = ndimage.binary_erosion(passable, _EIGHT, border_value=1)
    shaded = ndimage.binary_propagation(reached & wide, mask=wide)
    return reached | (ndimage.binary_dilation(shaded, _EIGHT) & passable)


def _clean(found: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Only the main pieces and what is near them, without specks and tiny holes; bool ``[H, W]``."""
    pieces, areas = _label(found)
    if not areas.size:
        return found
    pinhole = _PINHOLE * areas.max()
    kept = np.isin(pieces, 1 + np.flatnonzero(areas >= _SPECK * areas.max()))
    reach = max(1, round(_GAP * max(shape) / 2))
    groups, _ = _label(ndimage.distance_transform_edt(~kept) <= reach)
    areas = np.bincount(groups[kept])
    kept &= np.isin(groups, np.flatnonzero(areas >= _PIECE * areas.max()))
    holes, areas = _label(~kept, None)
    return kept | np.isin(holes, 1 + np.flatnonzero(areas < pinhole))


def _label(chosen: np.ndarray, neighbours=_EIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Connected pieces, numbered from 1, and the area of each."""
    pieces, _ = ndimage.label(chosen, neighbours)
    return pieces, np.bincount(pieces.ravel())[1:]


def _soften(found: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Pixels of the rim, in part background, count by how much of the object's colour they have."""
    rim = found & ndimage.binary_dilation(~found, _EIGHT, iterations=_RIM)
    inner = ndimage.maximum_filter(np.where(found, distance, 0), 2 * _RIM + 1)
    part = np.clip((distance / np.maximum(inner, 1e-6) - _RINGING) / (1 - 2 * _RINGING), 0, 1)
    return np.where(rim, part, found).astype(np.float32)


def _grabcut(photo: np.ndarray) -> np.ndarray:
    """OpenCV's GrabCut (Rother, Kolmogorov, Blake 2004), told only that the border is background; bool ``[H, W]``."""
    cv2 = _import_opencv()
    labels = np.full(photo.shape[:2], cv2.GC_PR_FGD, np.uint8)
    wide = _border_width(photo.shape[:2])
    labels[:wide] = labels[-wide:] = cv2.GC_BGD
    labels[:, :wide] = labels[:, -wide:] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its mixtures start from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        bgr = np.ascontiguousarray(photo[..., ::-1])
        labels = cv2.grabCut(bgr, labels, None, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)[0]
    except cv2.error as error:
        reason = " ".join(str(error).split())  # OpenCV's go over several lines
        raise InputError(f"expected an object to find, got none by GrabCut ({reason}); give --mask") from error
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _import_opencv():
    try:
        import cv2
    except (ImportError, OSError) as error:
        raise InputError(
            f"expected a plain background, or OpenCV to find the object before another, got {error}; "
            "install rendernet_jax[photo], or give --mask, white where the object is"
        ) from error
    return cv2
