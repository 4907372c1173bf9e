"""Aeroplanes, boats and cars, nose to +z."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick, thin
from .outlines import spline, superellipse
from .parts import Part, both_sides, cuboid, loft, place, revolve, rod, superellipsoid, turn


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
        rings.append(
            np.asarray(at) + section[:, :1] * c * [0, 0, 1.0] + section[:, 1:] * t * (c / chord) ** 0.5 * normal
        )
    return loft(rings)


def plane(rng) -> list[Part]:
    """Fuselage, swept or straight wings, tail, engines or a propeller, wheels at times."""
    r, t = rng.uniform(0.04, 0.075), thin(rng, 0.006, 0.03)
    rows = [
        (0.5, 0.002, 0.002, -0.01),
        (0.485, r * 0.35, r * 0.35, -0.01),
        (0.44, r * 0.75, r * 0.75, 0),
        (0.36, r, r, 0),
    ]
    rows += [(-0.15, r, r, 0), (-0.35, r * 0.6, r * 0.65, r * 0.25), (-0.5, r * 0.12, r * 0.15, r * 0.6)]
    curve = spline(rows, 30)
    parts = [body_of(curve)]
    sweep_, span, chord = rng.uniform(-0.02, 0.3), rng.uniform(0.35, 0.55), rng.uniform(0.1, 0.24)
    level, rise, z = pick(rng, -0.5, 0.0, 0.8) * r, rng.uniform(-0.02, 0.08), rng.uniform(0.0, 0.15)
    tip = (span, level + rise, z - sweep_)
    parts += both_sides(wing((0, level, z), tip, chord, chord * rng.uniform(0.25, 0.9), t))
    if chance(rng, 0.15):
        parts += both_sides(wing((0, level + 0.15, z), np.add(tip, [0, 0.15, 0]), chord, chord * 0.7, t))
        parts += both_sides(
            rod((span * 0.7, level, z - 0.5 * sweep_), (span * 0.7, level + 0.16, z - 0.5 * sweep_), 0.006)
        )
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
        x, y = half * np.sign(np.cos(a)) * np.abs(np.cos(a)) ** 0.7, -h * f**0.3 * np.sin(a)
        rings.append(np.column_stack([x, y + top, np.full(13, z)]))
    parts = [loft(rings)]
    if chance(rng, 0.7):
        parts.append(
            superellipsoid(
                (0, h * 0.1, rng.uniform(-0.2, 0.1)),
                (w * 0.7, h * rng.uniform(0.5, 1.0), 0.2),
                rng.uniform(0.2, 1),
                rng.uniform(0.2, 1),
            )
        )
    if chance(rng, 0.4):
        parts.append(cuboid((0, h * 0.5, -0.1), (w, h, 0.25), 0.01))
    if chance(rng, 0.4):
        tall = rng.uniform(0.4, 0.9)
        parts.append(rod((0, -0.02, 0), (0, tall, 0), 0.008))
        if chance(rng, 0.7):
            t = thin(rng, 0.002, 0.01)
            parts.append(loft([[(x, 0.1, 0.02), (x, tall * 0.95, 0.02), (x, 0.1, 0.35)] for x in (-t, t)]))
            parts.append(loft([[(x, 0.08, -0.02), (x, tall * 0.9, -0.02), (x, 0.08, -0.4)] for x in (-t, t)]))
    return parts


def car(rng) -> list[Part]:
    """Body, cabin and four wheels."""
    w, h, power = rng.uniform(0.17, 0.23), rng.uniform(0.07, 0.14), rng.uniform(3, 8)
    rows = [
        (-0.5, w * 0.8, h * 0.6, h),
        (-0.48, w * 0.95, h * 0.9, h),
        (-0.2, w, h, h),
        (0.3, w, h, h),
        (0.47, w * 0.9, h * 0.8, h * 0.95),
        (0.5, w * 0.75, h * 0.5, h * 0.9),
    ]
    parts = [body_of(spline(rows, 24), power)]
    roof, start, end = rng.uniform(0.1, 0.2), rng.uniform(-0.48, -0.3), rng.uniform(0.1, 0.3)
    top = np.array([(start, 1.0), (start + 0.1, 0.85), (end - 0.2, 0.85), (end, 1.0)])
    y = [h * 1.9, h * 2 + roof, h * 2 + roof, h * 1.9]
    cabin = np.array([(top[0, 0], y[0]), (top[3, 0], y[3]), (top[2, 0], y[2]), (top[1, 0], y[1])])
    rings = [
        np.column_stack([np.where(cabin[:, 1] > h * 1.95, x * 0.8, x * 0.97), cabin[:, 1], cabin[:, 0]])
        for x in (-w, w)
    ]
    parts.append(loft(rings))
    r = rng.uniform(0.06, 0.1)
    one = place(
        revolve([(0, -0.035), (r * 0.8, -0.035), (r, -0.025), (r, 0.025), (r * 0.8, 0.035), (0, 0.035)], 24),
        turn("z", np.pi / 2),
    )
    for z in (-0.3, 0.3):
        parts += both_sides(place(one, move=(w - 0.01, h * 0.25, z)))
    return parts
