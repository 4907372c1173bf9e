"""Lamps, chandeliers, vases, pots, cups and bottles."""

from __future__ import annotations

import numpy as np

from . import supports
from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, regular, round_corners, spline
from .parts import Part, both_sides, box, place, revolve, rod, shell, superellipsoid, sweep, tube, turn


def lamp(rng) -> list[Part]:
    """A floor, table, arc, pendant or desk lamp, a candle holder or a chandelier."""
    make = pick(rng, (standing_lamp, 3.0), (desk_lamp, 1.5), (pendant, 1.2), (chandelier, 1.5))
    return make(rng)


def shade(rng, radius, height) -> Part:
    """A lamp shade, its mouth down, from y = 0 to ``height``: cone, drum, dome or ball; thin or solid."""
    t, sides = thin(rng, 0.003, 0.02), 2 * sides_of(rng)
    kind = pick(rng, ("cone", 2.0), ("drum", 1.5), ("dome", 1.5), ("ball", 0.8))
    if kind == "ball":
        return superellipsoid((0, height / 2, 0), (radius, height / 2, radius), 1, 1, sides, 20)
    s = np.linspace(0, 1, 10)
    top = {"cone": rng.uniform(0.3, 0.8), "drum": 1.0, "dome": rng.uniform(0.1, 0.4)}[kind]
    r = radius * (1 - (1 - top) * s) if kind != "dome" else radius * np.maximum(np.sqrt(np.maximum(1 - s**2, 0)), top)
    outer = np.stack([r, s * height], -1)
    if chance(rng, 0.3):
        return revolve(outer, sides)
    inner = np.stack([np.maximum(r - t, 0.3 * t), s * height * 0.98], -1)[::-1]
    return revolve(np.concatenate([outer, inner, outer[:1]]), sides)


def standing_lamp(rng) -> list[Part]:
    """Foot, stem and shade."""
    tall = rng.uniform(0.35, 1.6)
    r = rng.uniform(0.1, 0.25)
    parts = supports.pedestal(rng, r * rng.uniform(0.6, 1.0), tall)
    if chance(rng, 0.3):  # tripod or bulged body instead of a stem
        if chance(rng, 0.5):
            a = 2 * np.pi * np.arange(3) / 3
            parts = [
                rod((0, tall, 0), (0.3 * tall * np.sin(q), 0, 0.3 * tall * np.cos(q)), thin(rng, 0.006, 0.02))
                for q in a
            ]
        else:
            parts = [revolve(vessel_profile(rng, r * 0.8, tall), 2 * sides_of(rng))]
    height = rng.uniform(0.12, 0.35)
    lift = rng.uniform(-0.6, 0.0) * height
    parts.append(place(shade(rng, r, height), move=(0, tall + lift, 0)))
    parts.append(rod((0, tall - 0.02, 0), (0, tall + lift + height, 0), 0.006, sides=8))
    return parts


def desk_lamp(rng) -> list[Part]:
    """A jointed or curved arm on a foot, its head aimed down."""
    r, foot = thin(rng, 0.005, 0.014), rng.uniform(0.07, 0.13)
    elbow = np.array([0.0, rng.uniform(0.25, 0.45), -rng.uniform(0.0, 0.2)])
    head = elbow + [0, rng.uniform(-0.1, 0.25), rng.uniform(0.2, 0.45)]
    path = np.array([[0, 0.02, 0], elbow, head])
    path = path if chance(rng, 0.5) else spline(path, 20)
    parts = [tube(path, r, 10), revolve([(foot, 0), (foot, 0.02), (foot * 0.7, 0.03)], 2 * sides_of(rng))]
    if chance(rng, 0.4):
        parts.append(place(tube(path, r * 0.7, 8), move=(0.025, 0.012, 0)))
    hood = place(shade(rng, rng.uniform(0.06, 0.12), rng.uniform(0.08, 0.16)), turn("x", rng.uniform(-1.2, 0.3)))
    parts.append(place(hood, move=head - [0, 0.08, 0]))
    return parts


def pendant(rng) -> list[Part]:
    """Shades on cords from a ceiling plate."""
    count = int(pick(rng, (1, 3.0), 2, 3))
    parts: list[Part] = [revolve([(0.06, 0), (0.06, 0.02), (0, 0.03)], 24)]
    for i in range(count):
        x = (i - (count - 1) / 2) * 0.3
        drop, r, h = rng.uniform(0.25, 0.8), rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.25)
        parts.append(rod((x, 0, 0), (x, -drop, 0), thin(rng, 0.0015, 0.006), sides=6))
        parts.append(place(shade(rng, r, h), move=(x, -drop - h, 0)))
    return parts + ([box((-count * 0.15, -0.01, -0.03), (count * 0.15, 0.02, 0.03))] if count > 1 else [])


