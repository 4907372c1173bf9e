"""Shelves, racks and cabinets. Metres; fronts face +z."""

from __future__ import annotations

import numpy as np

from . import fronts, supports
from .draws import chance, pick, sides_of, thin
from .parts import Part, beam, both_sides, box, cuboid, place, revolve, rod, tube


def shelf(rng) -> list[Part]:
    """Open shelves: boards between sides, posts, ladders or wires; cubes; wall shelves; steps."""
    make = pick(
        rng,
        (sided_shelf, 2.5),
        (post_shelf, 3.0),
        (cube_shelf, 1.0),
        (ladder_shelf, 1.0),
        (plant_stand, 0.8),
        (rack, 0.8),
    )
    return make(rng)


def _size(rng):
    return rng.uniform(0.3, 1.2), rng.uniform(0.18, 0.5), rng.uniform(0.5, 2.0)


def sided_shelf(rng) -> list[Part]:
    """A bookcase: two sides, boards, perhaps a back, doors, drawers and dividers."""
    w, d, h = _size(rng)
    t, x, z = thin(rng, 0.008, 0.035), w / 2, d / 2
    levels = np.linspace(pick(rng, 0.0, 0.08), h - t, int(rng.integers(3, 8)))
    levels[1:-1] += rng.uniform(-0.25, 0.25, len(levels) - 2) * (levels[1] - levels[0]) * pick(rng, 0.0, 1.0)
    parts = both_sides(box((x - t, 0, -z), (x, h, z))) + [box((-x, y, -z), (x, y + t, z)) for y in levels]
    if chance(rng, 0.55):
        parts.append(box((-x, 0, -z), (x, h, -z + thin(rng, 0.002, 0.015))))
    for low, high in zip(levels, levels[1:]):
        kind = pick(rng, ("open", 4.0), ("divider", 1.0), ("door", 0.6), ("drawers", 0.6))
        if kind == "divider":
            for at in np.linspace(-x, x, int(rng.integers(3, 6)))[1:-1]:
                parts.append(box((at - t / 2, low, -z), (at + t / 2, high, z)))
        elif kind == "door":
            parts += fronts.drawer_front(rng, -x + t, x - t, low + t, high, z - 0.02)
        elif kind == "drawers":
            parts += fronts.drawer_front(rng, -x + t, -0.004, low + t, high - 0.006, z) + fronts.drawer_front(
                rng, 0.004, x - t, low + t, high - 0.006, z
            )
    return parts


def post_shelf(rng) -> list[Part]:
    """Boards, slats or grilles on four posts, with rails and braces."""
    w, d, h = _size(rng)
    size, t = thin(rng, 0.01, 0.05), thin(rng, 0.006, 0.03)
    x, z = w / 2 - size / 2, d / 2 - size / 2
    round_ = chance(rng, 0.4)
    parts: list[Part] = []
    for sx in (-1, 1):
        for sz in (-1, 1):
            a, b = (sx * x, 0, sz * z), (sx * x, h, sz * z)
            parts.append(
                rod(a, b, size / 2, sides=sides_of(rng)) if round_ else cuboid((sx * x, h / 2, sz * z), (size, h, size))
            )
    kind = pick(rng, ("board", 3.0), ("slats", 1.5), ("grille", 0.8))
    rails = chance(rng, 0.5)
    bottom = rng.uniform(0.03, 0.25)
    for y in np.linspace(bottom, h - pick(rng, 0.0, 0.1) - t, int(rng.integers(2, 7))):
        if kind == "board":
            parts.append(box((-w / 2, y, -d / 2), (w / 2, y + t, d / 2)))
        elif kind == "slats":
            count = int(rng.integers(3, 9))
            parts += [
                box((-w / 2, y, a - d / count * 0.35), (w / 2, y + t, a + d / count * 0.35))
                for a in np.linspace(-z, z, count)
            ]
        else:
            r = thin(rng, 0.0015, 0.004)
            parts += [rod((-x, y, a), (x, y, a), r, sides=5) for a in np.linspace(-z, z, int(rng.integers(6, 14)))]
        if rails:
            parts += both_sides(cuboid((x, y - 0.01, 0), (size * 0.7, 0.03, 2 * z)))
            parts += [cuboid((0, y - 0.01, s * z), (2 * x, 0.03, size * 0.7)) for s in (-1, 1)]
    if chance(rng, 0.3):
        parts += [
            rod((-x, 0.1 * h, -z), (x, 0.9 * h, -z), 0.004, sides=6),
            rod((x, 0.1 * h, -z), (-x, 0.9 * h, -z), 0.004, sides=6),
        ]
    if chance(rng, 0.25):
        low = rng.uniform(0.1, 0.6) * h
        parts.append(box((-x, low, -z), (x, low + rng.uniform(0.15, 0.3) * h, z)))
    return parts


