"""Photos made here: objects before plain, shaded and busy backgrounds, each way to a mask, and each bad file."""

import sys
import types

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from rendernet_jax.data.photo import load_photo, paste_back
from rendernet_jax.data.photo_mask import find_mask
from rendernet_jax.errors import InputError

WIDTH, HEIGHT = 200, 240
FINE = 4  # shapes are drawn this much larger, then made smaller, as a lens would


def chair(width=WIDTH, height=HEIGHT) -> np.ndarray:
    """Covered part of each pixel of a chair with a slatted back, legs and the holes between them, ``[H, W]``."""
    image = Image.new("L", (width * FINE, height * FINE))
    draw = ImageDraw.Draw(image)
    x, y = width * FINE / 100, height * FINE / 120

    def box(left, top, right, bottom, fill=255):
        draw.rectangle((left * x, top * y, right * x, bottom * y), fill=fill)

    box(30, 15, 70, 60)
    for left in (35, 47, 59):
        box(left, 20, left + 6, 55, 0)
    box(25, 60, 75, 68)
    for left in (27, 39, 57, 69):
        box(left, 68, left + 4, 105)
    return np.asarray(image.resize((width, height), Image.BOX)) / 255


def compose(cover, color, background) -> np.ndarray:
    """Colours in [0, 255], the object over its background, as bytes ``[H, W, 3]``."""
    cover = cover[..., None]
    return np.rint(np.clip(cover * color + (1 - cover) * background, 0, 255)).astype(np.uint8)


def iou(found, cover) -> float:
    found = np.asarray(found) / 255
    return np.minimum(found, cover).sum() / np.maximum(found, cover).sum()


def save(path, content, **options):
    Image.fromarray(content).save(path, **options)
    return path


def plain(tmp_path):
    return save(tmp_path / "photo.png", compose(chair(), (90, 60, 40), 255.0))


@pytest.mark.parametrize("color", [(90, 60, 40), (205, 205, 205), (240, 225, 200)])
def test_finds_chair_before_white(color):
    """Brown, light grey and cream; what is seen between slats and legs is background."""
    mask, source = find_mask(compose(chair(), color, 255.0))
    assert source == "plain background"
    assert iou(mask, chair()) > 0.96


def test_finds_chair_before_shaded_wall():
    """A wall that darkens to one side, with noise, in JPEG."""
    x = np.linspace(0, 1, WIDTH)[None, :, None]
    wall = (210, 200, 180) * (1 - 0.35 * x) * np.ones((HEIGHT, 1, 1))
    noise = np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH, 3))
    mask, source = find_mask(compose(chair(), (120, 40, 40), wall) + np.rint(noise).astype(np.uint8))
    assert source == "plain background"
    assert iou(mask, chair()) > 0.95


def test_grain_of_a_sensor_is_no_busy_background():
    """Noise of 8 levels in a dim photo, beyond what is near a plain colour."""
    noise = np.random.default_rng(0).normal(0, 8, (2 * HEIGHT, 2 * WIDTH, 3))
    cover = chair(2 * WIDTH, 2 * HEIGHT)
    mask, source = find_mask(compose(cover, (130, 80, 50), (150, 170, 200) + noise))
    assert source == "plain background"
    assert iou(mask, cover) > 0.95


def test_soft_shadow_is_background():
    """A blurred shadow on the floor is darker than any threshold on colour would let pass."""
    shade = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(shade).ellipse((20, 185, 180, 235), fill=255)
    shade = np.asarray(shade.filter(ImageFilter.GaussianBlur(14)))[..., None] / 255
    photo = compose(chair(), (90, 60, 40), 255 - 60 * shade)
    assert (photo[chair() == 0].min(-1) < 215).sum() > 1000
    assert iou(find_mask(photo)[0], chair()) > 0.95


def test_pale_cushion_in_frame_is_object():
    """Near the background's colour but not of it, and enclosed: part of the object, unlike a true hole."""
    y, x = np.mgrid[:200, :200] + 0.5
    ring = (np.hypot(x - 100, y - 100) < 70) * 1.0
    cushion, hole = (np.hypot(x - 75, y - 100) < 18), (np.hypot(x - 125, y - 100) < 18)
    photo = compose(ring, (80, 50, 30), 255.0)
    photo[cushion], photo[hole] = (246, 244, 240), 255
    mask = find_mask(photo)[0]
    assert mask[cushion].mean() > 250
    assert mask[hole].mean() < 20


def test_largest_object_and_what_is_near_it():
    y, x = np.mgrid[:300, :300] + 0.5
    parts = [
        np.hypot(x - cx, y - cy) < r for cx, cy, r in ((150, 150, 60), (150, 218, 6), (270, 30, 8), (20, 280, 1.2))
    ]
    mask = find_mask(compose(np.any(parts, 0) * 1.0, (200, 30, 30), 255.0))[0]
    body, near, far, speck = (mask[part].mean() for part in parts)
    assert min(body, near) > 200
    assert max(far, speck) == 0


