"""Render one mesh with the shipped weights: a turntable, and every shader beside its ray-traced reference.

    python -m experiments.demo --output=out/demo
    python -m experiments.demo --mesh=chair.obj --up=z --output=out/chair

Without --mesh it draws a chair of the procedural family that the network was not trained on.
"""

import pathlib
import tempfile

from absl import flags

from . import _launch as launch

_MESH = flags.DEFINE_string("mesh", None, "Mesh file: obj, ply, off, stl or glb.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of the mesh file; never guessed.")
_OUTPUT = flags.DEFINE_string("output", "out/demo", "Folder for the pictures; those of an earlier demo are replaced.")
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 2048)
_FRAMES = flags.DEFINE_integer("turntable", 36, "Frames of the turntable GIF.", 1, 720)

_UNSEEN_CHAIR = 7_000_009  # seed, far from those of any data set


def main():
    """Flags to one job and a sheet."""
    launch.keep_compiled_programs()
    from rendernet_jax import batch_render, shading

    output = launch.prepare_output(_OUTPUT.value)
    outputs = tuple(o for o in shading.OUTPUTS if o != "albedo")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(_MESH.value) if _MESH.value else _write_example(pathlib.Path(folder))
        views = batch_render.read_views(None, {"azimuth_deg": 30.0, "elevation_deg": 20.0})
        job = batch_render.Job(
            input=str(path),
            output=output,
            views=views,
            weights=_WEIGHTS.value,
            outputs=outputs,
            size=_SIZE.value,
            up=_UP.value if _MESH.value else "y",
            turntable=_FRAMES.value,
            reference=True,
            overwrite=True,
        )
        (report,) = batch_render.run(job).values()
    _save_sheet(output, outputs)
    print(f"wrote {output}: turntable.gif, sheet.png, one picture and its reference for each shader, render.json")
    print(f"PSNR phong {report['psnr']['phong']:.2f} dB")
    print(f"seconds per picture {report['seconds_per_picture']:.2f}")


def _write_example(folder: pathlib.Path) -> pathlib.Path:
    from rendernet_jax.data.families import make_shape
    from rendernet_jax.data.meshes import save_mesh

    path = folder / "chair.ply"
    save_mesh(path, make_shape("chair", _UNSEEN_CHAIR))
    return path


def _save_sheet(output: pathlib.Path, outputs: tuple[str, ...]) -> None:
    import numpy as np
    from PIL import Image

    from rendernet_jax.data.sheet import picture_sheet, save_png

    rows = [[np.asarray(Image.open(output / f"0000_{o}{tail}.png")) for o in outputs] for tail in ("", "_reference")]
    save_png(output / "sheet.png", picture_sheet(rows, ("network", "ray traced"), outputs, cell=256))


if __name__ == "__main__":
    launch.run(main)
