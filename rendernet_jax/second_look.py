"""A second look at an upright object: how the shape and pose that were guessed are off, told by drawing them.

What is guessed is drawn beside the picture, in the same square about the object. How the two differ tells of both far
more than the picture alone; and since what comes of it is a guess as well, one may look again (iterative error
feedback: Carreira et al. 2016, section 2).

Poses are those in the square, see :mod:`rendernet_jax.first_guess`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax import shape_prior
from rendernet_jax.camera import Pose
from rendernet_jax.composite import composite_weights
from rendernet_jax.conv import one_by_one
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import CHANNELS, SIZE, Reader, check_stages, mirror
from rendernet_jax.layers import Dense, PReLU
from rendernet_jax.parameters import Wall
from rendernet_jax.shape_prior import PriorConfig
from rendernet_jax.voxels import Window, camera_grid

DRAWN = 4  # channels of what is drawn: coverage, and the normal in camera axes times coverage
_DEPTH, _CELLS = 1.8, 96  # half the depth that is drawn, in the terms of the square, and cells along it
_GAIN, _FAINT = 4.0, 0.02  # of coverage: a sheet that fills a quarter of its cells is as opaque as any other
_POSE = 7
_TOLD_POSE = _POSE + 1  # numbers by which it is told: azimuth by sine and cosine


@dataclasses.dataclass(frozen=True)
class LookConfig:
    """Everything that fixes the parameters; hashable. Layers are as those of :class:`first_guess.GuessConfig`."""

    name: str = "second_look"
    latent: int = 200
    patch: int = 4
    widths: tuple[int, ...] = (48, 96, 160, 192)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    hidden: int = 512

    def __post_init__(self):
        """Raise InputError for layers that do not fit each other."""
        check_stages(self, "look")


class Looker(Reader):
    """Pictures ``[B, SIZE, SIZE, CHANNELS + DRAWN]`` and rows of what is drawn -> rows of what it is off by."""

    def __init__(self, config: LookConfig, *, rngs: nnx.Rngs):
        super().__init__(config, CHANNELS + DRAWN, rngs=rngs)
        self.dense = Dense(self.numbers + config.latent + _TOLD_POSE, config.hidden, rngs=rngs)
        self.act = PReLU(config.hidden)
        self.head = Dense(config.hidden, config.latent + _POSE, rngs=rngs, gain=0.1)

    def __call__(self, x, told):
        return self.head(self.act(self.dense(jnp.concatenate([self.read(x), told], axis=1))))


_wall = Wall(lambda config, rngs: Looker(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> LookConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    try:
        return LookConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise InputError(f"weights: expected those of a second look, got others ({error}); use others") from error


def look(params: dict, config: LookConfig, pictures, drawn, latents, poses) -> tuple[jax.Array, jax.Array]:
    """Better latents and poses than those that are drawn.

    Args:
        pictures: ``[B, SIZE, SIZE, CHANNELS]``, of :func:`first_guess.crop`.
        drawn: ``[B, SIZE, SIZE, DRAWN]``, of :func:`draw`.
        latents: ``[B, L]``, in deviations from the usual: see ``shape_prior.usual``.
        poses: ``[B, 7]``.

    Returns:
        latents ``[B, L]`` and poses ``[B, 7]``.
    """
    azimuth, rest = poses[:, :1], poses[:, 1:]
    told = jnp.concatenate([latents, jnp.sin(azimuth), jnp.cos(azimuth), rest], axis=1)
    off = bind(params, config)(jnp.concatenate([pictures, drawn], axis=-1), told)
    return latents + off[:, : config.latent], poses + off[:, config.latent :]


def look_symmetric(params: dict, config: LookConfig, pictures, drawn, latents, poses) -> tuple[jax.Array, jax.Array]:
    """:func:`look` at things that are alike on both sides: means of what pictures and their mirror images tell."""
    one, pose = look(params, config, pictures, drawn, latents, poses)
    other, mirrored = look(params, config, pictures[:, :, ::-1], mirror_drawn(drawn), latents, mirror(poses))
    return 0.5 * (one + other), 0.5 * (pose + mirror(mirrored))


def mirror_drawn(drawn):
    """Drawings ``[..., SIZE, SIZE, DRAWN]`` of things mirrored, left to right."""
    signs = np.float32([1, -1, 1, 1]).reshape((1,) * (drawn.ndim - 1) + (-1,))
    return drawn[..., ::-1, :] * signs


def draw(prior: dict, config: PriorConfig, latents: jax.Array, poses: jax.Array) -> jax.Array:
    """What latents of a prior show, without any network, which takes a tenth of its time.

    Args:
        latents: ``[B, L]``, in deviations from the usual.
        poses: ``[B, 7]``.

    Returns:
        coverage, and the normal in camera axes times coverage, ``[B, SIZE, SIZE, DRAWN]``.
    """
    mean, spread = shape_prior.usual(prior)

    def one(pair):
        latent, pose = pair
        grid = shape_prior.decode(prior, config, (mean + spread * latent)[None])
        solid = jnp.clip(_GAIN * (grid - _FAINT), 0.0, 1.0)
        azimuth, elevation, roll, log_scale, right, up, inverse_distance = pose
        place = jnp.stack([right, up, jnp.zeros_like(up)])[None]
        seen_from = Pose(azimuth, elevation, roll, jnp.exp(log_scale), place, inverse_distance)
        return _show(camera_grid(solid, seen_from, (SIZE, SIZE, _CELLS), Window(depth=_DEPTH))[0, ..., 0])

    return one_by_one(one, (latents, poses))


def _show(cells: jax.Array) -> jax.Array:
    """Coverage, and the normal times coverage, of cells ``[SIZE, SIZE, D]``."""
    weights = composite_weights(cells)
    covered = jnp.sum(weights, axis=-1, keepdims=True)
    padded = jnp.pad(cells, 1)
    inner = slice(1, -1)
    slopes = (
        padded[inner, :-2, inner] - padded[inner, 2:, inner],
        padded[2:, inner, inner] - padded[:-2, inner, inner],
        (padded[inner, inner, 2:] - padded[inner, inner, :-2]) * (_CELLS / SIZE / _DEPTH),
    )
    normal = jnp.stack([jnp.sum(weights * slope, axis=-1) for slope in slopes], axis=-1)
    normal = normal / jnp.sqrt(jnp.sum(normal**2, axis=-1, keepdims=True) + 1e-4)
    return jnp.concatenate([covered, covered * normal], axis=-1)


def begin(key: jax.Array, config: LookConfig, guess: dict) -> dict:
    """Parameters to begin training with: the convolutions of a first guess with the same layers, blind to the drawing.

    Raises:
        InputError: a first guess with other layers.
    """
    params = init(key, config)
    for name in params:
        if name.startswith(("conv", "act", "block")):
            params[name] = guess.get(name)
    seen = params["conv0"]["kernel"]
    every = seen.reshape(*seen.shape[:2], config.patch**2, CHANNELS, -1)
    blind = jnp.zeros((*every.shape[:3], DRAWN, every.shape[-1]))
    kernel = jnp.concatenate([every, blind], axis=3).reshape(*seen.shape[:2], -1, every.shape[-1])
    params["conv0"] = {**params["conv0"], "kernel": kernel}
    told = jnp.zeros((config.latent + _TOLD_POSE, config.hidden))
    params["dense"] = {**guess["dense"], "kernel": jnp.concatenate([guess["dense"]["kernel"], told])}
    check_params(params, config)
    return params
