"""Pictures to files: rounding, refusal of what is no picture, animations with and without transparency."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from rendernet_jax.data.sheet import picture_sheet, save_gif, save_mp4, to_bytes
from rendernet_jax.errors import InputError


def test_bytes_are_rounded_and_clipped():
    found = to_bytes(np.array([[0.0, 0.5, 1.0, -1.0, 2.0, 0.9985]], np.float32))
    np.testing.assert_array_equal(found[0], np.repeat([[0], [128], [255], [0], [255], [255]], 3, axis=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value):
    picture = np.zeros((4, 4, 3), np.float32)
    picture[1, 2, 0] = value
    for make in (to_bytes, lambda p: picture_sheet([[p]])):
        with pytest.raises(InputError, match="1 that are NaN or infinite"):
            make(picture)


def _frames():
    """A grey square that moves over a clear background, half of its lower edge covered by a quarter."""
    frames = np.zeros((3, 8, 8, 4), np.float32)
    for index, frame in enumerate(frames):
        frame[2:5, 2 * index : 2 * index + 3] = (0.25 * (1 + index), 0.5, 0.25, 1.0)
        frame[5, 2 * index] = (0.0, 0.0, 0.0, 0.25)
    return frames


def test_transparent_animation(tmp_path):
    frames = _frames()
    save_gif(tmp_path / "turn.gif", frames)
    with Image.open(tmp_path / "turn.gif") as animation:
        assert animation.n_frames == 3 and animation.info["loop"] == 0
        for index, frame in enumerate(frames):
            animation.seek(index)
            found = np.asarray(animation.convert("RGBA"))
            np.testing.assert_array_equal(found[..., 3], np.where(frame[..., 3] >= 0.5, 255, 0))
            solid = found[..., 3] == 255
            np.testing.assert_allclose(found[solid][:, :3], 255 * frame[solid][:, :3], atol=4)


def test_white_animation_lasts_the_time_asked_for(tmp_path):
    save_gif(tmp_path / "turn.gif", [np.full((8, 8), shade) for shade in (0.0, 0.25, 0.5, 1.0)], seconds=2.0)
    with Image.open(tmp_path / "turn.gif") as animation:
        found = []
        for index in range(animation.n_frames):
            animation.seek(index)
            found.append((animation.info["duration"], animation.convert("RGB").getpixel((3, 3))[0]))
    assert [time for time, _ in found] == [500] * 4
    np.testing.assert_allclose([shade for _, shade in found], [0, 64, 128, 255], atol=2)
    assert [path.name for path in tmp_path.iterdir()] == ["turn.gif"]


def test_a_film_holds_every_frame_in_its_colours(tmp_path):
    """Decoded again by ffmpeg: as many frames, an even size, and each frame's grey up to compression."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = [np.full((33, 48, 1), grey, np.float32) for grey in (0.1, 0.5, 0.9, 0.3)]
    save_mp4(tmp_path / "a.mp4", frames, seconds=1.0)
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"48x32" in done.stderr and b"4 fps" in done.stderr
    found = np.frombuffer(done.stdout, np.uint8).reshape(4, -1).mean(1) / 255
    np.testing.assert_allclose(found, [0.1, 0.5, 0.9, 0.3], atol=0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
