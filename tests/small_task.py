"""A training task that takes a moment: a line is fitted by the loop that every network uses."""

import functools
import pathlib
import time


def fit_line(folder, steps, pause=0.0, size=64, workers=0):
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
        state=lambda: fresh_state({"w": jnp.zeros(size)}, make_optimizer(recipe)),
        make_step=make_step,
        batch=batch,
        examples=8,
        score=score,
        figure="psnr",
        save=functools.partial(_save, folder, save_weights, preset("tiny")),
        workers=workers,
    )


def _save(folder, save_weights, config, params, facts):
    save_weights(folder, params, config, facts)


def train_line(folder, steps, pause=0.0, every=4, parallel="pmap", size=64, workers=0):
    """Run it; returns the last scores."""
    from rendernet_jax.training.task_loop import train_task

    description = {"config": {"name": "line"}, "recipe": {"steps": steps}}
    prepare = functools.partial(fit_line, pathlib.Path(folder), steps, pause, size, workers)
    return train_task(pathlib.Path(folder), description, steps, every, prepare, parallel)
