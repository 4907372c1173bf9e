"""Machine parts and vehicles: nuts, bolts, gears, wheels, springs, chains; aeroplanes, boats, cars."""

from __future__ import annotations

import numpy as np

from .csg import bored, spin, torus
from .draws import chance, pick, sides_of, thin
from .fields import Capsule, Ellipsoid, solidify
from .parts import Part, beam, both_sides, box, cuboid, loft, mirror, place, rectangle, regular, revolve, rod, spline, superellipse, superellipsoid, sweep, tube, turn


def hardware(rng) -> list[Part]:
    """One machine part, or a few of them, in any orientation."""
    make = pick(rng, nut, bolt, gear, (ring, 1.5), wheel, spring, chain, (wing_nut, 1.5), bracket, knot)
    part = make(rng)
    return part if chance(rng, 0.6) else [place(part, spin(rng))]


def nut(rng) -> list[Part]:
    """A polygonal or round nut or washer."""
    n, h, r = int(pick(rng, 4, (6, 3.0), 8)), thin(rng, 0.03, 0.8), rng.uniform(0.2, 0.4)
    t = np.arange(48) * (2 * np.pi / 48)
    apothem = np.cos(np.pi / n) / np.cos((t + np.pi / n) % (2 * np.pi / n) - np.pi / n)
    outer = regular(48, 0.5) * (apothem[:, None] if chance(rng, 0.75) else 1.0)
    parts = [bored(outer, regular(48, r), 0, h)]
    return parts + ([bored(regular(48, 0.62), regular(48, r), -0.04, 0)] if chance(rng, 0.4) else [])


def bolt(rng) -> list[Part]:
    """Head, shank and thread."""
    r, h = rng.uniform(0.08, 0.2), rng.uniform(0.5, 1.5)
    head = [(0, h), (r * 1.9, h), (r * 1.9, h + r), (r * 1.5, h + r * 1.3), (0, h + r * 1.3)]
    parts = [revolve(head, int(pick(rng, 6, 4, 32))), revolve([(r * 0.8, 0), (r, r * 0.2), (r, h)], 32)]
    if chance(rng, 0.6):
        turns = int(rng.integers(4, 12))
        t = np.linspace(0, 2 * np.pi * turns, 16 * turns)
        y = np.linspace(0.02, h * rng.uniform(0.4, 0.9), len(t))
        parts.append(tube(np.stack([r * np.cos(t), y, r * np.sin(t)], -1), 0.25 * h / turns, 5))
    return parts


def gear(rng) -> list[Part]:
    """A toothed wheel with a bore and spokes or a hub."""
    teeth, depth, h = int(rng.integers(6, 28)), rng.uniform(0.05, 0.2), thin(rng, 0.04, 0.4)
    profile = np.tile([1, 1, 1 - depth, 1 - depth], teeth)
    outer = regular(4 * teeth, 0.5) * profile[:, None]
    hole = rng.uniform(0.06, 0.35)
    parts = [bored(outer, regular(4 * teeth, hole), -h / 2, h / 2)]
    if chance(rng, 0.5):
        parts.append(bored(regular(40, hole + 0.06), regular(40, hole), -h, h))
    return parts


def ring(rng) -> list[Part]:
    """A torus, band, twisted or knobbly ring."""
    r = rng.uniform(0.05, 0.45)
    kind = pick(rng, ("torus", 2.0), "band", "section", "wavy")
    if kind == "torus":
        return [torus(0.5, r, int(pick(rng, 16, 32, 64, 96)), int(pick(rng, 8, 16, 32)), pick(rng, 1.0, rng.uniform(0.4, 2)))]
    t = np.arange(96) * (2 * np.pi / 96)
    circle = np.stack([0.5 * np.cos(t), 0 * t, 0.5 * np.sin(t)], -1)
    if kind == "band":
        return [sweep(circle, rectangle(thin(rng, 0.01, 0.1), r, pick(rng, 0.0, 0.01), 2), loop=True)]
    if kind == "section":
        return [sweep(circle, regular(int(rng.integers(3, 7)), r / 2), loop=True)]
    n = int(rng.integers(2, 12))
    circle[:, 1] = rng.uniform(0, 0.15) * np.sin(n * t)
    return [sweep(circle, regular(20, r / 3), loop=True, size=1 + rng.uniform(0, 0.5) * np.cos(n * t))]


