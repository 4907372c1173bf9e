"""Procedural shapes: solids of many kinds, each made from its family's name and a seed alone.

They are the only training data of the weights that ship. Furniture is assembled from boards, bars, bent tubes, shells
and slats, some far thinner than a voxel; the rest are turned vessels, machine parts, vehicles, compositions of
primitives, and creatures from smooth unions. Open3D is needed by the families that use iso-surfaces or edge collapse.
Rocking chairs are made only where they are named, and so are two families that have colours: heads of a morphable
model, and painted objects.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from rendernet_jax.data.meshes import Mesh, normalise
from rendernet_jax.data.procedural import (
    benches,
    blobs,
    chairs,
    creatures,
    csg,
    hardware,
    lamps_vases,
    morphable,
    painted,
    people,
    rockers,
    shelves,
    soups,
    stools,
    tables,
    vehicles,
)
from rendernet_jax.data.procedural.parts import join
from rendernet_jax.errors import InputError

_MAKERS = {
    "chair": chairs.chair,
    "stool": stools.stool,
    "bench": benches.bench,
    "sofa": benches.sofa,
    "table": tables.table,
    "shelf": shelves.shelf,
    "cabinet": shelves.cabinet,
    "lamp": lamps_vases.lamp,
    "vase": lamps_vases.vase,
    "csg": csg.csg,
    "hardware": hardware.hardware,
    "vehicle": vehicles.vehicle,
    "animal": creatures.animal,
    "figure": people.figure,
    "head": people.head,
    "shoe": blobs.shoe,
    "organic": blobs.blob,
    "soup": soups.soup,
    "rocker": rockers.rocker,
}

# Neither is among FAMILIES, which the weights that ship were trained on: these are made only where they are named.
NAMED: tuple[str, ...] = ("rocker",)
COLOURED: tuple[str, ...] = ("face", "painted")
FAMILIES: tuple[str, ...] = tuple(name for name in _MAKERS if name not in NAMED)
_GROUPS = {"all": FAMILIES, "coloured": COLOURED}


def expand(words: Sequence[str]) -> list[str]:
    """Families by name, each once; "all" stands for :data:`FAMILIES`, "coloured" for :data:`COLOURED`.

    Raises:
        InputError: an unknown family, or none.
    """
    chosen = list(dict.fromkeys(name for word in words for name in _GROUPS.get(word, (word,))))
    known = FAMILIES + NAMED + COLOURED
    unknown = sorted(set(chosen) - set(known))
    if unknown or not chosen:
        raise InputError(
            f"families: expected some of {', '.join((*known, *_GROUPS))}, got {', '.join(unknown) or 'none'}; correct "
            "the name"
        )
    return chosen


def make_shape(family: str, seed: int) -> Mesh:
    """The shape of a family and seed: y up, facing +z, bounding box centred, longest side 1.

    Equal arguments give equal arrays. The shape is a bag of triangles, most of which bound closed, possibly
    overlapping parts; a few shapes hold open sheets.

    Those of :data:`COLOURED` have colours.

    Raises:
        InputError: the family is unknown or the seed negative.
    """
    rng = _generator(family, seed)
    if family == "face":
        return morphable.head(*morphable.draw(rng))
    if family == "painted":
        vertices, faces, colors = painted.painted(rng)
    else:
        (vertices, faces), colors = join(_MAKERS[family](rng)), None
    return normalise(Mesh(vertices.astype(np.float32), _proper(vertices, faces).astype(np.int32), colors))


def vectors(family: str, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The shape and texture vectors, float32 ``[S]`` and ``[T]``, of :func:`make_shape`'s "face"; None for others.

    Raises:
        InputError: the family is unknown or the seed negative.
    """
    rng = _generator(family, seed)
    return morphable.draw(rng) if family == "face" else None


def _generator(family: str, seed: int) -> np.random.Generator:
    """The stream of random numbers of a family and seed."""
    if family not in FAMILIES + NAMED + COLOURED:
        known = ", ".join(FAMILIES + NAMED + COLOURED)
        raise InputError(f"family: expected one of {known}, got {family!r}; correct the name")
    if seed < 0:
        raise InputError(f"seed: expected a non-negative integer, got {seed}; choose another")
    return np.random.default_rng([zlib.crc32(family.encode()), seed])


def _proper(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces that have an area (poles and pointed ends leave some without)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    extent = np.ptp(vertices, axis=0).max()
    return faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-10 * extent**2]