def chandelier(rng) -> list[Part]:
    """A ring, or arms from a hub, with candles or small shades, hung on rods."""
    count, r = int(rng.integers(4, 13)), rng.uniform(0.25, 0.45)
    drop, t = rng.uniform(0.3, 0.7), thin(rng, 0.008, 0.04)
    parts: list[Part] = [revolve([(0, 0), (0.05, 0), (0.05, 0.08), (0.02, 0.1)], 12)]
    ring = chance(rng, 0.6)
    if ring:
        wide = rng.uniform(1, 3)
        circle = np.insert(regular(48, r), 1, -drop, axis=1)
        parts.append(sweep(circle, rectangle(t, t * wide), loop=True))
        for a in 2 * np.pi * np.arange(int(rng.integers(3, 6))) / 4:
            parts.append(rod((0, 0, 0), (r * np.sin(a), -drop, r * np.cos(a)), thin(rng, 0.002, 0.006), sides=6))
    else:
        parts.append(rod((0, 0, 0), (0, -drop - 0.05, 0), t * 0.7))
        parts.append(superellipsoid((0, -drop, 0), (t * 1.5, t * 2, t * 1.5), 1, 1, 16, 10))
    cap = rng.uniform(0.05, 0.12)
    cup = revolve([(0.02, 0), (rng.uniform(0.02, 0.05), 0.02), (0.015, 0.03), (0.015, cap), (0, cap)], 12)
    for a in 2 * np.pi * np.arange(count) / count:
        direction = np.array([np.sin(a), 0, np.cos(a)])
        if not ring:
            path = spline([(0, -drop, 0), direction * r * 0.5 - [0, drop + 0.1, 0], direction * r - [0, drop, 0]], 12)
            parts.append(tube(path, t * 0.35, 8))
        parts.append(place(cup, move=direction * r - [0, drop - t / 2, 0]))
    return parts


# --- vessels --------------------------------------------------------------------------------------------------------


def vessel_profile(rng, radius, height, count=48) -> np.ndarray:
    """Outer profile [count, 2] of a vase: foot, belly, neck and lip at random."""
    knots = int(rng.integers(3, 7))
    y = np.concatenate([[0], np.sort(rng.uniform(0.1, 0.9, knots - 2)), [1]]) * height
    r = radius * rng.uniform(0.25, 1.0, knots)
    r[int(rng.integers(0, knots))] = radius
    curve = spline(np.stack([r, y], -1), count)
    return np.column_stack(
        [np.maximum(curve[:, 0], 0.12 * radius), np.maximum.accumulate(np.clip(curve[:, 1], 0, height))]
    )


def vase(rng) -> list[Part]:
    """A vase, pot, bowl, bottle, cup or teapot; hollow with an open mouth as a rule."""
    make = pick(rng, (plain_vase, 3.0), (teapot, 1.5), (cup, 1.0), (bowl, 1.0), (bottle, 0.8))
    return make(rng)


def hollow(outer, t, sides, squash=1.0) -> Part:
    """A vessel of wall thickness ``t``, open at the top, from its outer profile."""
    inner = outer.copy()
    inner[:, 0] = np.maximum(inner[:, 0] - t, 0.0)
    inner[:, 1] = np.maximum(inner[:, 1], t)
    return revolve(np.concatenate([[[0, outer[0, 1]]], outer, inner[::-1], [[0, t]]]), sides, squash)


def plain_vase(rng) -> list[Part]:
    """A turned vase, fluted or twisted now and then, with flowers at times."""
    h, r, sides = rng.uniform(0.5, 1.2), rng.uniform(0.15, 0.45), 2 * sides_of(rng)
    outer = vessel_profile(rng, r, h)
    part = hollow(outer, thin(rng, 0.006, 0.05), sides) if chance(rng, 0.7) else revolve(outer, sides)
    vertices, faces = part
    if chance(rng, 0.25):
        a, n = np.arctan2(vertices[:, 2], vertices[:, 0]), int(rng.integers(3, 13))
        wave = 1 + rng.uniform(0.02, 0.12) * np.cos(n * a + rng.uniform(-6, 6) * vertices[:, 1])
        part = (vertices * np.stack([wave, np.ones_like(wave), wave], -1), faces)
    parts = [part]
    if chance(rng, 0.3):
        mouth = outer[-1, 0] * 0.5
        for _ in range(int(rng.integers(1, 7))):
            a, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.3)
            tip = np.array([far * np.sin(a), h * rng.uniform(1.2, 1.7), far * np.cos(a)])
            stem = spline([(0, h * 0.4, 0), (mouth * 0.5 * np.sin(a), h, mouth * 0.5 * np.cos(a)), tip], 12)
            parts.append(tube(stem, thin(rng, 0.003, 0.01), 6))
            parts.append(leaf(rng, tip))
    if chance(rng, 0.2):
        parts += both_sides(handle(rng, outer, h * 0.35, h * 0.8))
    return parts


def leaf(rng, at) -> Part:
    """A thin bent leaf or a ball-like blossom at a point."""
    size = rng.uniform(0.03, 0.1)
    if chance(rng, 0.4):
        return superellipsoid(at, (size * 0.6, size * 0.5, size * 0.6), 1, 1, 12, 8)
    u, v = np.meshgrid(np.linspace(0, 1, 9), np.linspace(-1, 1, 5), indexing="ij")
    width = 0.35 * size * np.sin(np.pi * np.clip(u, 0.03, 0.97))
    points = np.stack([v * width, size * 0.6 * (u - u**2) + 0.2 * np.abs(v) * width, size * 1.6 * u], -1)
    return place(shell(points, 0.004), turn("y", rng.uniform(0, 2 * np.pi)), at)