def wheel(rng) -> list[Part]:
    """Rim, hub and spokes; a pair on an axle now and then."""
    tyre, count, hub = rng.uniform(0.03, 0.2), int(rng.integers(3, 16)), rng.uniform(0.05, 0.15)
    parts = [torus(0.5, tyre, 48, 12, rng.uniform(0.7, 1.6)), revolve([(hub, -0.08), (hub, 0.08)], 24)]
    r = thin(rng, 0.004, 0.03)
    for a in 2 * np.pi * np.arange(count) / count:
        parts.append(rod((0, 0, 0), (0.5 * np.sin(a), 0, 0.5 * np.cos(a)), r * 1.3, r, 8))
    upright = place(parts, turn("z", np.pi / 2))
    if chance(rng, 0.3):
        x = rng.uniform(0.2, 0.6)
        return [place(upright, move=(s * x, 0, 0)) for s in (-1, 1)] + [rod((-x, 0, 0), (x, 0, 0), 0.04)]
    return [upright]


def spring(rng) -> list[Part]:
    """A helix of round wire, straight or conical."""
    turns, h = rng.uniform(2, 9), rng.uniform(0.4, 1.5)
    t = np.linspace(0, 1, int(24 * turns))
    r = 0.3 * (1 - rng.uniform(0, 0.7) * t)
    path = np.stack([r * np.cos(2 * np.pi * turns * t), h * t, r * np.sin(2 * np.pi * turns * t)], -1)
    return [tube(path, min(thin(rng, 0.006, 0.06), 0.4 * h / turns), 10)]


def chain(rng) -> list[Part]:
    """Links, each turned a quarter against the last."""
    r, stretch = rng.uniform(0.03, 0.09), rng.uniform(1, 2)
    link = torus(0.2, 2 * r, 32, 10)
    link = place(link, turn("x", np.pi / 2) @ np.diag([1, 1, stretch]))
    pitch = 0.4 * stretch - 2 * r
    return [place(link, turn("y", np.pi / 2 * (i % 2)), (0, i * pitch, 0)) for i in range(int(rng.integers(2, 6)))]


def wing_nut(rng) -> list[Part]:
    """A conical hub with two ears."""
    up, out = rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.5)
    r, t = rng.uniform(0.13, 0.2), rng.uniform(0.05, 0.09)
    adds = [Capsule((0, -0.05, 0), (0, 0.1, 0), r * 1.2, r, 0.05)]
    for s in (-1, 1):
        adds.append(Capsule((s * r * 0.7, 0.0, 0), (s * out, up, 0), t * 1.3, rng.uniform(0.08, 0.16), 0.05))
    cuts = [Ellipsoid((0, y, 0), (2, 0.5, 2), 0.005, None, 12.0) for y in (-0.55,)]
    for s in (-1, 1):
        cuts.append(Ellipsoid((0, 0.3, s * (0.5 + t)), (2, 0.29, 0.5), 0.01, None, 10.0))
    if chance(rng, 0.6):
        cuts.append(Capsule((0, -1, 0), (0, 1, 0), r * 0.6, r * 0.6, 0.005))
    return [solidify(adds, cuts, int(pick(rng, 40, 64, 88)))]


def bracket(rng) -> list[Part]:
    """Plates with bores at right angles, with a rib."""
    w, h, t, n = rng.uniform(0.4, 1), rng.uniform(0.4, 1), thin(rng, 0.02, 0.12), 40
    plate = superellipse(w / 2, 0.5, 8, n)
    parts = [bored(plate, regular(n, rng.uniform(0.05, 0.2), np.pi / n), 0, t)]
    parts.append(box((-w / 2, 0, -0.5), (w / 2, h, -0.5 + t)))
    parts.append(beam((0, h * 0.8, -0.48), (0, t, 0.3), t, t * 2, (0, 1, 1)))
    return parts


