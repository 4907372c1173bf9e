"""What a network is made of: layers, heads and the camera grid it reads, as one hashable value; the presets."""

import dataclasses
import math

from rendernet_jax.errors import InputError

BUFFERS = (("normal", 3), ("mask", 1), ("depth", 1), ("ao", 1), ("contour", 1))


@dataclasses.dataclass(frozen=True)
class Volume:
    """One 3D convolution: output channels, kernel side, strides over (H, W, D)."""

    width: int
    kernel: int
    strides: tuple[int, int, int] = (1, 1, 1)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One 2D stage: an entry convolution (none if kernel is 0), then residual blocks under a long skip.

    resample -1 halves the picture first (space-to-depth) and remembers what was there; +1 doubles it, and adds the
    remembered picture of that size if there is one.
    """

    width: int
    kernel: int
    blocks: int = 0
    resample: int = 0


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Of an encoder-decoder: what reads the object grid, and the small picture that the 2D stages enlarge."""

    widths: tuple[int, ...]  # of 3D convolutions, each of which halves the grid
    blocks: int  # 3D residual blocks after each of them
    vector: int  # numbers that stand for the object
    width: int  # channels of the first picture
    side: int  # of the first picture, cells


@dataclasses.dataclass(frozen=True)
class Texture:
    """How a texture vector becomes channels of an object grid, see :mod:`rendernet_jax.texture`.

    As colours in [0, 1] by a map around the object; or, if ``dense`` is not 0, as in the code of 2018: a dense layer to
    a grid of that many cells a side, half of the object grid's, then 3D convolutions.
    """

    vector: int = 40  # numbers
    channels: int = 3
    grid: int = 64  # cells on a side
    columns: int = 96  # of the map, all around
    dense: int = 0


@dataclasses.dataclass(frozen=True)
class Paint:
    """The branch of 2D stages that draws the albedo of coloured objects; the other stages draw their shape.

    Of an analytic network, the shape's branch sees the occupancy alone, and this one composited colours beside what the
    projection unit found. Any other reads all channels at once, and this branch begins at the shape's stage ``begin``.
    """

    stages: tuple[Stage, ...]
    texture: Texture
    begin: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that fixes a network's parameters; hashable, so it may be a static argument of ``jax.jit``."""

    name: str
    stages: tuple[Stage, ...]
    heads: tuple[tuple[str, int], ...] = BUFFERS
    channels: int = 1  # of the camera grid
    depth: int = 128  # cells of the camera grid along q_z
    upsample: int = 2  # pixels per camera-grid column
    volume: tuple[Volume, ...] = ()
    volume_blocks: int = 0
    projection: tuple[int, ...] = (32, 32)
    analytic: bool = True  # composite features beside the projection unit
    transposed: bool = False  # upsample by 4x4 transposed convolution instead of sub-pixel convolution
    head_kernel: int = 3
    dropout: float = 0.0
    shader: str = ""  # of a head "image": what its pictures show, one of shading.OUTPUTS or a name of the user's own
    light_deg: tuple[float, float] | None = (35.0, 40.0)  # of their light, azimuth and elevation; None: not known
    encoder: Encoder | None = None  # makes it an encoder-decoder, which has no camera grid (see baselines.py)
    paint: Paint | None = None  # makes it a network of coloured objects, whose grids are occupancy and texture

    def __post_init__(self):
        """Raise InputError if the last stage is finer than the picture, or no sub-pixel step leads there."""
        if self.subpixel < 1 or self.subpixel % 1:
            raise InputError(
                f"config {self.name!r}: the stages end at {self.subpixel} pixels a cell, expected a whole number; "
                "change upsample or the stages' resample"
            )
        if self.paint is not None:
            self._check_paint()

    def _check_paint(self):
        if "albedo" not in dict(self.heads) or self.channels != 1 + self.paint.texture.channels:
            raise InputError(
                f"config {self.name!r}: expected a head albedo and {1 + self.paint.texture.channels} channels, got "
                f"{', '.join(dict(self.heads))} and {self.channels}; change them or leave out paint"
            )
        if self.paint_subpixel < 1 or self.paint_subpixel % 1:
            raise InputError(
                f"config {self.name!r}: the stages of paint end at {self.paint_subpixel} pixels a cell, expected a "
                "whole number; change their resample"
            )

    @property
    def subpixel(self) -> int | float:
        """Pixels on a side of each cell of the last stage; the head ends in depth-to-space by it."""
        return self._pixels(self.stages)

    @property
    def paint_subpixel(self) -> int | float:
        """The same of the branch that draws the albedo."""
        return self._pixels(self.stages[: self.paint.begin] + self.paint.stages)

    @property
    def shape_heads(self) -> tuple[tuple[str, int], ...]:
        """The heads that the branch of the shape draws: all but an albedo that has a branch of its own."""
        return tuple(head for head in self.heads if self.paint is None or head[0] != "albedo")

    def _pixels(self, stages: tuple[Stage, ...]) -> int | float:
        pixels = self.upsample * self._stride * 2.0 ** -sum(stage.resample for stage in stages)
        return int(pixels) if pixels.is_integer() else pixels

    @property
    def multiple(self) -> int:
        """Picture sides must be a multiple of this."""
        lowest = 0
        branches = [self.stages]
        if self.paint is not None:
            branches.append(self.stages[: self.paint.begin] + self.paint.stages)
        for stages in branches:
            level = 0
            for stage in stages:
                level -= stage.resample
                lowest = max(lowest, level)
        return self.upsample * self._stride * 2**lowest

    @property
    def size(self) -> int | None:
        """Side of the only pictures that the network can make, None if any multiple of ``multiple`` will do."""
        return self.encoder.side * self.upsample if self.encoder else None

    @property
    def draws_images(self) -> bool:
        """Whether the network draws shaded pictures itself (section 3 of the paper), not a G-buffer."""
        return "image" in dict(self.heads)

    @property
    def _stride(self) -> int:
        return math.prod(layer.strides[0] for layer in self.volume)


