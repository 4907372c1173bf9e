"""From one small picture of an upright object: its pose, and its cells.

The pose is told as a choice between sectors of azimuth, each with a pose of its own, since a silhouette alone often
leaves two of them (front and back) open; and by how much it may be off. Cells are carved in a pose that is given
(:mod:`rendernet_jax.carving`), one of these or another. Pictures and poses are those in a square about the object
(:mod:`rendernet_jax.squares`).
"""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx

from rendernet_jax import squares, turns
from rendernet_jax.camera import half_turn
from rendernet_jax.carving import Carver
from rendernet_jax.conv import space_to_depth, upsample
from rendernet_jax.errors import InputError
from rendernet_jax.layers import Block, Conv, Dense, PReLU
from rendernet_jax.parameters import Wall, make_config

_ANGLES = 3  # azimuth within the sector, elevation, roll
# Of logarithm of scale, place to the right, place up, and inverse distance, which together with the angles are what
# inverse.unknowns.POSE names.
_USUAL_PLACE = (0.5, 0.0, 0.0, 0.1)
# By how much each of POSE is usually off, in whose terms deviations are told; their logarithm before training.
DEVIATIONS = (0.02, 0.03, 0.015, 0.02, 0.006, 0.006, 0.05)
_UNSURE = 2.5
SET_FROM = 0.4  # chance from which a cell counts as set: the overlap to be expected is largest below one half
_MAPPED = 3  # stages whose features are carried into the grid


@dataclasses.dataclass(frozen=True)
class SingleViewConfig:
    """Everything that fixes the parameters; hashable."""

    name: str = "single_view"
    size: int = 192  # pixels on a side of what it looks at
    patch: int = 6  # pixels on a side of what the first convolution reads as one
    widths: tuple[int, ...] = (96, 128, 160, 192)  # of stages; before each but the first the picture is halved
    blocks: tuple[int, ...] = (2, 3, 3, 2)  # residual blocks in each
    hidden: int = 512
    sectors: int = 24
    grid: int = 64  # cells on a side
    seen: int = 48  # channels of the features that are carried into the grid
    carver: tuple[int, int, int] = (32, 64, 128)  # channels of its lattices, fine to coarse

    def __post_init__(self):
        """Raise InputError unless each stage has its number of blocks, and pictures and grid halve evenly."""
        stages = len(self.widths)
        if stages < _MAPPED or len(self.blocks) != stages or self.size % (self.patch << (stages - 1)):
            raise InputError(
                f"single-view config: expected {_MAPPED} widths or more, as many blocks, and pixels that patch and "
                f"stages divide, got widths {self.widths}, blocks {self.blocks}, patch {self.patch} and size "
                f"{self.size}; correct one"
            )
        if self.grid % 16 or self.grid < 32:
            raise InputError(
                f"single-view config: expected a grid of 32, 48, 64 ... cells, got {self.grid}; correct it"
            )


@flax.struct.dataclass
class Seen:
    """What pictures seem to show; N sectors of azimuth, the first centred on azimuth 0."""

    log_odds: jax.Array  # [B, N], of the sectors, not normalised
    poses: jax.Array  # [B, N, 7], in each sector, in the square about the object
    deviations: jax.Array  # [B, 7], by how much the pose in the true sector may be off: mean absolute error
    hidden: jax.Array  # [B, hidden], the whole picture summed up; it and the next are what the carver needs
    features: jax.Array  # [B, s, s, seen]


