"""Export the drawing of pictures as one StableHLO file, weights inside, that runs without this package.

    python -m experiments.export --output=out/export --outputs=phong,normal --size=512

Writes OUTPUT/render.jaxexport, which jax.export.deserialize reads, for any number of pictures at once, and render.json,
which tells its arguments. docs/draw_exported.py is a program of twenty lines that draws with it.
"""

from absl import flags

from . import _launch as launch

_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_OUTPUT_NAMES = flags.DEFINE_list(
    "outputs", None, "Pictures it draws: phong,toon,contour,ao,normal,depth,mask; default: phong, or what they draw."
)
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_GRID = flags.DEFINE_integer("grid", 64, "Voxels on each side of the grids it takes.", 4, 128)
_PLATFORMS = flags.DEFINE_list("platforms", "cpu,cuda,tpu", "Where it shall run.")
_GRADIENT = flags.DEFINE_bool("gradient", True, "Also hold its derivative (twice the file): jax.grad goes through it.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the artefact; required.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an artefact that is there already.")


def main():
    """Flags to one artefact."""
    launch.require(output=_OUTPUT.value)
    from rendernet_jax import exporting
    from rendernet_jax.provenance import command, machine

    output = launch.prepare_output(_OUTPUT.value)
    files = [output / name for name in (exporting.ARTEFACT, exporting.SIGNATURE)]
    launch.refuse_existing(files, _OVERWRITE.value)
    job = exporting.Job(
        output=output,
        weights=_WEIGHTS.value,
        outputs=tuple(_OUTPUT_NAMES.value) if _OUTPUT_NAMES.value else None,
        size=_SIZE.value,
        grid=_GRID.value,
        platforms=tuple(_PLATFORMS.value),
        gradient=_GRADIENT.value,
    )
    signature = exporting.run(job, {"command": command(), **machine()})
    print(f"draws {', '.join(signature['pictures'])} on {', '.join(signature['platforms'])}")
    print(f"wrote {files[0]} ({files[0].stat().st_size / 2**20:.1f} MiB) and {files[1]}")


if __name__ == "__main__":
    launch.run(main)