def knot(rng) -> list[Part]:
    """A torus knot."""
    p, q = pick(rng, [2, 3], [3, 2], [2, 5], [3, 4], [1, 4])
    t = np.arange(180) * (2 * np.pi / 180)
    r = 0.35 + 0.13 * np.cos(q * t)
    path = np.stack([r * np.cos(p * t), 0.15 * np.sin(q * t), r * np.sin(p * t)], -1)
    return [tube(path, thin(rng, 0.015, 0.07), 12, loop=True)]


# --- vehicles -------------------------------------------------------------------------------------------------------


def vehicle(rng) -> list[Part]:
    """An aeroplane, a boat or a car, its nose to +z."""
    return pick(rng, (plane, 2.0), (boat, 1.5), (car, 1.0))(rng)


def body_of(profile, power=2.0, count=24) -> Part:
    """Loft along z through superelliptic sections; rows (z, half-width, half-height, centre y)."""
    rings = []
    for z, a, b, y in profile:
        section = superellipse(max(a, 1e-3), max(b, 1e-3), power, count)
        rings.append(np.column_stack([section[:, 0], section[:, 1] + y, np.full(count, z)]))
    return loft(rings)


def wing(root, tip, chord, end, t) -> Part:
    """A thin tapered wing from root to tip; chords along z."""
    section = np.array([(0.5, 0), (0.3, 0.4), (-0.1, 0.5), (-0.5, 0.05), (-0.5, -0.05), (0.0, -0.3), (0.4, -0.2)])
    direction = np.asarray(tip, float) - root
    normal = np.cross([0, 0, 1.0], direction)
    normal /= np.linalg.norm(normal)
    rings = []
    for at, c in ((root, chord), (tip, end)):
        rings.append(np.asarray(at) + section[:, :1] * c * [0, 0, 1.0] + section[:, 1:] * t * (c / chord) ** 0.5 * normal)
    return loft(rings)


def plane(rng) -> list[Part]:
    """Fuselage, swept or straight wings, tail, engines or a propeller, wheels at times."""
    r, t = rng.uniform(0.04, 0.075), thin(rng, 0.006, 0.03)
    rows = [(0.5, 0.002, 0.002, -0.01), (0.485, r * 0.35, r * 0.35, -0.01), (0.44, r * 0.75, r * 0.75, 0), (0.36, r, r, 0)]
    rows += [(-0.15, r, r, 0), (-0.35, r * 0.6, r * 0.65, r * 0.25), (-0.5, r * 0.12, r * 0.15, r * 0.6)]
    curve = spline(rows, 30)
    parts = [body_of(curve)]
    sweep_, span, chord = rng.uniform(-0.02, 0.3), rng.uniform(0.35, 0.55), rng.uniform(0.1, 0.24)
    level, rise, z = pick(rng, -0.5, 0.0, 0.8) * r, rng.uniform(-0.02, 0.08), rng.uniform(0.0, 0.15)
    tip = (span, level + rise, z - sweep_)
    parts += both_sides(wing((0, level, z), tip, chord, chord * rng.uniform(0.25, 0.9), t))
    if chance(rng, 0.15):
        parts += both_sides(wing((0, level + 0.15, z), np.add(tip, [0, 0.15, 0]), chord, chord * 0.7, t))
        parts += both_sides(rod((span * 0.7, level, z - 0.5 * sweep_), (span * 0.7, level + 0.16, z - 0.5 * sweep_), 0.006))
    up = rng.uniform(0.1, 0.2)
    parts.append(wing((0, r * 0.5, -0.43), (0, r * 0.5 + up, -0.43 - 0.08), 0.13, 0.07, t * 0.8))
    high = pick(rng, r * 0.5, r * 0.5 + up)
    parts += both_sides(wing((0, high, -0.45), (rng.uniform(0.12, 0.22), high, -0.5), 0.09, 0.05, t * 0.7))
    for i in range(int(pick(rng, 0, (1, 2.0), 2))):
        at = np.array([0, level, z]) + (np.array(tip) - [0, level, z]) * (0.32 + 0.3 * i)
        e = r * rng.uniform(0.3, 0.55)
        pod = revolve([(e * 0.7, -0.07), (e, 0.0), (e * 0.95, 0.07), (e * 0.7, 0.07), (e * 0.6, -0.02), (0, -0.02)], 16)
        parts += both_sides(place(pod, turn("x", np.pi / 2), at + [0, -e * 1.2, chord * 0.4]))
    if chance(rng, 0.25):
        parts += [cuboid((0, 0, 0.51), (0.2, 0.02, 0.008)), superellipsoid((0, 0, 0.5), (0.025, 0.025, 0.04))]
    return parts