def handle(rng, outer, low, high) -> Part:
    """A bent handle on the right (+x) side of a vessel, between two heights."""
    a, b = (np.interp(y, outer[:, 1], outer[:, 0]) for y in (low, high))
    reach = max(a, b) + rng.uniform(0.3, 0.6) * (high - low)
    path = spline([(a * 0.97, low, 0), (reach, low + 0.2 * (high - low), 0), (reach, high, 0), (b * 0.97, high, 0)], 20)
    r = (high - low) * rng.uniform(0.04, 0.12)
    return tube(path, r, 10) if chance(rng, 0.6) else sweep(path, rectangle(r, 2.5 * r, r * 0.3, 2), up=(0, 0, 1))


def teapot(rng) -> list[Part]:
    """A bellied pot with lid, knob, spout and handle."""
    h, r = rng.uniform(0.35, 0.7), rng.uniform(0.25, 0.4)
    s = np.linspace(0.02, 0.95, 24)
    outer = np.stack([r * np.sin(np.pi * s) ** rng.uniform(0.4, 0.8) + 0.02, h * s], -1)
    rim = outer[-1, 0]
    top = outer[-1, 1]
    lid = [
        (rim, top),
        (rim * 0.9, top + 0.03),
        (0.05, top + 0.06),
        (0.03, top + 0.08),
        (0.05, top + 0.11),
        (0.0, top + 0.13),
    ]
    sides = 2 * sides_of(rng)
    parts = [revolve(outer, sides), revolve(spline(lid, 20), sides)]
    y = h * rng.uniform(0.25, 0.5)
    x = np.interp(y, outer[:, 1], outer[:, 0])
    spout = spline(
        [(x * 0.8, y, 0), (x + 0.12, y + 0.08, 0), (x + 0.2, h * 0.75, 0), (x + 0.3, h * rng.uniform(0.9, 1.1), 0)], 20
    )
    parts.append(tube(spout, np.linspace(rng.uniform(0.05, 0.1), rng.uniform(0.02, 0.04), 20), 16))
    grip = place(handle(rng, outer, h * 0.3, h * 0.75), np.diag([-1.0, 1, 1]))
    return parts + [grip]


def cup(rng) -> list[Part]:
    """A mug or a goblet."""
    h, r, sides = rng.uniform(0.6, 1.1), rng.uniform(0.25, 0.45), 2 * sides_of(rng)
    t = thin(rng, 0.01, 0.06)
    if chance(rng, 0.5):
        s = np.linspace(0, 1, 16)
        outer = np.stack([r * (0.75 + 0.25 * s ** rng.uniform(0.2, 2)), h * s], -1)
        return [hollow(outer, t, sides), handle(rng, outer, h * 0.2, h * 0.8)]
    foot = h * rng.uniform(0.4, 0.6)
    s = np.linspace(0, 1, 16)
    bowl_ = np.stack([r * np.sin(0.15 + s * rng.uniform(1.2, 2.0)) ** 0.7, foot + (h - foot) * s], -1)
    stem = rng.uniform(0.03, 0.07)
    base = [(0, 0), (r * 0.8, 0), (r * 0.75, 0.02), (stem, 0.06), (stem, foot * 0.9)]
    inner = np.stack([np.maximum(bowl_[:, 0] - t, 0), np.maximum(bowl_[:, 1], foot + t)], -1)[::-1]
    return [revolve(np.concatenate([base, bowl_, inner, [[0, foot + t]]]), sides)]


def bowl(rng) -> list[Part]:
    """A bowl, plate or dish, thin-walled."""
    r, h = 0.5, rng.uniform(0.06, 0.5)
    s = np.linspace(0, 1, 20)
    outer = np.stack([0.15 + (r - 0.15) * s ** rng.uniform(0.4, 1.2), h * s ** rng.uniform(1, 2.5)], -1)
    return [hollow(outer, thin(rng, 0.006, 0.04), 2 * sides_of(rng), pick(rng, (1.0, 3.0), rng.uniform(0.6, 1)))]


def bottle(rng) -> list[Part]:
    """A bottle with a shoulder, a neck and a cap."""
    r, h, neck = rng.uniform(0.1, 0.25), rng.uniform(0.7, 1.0), rng.uniform(0.03, 0.08)
    shoulder = h * rng.uniform(0.45, 0.75)
    path = round_corners([(r * 0.9, 0), (r, 0.02), (r, shoulder), (neck, shoulder + 0.15), (neck, h)], 0.1, 8)
    parts = [revolve(path, 2 * sides_of(rng))]
    return parts + [revolve([(0, h - 0.08), (neck * 1.3, h - 0.08), (neck * 1.3, h), (0, h + 0.01)], 20)]