class SingleView(nnx.Module):
    """Pictures ``[B, size, size, squares.CHANNELS]`` -> what :class:`Seen` is made of; its carver -> cells."""

    def __init__(self, config: SingleViewConfig, *, rngs: nnx.Rngs):
        self.config, inputs = config, squares.CHANNELS
        for i, (factor, width, blocks) in enumerate(self._stages()):
            setattr(self, f"conv{i}", Conv(2, factor**2 * inputs, width, 3, rngs=rngs))
            setattr(self, f"act{i}", PReLU(width))
            for j in range(blocks):
                setattr(self, f"block{i}_{j}", Block(2, width, rngs=rngs))
            if i < _MAPPED:
                setattr(self, f"map{i}", Dense(width, config.seen, rngs=rngs, gain=0.7))
            inputs = width
        side = config.size // config.patch >> (len(config.widths) - 1)
        self.dense, self.act = Dense(inputs * side**2, config.hidden, rngs=rngs), PReLU(config.hidden)
        self.angles = Dense(config.hidden, config.sectors * (1 + _ANGLES), rngs=rngs, gain=0.1)
        self.place = Dense(config.hidden, config.sectors * len(_USUAL_PLACE), rngs=rngs, gain=0.1)
        self.unsure = Dense(config.hidden, len(DEVIATIONS), rngs=rngs, gain=0.1, bias=_UNSURE)
        self.map, self.act_map = Conv(2, config.seen, config.seen, 3, rngs=rngs), PReLU(config.seen)
        self.carver = Carver(config.grid, config.hidden, config.seen, config.carver, rngs=rngs)

    def _stages(self):
        """By what each shrinks the picture, its width, and its number of residual blocks."""
        factors = (self.config.patch, *[2] * (len(self.config.widths) - 1))
        return zip(factors, self.config.widths, self.config.blocks, strict=True)

    def look(self, x):
        """Summary ``[B, hidden]`` and features ``[B, s, s, seen]``."""
        features = 0.0
        for i, (factor, _, blocks) in enumerate(self._stages()):
            x = getattr(self, f"act{i}")(getattr(self, f"conv{i}")(space_to_depth(x, factor)))
            for j in range(blocks):
                x = getattr(self, f"block{i}_{j}")(x)
            if i < _MAPPED:
                features = features + upsample(getattr(self, f"map{i}")(x), 2**i)
        return self.act(self.dense(x.reshape(len(x), -1))), self.act_map(self.map(features))


_wall = Wall(lambda config, rngs: SingleView(config, rngs=rngs))
shapes, init, bind, check_params = _wall.shapes, _wall.init, _wall.bind, _wall.check


def config_from_dict(fields: dict) -> SingleViewConfig:
    """Config from JSON values. Raises InputError for unknown keys."""
    return make_config(SingleViewConfig, "a single-view network", fields)


def see(params: dict, config: SingleViewConfig, pictures: jax.Array, dtype=jnp.float32) -> Seen:
    """What pictures ``[B, size, size, CHANNELS]`` seem to show; :func:`rendernet_jax.squares.crop` makes them.

    Convolutions are computed in ``dtype``, what is read off them in float32.
    """
    hidden, features = bind(params, config, dtype).look(pictures.astype(dtype))
    whole, summary = bind(params, config), hidden.astype(jnp.float32)
    log_odds, angles = jnp.split(whole.angles(summary), [config.sectors], axis=1)
    middles = jnp.arange(config.sectors, dtype=jnp.float32) * (2.0 * math.pi / config.sectors)
    angles = angles.reshape(-1, config.sectors, _ANGLES).at[..., 0].add(middles[None])
    places = whole.place(summary).reshape(-1, config.sectors, len(_USUAL_PLACE)) + jnp.asarray([[_USUAL_PLACE]])
    deviations = jnp.asarray([DEVIATIONS]) * jnp.exp(jnp.clip(whole.unsure(summary), -3.0, 4.0))
    return Seen(log_odds, jnp.concatenate([angles, places], axis=-1), deviations, hidden, features)


def carve(
    params: dict, config: SingleViewConfig, pictures: jax.Array, seen: Seen, poses: jax.Array, dtype=jnp.float32
) -> jax.Array:
    """Logits of cells ``[B, G, G, G, 2]``: that the binary rule sets them, and of their coverage.

    Args:
        pictures, seen: as for :func:`see`, and what it returned.
        poses: ``[B, 7]`` in the square. No derivative by the pictures is passed on, but through ``seen``.
    """
    pictures = jax.lax.stop_gradient(pictures).astype(dtype)
    cells = bind(params, config, dtype).carver(pictures, seen.hidden, seen.features, poses)
    return cells.astype(jnp.float32)


