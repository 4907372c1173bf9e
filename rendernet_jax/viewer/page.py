"""One browser's page: viser's widgets on one side, its :class:`Session` on the other."""

import contextlib
import dataclasses
import pathlib
import tempfile
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np

from rendernet_jax import camera
from rendernet_jax.data.inputs import Object, read_object
from rendernet_jax.data.meshes import SUFFIXES
from rendernet_jax.data.photo import load_photo
from rendernet_jax.data.sheet import save_gif, save_png, to_bytes
from rendernet_jax.data.voxel_files import SUFFIXES as VOXEL_SUFFIXES
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import show
from rendernet_jax.viewer import fits, orbit
from rendernet_jax.viewer.session import Frame, Session

_BESIDE = 256  # pixels, of the pictures in the panel
_FRAMES, _TURNTABLE_SIZE = 36, 256
_FIT_SIZE = 256  # pixels, of a photo that is fitted
_RECENT = 2.0  # seconds over which pictures are counted
_one_fit = threading.Lock()  # a fit keeps every core busy


class Page:
    """One browser's widgets, and the thread that draws for it."""

    def __init__(self, client, session: Session):
        self._client, self._session = client, session
        self._wake, self._closed = threading.Event(), False
        self._fitting = False
        self._moving: list[float] = []  # when the coarse pictures of the last seconds were sent
        least, most = orbit.distances()
        client.camera.min_orbit_distance, client.camera.max_orbit_distance = least, most
        self._add_widgets()
        client.camera.on_update(lambda _: self._guard("Camera", self._follow_camera))
        if session.painter.relights:
            self._add_light_drag()
        self._thread = threading.Thread(target=self._draw_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()

    # --- widgets -----------------------------------------------------------------------------------------------------

    def _add_widgets(self) -> None:
        gui, session, painter = self._client.gui, self._session, self._session.painter
        self._timing = gui.add_markdown("")
        with gui.add_folder("Picture"):
            self._output = gui.add_dropdown("shader", painter.outputs, initial_value=session.look.output)
            self._size = gui.add_dropdown("pixels", tuple(map(str, painter.sizes())), initial_value=str(painter.size))
            light = camera.light_to_degrees(session.look.light)
            self._light = [
                gui.add_slider(name, -limit, limit, 1, round(light[key]), disabled=not painter.relights)
                for name, limit, key in (
                    ("light from the right", 180, "light_azimuth_deg"),
                    ("light from above", 90, "light_elevation_deg"),
                )
            ]
            self._drag = gui.add_checkbox(
                "drag moves the light", False, disabled=not painter.relights, hint="Or hold Shift while you drag."
            )
        for widget in (self._output, self._size, *self._light):
            widget.on_update(lambda event: event.client and self._guard("Picture", self._follow_widgets))
        with gui.add_folder("Object"):
            self._name = gui.add_markdown(_describe(session.thing))
            self._up = gui.add_dropdown("up axis of meshes", ("y", "z"))
            self._occupancy = gui.add_dropdown("voxels", ("coverage", "binary"))
            self._button(gui.add_upload_button("Load a mesh or voxels"), "Load", self._load)
        with gui.add_folder("Beside it"):
            self._with_voxels = gui.add_checkbox("voxels", True)
            self._with_voxels.on_update(lambda _: self._guard("Voxels", self._show_voxels))
            self._voxels = gui.add_image(np.ones((_BESIDE, _BESIDE, 3)), label="voxels")
            self._button(gui.add_button("Ray trace"), "Ray trace", self._trace)
            self._reference = gui.add_image(np.ones((_BESIDE, _BESIDE, 3)), label="ray traced", visible=False)
            self._score = gui.add_markdown("")
        with gui.add_folder("Fit a photo"):
            self._shape = gui.add_dropdown("find its", fits.KINDS)
            self._button(gui.add_upload_button("Photo", mime_type="image/*"), "Fit", self._fit)
            self._photo = gui.add_image(np.ones((_BESIDE, _BESIDE, 3)), label="photo", visible=False)
            self._progress = gui.add_progress_bar(0.0, visible=False)
            self._stage = gui.add_markdown("")
        with gui.add_folder("Save"):
            self._button(gui.add_button("Picture"), "Save", self._save_picture)
            self._button(gui.add_button("Turntable"), "Save", self._save_turntable)

    def _add_light_drag(self) -> None:
        """The mouse moves the light while Shift is held, or always where the checkbox says so.

        viser tells of drags on things alone: hence a sphere around the object, which is not drawn.
        """
        sphere = self._client.scene.add_icosphere(
            "around",
            0.5 * 3**0.5,  # to the corners of the object cube
            wireframe=True,  # filled, it would be shaded all the same, which is slow without a GPU
            opacity=0.0,
            cast_shadow=False,
            receive_shadow=False,
        )

        async def drag(event):  # viser keeps the order of what is async
            self._guard("Light", self._drag_light, event.end_screen_pos)

        sphere.on_drag("left", modifier="shift")(drag)

        @self._drag.on_update
        def _(_):
            sphere.remove_drag_callback(drag)
            for modifier in ("shift", None) if self._drag.value else ("shift",):
                sphere.on_drag("left", modifier=modifier)(drag)

    def _button(self, button, title: str, action: Callable) -> None:
        """Call ``action``, of the uploaded file if there is one, when a button is used; not twice at once."""
        upload = hasattr(button, "on_upload")
        busy = threading.Lock()

        def run(event):
            if not busy.acquire(blocking=False):
                return
            try:
                self._guard(title, action, *((event.target.value,) if upload else ()))
            finally:
                busy.release()

        (button.on_upload if upload else button.on_click)(run)

    def _guard(self, title: str, action: Callable, *arguments) -> None:
        """Call ``action``; what goes wrong becomes a message in the browser."""
        try:
            action(*arguments)
        except InputError as error:
            self._tell(title, str(error))
        except Exception:  # a bug must not end the server
            traceback.print_exc()
            self._tell(title, "an internal error; the terminal shows it")

    def _tell(self, title: str, text: str) -> None:
        self._client.add_notification(title, text, color="red", auto_close_seconds=20.0)

    # --- what the browser changes ------------------------------------------------------------------------------------

    def _follow_camera(self) -> None:
        if not self._fitting:
            eye = self._client.camera
            self._change(pose=orbit.pose_of_camera(eye.wxyz, eye.position, eye.fov))

    def _drag_light(self, place: tuple[float, float]) -> None:
        """Light from above a place, of which (0, 0) is the top left of the window, (1, 1) its bottom right."""
        eye = self._client.camera
        right, up = (2.0 * place[0] - 1.0) * eye.image_width / max(1, eye.image_height), 1.0 - 2.0 * place[1]
        self._light_up(orbit.light_under(right, up, self._session.look.light))

    def _light_up(self, light: camera.Light, **fields) -> None:
        """Change the light, and perhaps more; the sliders follow."""
        self._change(light=light, **fields)
        angles = camera.light_to_degrees(light)
        for slider, key in zip(self._light, camera.LIGHT_KEYS, strict=True):
            slider.value = float(np.clip(round(angles[key]), slider.min, slider.max))

    def _follow_widgets(self) -> None:
        look = {"output": self._output.value, "size": int(self._size.value)}
        azimuth, elevation = (float(slider.value) for slider in self._light)
        if self._session.painter.relights:
            light = camera.light_from_degrees(azimuth, elevation)
            before = self._session.look.light
            look["light"] = light.replace(ambient=before.ambient, intensity=before.intensity)
        self._change(**look)

    def _change(self, **fields) -> None:
        self._session.change(**fields)
        self._wake.set()

    def _load(self, file) -> None:
        if self._fitting:
            raise InputError("load: a fit is running; wait for its end")
        self._name.content = f"reading {file.name}"
        try:
            with _as_file(file, SUFFIXES + VOXEL_SUFFIXES) as path:
                channels = self._session.painter.config.channels
                thing = read_object(path, self._up.value, self._occupancy.value, channels=channels)
            self._show_object(dataclasses.replace(thing, path=pathlib.Path(file.name)))
        finally:
            self._name.content = _describe(self._session.thing)
        self._change(albedo=None)

    def _show_object(self, thing: Object) -> None:
        self._session.load(thing)
        self._name.content = _describe(thing)
        self._reference.visible, self._score.content = False, ""  # of what was shown before

    def _show_voxels(self) -> None:
        self._voxels.visible = self._with_voxels.value
        if self._with_voxels.value:
            self._voxels.image = to_bytes(self._session.scenes.trace_voxels(self._session.look.pose, _BESIDE))

    def _trace(self) -> None:
        self._score.content = "ray tracing"
        reference, psnr, on_object = self._session.reference()
        self._reference.image, self._reference.visible = to_bytes(reference), True
        self._score.content = f"PSNR {show(psnr)} dB, {show(on_object)} dB on the object"

    def _save_picture(self) -> None:
        frame = self._session.paint(self._session.look, self._session.look.size)
        self._download(f"{self._stem()}_{frame.look.output}.png", lambda path: save_png(path, frame.picture))

    def _save_turntable(self) -> None:
        frames = self._session.turntable(_FRAMES, self._session.painter.coarse(_TURNTABLE_SIZE))
        self._download(f"{self._stem()}_turntable.gif", lambda path: save_gif(path, frames))

    def _stem(self) -> str:
        return self._session.thing.path.stem or "object"

    def _download(self, name: str, write: Callable) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / pathlib.Path(name).name
            write(path)
            self._client.send_file_download(path.name, path.read_bytes(), save_immediately=True)

    def _fit(self, file) -> None:
        with _as_file(file, (".png", ".jpg", ".jpeg", ".webp")) as path:
            photo = load_photo(path, size=_FIT_SIZE)
        if not _one_fit.acquire(blocking=False):
            raise InputError("fit: another one is running; wait for its end")
        try:
            self._fitting = True
            self._photo.image, self._photo.visible, self._progress.visible = to_bytes(photo.picture), True, True
            self._progress.value, self._stage.content = 0.0, "searching"
            for step in fits.start(self._shape.value, self._session.painter, photo, self._session.thing):
                if self._closed:  # nobody looks any more
                    return
                self._show_step(step)
            self._client_looks(step.pose)
        finally:
            self._fitting, self._progress.visible = False, False
            _one_fit.release()

    def _show_step(self, step: fits.Step) -> None:
        self._progress.value = 100.0 * step.done
        self._stage.content = f"{step.stage}: loss {step.loss:.2e}"
        if step.grid is not None:
            self._show_object(Object(pathlib.Path("fitted shape"), step.grid, "prior", None))
        self._light_up(step.light, pose=step.pose, albedo=step.albedo)

    def _client_looks(self, pose: camera.Pose) -> None:
        """Put the browser's camera where the pose is seen from, so that the mouse orbits from there."""
        eye = self._client.camera
        for name, value in orbit.camera_of_pose(pose).items():
            setattr(eye, name, value)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def _draw_forever(self) -> None:
        while not self._closed:
            size, wait = self._session.next_size()
            if size is None:
                self._wake.wait(wait)
                self._wake.clear()
            else:
                self._guard("Picture", lambda size=size: self._show(self._session.draw(size)))

    def _show(self, frame: Frame) -> None:
        eye = self._client.camera
        picture = pad_to_aspect(to_bytes(frame.picture), eye.image_width / max(1, eye.image_height))
        self._client.scene.set_background_image(picture, format="jpeg", jpeg_quality=92)
        self._client.flush()
        rest, now = frame.size >= frame.look.size, time.monotonic()
        if not rest:
            self._moving = [*(when for when in self._moving if now - when < _RECENT), now]
        moving = ""
        if len(self._moving) > 1:
            moving = f", {(len(self._moving) - 1) / (self._moving[-1] - self._moving[0]):.0f} a second while moving"
        self._timing.content = f"{frame.size} x {frame.size}: {1000 * frame.seconds:.0f} ms{moving}"
        if rest and self._with_voxels.value:
            self._show_voxels()


def _describe(thing: Object) -> str:
    return f"{thing.path.name}: {' x '.join(map(str, thing.grid.shape[1:4]))} voxels"


def pad_to_aspect(picture: np.ndarray, aspect: float) -> np.ndarray:
    """A square picture ``[S, S, 3]``, bytes, as wide as a window of this aspect shows: white beside it, or cut."""
    side = len(picture)
    width = max(1, round(side * aspect))
    if width <= side:
        left = (side - width) // 2
        return picture[:, left : left + width]
    left = (width - side) // 2
    return np.pad(picture, ((0, 0), (left, width - side - left), (0, 0)), constant_values=255)


@contextlib.contextmanager
def _as_file(upload, suffixes: tuple[str, ...]):
    """An uploaded file under a name of our own, of which only the suffix is the browser's."""
    suffix = pathlib.Path(upload.name).suffix.lower()
    if suffix not in suffixes:
        raise InputError(f"{upload.name}: expected {', '.join(suffixes)}, got {suffix or 'no suffix'}; convert it")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"upload{suffix}"
        path.write_bytes(upload.content)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), upload.name)) from error
