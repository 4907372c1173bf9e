"""Primitives and what they compose: blocks, polyhedra, hardware, letters, carved solids, triangle soups."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick, sides_of, thin
from .fields import Block, Capsule, Ellipsoid, solidify
from .outlines import rectangle, regular, superellipse
from .parts import Part, beam, box, cuboid, extrude, loft, outward, place, revolve, rod, superellipsoid, sweep, turn


def spin(rng) -> np.ndarray:
    """A random rotation matrix."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def primitive(rng) -> Part:
    """A box, cylinder, cone, ellipsoid, torus, polyhedron or rounded block of about unit size."""
    a, b, c = rng.uniform(0.25, 1.0, 3)
    kind = int(rng.integers(8))
    if kind == 0:
        return cuboid((0, 0, 0), (a, b, c), pick(rng, 0.0, rng.uniform(0.01, 0.1)), int(pick(rng, 1, 4)))
    if kind == 1:
        return revolve([(a / 2, -b / 2), (a / 2, b / 2)], 2 * sides_of(rng), c)
    if kind == 2:
        return revolve([(a / 2, -b / 2), (a / 2 * rng.uniform(0, 0.6), b / 2)], 2 * sides_of(rng))
    if kind == 3:
        return superellipsoid((0, 0, 0), np.array([a, b, c]) / 2, 1, 1, 2 * sides_of(rng), sides_of(rng) + 4)
    if kind == 4:
        return torus(0.5, 0.5 * rng.uniform(0.1, 0.6), 3 * sides_of(rng), sides_of(rng))
    if kind == 5:
        return polyhedron(rng)
    if kind == 6:
        return superellipsoid((0, 0, 0), np.array([a, b, c]) / 2, rng.uniform(0.1, 2), rng.uniform(0.1, 2), 40, 24)
    return prism(rng, a, b)


def prism(rng, size, height) -> Part:
    """A prism or pyramid on a regular or starred base."""
    n = int(rng.integers(3, 9))
    base = regular(n, size / 2)
    if chance(rng, 0.3):
        base = np.stack([base, regular(n, size / 2 * rng.uniform(0.4, 0.7), np.pi / n)], 1).reshape(-1, 2)
    top, twist = pick(rng, 1.0, 0.0, rng.uniform(0.2, 0.9)), pick(rng, (0.0, 3.0), rng.uniform(-1, 1))
    rings = []
    for s in np.linspace(0, 1, 2 if twist == 0 else 12):
        flat = base * (1 + (top - 1) * s) @ turn("z", twist * s)[:2, :2]
        rings.append(np.insert(flat, 1, (s - 0.5) * height, axis=1))
    return loft(rings)


def torus(radius, thick, sides=48, section=16, squash=1.0) -> Part:
    """A torus about y."""
    profile = regular(section, 1.0) * [thick / 2, thick / 2 * squash] + [radius, 0]
    return revolve(np.concatenate([profile, profile[:1]]), sides)


