"""Train state and the pure training step."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from rendernet_jax import losses, network
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.rendering import render_buffers, targets, textured
from rendernet_jax.voxels import Window

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What fixes a training run beside the network and the data."""

    steps: int = 10_000
    batch: int = 6
    patch: int = 192  # pixels
    rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 1e-4
    ema: float = 0.999
    clip: float = 1.0  # global gradient norm
    bf16: bool = False
    accumulate: int = 1  # parts in which a batch is worked on, one after the other
    only_texture: bool = False  # train what draws colours (network.TEXTURE) alone, and leave what draws shapes as it is
    seed: int = 0


def make_optimizer(recipe, parts: tuple[str, ...] = ()) -> optax.GradientTransformation:
    """AdamW with warm-up, cosine decay to 1% and gradient clipping; of these parts of the parameters alone, if any."""
    warmup = min(recipe.warmup, recipe.steps // 10)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.rate, warmup, recipe.steps, 0.01 * recipe.rate)
    optimizer = optax.chain(
        optax.clip_by_global_norm(recipe.clip),
        optax.adamw(schedule, b1=0.9, b2=0.99, weight_decay=recipe.weight_decay),
    )
    # The others' gradient, which is 0, becomes their update.
    return optax.masked(optimizer, lambda tree: {name: name in parts for name in tree}) if parts else optimizer


def trained_parts(recipe: Recipe) -> tuple[str, ...]:
    """Names of the parts of a network's parameters that are trained; none stands for all."""
    return network.TEXTURE if recipe.only_texture else ()


def init_state(config: Config, recipe: Recipe, params: dict | None = None) -> dict:
    """Train state, a plain dict: params, ema (their running mean), opt_state, step.

    ``params`` warm-starts it; parts of a network that they lack begin at random.
    """
    given = params or {}
    if network.shapes(config).keys() - given.keys():
        given = {**network.init(jax.random.key(recipe.seed), config), **given}
    return fresh_state(given, make_optimizer(recipe, trained_parts(recipe)))


def make_loss(config: Config, recipe: Recipe):
    """``loss(params, batch, keys) -> (loss, figures)``, means over a batch; see :func:`make_step` and ``make_keys``."""
    dtype = jnp.bfloat16 if recipe.bf16 else jnp.float32
    parts = trained_parts(recipe)

    def loss_fn(params, batch, keys):
        if parts:
            params = {name: p if name in parts else jax.lax.stop_gradient(p) for name, p in params.items()}
        predicted = render_buffers(
            params,
            config,
            make_grid(params, config, batch),
            Pose(**batch["pose"]),
            recipe.patch,
            window=Window(batch["left"], batch["top"], batch["extent"]),
            keys=keys,
            dtype=dtype,
        )
        if recipe.only_texture:  # the colours of the object as it is, whatever the network takes for its shape
            predicted = {"albedo": predicted["albedo"], "mask": batch["target"]["mask"]}
        terms = losses.buffer_losses(predicted, targets(config, batch["target"]), Light(**batch["light"]))
        if "textured" in batch:
            made = network.decode_texture(params, config, batch["texture"])
            terms["texture"] = batch["textured"] * losses.colour_error(made, batch["grid"])
        terms = {"loss": losses.total(terms), **terms}
        return jnp.mean(terms["loss"]), {name: jnp.mean(value) for name, value in terms.items()}

    return loss_fn


def make_grid(params: dict, config: Config, batch: dict) -> jax.Array:
    """Object grids of a batch; without colours, they get those that are made of its texture vectors.

    Where there are both, the decoder of vectors learns from the colours themselves: that is several times faster than
    through what is drawn of them.
    """
    if "texture" not in batch or "textured" in batch:
        return batch["grid"]
    return textured(params, config, batch["grid"], batch["texture"])


def make_keys(recipe: Recipe, step: jax.Array, places: jax.Array) -> jax.Array:
    """Dropout keys of the examples at these places in the batch of a step, ``[B]``."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(jax.random.key(recipe.seed), step), places)


def make_step(config: Config, recipe: Recipe, axis: str | None = AXIS):
    """``step(state, batch) -> (state, metrics)``, pure; gradients are averaged over ``axis`` if given.

    A batch is the dict that ``data.source.Source.batch`` makes, with a light for each example. Randomness comes from
    the seed, the step and the example's place in the whole batch alone: a resumed run repeats the interrupted one, and
    devices and parts of a batch may be many or few.
    """
    optimizer, loss_fn = make_optimizer(recipe, trained_parts(recipe)), make_loss(config, recipe)

    def step(state, batch):
        count = len(batch["grid"])
        first = 0 if axis is None else jax.lax.axis_index(axis) * count
        keys = make_keys(recipe, state["step"], first + jnp.arange(count))
        metrics, gradient = accumulate(loss_fn, state["params"], batch, keys, recipe.accumulate)
        if axis is not None:
            gradient, metrics = jax.lax.pmean((gradient, metrics), axis)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return advance(optimizer, recipe, state, gradient), metrics

    return step


def accumulate(loss_fn, params: dict, batch: dict, keys: jax.Array, parts: int) -> tuple[dict, dict]:
    """Mean of the figures and of the gradient over a batch, of which 1/``parts`` is worked on at a time.

    A part takes every so-manieth example, so that each device holding a piece of the batch has a share of every part.

    Args:
        loss_fn: ``(params, batch, keys) -> (loss, figures)``, means over its examples.
        batch: leaves ``[B, ...]``.
        keys: of the examples, ``[B]``.

    Raises:
        InputError: B is no multiple of ``parts``.
    """
    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    if parts == 1:
        (_, figures), found = gradient(params, batch, keys)
        return figures, found
    if len(keys) % parts:
        raise InputError(
            f"accumulate: expected a divisor of the {len(keys)} examples on each device, got {parts}; change --batch "
            "or --accumulate"
        )
    split = lambda leaf: leaf.reshape(-1, parts, *leaf.shape[1:]).swapaxes(0, 1)  # noqa: E731

    def add(total, part):
        (_, figures), found = gradient(params, *part)
        return jax.tree.map(jnp.add, total, (figures, found)), None

    pieces = jax.tree.map(split, (batch, keys))
    (_, figures), found = jax.eval_shape(gradient, params, *jax.tree.map(lambda leaf: leaf[0], pieces))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (figures, found))
    total, _ = jax.lax.scan(add, zeros, pieces)
    return jax.tree.map(lambda leaf: leaf / parts, total)


def advance(optimizer: optax.GradientTransformation, recipe, state: dict, gradient: dict) -> dict:
    """The train state after one update; ``recipe.ema`` is how much the running mean keeps of itself."""
    updates, opt_state = optimizer.update(gradient, state["opt_state"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    # A short memory at first, so that the mean forgets the random start.
    done = state["step"].astype(jnp.float32)
    decay = jnp.minimum(recipe.ema, (1.0 + done) / (10.0 + done))
    ema = jax.tree.map(lambda mean, p: decay * mean + (1.0 - decay) * p, state["ema"], params)
    return {"params": params, "ema": ema, "opt_state": opt_state, "step": state["step"] + 1}


def fresh_state(params: dict, optimizer: optax.GradientTransformation) -> dict:
    """Train state before the first step, a plain dict: params, ema (their running mean), opt_state, step."""
    return {
        "params": params,
        "ema": jax.tree.map(jnp.array, params),
        "opt_state": optimizer.init(params),
        "step": jnp.zeros((), jnp.int32),
    }
