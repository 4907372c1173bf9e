"""Render one mesh with the shipped weights: a turntable, and every shader beside its ray-traced reference.

    python -m experiments.demo --output=out/demo
    python -m experiments.demo --mesh=chair.obj --up=z --output=out/chair

Without --mesh it draws a chair of the procedural family that the network was not trained on, OUTPUT/chair.ply. Files
of another origin in OUTPUT are never replaced.
"""

import json
import pathlib

from absl import flags

from rendernet_jax.errors import InputError

from . import _launch as launch

_MESH = flags.DEFINE_string("mesh", None, "Mesh file: obj, ply, off, stl or glb.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of the mesh file; never guessed.")
_OUTPUT = flags.DEFINE_string("output", "out/demo", "Folder for the pictures; those of an earlier demo are replaced.")
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_FRAMES = flags.DEFINE_integer("turntable", 36, "Frames of the turntable GIF.", 1, 720)


def main():
    """Flags to one job and a sheet."""
    launch.keep_compiled_programs()
    from rendernet_jax import batch_render, shading
    from rendernet_jax.evaluation import show
    from rendernet_jax.files import write_json

    output = launch.prepare_output(_OUTPUT.value)
    outputs = tuple(o for o in shading.OUTPUTS if o not in ("albedo", "colour"))
    report_file, example = output / "render.json", None if _MESH.value else output / "chair.ply"
    pictures = [f"0000_{o}{tail}.png" for o in outputs for tail in ("", "_reference")]
    first = not is_demo(report_file)
    written = [report_file, *(output / name for name in ("turntable.gif", "sheet.png", *pictures))]
    if first and (present := [file for file in (*written, example) if file and file.exists()]):
        raise InputError(f"output: {present[0]} exists, and is not of a demo; choose another --output (make demo OUT=)")
    if first:  # an interrupted demo is one too, which the next may replace
        write_json(report_file, {"demo": True})
    try:
        job = batch_render.Job(
            input=_MESH.value or _write_example(example),
            output=output,
            views=(batch_render.View(),),
            weights=_WEIGHTS.value,
            outputs=outputs,
            size=_SIZE.value,
            up=_UP.value if _MESH.value else "y",
            turntable=_FRAMES.value,
            reference=True,
            overwrite=True,
        )
        (report,) = batch_render.run(job).values()
    except InputError:
        for file in (report_file, example) if first else ():
            if file:
                file.unlink(missing_ok=True)
        raise
    write_json(report_file, {**report, "demo": True})
    _save_sheet(output, outputs)
    print(f"wrote {output}: turntable.gif, sheet.png, one picture and its reference for each shader, render.json")
    print(f"PSNR phong {show(report['psnr']['phong'])} dB")
    print(f"seconds per picture {report['seconds_per_picture']:.2f}")


def is_demo(report_file: pathlib.Path) -> bool:
    """Whether a folder's render.json is that of a demo, whose files a demo may replace."""
    try:
        return json.loads(report_file.read_text())["demo"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_example(path: pathlib.Path) -> str:
    from rendernet_jax.data.families import make_shape
    from rendernet_jax.data.inputs import UNSEEN_CHAIR
    from rendernet_jax.data.meshes import save_mesh

    save_mesh(path, make_shape(*UNSEEN_CHAIR))
    return str(path)


def _save_sheet(output: pathlib.Path, outputs: tuple[str, ...]) -> None:
    import numpy as np
    from PIL import Image

    from rendernet_jax.data.sheet import picture_sheet, save_png

    rows = [[np.asarray(Image.open(output / f"0000_{o}{tail}.png")) for o in outputs] for tail in ("", "_reference")]
    save_png(output / "sheet.png", picture_sheet(rows, ("network", "ray traced"), outputs, cell=256))


if __name__ == "__main__":
    launch.run(main)
