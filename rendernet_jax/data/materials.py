"""Albedo of a mesh's surface: materials with pictures laid on by texture coordinates, and vertex colours.

Colours are what files hold, bytes / 255, without gamma. :func:`surface_colors` is the only reader of them: the ray
tracer and the colour voxels both ask it.
"""

from __future__ import annotations

import dataclasses
import typing

import numpy as np

from rendernet_jax.errors import InputError

if typing.TYPE_CHECKING:
    from rendernet_jax.data.meshes import Mesh

MAX_MATERIALS = 1 << 16
_CHUNK = 1 << 18  # points coloured together, which bounds memory


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """One colour, or a picture times a colour.

    Attributes:
        color: three numbers in [0, 1].
        image: uint8, or float32 in [0, 1], ``[H, W, 3]``, row 0 at the top; or None.

    Raises:
        InputError: another shape, type or range.
    """

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    image: np.ndarray | None = None

    def __post_init__(self):
        try:
            color = tuple(float(value) for value in self.color)
        except (TypeError, ValueError):
            color = ()
        if len(color) != 3 or not all(0 <= value <= 1 for value in color):
            raise InputError(f"material color: expected 3 numbers from 0 to 1, got {self.color!r}; correct it")
        object.__setattr__(self, "color", color)
        if self.image is None:
            return
        image = np.asarray(self.image)
        if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype not in (np.uint8, np.float32):
            wanted = "uint8 or float32 [H, W, 3]"
            raise InputError(f"material image: expected {wanted}, got {image.dtype} {image.shape}; convert it")
        if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):  # false for NaN, too
            raise InputError("material image: expected numbers from 0 to 1, got others; divide bytes by 255")
        object.__setattr__(self, "image", image)


@dataclasses.dataclass(frozen=True, eq=False)
class Texture:
    """Which material each face of a mesh has, and where its corners lie in the picture.

    Attributes:
        uv: float32 ``[F, 3, 2]``, finite: of each face's corners; (0, 0) is the picture's lower left corner, (1, 1)
            its upper right one, and the picture repeats beyond them.
        materials: at least one.
        index: int32 ``[F]``, of each face's material; all 0 by default.

    Raises:
        InputError: an array has another shape, is not finite, or an index is out of range.
    """

    uv: np.ndarray
    materials: tuple[Material, ...]
    index: np.ndarray | None = None

    def __post_init__(self):
        uv = np.asarray(self.uv)
        if uv.ndim != 3 or uv.shape[1:] != (3, 2) or uv.dtype.kind not in "fiu":
            raise InputError(f"texture uv: expected numbers [F, 3, 2], got {uv.dtype} {uv.shape}; correct it")
        with np.errstate(over="ignore"):
            uv = np.ascontiguousarray(uv, np.float32)
        if not np.isfinite(uv).all():
            raise InputError("texture uv: expected finite numbers, got NaN or infinity; repair the mesh")
        materials = tuple(self.materials)
        if not 1 <= len(materials) <= MAX_MATERIALS or not all(isinstance(m, Material) for m in materials):
            raise InputError(f"texture materials: expected 1 to {MAX_MATERIALS}, got {len(materials)}; merge some")
        index = np.zeros(len(uv), np.int32) if self.index is None else np.asarray(self.index)
        if index.shape != (len(uv),) or index.dtype.kind not in "iu":
            got = f"{index.dtype} {index.shape}"
            raise InputError(f"texture index: expected integers [{len(uv)}], one a face, got {got}; correct it")
        if len(index) and not (index.min() >= 0 and index.max() < len(materials)):
            wanted = f"0 to {len(materials) - 1}"
            raise InputError(f"texture index: expected {wanted}, got {index.min()} to {index.max()}; correct it")
        object.__setattr__(self, "uv", uv)
        object.__setattr__(self, "materials", materials)
        object.__setattr__(self, "index", np.ascontiguousarray(index, np.int32))

    def take(self, faces: np.ndarray) -> Texture:
        """The texture of some faces: indices ``[F']``, or a mask ``[F]``."""
        return dataclasses.replace(self, uv=self.uv[faces], index=self.index[faces])


def surface_colors(mesh: Mesh, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Albedo of points on a mesh: vertex colour times material colour times picture, each where there is one.

    Args:
        mesh: colours and texture of any kind; a plain mesh is white.
        face: integers ``[N]``, the face of each point.
        weights: ``[N, 2]``, barycentric, of the face's second and third corner (Open3D's ``primitive_uvs``).

    Returns:
        float32 ``[N, 3]`` in [0, 1].
    """
    result = np.ones((len(face), 3), np.float32)
    if mesh.colors is None and mesh.texture is None:
        return result
    for start in range(0, len(face), _CHUNK):
        part = slice(start, start + _CHUNK)
        corner_weights = np.concatenate([1.0 - weights[part].sum(-1, keepdims=True), weights[part]], axis=-1)
        if mesh.colors is not None:
            result[part] *= np.einsum("nk,nkc->nc", corner_weights, mesh.colors[mesh.faces[face[part]]])
        if mesh.texture is not None:
            result[part] *= _texture_colors(mesh.texture, face[part], corner_weights)
    return np.clip(result, 0.0, 1.0, out=result)  # weights may leave [0, 1] by rounding


def _texture_colors(texture: Texture, face: np.ndarray, corner_weights: np.ndarray) -> np.ndarray:
    index = texture.index[face]
    colors = np.array([material.color for material in texture.materials], np.float32)[index]
    for number in np.unique(index):
        image = texture.materials[number].image
        if image is not None:
            here = np.flatnonzero(index == number)
            uv = np.einsum("nk,nkc->nc", corner_weights[here].astype(np.float64), texture.uv[face[here]])
            colors[here] *= sample_image(image, uv)
    return colors


def sample_image(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear look-up in a picture that repeats, v up: ``image`` ``[H, W, 3]``, ``uv`` ``[N, 2]`` -> ``[N, 3]``."""
    height, width = image.shape[:2]
    u, v = np.mod(np.asarray(uv, np.float64).T, 1.0)
    x, y = u * width - 0.5, (1.0 - v) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = ((x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32))

    def texel(row, column):
        values = image[row % height, column % width]
        return values.astype(np.float32) / np.float32(255.0) if image.dtype == np.uint8 else values

    upper = texel(top, left) * (1.0 - across) + texel(top, left + 1) * across
    lower = texel(top + 1, left) * (1.0 - across) + texel(top + 1, left + 1) * across
    return upper * (1.0 - down) + lower * down
