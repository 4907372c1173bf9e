"""What is timed: the parts of a picture, its gradients and a training step, from one set of inputs."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rendernet_jax import composite, network, rendering, voxels
from rendernet_jax.benchmark import plain_flax
from rendernet_jax.camera import Pose, broadcast
from rendernet_jax.config import Config
from rendernet_jax.voxels import Window

GRID = 64  # voxels on a side of the object grids
RATE, DECAY = 1e-4, 1e-4  # of every AdamW


class Library(NamedTuple):
    """Functions that make the network out of parameters and the camera grid out of an object grid."""

    bind: Callable
    camera_grid: Callable
    render_buffers: Callable


OURS = Library(network.bind, voxels.camera_grid, rendering.render_buffers)
PLAIN = Library(plain_flax.bind, plain_flax.camera_grid, plain_flax.render_buffers)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One network, the pictures it draws and the patches it trains on."""

    config: Config
    params: dict
    grid: jax.Array  # [1, X, Y, Z, C]
    pose: Pose  # [batch]
    size: int  # of pictures, pixels
    patch: int  # of training patches, pixels
    patches: dict  # grid [N, X, Y, Z, C], pose [N], window [N], target: head -> [N, patch, patch, c]
    dtype: jnp.dtype


def make_inputs(
    config: Config, params: dict, size: int, batch: int, patch: int, train_batch: int, dtype=jnp.float32
) -> Inputs:
    """Inputs of these sizes, which the network must be able to make; the same numbers each time."""
    rng = np.random.default_rng(0)
    extent = 2.0 * patch / max(size, patch)
    corner = rng.uniform(-1.0, 1.0 - extent, (2, train_batch)).astype(np.float32)
    window = Window(corner[0], -corner[1], np.full(train_batch, extent, np.float32))
    target = {
        name: rng.uniform(size=(train_batch, patch, patch, count)).astype(np.float32) for name, count in config.heads
    }
    patches = {
        "grid": np.repeat(object_grid(config.channels), train_batch, axis=0),
        "pose": poses(train_batch),
        "window": window,
        "target": target,
    }
    patches = jax.tree.map(jnp.asarray, patches)
    grid = jnp.asarray(object_grid(config.channels))
    return Inputs(config, params, grid, poses(batch), size, patch, patches, dtype)


def random_params(config: Config) -> dict:
    """Random parameters with no bias or slope left at 0, where a mistake in copying them would not show."""
    params = network.init(jax.random.key(0), config)
    rng = np.random.default_rng(1)
    noise = lambda p: jnp.asarray(rng.normal(0.0, 0.1, p.shape), jnp.float32)  # noqa: E731
    return jax.tree.map(lambda p: p + noise(p) if p.ndim == 1 else p, params)


def object_grid(channels: int) -> np.ndarray:
    """A ball that pierces a thin table with one leg, soft at the edges: occupancy ``[1, X, Y, Z, C]``."""
    x, y, z = np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID - 0.5] * 3, indexing="ij")
    ball = 0.2 - np.sqrt(x**2 + (y - 0.1) ** 2 + z**2)
    table = np.minimum(0.04 - np.abs(y), 0.45 - np.maximum(np.abs(x), np.abs(z)))
    leg = np.minimum(0.06 - np.maximum(np.abs(x - 0.3), np.abs(z)), 0.45 - np.abs(y))
    occupancy = np.clip(0.5 + GRID * np.maximum(np.maximum(ball, table), leg), 0.0, 1.0).astype(np.float32)
    return np.repeat(occupancy[None, ..., None], channels, axis=-1)


def poses(count: int) -> Pose:
    """Views from all around, none along an axis, some with perspective; fields ``[count]``."""
    turn = jnp.arange(count, dtype=jnp.float32) / count
    return broadcast(
        Pose(
            azimuth=0.513 + 6.28 * turn,
            elevation=0.347 + 0.2 * turn,
            roll=0.1 * turn,
            translation=(0.013, -0.021, 0.007),
            inverse_distance=0.11 + 0.1 * turn,
        )
    )


def programs(inputs: Inputs, library: Library) -> dict[str, tuple[Callable, tuple]]:
    """Name -> (pure function, its arguments): the stages, the whole picture, and its gradients by pose and grid."""
    config, dtype, side = inputs.config, inputs.dtype, inputs.size // inputs.config.upsample
    count = len(inputs.pose.azimuth)
    columns = jnp.full((count,), side, jnp.float32)

    def resample(grid, pose):
        return library.camera_grid(grid, pose, (side, side, config.depth))

    def read(params, cells):
        return library.bind(params, config, dtype).read(cells.astype(dtype))

    def project(params, cells, volume):
        analytic = composite.analytic_features(cells[..., 0], columns) if config.analytic else None
        return library.bind(params, config, dtype).project(volume, analytic)

    def draw(params, flat):
        return library.bind(params, config, dtype).draw(flat, None)

    render, (params, grid, pose) = whole(inputs, library)

    def scalar(pose, grid, params):
        return sum(jnp.mean(v**2) for v in render(params, grid, pose).values())

    cells = jax.jit(resample)(grid, pose)
    volume = jax.jit(read)(params, cells)
    flat = jax.jit(project)(params, cells, volume)
    return {
        "resample": (resample, (grid, pose)),
        "3D": (read, (params, cells)),
        "projection": (project, (params, cells, volume)),
        "2D": (draw, (params, flat)),
        "whole": (render, (params, grid, pose)),
        "gradient by pose": (jax.grad(scalar), (pose, grid, params)),
        "gradient by grid": (jax.grad(scalar, argnums=1), (pose, grid, params)),
    }


def whole(inputs: Inputs, library: Library) -> tuple[Callable, tuple]:
    """``render(params, grid, pose) -> G-buffer`` and its arguments."""

    def render(params, grid, pose):
        return library.render_buffers(params, inputs.config, grid, pose, inputs.size, dtype=inputs.dtype)

    return render, (inputs.params, inputs.grid, inputs.pose)


def picture(config: Config, params: dict, size: int, batch: int, dtype=jnp.float32) -> tuple[Callable, tuple]:
    """``draw(params, grid, pose) -> Phong pictures``, as :func:`rendering.render` draws them, and its arguments."""

    def draw(params, grid, pose):
        buffers = rendering.render_buffers(params, config, grid, pose, size, dtype=dtype)
        return rendering.shade(config, buffers, None, None)

    return draw, (params, jnp.asarray(object_grid(config.channels)), poses(batch))


def train_step(inputs: Inputs, library: Library) -> tuple[Callable, tuple]:
    """``step(state, patches) -> (state, loss)`` and its arguments: mean squared error of all heads, and AdamW."""
    optimizer = optax.adamw(RATE, weight_decay=DECAY)

    def loss_fn(params, patches):
        grid, pose, window = patches["grid"], patches["pose"], patches["window"]
        drawn = library.render_buffers(
            params, inputs.config, grid, pose, inputs.patch, window=window, dtype=inputs.dtype
        )
        return sum(jnp.mean((drawn[name] - target) ** 2) for name, target in patches["target"].items())

    def step(state, patches):
        params, moments = state
        loss, gradient = jax.value_and_grad(loss_fn)(params, patches)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    params = jax.tree.map(jnp.array, inputs.params)  # a step gives its arguments' memory away
    return step, ((params, optimizer.init(params)), inputs.patches)
