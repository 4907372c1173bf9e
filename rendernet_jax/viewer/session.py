"""What one browser looks at, and what is to be drawn next: no browser, no viser, no sleeping."""

import dataclasses
import threading
import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from rendernet_jax import camera
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.inputs import Object
from rendernet_jax.evaluation import finite_psnr
from rendernet_jax.viewer import orbit
from rendernet_jax.viewer.painter import Painter
from rendernet_jax.viewer.scenes import Scenes

REST = 0.2  # seconds without a change after which a sharp picture is drawn
MOST_REST = 1.0  # the same where changes come slowly; those that are farther apart are no movement
FIRST_POSE = camera.pose_from_degrees(azimuth_deg=30.0, elevation_deg=20.0, inverse_distance=orbit.INVERSE_DISTANCE)


@dataclasses.dataclass(frozen=True)
class Look:
    """How the object is seen. Fields are plain numbers, so that two looks can be compared."""

    pose: Pose = FIRST_POSE
    light: Light = camera.light_from_degrees()
    output: str = "phong"
    albedo: tuple[float, ...] | None = None  # of a fitted photo; None is white
    size: int = 512  # at rest


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One drawn picture."""

    picture: np.ndarray  # [size, size, C] in [0, 1]
    look: Look
    size: int
    seconds: float


class Session:
    """An object, how it is seen, and the pictures drawn of it. Any thread may change it; one thread draws."""

    def __init__(self, painter: Painter, thing: Object, clock: Callable[[], float] = time.monotonic):
        """``clock`` gives seconds; a test's gives what it likes."""
        self.painter, self._clock = painter, clock
        self._lock = threading.Lock()
        self.look = Look(output=painter.outputs[0], size=painter.size)
        self._kept: tuple = (None, None)  # what the last G-buffer shows, and the G-buffer
        self._loaded = 0  # objects so far
        self._rest = REST
        self.load(thing)

    def load(self, thing: Object) -> None:
        """Show another object. Raises InputError if the network cannot read its grid."""
        self.painter.check_grid(thing.grid)
        with self._lock:
            self.thing, self._grid, self.scenes = thing, jnp.asarray(thing.grid), Scenes(thing)
            self._loaded += 1
            self._changed, self._shown = self._clock(), None

    def change(self, **fields) -> None:
        """Change fields of the look; values that it has already change nothing."""
        with self._lock:
            look = dataclasses.replace(self.look, **fields)
            if look != self.look:
                now = self._clock()
                gap = now - self._changed  # of a slow browser's messages: the mouse may be down all the same
                self._rest = min(max(REST, 2.0 * gap), MOST_REST) if gap < MOST_REST else REST
                self.look, self._changed = look, now

    def next_size(self) -> tuple[int | None, float | None]:
        """Size of the picture that is due; if none is, None and the seconds until one may be (None: a change first).

        A change is shown at once in the size that is quick; where the G-buffer is still that of the pose, which light
        and shader do not change, the sharp one is as quick. When nothing has changed for :data:`REST`, or for twice the
        time between the last two changes, the sharp one.
        """
        with self._lock:
            look, coarse = self.look, self.painter.coarse(self.look.size)
            if self._shown is None or self._shown.look != look:
                return (look.size if self._kept[0] == self._seen(look, look.size) else coarse), None
            if self._shown.size >= look.size:
                return None, None
            left = self._changed + self._rest - self._clock()
            return (look.size, None) if left <= 0 else (None, left)

    def draw(self, size: int) -> Frame:
        """Draw the look as it is now, to be shown. Raises InputError if nothing sensible comes out."""
        with self._lock:
            look, loaded = self.look, self._loaded
        frame = Frame(np.ones((size, size, 1), np.float32), look, look.size, 0.0)  # of a failure: it would fail again
        try:
            frame = self.paint(look, size)
        finally:
            with self._lock:
                if loaded == self._loaded:
                    self._shown = frame
        return frame

    def paint(self, look: Look, size: int) -> Frame:
        """Draw a look at the object, for a file or another use; :meth:`next_size` takes no notice."""
        with self._lock:
            grid, seen, kept = self._grid, self._seen(look, size), self._kept
        began = time.perf_counter()
        if kept[0] != seen:
            kept = seen, self.painter.draw_buffers(grid, look.pose, size)
            self._kept = kept
        picture = self.painter.shade(kept[1], look.light, look.output, look.albedo)
        return Frame(picture, look, size, time.perf_counter() - began)

    def turntable(self, frames: int, size: int) -> list[np.ndarray]:
        """Pictures ``[size, size, C]`` of the camera going once around, from where it is."""
        look, step = self.look, 2.0 * np.pi / frames
        poses = [look.pose.replace(azimuth=look.pose.azimuth + step * index) for index in range(frames)]
        return [self.paint(dataclasses.replace(look, pose=pose), size).picture for pose in poses]

    def reference(self) -> tuple[np.ndarray, float | None, float | None]:
        """The ray-traced picture of the look, and the network's PSNR against it, full frame and on the object, in dB.

        A fitted colour is left out of both.

        Raises:
            InputError: the object came as voxels, or the network draws what cannot be traced.
        """
        look = self.look
        wanted = self.scenes.trace_mesh(look.pose, look.light, look.size, look.output)
        picture = self.paint(dataclasses.replace(look, albedo=None), look.size).picture
        reference = wanted[look.output]
        return reference, finite_psnr(picture, reference), finite_psnr(picture, reference, wanted["mask"])

    def _seen(self, look: Look, size: int) -> tuple:
        """What a G-buffer depends on."""
        return (self._loaded, look.pose, size)