def test_object_may_touch_the_border():
    cover = np.zeros((160, 160))
    cover[60:, 50:110] = 1
    mask, source = find_mask(compose(cover, (30, 70, 140), (200.0, 215.0, 200.0)))
    assert source == "plain background"
    assert iou(mask, cover) > 0.97


def test_large_photo_is_searched_small(tmp_path):
    cover = chair(1500, 1800)
    photo = load_photo(save(tmp_path / "large.jpg", compose(cover, (90, 60, 40), 250.0), quality=90))
    assert photo.original.shape == (1800, 1500, 3)
    assert iou(255 * paste_back(photo, photo.mask)[..., 0], cover) > 0.93


def test_square_is_padded_with_white(tmp_path):
    photo = load_photo(save(tmp_path / "p.png", compose(chair(), (90, 60, 40), (180.0, 190, 200))), size=120)
    assert (photo.left, photo.top, photo.side) == (-20, 0, 240)
    assert photo.picture.shape == (120, 120, 3) and photo.mask.shape == (120, 120, 1)
    assert photo.picture.dtype == photo.mask.dtype == np.float32
    np.testing.assert_array_equal(photo.picture[:, :10], 1)
    np.testing.assert_array_equal(photo.mask[:, -10:], 0)
    np.testing.assert_allclose(photo.picture[:, 10], np.tile(np.float32([180, 190, 200]) / 255, (120, 1)), atol=1e-6)


def test_areas_are_averaged(tmp_path):
    """Means over 2 x 2 pixels, and 2.5 x 2.5 with shares: the mean of the square stays."""
    content = np.random.default_rng(1).integers(0, 256, (50, 50, 3), np.uint8)
    mask = save(tmp_path / "mask.png", content[..., 0])
    path = save(tmp_path / "photo.png", content)
    halved = content.reshape(25, 2, 25, 2, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(load_photo(path, mask, 25).picture, halved, atol=1e-6)
    photo = load_photo(path, mask, 20)
    np.testing.assert_allclose(photo.picture.mean((0, 1)), content.mean((0, 1)) / 255, atol=1e-6)
    np.testing.assert_allclose(photo.mask.mean(), content[..., 0].mean() / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 41), (33, 64), (48, 48)])
def test_padding_round_trip(tmp_path, shape):
    content = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    mask = save(tmp_path / "mask.png", np.full(shape, 255, np.uint8))
    photo = load_photo(save(tmp_path / "photo.png", content), mask, size=max(shape))
    np.testing.assert_array_equal(np.rint(255 * paste_back(photo, photo.picture)), content)
    np.testing.assert_array_equal(paste_back(photo, photo.mask), 1)


def test_paste_back_keeps_places(tmp_path):
    """A ramp over the square, at another size, is the same ramp over the photo: no half-pixel shifts."""
    mask = save(tmp_path / "mask.png", np.full((40, 100), 255, np.uint8))
    photo = load_photo(save(tmp_path / "photo.png", np.zeros((40, 100, 3), np.uint8)), mask, size=50)
    for size in (50, 250):
        ramp = np.broadcast_to((np.arange(size) + 0.5)[:, None, None] / size, (size, size, 1))
        expected = (np.arange(40) + 0.5 + 30) / 100
        np.testing.assert_allclose(paste_back(photo, ramp)[:, 50, 0], expected, atol=3e-4)
    with pytest.raises(InputError, match="expected \\[S, S, C\\]"):
        paste_back(photo, ramp[1:])


def test_long_photo_needs_no_large_square(tmp_path):
    content = np.full((20, 60000, 3), 255, np.uint8)
    content[4:16, 20000:40000] = 30
    photo = load_photo(save(tmp_path / "long.png", content), size=64)
    assert photo.side == 60000
    assert photo.mask.sum() == pytest.approx(64 * 64 * 12 * 20000 / 60000**2, rel=0.3)


