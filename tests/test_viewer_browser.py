"""The viewer in headless Chromium, as a user sees it. Screenshots are kept in out/viewer_test.

Needs Debian's ``chromium`` and ``pip install playwright viser``.
"""

import io
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHOTS = ROOT / "out" / "viewer_test"
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader"
).split()
WINDOW = {"width": 1200, "height": 900}
OBJECT = {"x": 200, "y": 190, "width": 480, "height": 590}  # between messages and the panel
MIDDLE = (440, 450)
# Pictures that the browser decoded before the next one came, and so showed.
COUNT_SHOWN = """
window.shown = 0;
let newest = null;
const create = URL.createObjectURL.bind(URL), revoke = URL.revokeObjectURL.bind(URL);
URL.createObjectURL = (blob) => {
  const url = create(blob);
  if (blob.type === "image/jpeg") newest = url;
  return url;
};
URL.revokeObjectURL = (url) => { if (url === newest) window.shown++; revoke(url); };
"""
CUBE = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n"
PATIENCE = 240_000  # milliseconds; machines may be busy

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture(scope="module")
def address():
    """Of a running viewer of the example chair."""
    for package in ("viser", "playwright", "open3d"):
        pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)
    command = [sys.executable, "-m", "experiments.viewer", "--port=8765"]
    # Compiled as users do: tests of this folder compile without optimisation, which draws seven times slower.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if found := re.search(r"viewer: (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("the viewer ended: " + "".join(lines))
        yield found[1]
        assert server.poll() is None, "the viewer died"
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser(address):
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    page = open_page(browser, address)
    yield page
    page.context.close()


