"""A prior of shapes: a 3D autoencoder between object grids and latent vectors that are about unit normal.

It is a variational autoencoder (Kingma and Welling 2014) whose noise has one learned scale for each number of the
latent, not one for each shape, so that encoding is a function of the grid alone. Most arithmetic is spent on a coarse
lattice with wide channels, where CPUs are fast: space-to-depth leads there and depth-to-space back. Grids are those of
the binary rule (see :mod:`rendernet_jax.data.voxelise`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.errors import InputError
from rendernet_jax.layers import Dense, PReLU
from rendernet_jax.parameters import Wall

_NOISE = 0.5  # scale of the latent's noise before training
_LEAST_SPREAD = 1e-2  # of a number that no shape uses
_EMPTY = -3.0  # logit of every cell before training: one in twenty is occupied


@dataclasses.dataclass(frozen=True)
class PriorConfig:
    """Everything that fixes the parameters; hashable. ``widths`` are channels on the lattices, coarse to fine.

    The finest lattice has one point for each patch of ``patch`` cells a side; each coarser one has half its points.
    """

    name: str = "shape_prior"
    grid: int = 64  # cells on a side
    latent: int = 200
    patch: int = 4
    widths: tuple[int, ...] = (64, 128, 48)
    encoder_blocks: tuple[int, ...] = (1, 1, 0)  # residual blocks on each lattice
    decoder_blocks: tuple[int, ...] = (1, 2, 2)
    gallery: int = 512  # latents of shapes it was trained on, far from each other, where a search may begin

    def __post_init__(self):
        """Raise InputError if the lattices do not divide the grid, or lists differ in length."""
        if self.grid % (self.patch * 2 ** (len(self.widths) - 1)):
            raise InputError(
                f"prior config: {self.grid} cells do not divide into patches of {self.patch} and {len(self.widths)} "
                "lattices, each half as fine; change grid, patch or widths"
            )
        if not len(self.widths) == len(self.encoder_blocks) == len(self.decoder_blocks) > 0:
            raise InputError("prior config: expected as many encoder_blocks and decoder_blocks as widths; correct them")

    @property
    def coarsest(self) -> int:
        """Points on a side of the coarsest lattice."""
        return self.grid // (self.patch * 2 ** (len(self.widths) - 1))


PRESETS = {
    "shape_prior": PriorConfig(),
    "tiny": PriorConfig("tiny", 16, 12, 4, (16, 12), (0, 0), (0, 1), 4),
}


class Block(nnx.Module):
    """Residual block of two convolutions, each over a point and its six neighbours, with a PReLU between them."""

    def __init__(self, width, *, rngs):
        self.conv0 = Dense(7 * width, width, rngs=rngs)
        self.act = PReLU(width)
        self.conv1 = Dense(7 * width, width, rngs=rngs, gain=0.1)

    def __call__(self, x):
        return x + self.conv1(with_neighbours(self.act(self.conv0(with_neighbours(x)))))


class Encoder(nnx.Module):
    """Grid ``[B, G, G, G, 1]`` -> mean of the latent ``[B, L]``."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.config = config
        inputs, factor = 1, config.patch
        for level in reversed(range(len(config.widths))):
            width = config.widths[level]
            setattr(self, f"entry{level}", Dense(inputs * factor**3, width, rngs=rngs))
            setattr(self, f"act{level}", PReLU(width))
            for i in range(config.encoder_blocks[level]):
                setattr(self, f"block{level}_{i}", Block(width, rngs=rngs))
            inputs, factor = width, 2
        self.latent = Dense(inputs * config.coarsest**3, config.latent, rngs=rngs, gain=0.5)

    def __call__(self, x):
        factor = self.config.patch
        for level in reversed(range(len(self.config.widths))):
            x = getattr(self, f"entry{level}")(cells_to_channels(x, factor))
            x = getattr(self, f"act{level}")(x)
            for i in range(self.config.encoder_blocks[level]):
                x = getattr(self, f"block{level}_{i}")(x)
            factor = 2
        return self.latent(x.reshape(len(x), 1, 1, 1, -1))[:, 0, 0, 0]