_BRANCH = (  # of the texture network of 2018
    Stage(128, 4),
    Stage(64, 4, resample=1),
    Stage(32, 4, resample=1),
    Stage(16, 4, resample=1),
)
_DECODER = {"upsample": 64, "projection": (), "analytic": False}

PRESETS = {
    "paper": Config(
        name="paper",
        upsample=4,
        volume=(Volume(8, 5, (2, 2, 2)), Volume(16, 3, (1, 1, 2)), Volume(32, 3)),
        volume_blocks=10,
        projection=(1024,),
        analytic=False,
        stages=(
            Stage(1024, 0, blocks=10),
            Stage(512, 4, blocks=5),
            Stage(256, 4),
            Stage(128, 4, resample=1),
            Stage(128, 4),
            Stage(64, 4, resample=1),
            Stage(32, 4, resample=1),
            Stage(16, 4),
        ),
        transposed=True,
        head_kernel=4,
        dropout=0.25,
    ),
    "compact": Config(
        name="compact",
        stages=(
            Stage(64, 1, resample=-1),
            Stage(128, 3, blocks=5, resample=-1),
            Stage(64, 1, blocks=1, resample=1),
            Stage(32, 1, resample=1),
        ),
    ),
    "ec": Config(
        name="ec",
        encoder=Encoder(widths=(16, 32, 64, 64), blocks=0, vector=128, width=64, side=8),
        **_DECODER,
        stages=(
            Stage(128, 3, resample=1),
            Stage(96, 3, resample=1),
            Stage(64, 3, resample=1),
            Stage(32, 3, resample=1),
        ),
    ),
    "ec-deep": Config(
        name="ec-deep",
        encoder=Encoder(widths=(16, 32, 48, 48), blocks=1, vector=128, width=64, side=8),
        **_DECODER,
        stages=(
            Stage(96, 3, blocks=1, resample=1),
            Stage(64, 3, blocks=1, resample=1),
            Stage(48, 3, blocks=1, resample=1),
            Stage(32, 3, resample=1),
        ),
    ),
    "tiny": Config(
        name="tiny",
        depth=32,
        volume=(Volume(4, 3, (1, 1, 2)),),
        volume_blocks=1,
        projection=(8,),
        stages=(Stage(12, 3, blocks=1, resample=-1), Stage(8, 1, resample=1)),
    ),
}

_COLOURED = (*BUFFERS, ("albedo", 3))

