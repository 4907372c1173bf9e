"""Machine parts: nuts, bolts, gears, wheels, springs, chains."""

from __future__ import annotations

import numpy as np

from .csg import bored, spin, torus
from .draws import chance, pick, thin
from .fields import Block, Capsule, low_poly, solidify
from .outlines import rectangle, regular, superellipse
from .parts import Part, beam, box, place, revolve, rod, sweep, tube, turn


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
        return [
            torus(
                0.5, r, int(pick(rng, 16, 32, 64, 96)), int(pick(rng, 8, 16, 32)), pick(rng, 1.0, rng.uniform(0.4, 2))
            )
        ]
    t = np.arange(96) * (2 * np.pi / 96)
    circle = np.stack([0.5 * np.cos(t), 0 * t, 0.5 * np.sin(t)], -1)
    if kind == "band":
        return [sweep(circle, rectangle(thin(rng, 0.01, 0.1), r, pick(rng, 0.0, 0.01), 2), loop=True)]
    if kind == "section":
        return [sweep(circle, regular(int(rng.integers(3, 7)), r / 2), loop=True)]
    n = int(rng.integers(2, 12))
    circle[:, 1] = rng.uniform(0, 0.3) / n * np.sin(n * t)
    return [tube(circle, r / 3 * (1 + rng.uniform(0, 0.4) * np.cos(n * t)), 20, loop=True)]


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
    cuts = [Block((0, -0.57, 0), (2, 0.5, 2), 0.01)]
    for s in (-1, 1):  # the ears are flat
        cuts.append(Block((0, 0.6, s * (0.5 + t)), (2, rng.uniform(0.42, 0.5), 0.5), rng.uniform(0.01, 0.06)))
    if chance(rng, 0.6):
        cuts.append(Capsule((0, -1, 0), (0, 1, 0), r * 0.6, r * 0.6, 0.005))
    part = solidify(adds, cuts, int(pick(rng, 56, 72)))
    return [low_poly(part, int(thin(rng, 300, 3000))) if chance(rng, 0.4) else part]


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
