"""Score drawing and fitting of coloured heads that no data set holds, against ray-traced pictures.

    python -m experiments.evaluate_texture --output=out/texture
    python -m experiments.evaluate_texture --weights=runs/texture --shapes=4 --fits=0 --output=out/drawing

Writes scores.json (means, and each head's figures), drawing.png (reference, drawn from colours, drawn from the texture
vector) and, for each method, fits_{method}.png (each fit: its picture and new views, the truth above what was found).
"""

from absl import flags

from . import _launch as launch

_WEIGHTS = flags.DEFINE_string("weights", "compact-texture", "Weights of coloured objects, or a training run's folder.")
_PRIOR = flags.DEFINE_string("prior", "head_prior", "Shape prior of heads by name, or the folder of its training.")
_SHAPES = flags.DEFINE_integer("shapes", 20, "Heads that are drawn, from four views each.", lower_bound=1)
_FITS = flags.DEFINE_integer("fits", 10, "Heads to each of which a picture is fitted.", lower_bound=0)
_METHODS = flags.DEFINE_list("methods", ["default"], "Fits: default, or paper, the schedule of 2018 (slow).")
_SIZE = flags.DEFINE_integer("size", 256, "Side of the pictures, pixels.", 8, 1024)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of poses and lights.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the scores; required.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace scores that are there already.")


def main():
    """Flags to one evaluation."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    from rendernet_jax import texture_report
    from rendernet_jax.evaluation import show
    from rendernet_jax.provenance import command, machine

    output = launch.prepare_output(_OUTPUT.value)
    launch.refuse_existing([output / texture_report.SCORES], _OVERWRITE.value)
    plan = texture_report.Plan(
        weights=_WEIGHTS.value,
        prior=_PRIOR.value,
        heads=_SHAPES.value,
        fits=_FITS.value,
        methods=tuple(_METHODS.value),
        size=_SIZE.value,
        seed=_SEED.value,
    )
    scores = texture_report.run(plan, output, {"command": command(), **machine()})
    print("drawing: " + ", ".join(f"{name} {show(value)}" for name, value in scores["drawing"].items()))
    for method, means in scores["fits"].items():
        print(f"{method}: " + ", ".join(f"{name} {show(value)}" for name, value in means.items()))
    print(f"wrote {output}/{texture_report.SCORES} and pictures beside it")


if __name__ == "__main__":
    launch.run(main)