def cube_shelf(rng) -> list[Part]:
    """Square compartments, some filled by a box."""
    columns, rows, cell = int(rng.integers(1, 5)), int(rng.integers(1, 5)), 0.35
    t, d = thin(rng, 0.01, 0.05), rng.uniform(0.25, 0.4)
    w, h = columns * cell, rows * cell
    parts = [
        box((-w / 2 - t / 2, j * cell - t / 2, -d / 2), (w / 2 + t / 2, j * cell + t / 2, d / 2))
        for j in range(rows + 1)
    ]
    parts += [
        box((i * cell - w / 2 - t / 2, 0, -d / 2), (i * cell - w / 2 + t / 2, h, d / 2)) for i in range(columns + 1)
    ]
    for i in range(columns):
        for j in range(rows):
            if chance(rng, 0.25):
                x, y = -w / 2 + i * cell + t, j * cell + t
                parts += fronts.drawer_front(
                    rng, x, x + cell - 2 * t, y, y + cell - 2 * t, d / 2 - rng.uniform(0.01, 0.06)
                )
    return parts


def ladder_shelf(rng) -> list[Part]:
    """Leaning side rails with boards that get deeper downwards, or rungs only."""
    w, h, lean = rng.uniform(0.35, 0.8), rng.uniform(1.0, 2.0), rng.uniform(0.15, 0.5)
    size = thin(rng, 0.015, 0.045)
    parts = both_sides(beam((w / 2, 0, lean), (w / 2, h, 0), size, size * 1.5, (0, 0, 1)))
    if chance(rng, 0.6):
        parts += both_sides(beam((w / 2, 0, -lean * rng.uniform(0, 1)), (w / 2, h * 0.97, 0), size, size, (0, 0, 1)))
    rungs = chance(rng, 0.3)
    for y in np.linspace(0.12, 0.95, int(rng.integers(3, 7))) * h:
        z = lean * (1 - y / h)
        parts.append(
            rod((-w / 2, y, z), (w / 2, y, z), size * 0.4)
            if rungs
            else box((-w / 2, y, -0.05), (w / 2, y + 0.02, z + 0.02))
        )
    return parts


def plant_stand(rng) -> list[Part]:
    """Small round trays at several heights on shared posts."""
    count, size = int(rng.integers(2, 5)), thin(rng, 0.012, 0.035)
    parts: list[Part] = []
    for i in range(count):
        r, y = rng.uniform(0.1, 0.18), rng.uniform(0.25, 1.0)
        a = 2 * np.pi * i / count + rng.uniform(-0.3, 0.3)
        at = np.array([np.sin(a), 0, np.cos(a)]) * 0.2
        rim = rng.uniform(0.01, 0.04)
        tray = [(0, 0), (r, 0), (r, rim), (r - 0.008, rim), (r - 0.008, 0.008), (0, 0.008)]
        parts.append(place(revolve(tray, 2 * sides_of(rng)), move=at + [0, y, 0]))
        for b in a + np.array([0.3, 2.4, 4.5]):
            foot = at + np.array([np.sin(b), 0, np.cos(b)]) * r * 0.9
            parts.append(beam(foot, foot + [0, y + rim, 0], size, size, (0, 0, 1)))
        if chance(rng, 0.6):
            level = y * rng.uniform(0.1, 0.5)
            parts.append(beam(at + [-r, level, 0], at + [r, level, 0], size * 0.6, size))
    return parts