def boat(rng) -> list[Part]:
    """A hull with a deck, a cabin, a mast and a sail at times."""
    w, h, s = rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.2), np.linspace(-0.5, 0.5, 20)
    bow, sheer = rng.uniform(1.2, 3), rng.uniform(0, 0.12)
    fine = np.clip(1 - np.abs(2 * s) ** bow * np.where(s > 0, 1, rng.uniform(0.2, 1)), 0.02, 1)
    rings = []
    for z, f in zip(s, fine):
        a = np.linspace(0, np.pi, 13)
        top = sheer * (2 * z) ** 2
        half = w * f
        x, y = half * np.sign(np.cos(a)) * np.abs(np.cos(a)) ** 0.7, -h * f ** rng.uniform(0.3, 0.31) * np.sin(a)
        rings.append(np.column_stack([x, y + top, np.full(13, z * (1.0 + 0.0))]))
    parts = [loft(rings)]
    if chance(rng, 0.7):
        parts.append(superellipsoid((0, h * 0.1, rng.uniform(-0.2, 0.1)), (w * 0.7, h * rng.uniform(0.5, 1.0), 0.2), rng.uniform(0.2, 1), rng.uniform(0.2, 1)))
    if chance(rng, 0.4):
        parts.append(cuboid((0, h * 0.5, -0.1), (w, h, 0.25), 0.01))
    if chance(rng, 0.4):
        tall = rng.uniform(0.4, 0.9)
        parts.append(rod((0, -0.02, 0), (0, tall, 0), 0.008))
        if chance(rng, 0.7):
            t = thin(rng, 0.002, 0.01)
            parts.append(place(loft([[(x, 0.1, 0.02), (x, tall * 0.95, 0.02), (x, 0.1, 0.35)] for x in (-t, t)])))
            parts.append(place(loft([[(x, 0.08, -0.02), (x, tall * 0.9, -0.02), (x, 0.08, -0.4)] for x in (-t, t)])))
    return parts


def car(rng) -> list[Part]:
    """Body, cabin and four wheels."""
    w, h, power = rng.uniform(0.17, 0.23), rng.uniform(0.07, 0.14), rng.uniform(3, 8)
    rows = [(-0.5, w * 0.8, h * 0.6, h), (-0.48, w * 0.95, h * 0.9, h), (-0.2, w, h, h), (0.3, w, h, h), (0.47, w * 0.9, h * 0.8, h * 0.95), (0.5, w * 0.75, h * 0.5, h * 0.9)]
    parts = [body_of(spline(rows, 24), power)]
    roof, start, end = rng.uniform(0.1, 0.2), rng.uniform(-0.48, -0.3), rng.uniform(0.1, 0.3)
    top = np.array([(start, 1.0), (start + 0.1, 0.85), (end - 0.2, 0.85), (end, 1.0)])
    y = [h * 1.9, h * 2 + roof, h * 2 + roof, h * 1.9]
    cabin = np.array([(top[0, 0], y[0]), (top[3, 0], y[3]), (top[2, 0], y[2]), (top[1, 0], y[1])])
    rings = [np.column_stack([np.where(cabin[:, 1] > h * 1.95, x * 0.8, x * 0.97), cabin[:, 1], cabin[:, 0]]) for x in (-w, w)]
    parts.append(loft(rings))
    r = rng.uniform(0.06, 0.1)
    one = place(revolve([(0, -0.035), (r * 0.8, -0.035), (r, -0.025), (r, 0.025), (r * 0.8, 0.035), (0, 0.035)], 24), turn("z", np.pi / 2))
    for z in (-0.3, 0.3):
        parts += both_sides(place(one, move=(w - 0.01, h * 0.25, z)))
    return parts
