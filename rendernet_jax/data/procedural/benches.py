"""Benches and sofas. Metres; the back is at -z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import backs, seats, supports
from .draws import chance, pick, thin
from .parts import Part, both_sides, box, mirror, place, rod, superellipsoid, tube, turn


def bench(rng) -> list[Part]:
    """A long seat of boards or slats, with or without a back and armrests."""
    body = seats.draw_body(rng, (0.38, 0.5), (0.8, 1.7), (0.28, 0.5), (0.3, 0.5))
    body = replace(body, wrap=0.0)
    maker = pick(rng, (seats.solid_seat, 2.0), (bench_slats, 3.0), (seats.slatted_seat, 1.0), (seats.cushion_seat, 0.5))
    parts = maker(rng, body)
    kind = pick(
        rng, (supports.four_legs, 4.0), (supports.trestles, 2.0), (supports.sled, 0.7), (supports.cross_legs, 0.4)
    )
    parts += kind(rng, body.width * 0.96, body.depth * 0.96, body.height - 0.012)
    if chance(rng, 0.5):
        parts += seats.frame(body.width * 0.97, body.depth * 0.97, body.height - 0.012, rng.uniform(0.03, 0.09), 0.025)
    if chance(rng, 0.5):
        make = pick(
            rng, (backs.ladder_back, 3.0), (backs.spindle_back, 1.0), (backs.panel_back, 1.0), (backs.cross_back, 0.4)
        )
        parts += make(rng, body)
        if chance(rng, 0.7):
            parts += backs.arms(rng, body)
    return parts


def bench_slats(rng, body) -> list[Part]:
    """Boards along the bench, or two fields of cross slats."""
    if chance(rng, 0.5):
        count, gap, t = int(rng.integers(2, 7)), rng.uniform(0.005, 0.03), thin(rng, 0.01, 0.04)
        pitch = (body.depth + gap) / count
        rows = [-body.depth / 2 + i * pitch for i in range(count)]
        x, y = body.width / 2, body.height
        return [box((-x, y - t, z), (x, y, z + pitch - gap)) for z in rows]
    half = replace(body, width=body.width / 2 - 0.03)
    fields = seats.slatted_seat(rng, half)
    return [place(fields, move=(s * (body.width / 4), 0, 0)) for s in (-1, 1)]


def sofa(rng) -> list[Part]:
    """An upholstered chair or sofa: base, cushions, back and thick arms, all blocks with round edges."""
    count = int(pick(rng, (1, 3.0), (2, 1.0), (3, 1.0)))
    each, depth, arm = rng.uniform(0.5, 0.75), rng.uniform(0.6, 0.95), thin(rng, 0.05, 0.25)
    seat, back, side = rng.uniform(0.35, 0.48), rng.uniform(0.65, 0.95), rng.uniform(0.48, 0.68)
    x, z, foot = count * each / 2, depth / 2, pick(rng, 0.0, rng.uniform(0.02, 0.18))
    round_, steps = pick(rng, 0.0, rng.uniform(0.01, 0.06)), int(pick(rng, 1, 3, 4))
    thick, lean = rng.uniform(0.12, 0.28), rng.uniform(0, 0.25)
    parts = [box((-x, foot, -z), (x, seat - 0.12, z), round_ * 0.5, steps)]
    wall = box((-x, foot, -z), (x, back, -z + thick), round_, steps)
    parts.append(place(wall, np.array([[1, 0, 0], [0, 1, 0], [0, -lean * 0.5, 1]])))
    low = pick(rng, foot, 0.0, seat - 0.1)
    parts += both_sides(box((x, low, -z), (x + arm, side, z), round_, steps))
    if chance(rng, 0.3):
        parts += both_sides(place(tube(np.array([(x + arm / 2, side, -z), (x + arm / 2, side, z)]), arm * 0.6, 20)))
    for i in range(count):
        a = -x + i * each
        low_, high = (a + 0.005, seat - 0.13, -z + thick * 0.8), (a + each - 0.005, seat + 0.02, z + 0.02)
        parts.append(box(low_, high, rng.uniform(0.01, 0.05), 3))
        if chance(rng, 0.6):
            puff = superellipsoid((0, 0, 0), (each / 2, (back - seat) / 2, 0.09), 0.5, 0.4, 28, 12)
            puff = place(puff, turn("x", -lean - 0.1), (a + each / 2, (back + seat) / 2 + 0.03, -z + thick + 0.05))
            parts.append(puff)
    if foot > 0:
        size = thin(rng, 0.015, 0.05)
        legs = rod((x - size, foot + 0.01, z - 2 * size), (x - size * 0.8, 0, z - 2 * size), size, size * 0.7, 12)
        parts += both_sides(legs) + both_sides(mirror(legs, 2))
    return parts