PRESETS |= {
    "compact-texture": dataclasses.replace(
        PRESETS["compact"],
        name="compact-texture",
        heads=_COLOURED,
        channels=4,
        paint=Paint(
            stages=(
                Stage(32, 1, resample=-1),
                Stage(56, 3, blocks=1, resample=-1),
                Stage(32, 1, blocks=1, resample=1),
                Stage(16, 1, resample=1),
            ),
            texture=Texture(),
        ),
    ),
    "paper-texture": dataclasses.replace(
        PRESETS["paper"],
        name="paper-texture",
        heads=(("normal", 3), ("mask", 1), ("albedo", 3)),
        channels=5,
        volume=(Volume(8, 5, (2, 2, 2)), Volume(16, 3, (1, 1, 2)), Volume(16, 3)),
        projection=(512,),
        stages=(Stage(512, 0, blocks=10), Stage(256, 4, blocks=5), *_BRANCH),
        paint=Paint(begin=2, stages=_BRANCH, texture=Texture(vector=199, channels=4, dense=32)),
    ),
    "tiny-texture": dataclasses.replace(
        PRESETS["tiny"],
        name="tiny-texture",
        heads=_COLOURED,
        channels=4,
        paint=Paint(
            stages=(Stage(8, 1, resample=-1), Stage(8, 1, resample=1)),
            texture=Texture(grid=16, columns=12),
        ),
    ),
}


def preset(
    name: str, heads: tuple[tuple[str, int], ...] | None = None, channels: int | None = None, shader: str = ""
) -> Config:
    """Config of a named preset with the given heads, its own if None; see :class:`Config` for the others.

    With other heads than an albedo, a network of coloured objects has no branch for it.

    Raises:
        InputError: an unknown name.
    """
    if name not in PRESETS:
        raise InputError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}; choose one of them")
    config = PRESETS[name]
    if heads is not None and "albedo" not in dict(heads):
        config = dataclasses.replace(config, heads=tuple(heads), channels=1, paint=None)
    heads, channels = heads or config.heads, channels or config.channels
    return dataclasses.replace(config, heads=tuple(heads), channels=channels, shader=shader)


def shape_alone(config: Config) -> Config:
    """The network that draws what an analytic network of coloured objects draws, but for their colours."""
    if config.paint is None or not config.analytic:
        return config
    return dataclasses.replace(config, paint=None, channels=1, heads=config.shape_heads)


def with_vectors(config: Config, numbers: int) -> Config:
    """The same network for texture vectors of another length.

    Raises:
        InputError: it is none of coloured objects.
    """
    if config.paint is None:
        raise InputError(
            f"preset: expected one of coloured objects for textured faces, got {config.name!r}; use another"
        )
    texture = dataclasses.replace(config.paint.texture, vector=numbers)
    return dataclasses.replace(config, paint=dataclasses.replace(config.paint, texture=texture))


def fit_size(config: Config, size: int) -> Config:
    """The same network for pictures of ``size`` pixels; only an encoder-decoder has a size of its own.

    Raises:
        InputError: it can't be made for that size.
    """
    if config.encoder is None:
        return config
    if size < config.upsample or size % config.upsample:
        near = max(1, round(size / config.upsample)) * config.upsample
        wanted = f"a multiple of {config.upsample} for network {config.name!r}"
        raise InputError(f"size: expected {wanted}, got {size}; use {near}")
    return dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, side=size // config.upsample))


def config_to_dict(config: Config) -> dict:
    """JSON-ready form of a config."""
    return dataclasses.asdict(config)


def config_from_dict(fields: dict) -> Config:
    """Inverse of :func:`config_to_dict`. Raises InputError for unknown or missing keys."""
    try:
        fields = dict(fields)
        fields["stages"] = tuple(Stage(**s) for s in fields["stages"])
        fields["volume"] = tuple(Volume(v["width"], v["kernel"], tuple(v["strides"])) for v in fields["volume"])
        fields["heads"] = tuple((str(name), int(count)) for name, count in fields["heads"])
        fields["projection"] = tuple(fields["projection"])
        if fields.get("light_deg") is not None:
            fields["light_deg"] = tuple(fields["light_deg"])
        if fields.get("encoder") is not None:
            encoder = Encoder(**fields["encoder"])
            fields["encoder"] = dataclasses.replace(encoder, widths=tuple(encoder.widths))
        if fields.get("paint") is not None:
            paint = Paint(**fields["paint"])
            stages = tuple(Stage(**s) for s in paint.stages)
            fields["paint"] = Paint(stages, Texture(**paint.texture), paint.begin)
        return Config(**fields)
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"no {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"config: expected the keys {[f.name for f in dataclasses.fields(Config)]}, got {wrong}; use weights of a "
            "renderer, made by this version"
        ) from error
