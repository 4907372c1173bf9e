"""Layers that networks are built of: convolutions, residual blocks, stages of 2D convolutions, and how heads end."""

import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax.conv import conv, conv_transposed, depth_to_space, space_to_depth

SATURATED = 1e-5  # share of 0 or 1 that a picture is taken to have left, in derivatives and in cross-entropies
_PAPER = 3.0  # an image is nearly white before training, as most of it will be
_LINEAR = ("normal", "depth")  # every other head ends in a sigmoid


class Conv(nnx.Module):
    """Convolution with bias over 2 or 3 spatial axes, He-initialised (He et al. 2015) times ``gain``."""

    def __init__(self, rank, inputs, outputs, kernel, *, rngs, strides=None, transposed=False, gain=1.0):
        init = nnx.initializers.variance_scaling(2.0 * gain**2, "fan_in", "normal")
        self.kernel = nnx.Param(init(rngs.params(), (kernel,) * rank + (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((outputs,)))
        self.strides, self.transposed = strides, transposed

    def __call__(self, x):
        if self.transposed:
            return conv_transposed(x, self.kernel[...]) + _along_last(self.bias[...], x.ndim)
        return conv(x, self.kernel[...], self.strides) + _along_last(self.bias[...], x.ndim)


class Dense(nnx.Module):
    """Matrix product over the last axis, with bias; He-initialised (He et al. 2015) times ``gain``."""

    def __init__(self, inputs, outputs, *, rngs, gain=1.0, bias=0.0):
        init = nnx.initializers.variance_scaling(2.0 * gain**2, "fan_in", "normal")
        self.kernel = nnx.Param(init(rngs.params(), (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.full((outputs,), bias, jnp.float32))

    def __call__(self, x):
        # One product of two matrices: that of an array of more axes has a slow kernel gradient on a CPU.
        flat = x.reshape(-1, x.shape[-1]) @ self.kernel[...]
        return flat.reshape(*x.shape[:-1], -1) + _along_last(self.bias[...], x.ndim)


class PReLU(nnx.Module):
    """Leaky rectifier with one learned slope per channel, 0 at the start (He et al. 2015)."""

    def __init__(self, channels):
        self.slope = nnx.Param(jnp.zeros((channels,)))

    def __call__(self, x):
        return jnp.maximum(x, 0) + _along_last(self.slope[...], x.ndim) * jnp.minimum(x, 0)


class Block(nnx.Module):
    """Residual block: convolution, PReLU, convolution, plus the input."""

    def __init__(self, rank, width, *, rngs):
        self.conv0 = Conv(rank, width, width, 3, rngs=rngs)
        self.act = PReLU(width)
        self.conv1 = Conv(rank, width, width, 3, rngs=rngs, gain=0.1)

    def __call__(self, x):
        return x + self.conv1(self.act(self.conv0(x)))


class Blocks(nnx.Module):
    """Residual blocks, then a convolution without activation, plus the stage's input (the long skip)."""

    def __init__(self, rank, width, count, *, rngs):
        self.count = count
        for i in range(count):
            setattr(self, f"block{i}", Block(rank, width, rngs=rngs))
        self.last = Conv(rank, width, width, 3, rngs=rngs, gain=0.1)

    def __call__(self, x):
        y = x
        for i in range(self.count):
            y = getattr(self, f"block{i}")(y)
        return x + self.last(y)


class StageModule(nnx.Module):
    """What a :class:`Stage` describes; ``remembered`` is the channel count of the picture it joins, 0 for none."""

    def __init__(self, inputs, stage, config, remembered, *, rngs):
        self.resample, self.transposed = stage.resample, config.transposed
        self.has_entry, self.has_join, self.has_blocks = stage.kernel > 0, remembered > 0, stage.blocks > 0
        if self.has_entry:
            inputs *= 4 if stage.resample < 0 else 1
            up = stage.resample > 0
            outputs = stage.width * (4 if up and not config.transposed else 1)
            self.entry = Conv(2, inputs, outputs, stage.kernel, rngs=rngs, transposed=up and config.transposed)
            self.act = PReLU(stage.width)
        if self.has_join:
            self.join = Conv(2, remembered, stage.width, 1, rngs=rngs)
        if self.has_blocks:
            self.blocks = Blocks(2, stage.width, stage.blocks, rngs=rngs)

    def __call__(self, x, remembered):
        if self.resample < 0:
            x = space_to_depth(x)
        if self.has_entry:
            x = self.entry(x)
            if self.resample > 0 and not self.transposed:
                x = depth_to_space(x)
            if self.has_join:
                x = x + self.join(remembered)
            x = self.act(x)
        return self.blocks(x) if self.has_blocks else x


def dropout(keys, place, x, rate):
    """Each number zero with probability ``rate``, the others scaled up to keep the mean; ``x`` itself without keys.

    ``keys [B]`` are those of the examples, so that an example loses the same numbers in whatever batch, on whatever
    device it is; ``place`` is the dropout's number in the network.
    """
    if keys is None or not rate:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, place), 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def finish_heads(x, heads, known):
    """Raw pictures ``[B, H, W, sum of counts]`` -> each head's by name, within its range.

    ``heads`` are pairs of name and count; ``known`` holds pictures by name to which a head adds what they miss.
    """
    names, counts = zip(*heads, strict=True)
    edges = [sum(counts[:i]) for i in range(1, len(counts))]
    raw = dict(zip(names, jnp.split(x, edges, axis=-1), strict=True))
    raw |= {name: raw[name] + picture for name, picture in known.items() if name in raw}
    if "normal" in raw:  # a mean of unit vectors lies in the unit ball
        raw["normal"] *= jax.lax.rsqrt(jnp.maximum(jnp.sum(raw["normal"] ** 2, axis=-1, keepdims=True), 1.0))
    ends = dict.fromkeys(_LINEAR, lambda v: v) | {"image": lambda v: leaky_sigmoid(v + _PAPER)}
    return {name: ends.get(name, jax.nn.sigmoid)(v) for name, v in raw.items()}


@jax.custom_jvp
def leaky_sigmoid(x: jax.Array) -> jax.Array:
    """Sigmoid with a derivative of :data:`SATURATED` at least.

    Pictures are mostly white. A network that learns this first has numbers beyond 17 everywhere, of which a sigmoid in
    float32 is exactly 1 and its derivative exactly 0: nothing would be learnt any more.
    """
    return jax.nn.sigmoid(x)


@leaky_sigmoid.defjvp
def _leaky_sigmoid_jvp(primals, tangents):
    value = jax.nn.sigmoid(primals[0])
    return value, tangents[0] * jnp.maximum(value * (1.0 - value), SATURATED)


def _along_last(vector, ndim):
    return vector.reshape((1,) * (ndim - 1) + (-1,))