def open_page(browser, address):
    page = browser.new_context(viewport=WINDOW, accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator(".mantine-Notification-closeButton").first.click()  # on WebGL in software; leaves room for others
    wait_for_rest(page)
    return page


def wait_for_rest(page, size=512):
    """Until a sharp picture is shown and stays."""
    began, previous = time.time(), None
    while time.time() - began < PATIENCE / 1000:
        page.get_by_text(re.compile(rf"{size} x {size}: ")).wait_for()
        page.wait_for_timeout(1500)
        picture = look(page)
        if previous is not None and np.abs(picture - previous).max() < 0.02 and picture.min() < 0.9:
            return
        previous = picture
    pytest.fail("no sharp picture")


def look(page) -> np.ndarray:
    """What the middle of the window shows, ``[H, W, 3]`` in [0, 1]."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=OBJECT))).convert("RGB"), np.float32) / 255


def keep(page, name) -> None:
    page.screenshot(path=SHOTS / f"{name}.png")


def differ(one, other) -> float:
    return float(np.abs(one - other).mean())


def choose(page, old, new) -> None:
    page.locator(f'input[value="{old}"]').first.click()
    page.get_by_role("option", name=new, exact=True).click()


def upload(page, button, path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(path)


def drag(page, until, by=(8, 2), pause=60, up=True) -> None:
    """From the middle of the picture, in ``until`` steps of ``by`` pixels and ``pause`` milliseconds."""
    page.mouse.move(*MIDDLE)
    page.mouse.down()
    for step in range(until):
        page.mouse.move(MIDDLE[0] + by[0] * step, MIDDLE[1] + by[1] * step)
        page.wait_for_timeout(pause)
    if up:
        page.mouse.up()


def save(page, button) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return pathlib.Path(download.value.path()).read_bytes()


def psnr(one, other) -> float:
    return -10 * np.log10(np.mean((one - other) ** 2))


def test_dragging_orbits_coarsely_and_rests_sharply(page):
    before = look(page)
    keep(page, "1_loaded")
    drag(page, until=15, up=False)
    page.get_by_text(re.compile("256 x 256: ")).wait_for()
    keep(page, "2_moving")
    page.mouse.up()
    wait_for_rest(page)
    keep(page, "3_turned")
    assert differ(look(page), before) > 0.02


@pytest.mark.parametrize("by", ["key", "checkbox"])
def test_dragging_moves_the_light(page, by):
    from playwright import sync_api

    before, sliders = look(page), [page.get_by_role("slider").nth(index) for index in range(2)]
    choose(page, "phong", "normal")
    wait_for_rest(page)
    normals = look(page)
    if by == "key":
        page.keyboard.down("Shift")
    else:
        page.get_by_label("drag moves the light").check()
        page.wait_for_timeout(3000)  # until the page has heard from the server what a drag means now
    drag(page, until=15, by=(-12, -4))
    page.keyboard.up("Shift")
    for slider, degrees in zip(sliders, ("-33", "10"), strict=True):
        sync_api.expect(slider).to_have_attribute("aria-valuenow", degrees, timeout=PATIENCE)
    wait_for_rest(page)
    assert differ(look(page), normals) < 0.002, "the camera stayed"
    choose(page, "normal", "phong")
    wait_for_rest(page)
    keep(page, f"dragged_light_by_{by}")
    assert differ(look(page), before) > 0.02


def test_pictures_follow_a_drag(browser, address):
    """Prints pictures a second; `-s` shows them. A browser without a GPU takes a core for itself at full resolution."""
    for dpr in (1.0, 0.5, 0.3, 0.2):  # at 0.3 the picture has about the window's pixels
        page = browser.new_context(viewport=WINDOW).new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(COUNT_SHOWN)
        page.goto(f"{address}/?fixedDpr={dpr}")
        page.get_by_text(re.compile("512 x 512: ")).wait_for()
        page.wait_for_timeout(3000)
        page.mouse.move(*MIDDLE)
        page.mouse.down()
        page.evaluate("shown = 0")
        began = time.time()
        while (seconds := time.time() - began) < 8:  # the mouse goes around, once in four seconds
            angle = seconds * math.pi / 2
            page.mouse.move(MIDDLE[0] + 150 * math.sin(angle), MIDDLE[1] + 40 * (1 - math.cos(angle)))
            page.wait_for_timeout(25)
        rate = page.evaluate("shown") / (time.time() - began)
        page.mouse.up()
        timing = page.get_by_text(re.compile(r"\d+ x \d+: ")).inner_text()
        print(f"\n{dpr} of the window's pixels a side: {rate:.1f} pictures a second; the server says {timing}")
        assert rate > 1
        page.context.close()


def test_each_browser_has_its_own_shader_and_light(page, browser, address):
    other = open_page(browser, address)
    unchanged, before = look(other), look(page)
    choose(page, "phong", "normal")
    wait_for_rest(page)
    keep(page, "4_normals")
    assert differ(look(page), before) > 0.02
    choose(page, "normal", "phong")
    wait_for_rest(page)
    assert differ(look(page), before) < 0.002
    slider = page.get_by_role("slider").first
    slider.focus()
    for _ in range(60):
        slider.press("ArrowLeft")
    wait_for_rest(page)
    keep(page, "5_relit")
    assert differ(look(page), before) > 0.005
    assert differ(look(other), unchanged) < 0.002
    other.context.close()


def test_files_are_loaded_or_refused_with_a_message(page, tmp_path):
    before = look(page)
    (tmp_path / "broken.obj").write_text("nothing of a mesh\n")
    upload(page, "Load a mesh or voxels", tmp_path / "broken.obj")
    page.get_by_text(re.compile(r"broken\.obj: ")).wait_for()
    keep(page, "6_refused")
    assert differ(look(page), before) < 0.002, "the chair is still there"
    (tmp_path / "simplex.off").write_text(CUBE)
    upload(page, "Load a mesh or voxels", tmp_path / "simplex.off")
    page.get_by_text("simplex.off: 64 x 64 x 64 voxels").wait_for()
    wait_for_rest(page)
    keep(page, "7_another")
    assert differ(look(page), before) > 0.02
    page.get_by_role("button", name="Ray trace").click()
    score = page.get_by_text(re.compile(r"PSNR [\d.]+ dB"))
    score.wait_for()
    keep(page, "8_traced")
    assert float(re.search(r"PSNR ([\d.]+)", score.inner_text())[1]) > 20


def test_pictures_are_saved_and_fitted(page, tmp_path):
    saved = save(page, "Picture")
    picture = Image.open(io.BytesIO(saved))
    assert picture.size == (512, 512)
    turntable = Image.open(io.BytesIO(save(page, "Turntable")))
    assert turntable.n_frames == 36 and turntable.size == (256, 256)
    (tmp_path / "photo.png").write_bytes(saved)
    upload(page, "Photo", tmp_path / "photo.png")
    page.get_by_text(re.compile(r"refine 128: loss")).wait_for(timeout=5 * PATIENCE)
    keep(page, "9_fitting")
    page.get_by_text(re.compile(r"compare: loss")).wait_for(timeout=5 * PATIENCE)
    page.wait_for_timeout(3000)
    wait_for_rest(page)
    keep(page, "10_fitted")
    found = Image.open(io.BytesIO(save(page, "Picture")))
    grey = [np.asarray(image.convert("L"), np.float32) / 255 for image in (picture, found)]
    assert psnr(*grey) > 25
    drag(page, until=10, by=(12, 0))
    wait_for_rest(page)
    keep(page, "11_orbited")


def test_a_photo_is_fitted_without_a_shape(page, tmp_path):
    (tmp_path / "photo.png").write_bytes(save(page, "Picture"))
    choose(page, "view and light, of this object", "shape, too (rough; seats alone)")
    upload(page, "Photo", tmp_path / "photo.png")
    page.get_by_text(re.compile(r"fitted shape: 64 x 64 x 64 voxels")).wait_for(timeout=5 * PATIENCE)
    keep(page, "12_fitting_shape")
    page.get_by_role("progressbar").wait_for(state="detached", timeout=5 * PATIENCE)
    wait_for_rest(page)
    keep(page, "13_fitted_shape")
    before = look(page)
    drag(page, until=10, by=(12, 0))
    wait_for_rest(page)
    keep(page, "14_orbited_shape")
    assert differ(look(page), before) > 0.02
