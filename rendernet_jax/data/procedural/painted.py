"""Painted objects: shapes of other families, their parts in the colours and patterns of a few materials.

Parts that are alike (the legs of a table) share a material. Where a material has a pattern its triangles are made
small, since colours are kept at vertices; parts share no vertex, so that no colour bleeds into a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import benches, blobs, chairs, creatures, csg, lamps_vases, patterns, people, shelves, stools, tables, vehicles
from .draws import chance, pick, thin
from .parts import Part, flatten, join
from .subdivide import subdivide, surface_area

MAX_VERTICES = 60_000
LONGEST_EDGE = 0.02  # of the longest side, where there is a pattern
CELL = 1 / 64
_MAKERS = (
    (chairs.chair, 4.0),
    (stools.stool, 2.0),
    (benches.bench, 1.0),
    (benches.sofa, 2.0),
    (tables.table, 2.0),
    (shelves.shelf, 1.0),
    (shelves.cabinet, 1.0),
    (lamps_vases.lamp, 1.0),
    (lamps_vases.vase, 2.0),
    (csg.csg, 2.0),
    (vehicles.vehicle, 2.0),
    (creatures.animal, 1.5),
    (people.figure, 1.0),
    (blobs.shoe, 1.0),
    (blobs.blob, 1.0),
)
_KINDS = (("wood", 2.0), ("metal", 0.8), ("cloth", 2.0), ("plastic", 2.5), ("ink", 0.8), ("dark", 0.8))
_PATTERNED = {"wood": 0.65, "metal": 0.15, "cloth": 0.6, "plastic": 0.45, "ink": 0.5, "dark": 0.4}
_MOST_MATERIALS = 5


@dataclass(frozen=True)
class Material:
    """Two colours [3], and where a pattern puts the second (nowhere if None)."""

    first: np.ndarray
    second: np.ndarray
    pattern: patterns.Pattern | None
    width: float  # of the pattern, of the longest side

    def colors(self, points: np.ndarray) -> np.ndarray:
        """Albedo [N, 3] at points of the unit cube."""
        share = np.zeros(len(points)) if self.pattern is None else self.pattern(points)
        return self.first + share[:, None] * (self.second - self.first)


def painted(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] in the unit cube, faces [F, 3] and albedo [V, 3] of some object, V at most about 60,000."""
    parts = [part for part in flatten(pick(rng, *_MAKERS)(rng)) if len(part[1])]
    everything = join(parts)[0]
    low, high = everything.min(0), everything.max(0)
    parts = [((vertices - (low + high) / 2) / (high - low).max(), faces) for vertices, faces in parts]
    materials = _choose(rng, parts)
    parts = _refine(parts, materials)
    vertices, faces = join(parts)
    colors = np.concatenate([each.colors(part[0]) for part, each in zip(parts, materials, strict=True)])
    return vertices, faces, np.clip(colors, 0.0, 1.0)


def _choose(rng, parts: list[Part]) -> list[Material]:
    """A material for each part: the same for parts of the same size and number of vertices."""
    made, by_size, chosen = [], {}, []
    share_new = rng.uniform(0.4, 1.0)
    for vertices, _ in parts:
        size = (len(vertices), *np.rint(40 * np.sort(np.ptp(vertices, axis=0))).astype(int))
        if size not in by_size:
            if not made or (len(made) < _MOST_MATERIALS and chance(rng, share_new)):
                # An object of few parts would often be of one colour.
                made.append(_draw_material(rng, always=len(parts) <= 3 and not made))
                by_size[size] = made[-1]
            else:
                by_size[size] = made[int(rng.integers(len(made)))]
        chosen.append(by_size[size])
    return chosen


def _draw_material(rng, always: bool) -> Material:
    kind = pick(rng, *_KINDS)
    first, second = patterns.palette(rng, kind)
    width = thin(rng, 2 * CELL, 20 * CELL)
    patterned = chance(rng, 0.9 if always else _PATTERNED[kind])
    make = patterns.grain if kind == "wood" and chance(rng, 0.85) else patterns.pattern
    return Material(first, second, make(rng, width) if patterned else None, width)


def _refine(parts: list[Part], materials: list[Material]) -> list[Part]:
    """Parts with a pattern in small triangles: fine where the pattern is, coarser where all would be too many."""
    patterned = [material.pattern is not None for material in materials]
    area = sum(surface_area(part) for part, each in zip(parts, patterned, strict=True) if each)
    room = max(MAX_VERTICES - sum(len(vertices) for vertices, _ in parts), 1000)
    coarsest = np.sqrt(area / (0.3 * room))  # halved edges are 0.7 of the longest on average
    for _ in range(8):
        refined = [
            subdivide(part, max(np.clip(each.width / 3, LONGEST_EDGE / 2, LONGEST_EDGE), coarsest)) if fine else part
            for part, each, fine in zip(parts, materials, patterned, strict=True)
        ]
        if sum(len(vertices) for vertices, _ in refined) <= MAX_VERTICES:
            return refined
        coarsest = 1.3 * max(coarsest, LONGEST_EDGE / 2)
    return parts
