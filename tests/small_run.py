"""A training run that takes a process of its own a second: a line is fitted by the loop that every network uses.

    python tests/small_run.py --output=DIR [--steps=40] [--pause=0.01] [--parallel=sharding] [--coordinator=...]

Imported by the tests of interruption; :func:`fit_line` is the task.
"""

import functools
import pathlib
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from absl import flags  # noqa: E402

from experiments import _hosts  # noqa: E402
from experiments import _launch as launch  # noqa: E402

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the run.")
_STEPS = flags.DEFINE_integer("steps", 40, "Steps.")
_EVERY = flags.DEFINE_integer("every", 4, "Steps between evaluations.")
_PAUSE = flags.DEFINE_float("pause", 0.0, "Seconds to make an example.")
_PARALLEL = flags.DEFINE_string("parallel", "pmap", "pmap or sharding.")
_LARGEST = flags.DEFINE_integer("largest_file", 0, "Bytes beyond which no file grows; 0 for no limit.")
_SIZE = flags.DEFINE_integer("size", 64, "Numbers in the train state.")


def fit_line(folder, steps, pause=0.0, size=64):
    """Task: w of y = x.w + noise, whose batches hold 8 examples."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from rendernet_jax.config import preset
    from rendernet_jax.training.step import AXIS, Recipe, advance, fresh_state, make_optimizer
    from rendernet_jax.training.task_loop import Task
    from rendernet_jax.weights import save_weights

    recipe = Recipe(steps=steps, rate=0.05, warmup=2, ema=0.9)
    truth = np.random.default_rng(1).normal(size=size).astype(np.float32)

    def make_step(axis):
        def step(state, batch):
            def loss_fn(params):
                return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)

            loss, gradient = jax.value_and_grad(loss_fn)(state["params"])
            loss, gradient = (loss, gradient) if axis is None else jax.lax.pmean((loss, gradient), AXIS)
            figures = {"loss": loss, "gradient_norm": optax.tree.norm(gradient)}
            return advance(make_optimizer(recipe), recipe, state, gradient), figures

        return step

    def batch(number, places):
        rows = []
        for place in places:
            time.sleep(pause)
            rng = np.random.default_rng([number, place])
            x = rng.normal(size=size).astype(np.float32)
            rows.append((x, np.float32(x @ truth + 0.1 * rng.normal())))
        return {"x": np.stack([x for x, _ in rows]), "y": np.stack([y for _, y in rows])}

    def score(params, _):
        return {"psnr": -float(np.mean((np.asarray(params["w"]) - truth) ** 2))}

    return Task(
        state=lambda: fresh_state({"w": jnp.zeros(size)}, recipe),
        make_step=make_step,
        batch=batch,
        examples=8,
        score=score,
        figure="psnr",
        save=functools.partial(_save, folder, save_weights, preset("tiny")),
    )


def _save(folder, save_weights, config, params, facts):
    save_weights(folder, params, config, facts)


def train_line(folder, steps, pause=0.0, every=4, parallel="pmap", size=64):
    """Run it; returns the last scores."""
    from rendernet_jax.training.task_loop import train_task

    description = {"config": {"name": "line"}, "recipe": {"steps": steps}}
    prepare = functools.partial(fit_line, pathlib.Path(folder), steps, pause, size)
    return train_task(pathlib.Path(folder), description, steps, every, prepare, parallel)


def main():
    """Flags to one run."""
    launch.require(output=_OUTPUT.value)
    launch.keep_compiled_programs()
    if _LARGEST.value:  # Python ignores the signal that comes, and sees an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST.value, _LARGEST.value))
    leads = _hosts.join()
    output = launch.prepare_output(_OUTPUT.value) if leads else pathlib.Path(_OUTPUT.value)
    train_line(output, _STEPS.value, _PAUSE.value, _EVERY.value, _PARALLEL.value, _SIZE.value)
    print("done")


if __name__ == "__main__":
    launch.run(main)
