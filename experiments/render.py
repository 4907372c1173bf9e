"""Render meshes or voxel files with a trained network.

    python -m experiments.render --input=chair.obj --outputs=phong,normal --output=out/chair

Weights of coloured objects take the mesh's vertex colours and textures, and draw colour and albedo, too.
INPUT may be a folder: OUTPUT then gets one sub-folder for each file. Writes {index}_{output}.png and render.json.
"""

from absl import flags

from . import _launch as launch

_OUTPUTS = "phong,toon,contour,ao,normal,depth,mask,colour,albedo"
_INPUT = flags.DEFINE_string(
    "input", None, "Mesh (obj ply off stl glb), voxels (binvox npz npy), or a folder of them; required."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results; required.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of mesh files; never guessed.")
_OCCUPANCY = flags.DEFINE_enum("occupancy", "coverage", ["coverage", "binary"], "How a mesh is voxelised.")
_GRID = flags.DEFINE_integer("grid", 64, "Voxels on each side of a voxelised mesh.", 4, 128)
_WEIGHTS = flags.DEFINE_string("weights", "compact", "Name of shipped weights, or the folder of a training run.")
_OUTPUT_NAMES = flags.DEFINE_list(
    "outputs", None, f"Pictures to draw, of {_OUTPUTS}; default: colour, phong, or what the weights draw alone."
)
_SIZE = flags.DEFINE_integer("size", 512, "Side of the pictures, pixels.", 8, 1024)
_POSES = flags.DEFINE_string("poses", None, "JSON list of views; a key left out takes its flag's value.")
_AZIMUTH = flags.DEFINE_float("azimuth_deg", 30.0, "Camera azimuth, degrees.")
_ELEVATION = flags.DEFINE_float("elevation_deg", 20.0, "Camera elevation, degrees.")
_ROLL = flags.DEFINE_float("roll_deg", 0.0, "Counter-clockwise turn of the picture, degrees.")
_SCALE = flags.DEFINE_float("scale", 1.0, "Object's longest side, in half frames.")
_DISTANCE = flags.DEFINE_float("inverse_distance", 0.0, "Perspective, 0 (orthographic) to below 1.")
_LIGHT_AZIMUTH = flags.DEFINE_float("light_azimuth_deg", 35.0, "Light azimuth seen from the camera, degrees.")
_LIGHT_ELEVATION = flags.DEFINE_float("light_elevation_deg", 40.0, "Light elevation seen from the camera, degrees.")
_TURNTABLE = flags.DEFINE_integer("turntable", 0, "Frames of a turntable of the first output; 0 for none.", 0, 720)
_FILM = flags.DEFINE_enum("turntable_format", "gif", ["gif", "mp4"], "Of the turntable; mp4 needs the extra video.")
_BACKGROUND = flags.DEFINE_enum(
    "background", "white", ["white", "transparent"], "Of all pictures; a transparent GIF has hard edges."
)
_FLOAT = flags.DEFINE_bool("float", False, "Also write {index}.npz: unit normals, q_z, mask.")
_REFERENCE = flags.DEFINE_bool("reference", False, "Also ray trace the mesh, and report PSNR against it.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results that are there already.")


def main():
    """Flags to one job."""
    launch.require(input=_INPUT.value, output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import batch_render
    from rendernet_jax.evaluation import show

    default = batch_render.View(
        azimuth_deg=_AZIMUTH.value,
        elevation_deg=_ELEVATION.value,
        roll_deg=_ROLL.value,
        scale=_SCALE.value,
        inverse_distance=_DISTANCE.value,
        light_azimuth_deg=_LIGHT_AZIMUTH.value,
        light_elevation_deg=_LIGHT_ELEVATION.value,
    )
    views = batch_render.read_views(_POSES.value, default)
    job = batch_render.Job(
        input=_INPUT.value,
        output=launch.prepare_output(_OUTPUT.value),
        views=views,
        weights=_WEIGHTS.value,
        outputs=None if _OUTPUT_NAMES.value is None else tuple(_OUTPUT_NAMES.value),
        size=_SIZE.value,
        up=_UP.value,
        occupancy=_OCCUPANCY.value,
        grid=_GRID.value,
        turntable=_TURNTABLE.value,
        film=_FILM.value,
        transparent=_BACKGROUND.value == "transparent",
        arrays=_FLOAT.value,
        reference=_REFERENCE.value,
        overwrite=_OVERWRITE.value,
    )
    reports = batch_render.run(job)
    for name, report in reports.items():
        print(f"{name}: {describe(report)}")
    drawn = [report for report in reports.values() if "poses" in report]
    for output, mean in batch_render.mean_scores(drawn).get("psnr", {}).items():
        print(f"mean PSNR {output} {show(mean)} dB over {len(drawn)} object(s)")
    print(f"wrote {len(views)} view(s) of {len(drawn)} object(s) to {_OUTPUT.value}")


def describe(report: dict) -> str:
    """One line about one object."""
    from rendernet_jax.evaluation import show

    if "error" in report:
        return f"skipped: {report['error']}"
    figures = [
        f"PSNR {output} {show(value)} dB ({show(report['psnr_foreground'][output])} on the object)"
        for output, value in report.get("psnr", {}).items()
    ]
    return ", ".join([*figures, f"{report['seconds_per_picture']:.2f} s a picture"])


if __name__ == "__main__":
    launch.run(main)