def polyhedron(rng) -> Part:
    """The convex hull of random points."""
    from scipy.spatial import ConvexHull

    points = rng.normal(size=(int(rng.integers(5, 30)), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True) ** pick(rng, 0.0, 1.0)
    points = 0.5 * points * rng.uniform(0.4, 1.0, 3)
    hull = ConvexHull(points)
    inside = np.einsum(
        "ij,ij->i",
        np.cross(*(points[hull.simplices[:, i]] - points[hull.simplices[:, 0]] for i in (1, 2))),
        hull.equations[:, :3],
    )
    faces = np.where((inside < 0)[:, None], hull.simplices[:, ::-1], hull.simplices)
    return outward(points, faces)


# --- families -------------------------------------------------------------------------------------------------------


def csg(rng) -> list[Part]:
    """One primitive, a composition, blocks, letters, carved holes, or an architectural model."""
    make = pick(
        rng,
        (single, 0.8),
        (composition, 2.0),
        (blocks, 1.2),
        (glyph, 1.2),
        (drilled, 1.2),
        (milled, 1.2),
        (building, 1.0),
        (stairs, 0.6),
    )
    return make(rng)


def single(rng) -> list[Part]:
    """One primitive, in any orientation."""
    return [place(primitive(rng), np.eye(3) if chance(rng, 0.4) else spin(rng))]


def composition(rng) -> list[Part]:
    """Two to six primitives that overlap, upright or in any orientation."""
    upright = chance(rng, 0.5)
    parts = []
    for _ in range(int(rng.integers(2, 7))):
        matrix = (np.eye(3) if upright else spin(rng)) * thin(rng, 0.25, 1.0)
        parts.append(place(primitive(rng), matrix, rng.uniform(-0.4, 0.4, 3)))
    return parts


def blocks(rng) -> list[Part]:
    """Stacked boxes and cylinders, each on the one below."""
    y, parts, size = 0.0, [], 1.0
    for _ in range(int(rng.integers(2, 7))):
        w, h, d = size * rng.uniform(0.4, 1.0), thin(rng, 0.03, 0.6), size * rng.uniform(0.4, 1.0)
        angle = pick(rng, 0.0, rng.uniform(-0.6, 0.6))
        part = cuboid((0, h / 2, 0), (w, h, d), pick(rng, 0.0, 0.02), 2)
        if chance(rng, 0.35):
            part = revolve([(w / 2, 0), (w / 2 * rng.uniform(0.5, 1), h)], 2 * sides_of(rng))
        parts.append(place(part, turn("y", angle), (rng.uniform(-0.15, 0.15), y, rng.uniform(-0.15, 0.15))))
        y += h
        size *= rng.uniform(0.7, 1.05)
    return parts


def glyph(rng) -> list[Part]:
    """Extruded polygons: L, T, U, cross, arrow, star, spiral strokes, random cell figures."""
    depth = thin(rng, 0.02, 0.6)
    kind = pick(rng, "cells", "star", "stroke", "radial", "arc")
    if kind == "cells":
        filled = rng.random((int(rng.integers(2, 6)), int(rng.integers(2, 6)))) < 0.6
        filled[0] = True
        depths = depth * (1 + 0.5 * rng.random(filled.shape) * pick(rng, 0.0, 1.0))
        cells = [box((i, j, 0), (i + 1, j + 1, 3 * depths[i, j])) for i, j in np.argwhere(filled)]
        return cells
    if kind == "star":
        n = int(rng.integers(3, 12))
        radii = np.tile([0.5, 0.5 * rng.uniform(0.3, 0.85)], n)
        return [extrude(regular(2 * n, 1.0) * radii[:, None], -depth / 2, depth / 2)]
    if kind == "radial":
        a = np.arange(60) * (2 * np.pi / 60)
        radii = 0.5 * (1 + sum(rng.normal() * 0.12 * np.sin(k * a + rng.uniform(0, 6)) for k in range(2, 7)))
        return [extrude(regular(60, 1.0) * radii[:, None], -depth / 2, depth / 2)]
    width = thin(rng, 0.03, 0.25)
    if kind == "arc":
        t = np.linspace(0, rng.uniform(2, 12), 60)
        path = np.stack([np.cos(t), np.sin(t), 0 * t], -1) * (1 + rng.uniform(-0.06, 0.1) * t)[:, None]
    else:
        turns = np.cumsum(rng.integers(-1, 2, int(rng.integers(3, 8)))) * np.pi / 2
        path = np.concatenate([[[0, 0, 0]], np.cumsum(np.stack([np.cos(turns), np.sin(turns), 0 * turns], -1), 0)])
    return [sweep(path, rectangle(width * 2, depth * 2), up=(0, 0, 1))]


def bored(outline, hole, low, high) -> Part:
    """A plate with a hole; both outlines [M, 2] in (x, z) have equally many points, one for one."""
    rings = [np.insert(o, 1, y, axis=1) for o, y in ((outline, low), (outline, high), (hole, high), (hole, low))]
    return loft(rings, loop=True)


def rim_of_box(width, depth, count=48) -> np.ndarray:
    """Outline [count, 2] of a rectangle, its points at equal angles; a ``count`` of 8 k includes the corners."""
    t = np.arange(count) * (2 * np.pi / count)
    c, s = np.cos(t), np.sin(t)
    return np.stack([c, s], -1) / np.maximum(abs(c), abs(s))[:, None] * [width / 2, depth / 2]


def drilled(rng) -> list[Part]:
    """A plate or block of cells, each with a round or square bore, blind or through, or left whole or away."""
    n, m, layers = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    hole, power = rng.uniform(0.2, 0.85), pick(rng, (2.0, 3.0), 6.0, 1.2)
    w, d = 1.0, rng.uniform(0.6, 1.0)
    parts, y = [], 0.0
    for layer in range(layers):
        t = thin(rng, 0.03, 0.8)
        for i in range(n):
            for j in range(m):
                kind = pick(rng, ("bore", 3.0), ("whole", 1.0 + layer), ("none", 0.25 * (n * m > 2)))
                at = (i * w, y, j * d)
                if kind == "whole":
                    parts.append(place(cuboid((0, t / 2, 0), (w, t, d)), move=at))
                elif kind == "bore":
                    inner = superellipse(hole * w / 2, hole * d / 2, power, 48)
                    parts.append(place(bored(rim_of_box(w, d), inner, 0, t), move=at))
        y += t
    return [place(parts, pick(rng, np.eye(3), turn("x", np.pi / 2), turn("z", np.pi / 2)))] if parts else single(rng)


def milled(rng) -> list[Part]:
    """A block, cylinder or ball with bores, slots and dents along and across."""
    size = rng.uniform(0.25, 0.5, 3)
    adds = [Block((0, 0, 0), tuple(size), 0.01, None, pick(rng, 0.0, 0.05))]
    if chance(rng, 0.3):
        adds = [Ellipsoid((0, 0, 0), tuple(size), 0.01)]
    if chance(rng, 0.4):
        adds.append(Capsule((-0.5, 0, 0), (0.5, 0, 0), rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3), 0.005))
    cuts = []
    for _ in range(int(rng.integers(1, 4))):
        axis, at = np.eye(3)[int(rng.integers(3))], rng.uniform(-0.25, 0.25, 3)
        r = rng.uniform(0.06, 0.22)
        if chance(rng, 0.6):
            cuts.append(Capsule(tuple(at - axis), tuple(at + axis * pick(rng, 1.0, 0.1)), r, r, 0.015))
        else:
            cuts.append(Block(tuple(at + 0.3 * axis), tuple(rng.uniform(0.08, 0.3, 3) + axis * 0.3), 0.015))
    return [place(solidify(adds, cuts, int(pick(rng, 48, 60))), np.eye(3) if chance(rng, 0.6) else spin(rng))]