def see_symmetric(params: dict, config: SingleViewConfig, pictures: jax.Array) -> tuple[Seen, Seen]:
    """:func:`see` of things that are alike on both sides: means of what pictures and their mirror images show.

    Returns:
        what is to be believed; and what the mirror images alone show, for :func:`carve_symmetric`.
    """
    one, other = see(params, config, pictures), see(params, config, pictures[:, :, ::-1])
    back = -jnp.arange(config.sectors) % config.sectors
    poses = squares.mirror(other.poses[:, back])
    beyond = jnp.round((one.poses[..., 0] - poses[..., 0]) / (2.0 * jnp.pi))  # whole turns
    poses = poses.at[..., 0].add(2.0 * jnp.pi * beyond)
    mean = lambda first, second: 0.5 * (first + second)  # noqa: E731
    both = one.replace(
        log_odds=mean(one.log_odds, other.log_odds[:, back]),
        poses=mean(one.poses, poses),
        deviations=mean(one.deviations, other.deviations),
    )
    return both, other


def see_turned(params: dict, config: SingleViewConfig, picture: jax.Array) -> tuple[Seen, Seen]:
    """:func:`see_symmetric` of one picture ``[1, size, size, CHANNELS]``, what it tells of poses as means over turns.

    These are :data:`rendernet_jax.turns.TURNS`. What cells are carved of is that of the picture as it is. Poses are
    blended (:func:`blend`).
    """
    both, other = see_symmetric(params, config, turns.turn(picture[0], jnp.asarray(turns.TURNS)))
    mean = lambda x: jnp.mean(x, axis=0, keepdims=True)  # noqa: E731
    whole, other = jax.tree.map(lambda x: x[:1], (both, other))
    poses = turns.turn_back(both.poses, jnp.asarray(turns.TURNS))
    log_odds = mean(both.log_odds)
    poses, deviations = blend(log_odds, mean(poses)), mean(both.deviations)
    return whole.replace(log_odds=log_odds, poses=poses, deviations=deviations), other


def blend(log_odds: jax.Array, poses: jax.Array) -> jax.Array:
    """Of each sector's pose ``[B, N, 7]`` and those of the two next to it, the mean by their chances.

    A sector's own pose stays on its side of the edge, since it was learnt of views in that sector alone; where both
    sides are likely, the truth is to be expected between them.
    """
    around = lambda x: jnp.stack([jnp.roll(x, step, axis=1) for step in (1, 0, -1)], axis=-1)  # noqa: E731
    shares, off = jax.nn.softmax(around(log_odds), axis=-1), around(poses) - poses[..., None]
    off = off.at[:, :, 0].set(half_turn(off[:, :, 0]))
    return poses + jnp.einsum("bnk,bnpk->bnp", shares, off, precision="highest")


def carve_symmetric(
    params: dict, config: SingleViewConfig, pictures: jax.Array, seen: tuple[Seen, Seen], poses: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Chance that cells are set, and coverage, ``[B, G, G, G, 1]`` each, of things that are alike on both sides.

    Pictures and poses as for :func:`carve`; ``seen`` is what :func:`see_symmetric` or :func:`see_turned` returned.
    """
    one = jax.nn.sigmoid(carve(params, config, pictures, seen[0], poses))
    other = jax.nn.sigmoid(carve(params, config, pictures[:, :, ::-1], seen[1], squares.mirror(poses)))
    both = 0.5 * (one + other[:, ::-1])
    both = 0.5 * (both + both[:, ::-1])
    return both[..., :1], both[..., 1:]


def sector(config: SingleViewConfig, azimuth: jax.Array) -> jax.Array:
    """Number of the sector ``[...]`` that an azimuth in radians lies in."""
    return jnp.round(azimuth * (config.sectors / (2.0 * math.pi))).astype(jnp.int32) % config.sectors
