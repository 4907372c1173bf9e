"""Tables and desks. Metres; drawers face +z."""

from __future__ import annotations

import numpy as np

from . import fronts, seats, supports
from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, regular, superellipse
from .parts import Part, box, place, slab


def table(rng) -> list[Part]:
    """A table or desk: any top on any support, with an apron, a lower shelf, a drawer."""
    w, d, h = rng.uniform(0.4, 1.8), rng.uniform(0.4, 0.95), pick(rng, rng.uniform(0.68, 0.78), rng.uniform(0.3, 0.6))
    round_ = chance(rng, 0.25)
    d = w = min(w, 1.2) if round_ else w
    d = d if round_ else min(rng.uniform(0.35, 0.95), w)
    parts, under = top_of_table(rng, w, d, h, round_)
    inset = rng.uniform(0.75, 0.98)
    a, b = (w * 0.68, d * 0.68) if round_ else (w * inset, d * inset)
    kind = pick(
        rng, ("legs", 5.0), ("trestles", 1.5 if w > d else 0.2), ("pedestal", 1.5), ("sled", 0.6), ("cross", 0.5)
    )
    if kind == "pedestal":
        columns = (-0.3, 0.3) if w > 1.8 * d and chance(rng, 0.7) else (0.0,)
        foot = supports.pedestal(rng, min(w, d) * 0.4, under)
        parts += [place(foot, move=(w * c, 0, 0)) for c in columns]
    elif kind == "trestles":
        parts += supports.trestles(rng, a, b, under)
    elif kind == "sled":
        parts += supports.sled(rng, a, b, under)
    elif kind == "cross":
        parts += supports.cross_legs(rng, a, b, under)
    else:
        size = thin(rng, 0.02, 0.1)
        parts += supports.four_legs(rng, a, b, under, size)
        apron = rng.uniform(0.04, 0.12)
        if chance(rng, 0.65):
            parts += seats.frame(a - size * 0.4, b - size * 0.4, under, apron, thin(rng, 0.01, 0.03))
        if chance(rng, 0.3):
            parts += lower_shelf(rng, a, b, h * rng.uniform(0.15, 0.5))
        if chance(rng, 0.3):
            parts += fronts.drawer_front(rng, -a / 4, a / 4, under - apron, under - 0.005, b / 2 + 0.005)
    return parts


def top_of_table(rng, w, d, h, round_) -> tuple[list[Part], float]:
    """A table top, and the height of its underside."""
    t = thin(rng, 0.008, 0.06)
    bevel = pick(rng, 0.0, t * rng.uniform(0.1, 0.45))
    if round_:
        return [slab(regular(2 * sides_of(rng), w / 2), h - t, h, bevel)], h - t
    kind = pick(rng, ("plain", 4.0), ("rounded", 1.5), ("planks", 1.2), ("slats", 0.8), ("tray", 0.7), ("oval", 0.5))
    if kind == "rounded":
        return [slab(rectangle(w, d, rng.uniform(0.02, 0.2), 5), h - t, h, bevel)], h - t
    if kind == "oval":
        return [slab(superellipse(w / 2, d / 2, rng.uniform(2, 4), 48), h - t, h, bevel)], h - t
    if kind in ("planks", "slats"):
        count = int(rng.integers(3, 7) if kind == "planks" else rng.integers(8, 18))
        gap = d / count * (rng.uniform(0.02, 0.1) if kind == "planks" else rng.uniform(0.15, 0.45))
        edges = np.linspace(-d / 2, d / 2 + gap, count + 1)
        boards = [box((-w / 2, h - t, z), (w / 2, h, z2 - gap)) for z, z2 in zip(edges, edges[1:])]
        ties = [box((s * w * 0.38 - 0.02, h - t - 0.02, -d / 2), (s * w * 0.38 + 0.02, h - t, d / 2)) for s in (-1, 1)]
        return boards + ties, h - t - 0.02
    if kind == "tray":
        rim = rng.uniform(0.02, 0.06)
        return [box((-w / 2, h - t, -d / 2), (w / 2, h, d / 2))] + seats.frame(
            w, d, h + rim, rim + t, thin(rng, 0.008, 0.03)
        ), h - t
    return [box((-w / 2, h - t, -d / 2), (w / 2, h, d / 2), bevel, int(pick(rng, 1, 3)))], h - t


def lower_shelf(rng, w, d, y) -> list[Part]:
    """A board, or slats, between the legs."""
    if chance(rng, 0.5):
        return [box((-w / 2, y, -d / 2), (w / 2, y + thin(rng, 0.008, 0.03), d / 2))]
    count, t = int(rng.integers(4, 12)), thin(rng, 0.006, 0.02)
    slats = [
        box((-w / 2, y, z - d / count * 0.3), (w / 2, y + t, z + d / count * 0.3))
        for z in np.linspace(-d / 2.2, d / 2.2, count)
    ]
    return slats + [box((s * w * 0.48 - 0.012, y - 0.03, -d / 2), (s * w * 0.48 + 0.012, y, d / 2)) for s in (-1, 1)]
