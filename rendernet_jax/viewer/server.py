"""The viewer's server: a page for each browser that comes."""

import contextlib
import io
import sys
import time
from collections.abc import Callable

from rendernet_jax.data.inputs import Object
from rendernet_jax.errors import InputError
from rendernet_jax.viewer import orbit
from rendernet_jax.viewer.page import Page
from rendernet_jax.viewer.painter import Painter
from rendernet_jax.viewer.session import FIRST_POSE, Session

_LOCAL = ("127.0.0.1", "localhost", "::1")


def import_viser():
    """The ``viser`` module. Raises InputError if it is missing."""
    try:
        import viser
    except ImportError as error:
        raise InputError(
            f"viewer: expected to import viser, got {error}; install it: pip install 'rendernet_jax[viewer]'"
        ) from error
    return viser


def serve(painter: Painter, thing: Object, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Show an object to every browser that comes, until Ctrl-C; ``tell`` gets lines for the terminal.

    Raises:
        InputError: viser is missing, the network cannot read the object, or the address cannot be bound.
    """
    viser = import_viser()
    painter.check_grid(thing.grid)
    if host not in _LOCAL:
        print(f"warning: whoever reaches {host}:{port} can use this viewer and send it files", file=sys.stderr)
    painter.warm_up(thing.grid, tell)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its banner
            server = viser.ViserServer(host=host, port=port, label="rendernet_jax", verbose=False)
    except OSError as error:
        raise InputError(f"--host, --port: cannot listen on {host}:{port} ({error}); choose others") from error
    server.gui.configure_theme(show_logo=False, show_share_button=False)  # sharing would go through another's server
    server.gui.main_panel.dock_right()  # beside the picture, not over it
    server.scene.set_up_direction("+y")
    first = orbit.camera_of_pose(FIRST_POSE)
    server.initial_camera.position, server.initial_camera.look_at = first["position"], first["look_at"]
    server.initial_camera.fov = first["fov"]
    pages: dict[int, Page] = {}

    @server.on_client_connect
    def _(client):
        pages[client.client_id] = Page(client, Session(painter, thing))

    @server.on_client_disconnect
    def _(client):
        if page := pages.pop(client.client_id, None):
            page.close()

    tell(f"viewer: http://{host}:{server.get_port()} (Ctrl-C ends it)")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass
    finally:
        for page in list(pages.values()):
            page.close()
        server.stop()
