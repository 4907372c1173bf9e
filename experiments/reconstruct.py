"""Fit pose, light, colour and, unless it is given, shape to a photo of one object, and show it from new views.

    python -m experiments.reconstruct --image=photo.png --mesh=chair.obj --output=out/fit
    python -m experiments.reconstruct --image=photo.jpg --mask=mask.png --voxels=chair.binvox --output=out/fit
    python -m experiments.reconstruct --image=photo.png --output=out/fit

Without --mesh and --voxels the shape is found, too, of a seat that stands upright: what a single-view network sees of
it is refined until it is drawn as the photo shows it. The object is found by --mask, the photo's alpha channel, a plain
background, or GrabCut. OUTPUT/report.html shows everything, fit.json has the pose, which refers to the photo padded to
a centred square. Ctrl-C writes the best so far.
"""

import sys

from absl import flags

from . import _launch as launch

_IMAGE = flags.DEFINE_string("image", None, "Photo: png, jpg or webp; required.")
_MASK = flags.DEFINE_string("mask", None, "Mask of the photo's size, white on the object; found if left out.")
_MESH = flags.DEFINE_string("mesh", None, "Mesh file of the object, if its shape is known.")
_VOXELS = flags.DEFINE_string("voxels", None, "Voxel file of the object, in place of --mesh.")
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "Upward axis of the mesh file; never guessed.")
_CATEGORY = flags.DEFINE_enum(
    "category",
    "object",
    ["object", "head"],
    "What the photo shows: an object of one colour, or a head with its texture.",
)
_WEIGHTS = flags.DEFINE_string("weights", None, "Weights by name, or a training run's folder; default: the category's.")
_PRIOR = flags.DEFINE_string("prior", None, "Shape prior by name, or its training's folder; default: the category's.")
_SINGLE_VIEW = flags.DEFINE_string(
    "single_view",
    "single_view",
    "What finds a shape that is not given, nor a head's, by name or folder; none: the prior is searched, in minutes.",
)
_SCHEDULE = flags.DEFINE_enum(
    "schedule", "default", ["default", "paper"], "'paper': that of 2018, for a known shape; slow, and to compare with."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the starts of --schedule=paper; the default one has none.", 0, 2**31 - 1
)
_STARTS = flags.DEFINE_integer(
    "starts", 256, "View directions that are tried where the view is searched, not guessed.", 8, 1024
)
_FIX = flags.DEFINE_list("fix", "", "Some of pose,light,albedo,shape,texture: held as --init gives them.")
_INIT = flags.DEFINE_string(
    "init",
    None,
    "A fit.json, or a JSON file with any of its pose, light, albedo, shape, texture. A shape is one of the prior's, "
    "and found through it.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for what is found; required.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a reconstruction that is there already.")


def main():
    """Flags to one fit."""
    launch.require(image=_IMAGE.value, output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import reconstruction, reconstruction_report
    from rendernet_jax.data import meshes, voxel_files
    from rendernet_jax.errors import InputError
    from rendernet_jax.evaluation import show
    from rendernet_jax.provenance import command, machine

    if _MESH.value and _VOXELS.value:
        raise InputError("--mesh, --voxels: expected one of them, got both; leave either out")
    for flag, suffixes in ((_MESH, meshes.SUFFIXES), (_VOXELS, voxel_files.SUFFIXES)):
        if flag.value and not flag.value.lower().endswith(suffixes):
            raise InputError(f"--{flag.name}: expected one of {', '.join(suffixes)}, got {flag.value}; convert it")
    output = launch.prepare_output(_OUTPUT.value)
    killed = (output / reconstruction.UNFINISHED).exists()
    launch.refuse_existing([output / name for name in reconstruction.WRITTEN], _OVERWRITE.value or killed)
    job = reconstruction.Job(
        image=_IMAGE.value,
        output=output,
        shape=_MESH.value or _VOXELS.value,
        mask=_MASK.value,
        up=_UP.value,
        category=_CATEGORY.value,
        weights=_WEIGHTS.value,
        prior=_PRIOR.value,
        single_view=_SINGLE_VIEW.value,
        schedule=_SCHEDULE.value,
        seed=_SEED.value,
        starts=_STARTS.value,
        init=_INIT.value,
        fixed=tuple(_FIX.value),
    )
    fit = reconstruction.run(job, {"command": command(), **machine()})
    pose, light = fit["pose"], fit["light"]
    print(
        f"azimuth {pose['azimuth_deg']:.1f}, elevation {pose['elevation_deg']:.1f}, roll {pose['roll_deg']:.1f} degrees"
    )
    print(f"light azimuth {light['azimuth_deg']:.1f}, elevation {light['elevation_deg']:.1f} degrees")
    print(
        f"mask IoU {fit['mask_iou']:.3f}, PSNR {show(fit['psnr'])} dB, {fit['seconds']:.1f} s; "
        f"wrote {output}/report.html and fit.json"
    )
    if doubt := reconstruction_report.doubt(fit):
        print(doubt, file=sys.stderr)
    if fit["interrupted"]:
        print("interrupted: this is the best so far", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    launch.run(main)