def test_exif_orientation(tmp_path):
    upright = compose(chair(), (90, 60, 40), 255.0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    path = save(tmp_path / "turned.png", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    np.testing.assert_array_equal(load_photo(path).original, upright)


def test_alpha_is_the_mask(tmp_path):
    """Even where colours would say otherwise; what is transparent shows white."""
    cover = np.rint(255 * chair()).astype(np.uint8)
    color = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    path = save(tmp_path / "cut.png", np.dstack([color, cover]))
    photo = load_photo(path, size=HEIGHT)
    assert photo.source == "alpha"
    np.testing.assert_allclose(photo.mask[:, 20:-20, 0], cover / 255, atol=1e-6)
    assert photo.original[0, 0].tolist() == [255] * 3


def test_full_alpha_says_nothing(tmp_path):
    content = compose(chair(), (90, 60, 40), 255.0)
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:3, :3] = 0
    assert load_photo(save(tmp_path / "corner.png", np.dstack([content, alpha]))).source == "plain background"


@pytest.mark.parametrize("kind", ["grey", "binary", "alpha", "color"])
def test_given_mask_comes_first(tmp_path, kind):
    cover = np.zeros((HEIGHT, WIDTH), np.uint8)
    cover[40:90, 50:150] = 255
    image = Image.fromarray(cover)
    if kind == "alpha":
        image = Image.merge("LA", (Image.new("L", image.size, 77), image))
    image = image.convert({"binary": "1", "color": "RGB"}.get(kind, image.mode))
    image.save(tmp_path / "mask.png")
    photo = load_photo(plain(tmp_path), tmp_path / "mask.png", size=HEIGHT)
    assert photo.source == "given"
    np.testing.assert_array_equal(photo.mask[:, 20:-20, 0], cover / np.float32(255))


def busy(tmp_path):
    """A chair before coarse stripes."""
    stripes = np.where(np.arange(WIDTH) // 12 % 2, 40.0, 220.0)[None, :, None] * np.ones((HEIGHT, 1, 3))
    return save(tmp_path / "busy.png", compose(chair(), (200, 30, 30), stripes))


def test_busy_background_without_opencv(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"rendernet_jax\[photo\].*--mask"):
        load_photo(busy(tmp_path))


def test_busy_background_goes_to_grabcut(tmp_path, monkeypatch):
    """A stand-in for OpenCV takes what its documentation asks for, and labels what is red."""
    cv2 = types.SimpleNamespace(GC_BGD=0, GC_FGD=1, GC_PR_BGD=2, GC_PR_FGD=3, GC_INIT_WITH_MASK=1, error=RuntimeError)
    cv2.seeds = []
    cv2.setRNGSeed = cv2.seeds.append

    def grab(image, mask, rect, background, foreground, iterations, mode):
        assert image.dtype == mask.dtype == np.uint8 and image.flags.c_contiguous and image.shape[:2] == mask.shape
        assert rect is None and mode == cv2.GC_INIT_WITH_MASK and iterations > 0
        assert background.shape == foreground.shape == (1, 65) and background.dtype == np.float64
        assert (mask[0] == cv2.GC_BGD).all() and mask[HEIGHT // 2, WIDTH // 2] == cv2.GC_PR_FGD
        blue, _, red = np.moveaxis(image.astype(int), -1, 0)
        return np.where(red - blue > 60, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8), background, foreground

    cv2.grabCut = grab
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    photo = load_photo(busy(tmp_path), size=HEIGHT)
    assert photo.source == "grabcut" and cv2.seeds
    assert iou(255 * photo.mask[:, 20:-20, 0], chair()) > 0.85

    def fail(*_):
        raise RuntimeError("no\n samples\n")

    cv2.grabCut = fail
    with pytest.raises(InputError, match="no samples.*--mask"):
        load_photo(busy(tmp_path))


def test_nothing_found(tmp_path):
    with pytest.raises(InputError, match="photo .*blank.png: expected one object .* got 0.0%"):
        load_photo(save(tmp_path / "blank.png", np.full((80, 80, 3), 240, np.uint8)))


def test_transparent_everywhere(tmp_path):
    with pytest.raises(InputError, match="transparent everywhere"):
        load_photo(save(tmp_path / "none.png", np.zeros((80, 80, 4), np.uint8)))


@pytest.mark.parametrize(
    "height, value, match", [(HEIGHT - 1, 255, "200 x 240 .* 200 x 239"), (HEIGHT, 120, "above half")]
)
def test_bad_mask(tmp_path, height, value, match):
    mask = save(tmp_path / "mask.png", np.full((height, WIDTH), value, np.uint8))
    with pytest.raises(InputError, match=f"mask .*mask.png: .*{match}"):
        load_photo(plain(tmp_path), mask)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:200])


def as_bmp(path):
    save(path, np.zeros((40, 40, 3), np.uint8), format="BMP")


def deep(path):
    save(path, np.zeros((40, 40), np.uint16), format="PNG")


def tiny(path):
    save(path, np.zeros((4, 40), np.uint8), format="PNG")


@pytest.mark.parametrize(
    "damage, match",
    [
        (lambda path: path.unlink(), "check the path"),
        (lambda path: (path.unlink(), path.mkdir()), "check the path"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(b"no picture"), "PNG, JPEG, WEBP"),
        (cut_short, "damaged"),
        (as_bmp, "PNG, JPEG, WEBP"),
        (deep, "8 bits"),
        (tiny, "at least 16 pixels"),
    ],
)
def test_bad_photo(tmp_path, damage, match):
    path = plain(tmp_path)
    damage(path)
    with pytest.raises(InputError, match=f"photo .*photo.png: .*{match}") as caught:
        load_photo(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_decompression_bomb(tmp_path, monkeypatch, share):
    """Pillow warns above its limit and raises above twice that: refused alike."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(share * WIDTH * HEIGHT))
    with pytest.raises(InputError, match="expected at most .* pixels"):
        load_photo(plain(tmp_path))


def test_file_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("rendernet_jax.data.photo.MAX_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 bytes"):
        load_photo(plain(tmp_path))
