"""Cells of an object's grid from what one picture shows of it: pixels are carried along their rays into the grid.

Each cell meets the pixel and the features that it would be seen at in a pose, and those at which its mirror image would
be: most things are alike on both sides. A 3D U-Net (Ronneberger et al. 2015; Cicek et al. 2016) makes cells of that.
Features are carried so by Sitzmann et al. 2019, "DeepVoxels", section 3, and others.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rendernet_jax.camera import Pose, rotation
from rendernet_jax.layers import Block, Dense, PReLU
from rendernet_jax.squares import CHANNELS

_COARSEST = 16  # cells of the grid on a side of one of the coarsest lattice
_TOLD = 48  # channels in which the whole picture speaks there
_HEADS = 2  # whether a cell is set by the binary rule, and its coverage
_EMPTY = -3.0  # logit of every cell before training: one in twenty is occupied
_NEAREST = 0.2  # of the distance to the camera's plane, as a share of that of the object's middle, where rays end


class Carver(nnx.Module):
    """Picture, features and a summary of it, and a pose -> logits of cells ``[B, G, G, G, 2]``."""

    def __init__(self, grid: int, hidden: int, seen: int, widths: tuple[int, int, int], *, rngs: nnx.Rngs):
        """``hidden`` numbers sum the picture up, ``seen`` are the features' channels, ``widths`` those of lattices."""
        self.grid, (fine, mid, coarse) = grid, widths
        # Pixels of eight cells and of their mirror images, where they are in the object, and where they are seen.
        self.stem = Dense(2 * 8 * CHANNELS + 3 + 3, fine, rngs=rngs)
        self.act_stem, self.enc0 = PReLU(fine), Block(3, fine, rngs=rngs)
        self.down1, self.look1 = Dense(8 * fine, mid, rngs=rngs, gain=0.7), Dense(2 * seen, mid, rngs=rngs, gain=0.7)
        self.act_down1, self.enc1 = PReLU(mid), Block(3, mid, rngs=rngs)
        self.down2, self.act_down2, self.enc2 = (
            Dense(8 * mid, coarse, rngs=rngs),
            PReLU(coarse),
            Block(3, coarse, rngs=rngs),
        )
        self.down3 = Dense(8 * coarse, coarse, rngs=rngs, gain=0.7)
        self.told = Dense(hidden, (grid // _COARSEST) ** 3 * _TOLD, rngs=rngs)
        self.told_in, self.act_down3 = Dense(_TOLD, coarse, rngs=rngs, gain=0.7), PReLU(coarse)
        self.mid0, self.mid1 = Block(3, coarse, rngs=rngs), Block(3, coarse, rngs=rngs)
        for level, inputs, width in ((2, coarse, coarse), (1, coarse, mid), (0, mid, fine)):
            setattr(self, f"up{level}", Dense(inputs, 8 * width, rngs=rngs, gain=0.7))
            setattr(self, f"act_up{level}", PReLU(width))
            setattr(self, f"dec{level}", Block(3, width, rngs=rngs))
        self.out = Dense(fine, 8 * _HEADS, rngs=rngs, gain=0.1, bias=_EMPTY)

    def __call__(self, picture, hidden, seen, poses):
        """Pictures ``[B, S, S, C]``, ``[B, hidden]``, features ``[B, s, s, seen]``, poses ``[B, 7]`` in the square."""
        fine, coarse = project(poses, self.grid), project(poses, self.grid // 4)
        pixels = [gather(at, picture) for at in (fine, fine[:, ::-1])]
        places = project(poses, self.grid // 2)
        own = jnp.broadcast_to(2.0 * centres(self.grid // 2)[None], places.shape)
        x = jnp.concatenate([*map(to_channels, pixels), own.astype(seen.dtype), places.astype(seen.dtype)], axis=-1)
        x0 = self.enc0(self.act_stem(self.stem(x)))
        look = jnp.concatenate([gather(at, seen) for at in (coarse, coarse[:, ::-1])], axis=-1)
        x1 = self.enc1(self.act_down1(self.down1(to_channels(x0)) + self.look1(look)))
        x2 = self.enc2(self.act_down2(self.down2(to_channels(x1))))
        told = self.told_in(self.told(hidden).reshape(-1, *(self.grid // _COARSEST,) * 3, _TOLD))
        y = self.mid1(self.mid0(self.act_down3(self.down3(to_channels(x2)) + told)))
        for level, skip in ((2, x2), (1, x1), (0, x0)):
            up = to_cells(getattr(self, f"up{level}")(y))
            y = getattr(self, f"dec{level}")(getattr(self, f"act_up{level}")(up + skip))
        return to_cells(self.out(y))


def project(poses: jax.Array, side: int) -> jax.Array:
    """Where centres of ``side^3`` cells are seen in the square, right and up, and how near: ``[B, side^3.., 3]``.

    The square's poses are those of :func:`rendernet_jax.data.single_views.trace`: the place is added after perspective.
    """
    axes = rotation(Pose(*jnp.moveaxis(poses[:, :3].astype(jnp.float32), -1, 0)))
    scale, place, distance = jnp.exp(poses[:, 3]), poses[:, 4:6], poses[:, 6]
    wide = (slice(None), None, None, None, None)
    seen = jnp.einsum("bij,xyzj->bxyzi", axes, centres(side), precision="highest") * scale[wide]
    shrink = 1.0 / jnp.maximum(1.0 - distance[wide] * seen[..., 2:], _NEAREST)
    return jnp.concatenate([seen[..., :2] * shrink + place[:, None, None, None], seen[..., 2:]], axis=-1)


def centres(side: int) -> jax.Array:
    """Centres of cells in ``[-.5, .5]^3``: ``[side, side, side, 3]``."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    return jnp.asarray(np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1))


def gather(at: jax.Array, picture: jax.Array) -> jax.Array:
    """Pictures ``[B, S, S, C]`` at places ``[B, n, n, n, 2 or more]`` in ``[-1, 1]^2``, bilinear, 0 a pixel outside."""
    side, channels = picture.shape[1], picture.shape[-1]
    row_length = side + 2
    flat = jnp.pad(picture, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(len(picture), -1, channels)
    column, row = (
        jnp.clip((1.0 + sign * at[..., axis]) * (side / 2) + 0.5, 0.0, side + 1.0 - 1e-3)
        for axis, sign in ((0, 1.0), (1, -1.0))
    )
    first = jnp.floor(column), jnp.floor(row)
    right, down = ((x - low)[..., None].astype(picture.dtype) for x, low in zip((column, row), first, strict=True))
    index = (first[1] * row_length + first[0]).astype(jnp.int32).reshape(len(picture), -1)
    take = lambda offset: jax.vmap(lambda rows, i: rows[i])(flat, index + offset).reshape(*at.shape[:-1], channels)  # noqa: E731
    above = take(0) * (1.0 - right) + take(1) * right
    below = take(row_length) * (1.0 - right) + take(row_length + 1) * right
    return above * (1.0 - down) + below * down


def to_channels(x: jax.Array) -> jax.Array:
    """``[B, 2n, 2n, 2n, C] -> [B, n, n, n, 8 C]``."""
    b, n, _, _, c = x.shape
    x = x.reshape(b, n // 2, 2, n // 2, 2, n // 2, 2, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, n // 2, n // 2, n // 2, 8 * c)


def to_cells(x: jax.Array) -> jax.Array:
    """Inverse of :func:`to_channels`: ``[B, n, n, n, 8 C] -> [B, 2n, 2n, 2n, C]``."""
    b, n, _, _, c = x.shape
    x = x.reshape(b, n, n, n, 2, 2, 2, c // 8).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, 2 * n, 2 * n, 2 * n, c // 8)
