"""A morphable model of human-like heads: a mean and linear bases of shape and of albedo, made from formulas alone.

It stands in for models learnt from scans (Blanz and Vetter, "A Morphable Model for the Synthesis of 3D Faces", 1999),
which may not be shipped: the same two vectors of independent numbers with mean 0 and deviation 1 describe a head::

    vertices = mean_vertices + sum_i shape_vector[i] shape_basis[i]
    colours  = clip(mean_colors + sum_i texture_vector[i] texture_basis[i], 0, 1)

Numbers come in the order of how much they change, so that the variance falls with the index.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np

from rendernet_jax.data.meshes import Mesh, normalise
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_atomically

from . import head_colors, head_mesh, head_modes

SHAPE_NUMBERS = head_modes.COUNT
TEXTURE_NUMBERS = head_colors.COUNT


@dataclass(frozen=True, eq=False)
class HeadModel:
    """Mean, variance and basis of heads: a basis vector is the change for one standard deviation of its number.

    Attributes:
        mean_vertices: float32 ``[V, 3]``, head units (about 1.1 from crown to collar), y up, facing +z.
        faces: int32 ``[F, 3]``, closed, wound outward.
        shape_basis: float32 ``[S, V, 3]``, head units, S = :data:`SHAPE_NUMBERS`.
        mean_colors: float32 ``[V, 3]``, albedo in [0, 1].
        texture_basis: float32 ``[T, V, 3]``, albedo, T = :data:`TEXTURE_NUMBERS`.
        mirrored: int32 ``[V]``, the vertex that is each one's mirror image in x = 0.
        shape_names, texture_names: what each number changes.
    """

    mean_vertices: np.ndarray
    faces: np.ndarray
    shape_basis: np.ndarray
    mean_colors: np.ndarray
    texture_basis: np.ndarray
    mirrored: np.ndarray
    shape_names: tuple[str, ...]
    texture_names: tuple[str, ...]


@functools.cache
def model() -> HeadModel:
    """The one model there is; equal on every call, its arrays read-only."""
    _, faces, mirrored = head_mesh.sphere()
    shape = head_modes.shape_modes()
    mean_colors, texture = head_colors.colors()
    arrays = {
        "mean_vertices": head_mesh.mean_surface()[0].astype(np.float32),
        "faces": faces.astype(np.int32),
        "shape_basis": np.stack(list(shape.values())).astype(np.float32),
        "mean_colors": mean_colors.astype(np.float32),
        "texture_basis": np.stack(list(texture.values())).astype(np.float32),
        "mirrored": mirrored.astype(np.int32),
    }
    for array in arrays.values():
        array.flags.writeable = False
    return HeadModel(**arrays, shape_names=tuple(shape), texture_names=tuple(texture))


def head(shape_vector, texture_vector) -> Mesh:
    """The head of two vectors: closed, coloured, facing +z, bounding box centred, longest side 1.

    Args:
        shape_vector: ``[S]``, deviations.
        texture_vector: ``[T]``, deviations.

    Raises:
        InputError: a vector of another length, or not finite.
    """
    heads = model()
    shape_vector = _check("shape_vector", shape_vector, SHAPE_NUMBERS)
    texture_vector = _check("texture_vector", texture_vector, TEXTURE_NUMBERS)
    vertices = heads.mean_vertices + np.tensordot(shape_vector, heads.shape_basis, 1)
    colors = heads.mean_colors + np.tensordot(texture_vector, heads.texture_basis, 1)
    return normalise(Mesh(vertices, heads.faces, np.clip(colors, 0.0, 1.0)))


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A shape and a texture vector, float32 ``[S]`` and ``[T]``, of independent normal numbers."""
    shape_vector = rng.standard_normal(SHAPE_NUMBERS).astype(np.float32)
    return shape_vector, rng.standard_normal(TEXTURE_NUMBERS).astype(np.float32)


def save_model(path) -> None:
    """Write the model as ``.npz`` without pickle, arrays named as in :class:`HeadModel`, to be kept beside a data set.

    Raises:
        OSError: the file cannot be written.
    """
    heads, content = model(), io.BytesIO()
    np.savez_compressed(content, **{name: np.asarray(value) for name, value in vars(heads).items()})
    write_atomically(path, content.getvalue())


def _check(name: str, vector, count: int) -> np.ndarray:
    vector = np.asarray(vector, np.float32)
    if vector.shape != (count,):
        raise InputError(f"{name}: expected {count} numbers, got an array {vector.shape}; give one a basis vector")
    if not np.isfinite(vector).all():
        raise InputError(f"{name}: expected finite numbers, got nan or inf")
    return vector