def rack(rng) -> list[Part]:
    """Thin rods: clothes rail, drying rack, coat stand, hangers."""
    w, h, d, r = rng.uniform(0.4, 1.2), rng.uniform(0.7, 1.7), rng.uniform(0.3, 0.5), thin(rng, 0.004, 0.02)
    sides = sides_of(rng)
    if chance(rng, 0.3):  # coat stand
        parts = [rod((0, 0, 0), (0, h, 0), r, sides=sides)] + supports.star(
            rng, d / 2, int(rng.integers(3, 6)), 0.04, False
        )
        for i, a in enumerate(np.linspace(0, 2 * np.pi, int(rng.integers(4, 9)))[:-1]):
            y = h * (0.95 - 0.15 * (i % 2))
            parts.append(rod((0, y, 0), (0.12 * np.sin(a), y + 0.08, 0.12 * np.cos(a)), r * 0.7, sides=8))
        return parts
    parts = both_sides(
        [rod((w / 2, 0, s * d / 2), (w / 2, h, s * d / 2 * rng.uniform(0, 1)), r, sides=sides) for s in (-1, 1)]
    )
    parts += [
        rod((-w / 2, y, 0), (w / 2, y, 0), r * rng.uniform(0.5, 1), sides=sides)
        for y in np.linspace(0.15, 1, int(rng.integers(2, 7))) * h
    ]
    if chance(rng, 0.5):
        parts.append(box((-w / 2, 0.12, -d / 2), (w / 2, 0.14, d / 2)))
    for at in rng.uniform(-0.45, 0.45, int(rng.integers(0, 4))) * w:
        parts.append(
            tube(
                np.array([(at, h, 0), (at, h - 0.08, 0), (at, h - 0.15, 0.2), (at, h - 0.15, -0.2), (at, h - 0.08, 0)]),
                0.004,
                6,
            )
        )
    return parts


# --- cabinets -------------------------------------------------------------------------------------------------------


def cabinet(rng) -> list[Part]:
    """A closed carcass with drawers and doors, plinth, feet and cornice."""
    w, d, h = rng.uniform(0.35, 1.6), rng.uniform(0.3, 0.6), rng.uniform(0.4, 1.8)
    foot, lip = pick(rng, 0.0, rng.uniform(0.03, 0.2)), pick(rng, 0.0, rng.uniform(0.005, 0.04))
    x, z, t = w / 2, d / 2, thin(rng, 0.012, 0.05)
    parts = [
        box((-x, foot, -z), (x, h - t, z)),
        box((-x - lip, h - t, -z - lip), (x + lip, h, z + lip), pick(rng, 0.0, t * 0.4), 3),
    ]
    if chance(rng, 0.4):
        parts.append(
            box((-x - lip, foot, -z - lip), (x + lip, foot + rng.uniform(0.03, 0.1), z + lip), pick(rng, 0.0, 0.01))
        )
    columns, rows, gap = int(rng.integers(1, 4)), int(rng.integers(1, 6)), rng.uniform(0.003, 0.02)
    low, edge = foot + rng.uniform(0.01, 0.08), rng.uniform(0.005, 0.05)
    xs, ys = np.linspace(-x + edge, x - edge, columns + 1), np.linspace(low, h - t - 0.01, rows + 1)
    state = rng.bit_generator.state
    for i in range(columns):
        for j in range(rows):
            rng.bit_generator.state = state  # all fronts of one piece are alike
            parts += fronts.drawer_front(
                rng, xs[i] + gap / 2, xs[i + 1] - gap / 2, ys[j] + gap / 2, ys[j + 1] - gap / 2, z
            )
    if foot > 0:
        size = min(thin(rng, 0.015, 0.05), foot)
        legs = rod(
            (x - size, foot + 0.005, z - size),
            (x - size * 0.8, 0, z - size * 0.8),
            size,
            size * rng.uniform(0.4, 1),
            12,
        )
        parts += [place(legs, np.diag([a, 1, b])) for a in (-1, 1) for b in (-1, 1)]
    return parts