class Decoder(nnx.Module):
    """Latent ``[B, L]`` -> logits of cells ``[B, G, G, G, 1]``."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.config = config
        inputs, points = config.latent, config.coarsest**3
        for level, width in enumerate(config.widths):
            setattr(self, f"entry{level}", Dense(inputs, width * points, rngs=rngs))
            setattr(self, f"act{level}", PReLU(width))
            for i in range(config.decoder_blocks[level]):
                setattr(self, f"block{level}_{i}", Block(width, rngs=rngs))
            inputs, points = width, 8
        self.head = Dense(inputs, config.patch**3, rngs=rngs, gain=0.1, bias=_EMPTY)

    def __call__(self, latent):
        x, factor = latent[:, None, None, None], self.config.coarsest
        for level in range(len(self.config.widths)):
            x = getattr(self, f"act{level}")(channels_to_cells(getattr(self, f"entry{level}")(x), factor))
            for i in range(self.config.decoder_blocks[level]):
                x = getattr(self, f"block{level}_{i}")(x)
            factor = 2
        return channels_to_cells(self.head(x), self.config.patch)


class ShapePrior(nnx.Module):
    """Encoder, decoder, the logarithm of the latent's noise, and the gallery, which is chosen after training."""

    def __init__(self, config: PriorConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.log_noise = nnx.Param(jnp.full((config.latent,), np.log(_NOISE), jnp.float32))
        self.gallery = nnx.Param(jnp.zeros((config.gallery, config.latent), jnp.float32))


def with_neighbours(x: jax.Array) -> jax.Array:
    """``[B, X, Y, Z, C] -> [B, X, Y, Z, 7*C]``: each point's channels and those of its six neighbours, 0 outside."""
    inner = slice(1, -1)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    seen = [x]
    for side in (slice(0, -2), slice(2, None)):
        seen += [padded[:, side, inner, inner], padded[:, inner, side, inner], padded[:, inner, inner, side]]
    return jnp.concatenate(seen, axis=-1)


def cells_to_channels(x: jax.Array, factor: int) -> jax.Array:
    """``[B, f*X, f*Y, f*Z, C] -> [B, X, Y, Z, f^3*C]``: each cube of f^3 cells becomes one."""
    b, *sides, c = x.shape
    nx, ny, nz = (side // factor for side in sides)
    x = x.reshape(b, nx, factor, ny, factor, nz, factor, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, nx, ny, nz, -1)


def channels_to_cells(x: jax.Array, factor: int) -> jax.Array:
    """Inverse of :func:`cells_to_channels`."""
    b, nx, ny, nz, c = x.shape
    x = x.reshape(b, nx, ny, nz, factor, factor, factor, c // factor**3).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, nx * factor, ny * factor, nz * factor, -1)


# --- functional wall ------------------------------------------------------------------------------------------------


_wall = Wall(lambda config, rngs: ShapePrior(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> PriorConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    try:
        return PriorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:
        raise InputError(f"weights: expected those of a shape prior, got others ({error}); use others") from error


def encode(params: dict, config: PriorConfig, grid: jax.Array) -> jax.Array:
    """Latents of grids.

    Args:
        grid: ``[B, G, G, G, 1]`` in [0, 1], by either rule, G = ``config.grid``.

    Returns:
        ``[B, L]``, float32; of shapes like those it was trained on about normal, mean 0 and deviation up to 1.

    Raises:
        InputError: the grid has another shape.
    """
    expected = (config.grid,) * 3 + (1,)
    if grid.ndim != 5 or grid.shape[1:] != expected:
        raise InputError(
            f"grid: expected [B, {', '.join(map(str, expected))}], got {grid.shape}; voxelise with {config.grid} cells"
        )
    return bind(params, config).encoder(jnp.asarray(grid, jnp.float32))


def usual(params: dict) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation ``[L]`` of the latents of shapes that the prior knows, by its gallery."""
    return jnp.mean(params["gallery"], axis=0), jnp.std(params["gallery"], axis=0) + _LEAST_SPREAD


def decode_logits(params: dict, config: PriorConfig, latent: jax.Array) -> jax.Array:
    """Logits ``[B, G, G, G, 1]`` of the cells, for losses; raises as :func:`decode` does."""
    if latent.ndim != 2 or latent.shape[1] != config.latent:
        raise InputError(f"latent: expected [B, {config.latent}], got {latent.shape}; encode a grid, or add an axis")
    return bind(params, config).decoder(jnp.asarray(latent, jnp.float32))


def decode(params: dict, config: PriorConfig, latent: jax.Array) -> jax.Array:
    """Grids of latents, differentiable.

    Args:
        latent: ``[B, L]``; the zero vector is about the mean shape.

    Returns:
        ``[B, G, G, G, 1]``, the probability that a cell is set by the binary rule, float32.

    Raises:
        InputError: the latent has another shape.
    """
    return jax.nn.sigmoid(decode_logits(params, config, latent))