def building(rng) -> list[Part]:
    """A house, tower, temple, bridge or arch out of boxes, columns and roofs."""
    w, d, h = rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.9)
    parts = [box((-w / 2 - 0.06, -0.05, -d / 2 - 0.06), (w / 2 + 0.06, 0, d / 2 + 0.06))]
    if chance(rng, 0.5):
        r = thin(rng, 0.015, 0.06)
        column = revolve(
            [(r * 1.3, 0), (r * 1.3, 0.04), (r, 0.05), (r * 0.85, h - 0.05), (r * 1.3, h - 0.04), (r * 1.3, h)], 16
        )
        for x in np.linspace(-w / 2, w / 2, int(rng.integers(2, 6))) * 0.9:
            parts += [place(column, move=(x, 0, z)) for z in np.linspace(-d / 2, d / 2, int(rng.integers(2, 4))) * 0.9]
        parts.append(box((-w / 2, h, -d / 2), (w / 2, h + 0.06, d / 2)))
    else:
        parts.append(box((-w / 2, 0, -d / 2), (w / 2, h, d / 2)))
        for y in np.linspace(0.1, h, int(rng.integers(2, 5)))[:-1]:
            for x in np.linspace(-w / 2, w / 2, int(rng.integers(3, 7)))[1:-1]:
                parts.append(cuboid((x, y + 0.06, d / 2), (0.06, 0.1, 0.03)))
    eave, top = rng.uniform(0.0, 0.08), rng.uniform(0.1, 0.5)
    kind = pick(rng, "gable", "hip", "flat", "tower")
    if kind == "gable":
        parts.append(extrude([(-w / 2 - eave, h), (w / 2 + eave, h), (0, h + top)], -d / 2 - eave, d / 2 + eave))
    elif kind == "hip":
        parts.append(
            loft(
                [
                    np.insert(rectangle(w + 2 * eave, d + 2 * eave) * s, 1, y, axis=1)
                    for s, y in ((1, h), (0.02, h + top))
                ]
            )
        )
    elif kind == "tower":
        parts.append(
            revolve([(w * 0.25, 0), (w * 0.25, h + top), (w * 0.32, h + top), (0, h + 2 * top)], 2 * sides_of(rng))
        )
    return parts


def stairs(rng) -> list[Part]:
    """Steps, straight or spiral, with or without rails."""
    count, w, rise, run = (
        int(rng.integers(3, 12)),
        rng.uniform(0.5, 1.2),
        rng.uniform(0.12, 0.2),
        rng.uniform(0.2, 0.35),
    )
    t, parts = thin(rng, 0.015, 0.1), []
    if chance(rng, 0.3):
        parts = [rod((0, 0, 0), (0, count * rise, 0), 0.06, sides=16)]
        step = extrude([(0, -0.05), (w, -0.18), (w, 0.18), (0, 0.05)], -t, 0, "y")
        return parts + [place(step, turn("y", 0.45 * i), (0, (i + 1) * rise, 0)) for i in range(count)]
    filled = chance(rng, 0.5)
    for i in range(count):
        parts.append(
            box((-w / 2, 0 if filled else (i + 1) * rise - t, -i * run), (w / 2, (i + 1) * rise, -(i + 1) * run))
        )
    if not filled:
        parts += [beam((s * w / 2, 0.02, 0), (s * w / 2, count * rise, -count * run), 0.03, 0.12) for s in (-1, 1)]
    if chance(rng, 0.4):
        for s in (-1, 1):
            parts.append(rod((s * w / 2, 0.8, 0), (s * w / 2, count * rise + 0.8, -count * run), 0.02))
            parts += [
                rod((s * w / 2, i * rise, -i * run), (s * w / 2, i * rise + 0.8, -i * run), 0.012)
                for i in range(count + 1)
            ]
    return parts
