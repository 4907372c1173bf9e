"""Show an object in the browser: orbit it with the mouse and see the network's picture follow.

    python -m experiments.viewer --input=chair.obj
    python -m experiments.viewer --input=chair.binvox --weights=runs/mine --port=8081

Shaders, light, voxels and ray-traced reference beside the picture, other files, a photo to fit: all in the panel.
Without --input it shows a chair that the network was not trained on. Pictures are saved by the browser; nothing is
written here. Needs the extra `viewer` (pip install 'rendernet_jax[viewer]').
"""

import pathlib

from absl import flags

from . import _launch as launch

_INPUT = flags.DEFINE_string("input", None, "Mesh (obj ply off stl glb) or voxels (binvox npz npy) to begin with.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of --input, if a mesh; never guessed.")
_OCCUPANCY = flags.DEFINE_enum("occupancy", "coverage", ["coverage", "binary"], "How --input is voxelised, if a mesh.")
_GRID = flags.DEFINE_integer("grid", 64, "Voxels on each side of --input, if a mesh.", 4, 128)
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_SIZE = flags.DEFINE_integer("size", 512, "Side of the picture at rest, pixels; while moving 256 or less.", 8, 1024)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; any other than this lets other machines in.")
_PORT = flags.DEFINE_integer("port", 8080, "Port to listen on; the next free one if it is taken.", 1, 65535)


def main():
    """Flags to one server."""
    launch.keep_compiled_programs()
    from rendernet_jax.data.inputs import list_inputs, make_example, read_object
    from rendernet_jax.errors import InputError
    from rendernet_jax.viewer import server
    from rendernet_jax.viewer.painter import Painter

    server.import_viser()
    if _INPUT.value:
        if pathlib.Path(_INPUT.value).is_dir():
            raise InputError(f"--input: expected one file, got the folder {_INPUT.value}; name a file in it")
        (path,) = list_inputs(_INPUT.value).values()
    painter = Painter(_WEIGHTS.value, _SIZE.value)
    voxels = (_OCCUPANCY.value, _GRID.value, painter.config.channels)
    thing = read_object(path, _UP.value, *voxels) if _INPUT.value else make_example(*voxels)
    server.serve(painter, thing, _HOST.value, _PORT.value, lambda line: print(line, flush=True))
    print("ended; wrote nothing here: what was saved, the browser saved")


if __name__ == "__main__":
    launch.run(main)
