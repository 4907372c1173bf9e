"""Stools and step stools. Metres."""

from __future__ import annotations

import numpy as np

from . import backs, seats, supports
from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, regular, round_corners, superellipse
from .parts import Part, beam, both_sides, box, place, rod, slab, sweep, tube, turn


def stool(rng) -> list[Part]:
    """A stool: round or square, step stool, three-legged, on a pedestal."""
    tall = chance(rng, 0.45)
    body = seats.draw_body(rng, (0.55, 0.8) if tall else (0.3, 0.5), (0.28, 0.46), (0.26, 0.42), (0.1, 0.3))
    make = pick(rng, (round_stool, 3.0), (square_stool, 3.0), (step_stool, 1.3), (bent_stool, 1.0))
    parts = make(rng, body)
    if make is not step_stool and chance(rng, 0.2):
        parts += pick(rng, backs.wrap_back, backs.panel_back, backs.hoop_back)(rng, body)
    return parts


def round_stool(rng, body) -> list[Part]:
    """A disc on splayed legs or a pedestal, often with a ring to rest the feet."""
    r, t = body.width / 2, thin(rng, 0.01, 0.06)
    outline = pick(rng, (regular(2 * sides_of(rng), r), 3.0), (superellipse(r, r, 3, 32), 1.0))
    parts = [slab(outline, body.height - t, body.height, pick(rng, 0.0, t * 0.4), 3)]
    if chance(rng, 0.25):
        return parts + supports.pedestal(rng, r * 1.1, body.height - t)
    count, size, splay = int(pick(rng, 3, (4, 3.0), 5)), thin(rng, 0.01, 0.045), rng.uniform(0.0, 0.4)
    low, inner, sides = body.height - t, r * rng.uniform(0.5, 0.9), sides_of(rng)
    square, ring = chance(rng, 0.4), chance(rng, 0.6)
    for i in range(count):
        a = 2 * np.pi * (i + 0.5) / count
        top, foot = (
            np.array([np.sin(a), 0, np.cos(a)]) * inner,
            np.array([np.sin(a), 0, np.cos(a)]) * (inner + splay * r),
        )
        top[1] = low
        parts.append(beam(top, foot, size, size, (0, 0, 1)) if square else rod(top, foot, size / 2, size / 2, sides))
    level = rng.uniform(0.2, 0.5)
    reach = inner + splay * r * (1 - level)
    if ring:
        circle = np.insert(regular(32, reach), 1, low * level, axis=1)
        parts.append(tube(circle, thin(rng, 0.004, 0.012), 8, loop=True))
    elif chance(rng, 0.7):
        tie, wide = thin(rng, 0.008, 0.025), rng.uniform(1, 3)
        for i in range(count):
            a, b = (
                np.array([np.sin(q), 0, np.cos(q)]) * reach for q in 2 * np.pi * (np.array([i, i + 1]) + 0.5) / count
            )
            end = b if chance(rng, 0.5) else -a if count == 4 else a * 0
            parts.append(beam(a + [0, low * level, 0], end + [0, low * level, 0], tie, tie * wide))
    return parts


def square_stool(rng, body) -> list[Part]:
    """A square seat on four legs."""
    parts = pick(rng, (seats.solid_seat, 3.0), seats.dished_seat, seats.slatted_seat, seats.cushion_seat)(rng, body)
    kind = pick(rng, (supports.four_legs, 4.0), supports.sled, (supports.cross_legs, 0.6), (supports.trestles, 0.5))
    parts += kind(rng, body.width * 0.97, body.depth * 0.97, body.height - 0.01)
    if chance(rng, 0.5):
        parts += seats.frame(body.width * 0.92, body.depth * 0.92, body.height - 0.01, rng.uniform(0.03, 0.08), 0.018)
    return parts


def step_stool(rng, body) -> list[Part]:
    """Two steps in a leaning frame of boards or of bent tubes."""
    x, h, mid = body.width / 2, body.height, body.height * rng.uniform(0.4, 0.55)
    t, z = thin(rng, 0.012, 0.035), body.depth / 2
    out = z + rng.uniform(0.12, 0.25)
    parts = [box((-x, h - t, -z), (x, h, z), t * 0.2), box((-x, mid - t, z * 0.3), (x, mid, out), t * 0.2)]
    size = thin(rng, 0.014, 0.045)
    if chance(rng, 0.4):
        corners = [
            (x, 0, -z - 0.05),
            (x, h - t, -z),
            (x, h - t, z),
            (x, mid - t, z * 0.6),
            (x, mid - t, out),
            (x, 0, out + 0.03),
        ]
        parts += both_sides(tube(round_corners(corners, 0.07), size / 2, sides_of(rng)))
        parts.append(rod((-x, 0.1, -z - 0.04), (x, 0.1, -z - 0.04), size / 3, sides=8))
        return parts
    lean = rng.uniform(0.02, 0.15)
    for foot, top in (
        ((x + 0.03, 0, out), (x - size, h - t, z * 0.8)),
        ((x + 0.03, 0, -z - lean), (x - size, h - t, -z * 0.8)),
    ):
        parts += both_sides(beam(top, foot, size, size * 1.3, (0, 0, 1)))
    parts += both_sides(beam((x, mid - t - size, -z - 0.5 * lean), (x, mid - t - size, out), size * 0.7, size * 1.5))
    if chance(rng, 0.6):
        parts.append(beam((-x, 0.2 * h, -z - lean), (x, 0.2 * h, -z - lean), size * 0.7, size))
    return parts


def bent_stool(rng, body) -> list[Part]:
    """A flat top on legs bent out of thin laminate."""
    count, r = int(pick(rng, (3, 2.0), 4)), body.width / 2
    t = thin(rng, 0.01, 0.025)
    outline = superellipse(r, r, 2, 48)
    a = np.arctan2(outline[:, 1], outline[:, 0])
    outline *= (1 + rng.uniform(0, 0.08) * np.sin(count * a))[:, None]
    parts = [slab(outline, body.height - t, body.height, t * 0.3)]
    wide, low = rng.uniform(0.03, 0.08), body.height - t
    leg = [(0, low - t / 2, r * 0.3), (0, low - t / 2, r * 0.85), (0, 0, r * rng.uniform(0.95, 1.3))]
    leg = sweep(round_corners(leg, rng.uniform(0.05, 0.12), 8), rectangle(t, wide), up=(1, 0, 0))
    return parts + [place(leg, turn("y", 2 * np.pi * i / count)) for i in range(count)]
