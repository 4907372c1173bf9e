"""What a seat or a table top stands on: legs, sleds, pedestals, swivel bases, trestles and stretchers. Metres."""

from __future__ import annotations

import math

import numpy as np

from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, round_corners, spline
from .parts import Part, beam, both_sides, box, cuboid, mirror, place, revolve, rod, sweep, tube, turn


def turned_profile(rng, length: float, radius: float, count: int = 6) -> np.ndarray:
    """Profile [N, 2] of a leg from a lathe, from 0 up to ``length``: beads, necks and a taper."""
    heights, radii = [0.0], [radius * rng.uniform(0.35, 0.8)]
    for edge in np.sort(rng.uniform(0.05, 0.95, count)):
        heights += [edge * length, edge * length + 0.012 * length]
        radii += [radius * rng.uniform(0.35, 1.0), radius * rng.uniform(0.5, 1.1)]
    curve = spline(np.stack([radii + [radius], heights + [length]], -1), 40)
    curve[:, 1] = np.maximum.accumulate(np.clip(curve[:, 1], 0, length))
    return np.column_stack([np.clip(curve[:, 0], 0.2 * radius, 1.3 * radius), curve[:, 1]])


def turned_leg(rng, top, foot, radius: float, profile=None) -> Part:
    """A lathe-turned leg between two points."""
    top, foot = np.asarray(top, np.float64), np.asarray(foot, np.float64)
    length = np.linalg.norm(top - foot)
    profile = turned_profile(rng, length, radius) if profile is None else profile
    y = (top - foot) / length
    x = np.cross(y, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return place(revolve(profile, 16), np.stack([x, y, np.cross(x, y)], -1), foot)


def leg_size(rng) -> float:
    """Thickness of a leg: mostly timber, at times a thin rod."""
    return thin(rng, 0.024, 0.06) if chance(rng, 0.7) else thin(rng, 0.01, 0.026)


def four_legs(rng, width, depth, height, thickness=None, inset=None) -> list[Part]:
    """Four legs, with stretchers at times, under a plate whose underside is at ``height``."""
    size = thickness or leg_size(rng)
    inset = size / 2 if inset is None else inset
    x, z = width / 2 - inset, depth / 2 - inset
    splay = pick(rng, (0.0, 2.0), (rng.uniform(0.02, 0.1), 1.5))
    feet = np.array([x + splay, 0.0, z + splay * rng.uniform(0.3, 1.0)])
    kind = pick(rng, ("bar", 3.0), ("taper", 1.5), ("rod", 2.0), ("turned", 0.7), ("curved", 0.5), ("angle", 0.3))
    profile = turned_profile(rng, math.hypot(height, splay), size / 2)
    sides, end, bevel = sides_of(rng), rng.uniform(0.4, 0.9), pick(rng, 0.0, size * 0.12)
    aspect = pick(rng, 1.0, rng.uniform(0.4, 1.0))
    parts: list[Part] = []
    for sx in (-1, 1):
        for sz in (-1, 1):
            top, foot = np.array([sx * x, height, sz * z]), feet * [sx, 1, sz]
            if kind == "bar":
                parts.append(beam(top, foot, size, size * aspect, (0, 0, 1), bevel=bevel))
            elif kind == "taper":
                parts.append(beam(top, foot, size, size, (0, 0, 1), end))
            elif kind == "rod":
                parts.append(rod(top, foot, size / 2, size / 2 * max(end, 0.5), sides))
            elif kind == "turned":
                parts.append(turned_leg(rng, top, foot, size / 2, profile))
            elif kind == "angle":
                t = size * 0.15
                parts.append(box(top - [sx * size, height, 0], top - [0, 0, sz * t]))
                parts.append(box(top - [sx * t, height, 0], top - [0, 0, sz * size]))
            else:
                knee = top + [sx * 0.03, -0.2 * height, sz * 0.03]
                path = spline([top, knee, 0.5 * (knee + foot) - [sx * 0.02, 0, sz * 0.02], foot], 13)
                parts.append(sweep(path, rectangle(size, size, size * 0.2, 2), (0, 0, 1), size=np.linspace(1, end, 13)))
    if chance(rng, 0.5):
        parts += stretchers(rng, np.array([x, height, z]), feet, size * rng.uniform(0.3, 0.8))
    return parts


def stretchers(rng, top, foot, size) -> list[Part]:
    """Bars that tie four legs: on the sides, all round, as an H, an X, or a ring."""
    kind = pick(rng, ("sides", 1.0), ("round", 2.0), ("h", 1.5), ("x", 0.6), ("front", 1.0), ("ring", 0.4))
    at = pick(rng, rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.7))
    flat = pick(rng, 1.0, rng.uniform(1.5, 3.5))
    round_ = chance(rng, 0.4)

    def corner(sx, sz, level=at):
        return (foot + (top - foot) * level) * np.array([sx, 1, sz])

    def bar(a, b):
        return rod(a, b, size / 2, sides=10) if round_ else beam(a, b, size, size * flat)

    parts: list[Part] = []
    drop = pick(rng, 0.0, rng.uniform(0.0, 0.15))
    if kind in ("sides", "round", "h", "front"):
        for s in (-1, 1) if kind != "front" else ():
            parts.append(bar(corner(s, -1), corner(s, 1)))
            if chance(rng, 0.2):
                parts.append(bar(corner(s, -1, at + 0.2), corner(s, 1, at + 0.2)))
        if kind in ("round", "front"):
            parts += [bar(corner(-1, s, at + drop), corner(1, s, at + drop)) for s in (-1, 1)]
        if kind == "h":
            z = rng.uniform(-0.5, 0.5)
            a, b = corner(-1, 1), corner(1, 1)
            parts.append(bar(a * [1, 1, z], b * [1, 1, z]))
    elif kind == "x":
        parts += [bar(corner(-1, -1), corner(1, 1)), bar(corner(1, -1), corner(-1, 1))]
    else:
        t = np.linspace(0, 2 * np.pi, 33)[:-1]
        a = corner(1, 1)
        circle = np.stack([a[0] * 1.2 * np.cos(t), np.full(32, a[1]), a[2] * 1.2 * np.sin(t)], -1)
        parts.append(tube(circle, size / 2, 8, loop=True))
    return parts


def rear_posts(rng, body, size) -> list[Part]:
    """Legs of a classic wooden chair: straight front legs, rear legs that run on into the uprights of the back."""
    x, z = body.width / 2 - size / 2, body.depth / 2 - size / 2
    kick = rng.uniform(0.0, 0.08)
    v = np.linspace(0.0, 1.0, 6)
    up = body.on_back(1.0, v) * np.array([1.0, 1, 1]) - [size / 2, 0, -size / 2]
    low = np.array([[x, 0.0, -z - kick], [x, body.height * 0.6, -z - 0.1 * kick]])
    section = rectangle(size, size * rng.uniform(0.8, 1.7), pick(rng, 0.0, size * 0.15), 2)
    rear = sweep(np.concatenate([low, up]), section, up=(0, 0, 1), size=np.linspace(1, rng.uniform(0.6, 1), 8))
    front = beam((x, body.height - 0.01, z), (x, 0, z), size, size, (0, 0, 1), rng.uniform(0.6, 1.0))
    return both_sides(rear) + both_sides(front)


def sled(rng, width, depth, height) -> list[Part]:
    """Bent tubes: two closed loops, two runners, or a cantilever."""
    r, bend = thin(rng, 0.006, 0.018), rng.uniform(0.03, 0.12)
    x, z = width / 2, depth / 2
    lean, sides = rng.uniform(0, 0.08), sides_of(rng)
    flat = pick(rng, None, rectangle(2 * r, 4 * r))
    kind = pick(rng, ("runner", 2.0), ("arch", 1.5), ("cantilever", 1.0), ("frame", 1.0))
    if kind == "runner":
        corners = [(x, height, z * 0.9), (x, 0, z + lean), (x, 0, -z - lean), (x, height, -z * 0.9)]
    elif kind == "arch":
        corners = [(x + lean, 0, z + lean), (x, height, z), (x, height, -z), (x + lean, 0, -z - lean)]
    elif kind == "frame":
        corners = [(x + lean, 0, z), (x, height, z), (-x, height, z), (-x - lean, 0, z)]
    else:
        corners = [(x, height, -z), (x, height, z), (x, 0, z), (x, 0, -z), (-x, 0, -z), (-x, 0, z), (-x, height, z)]
        corners.append((-x, height, -z))
    path = round_corners(corners, bend)
    one = tube(path, r, sides) if flat is None or kind == "cantilever" else sweep(path, flat, up=(1, 0, 0.01))
    if kind == "cantilever":
        return [one]
    parts = [one, mirror(one, 2 if kind == "frame" else 0)]
    if chance(rng, 0.6):
        for at in rng.uniform(-z, z, int(rng.integers(1, 3))):
            y = pick(rng, r, height - r)
            parts.append(rod((-x, y, at), (x, y, at), r * 0.8, sides=sides))
    return parts


def pedestal(rng, radius, height) -> list[Part]:
    """A column on a foot: a lathe profile, a plain post on a plate, or a post on spread feet."""
    kind = pick(rng, ("profile", 1.0), ("plate", 1.5), ("feet", 1.0), ("cone", 0.5))
    r, sides = thin(rng, 0.015, 0.07), sides_of(rng)
    foot = radius * rng.uniform(0.5, 0.95)
    if kind == "cone":
        return [revolve([(foot, 0), (foot, 0.01), (r, height * 0.7), (r * 1.4, height)], sides)]
    if kind == "profile":
        waist = turned_profile(rng, height * 0.8, r * 1.4, 4) + [0, height * 0.2]
        base = [(foot, 0), (foot, 0.015), (foot * 0.6, 0.03 + height * 0.05), (r, height * 0.15)]
        return [revolve(np.concatenate([base, waist]), sides)]
    post = rod((0, 0.0, 0), (0, height, 0), r, r * rng.uniform(0.7, 1.0), sides)
    if kind == "plate":
        t = thin(rng, 0.006, 0.03)
        square = chance(rng, 0.35)
        plate = (
            box((-foot, 0, -foot), (foot, t, foot), t * 0.2)
            if square
            else revolve([(foot, 0), (foot, t), (r, t * 2)], 32)
        )
        return [post, plate]
    return [post] + star(rng, foot, pick(rng, 3, 4, 5), 0.04, wheels=False)


def star(rng, radius, count, height, wheels: bool) -> list[Part]:
    """Feet that spread from a hub, on wheels or not."""
    t = thin(rng, 0.02, 0.045)
    rise = rng.uniform(0.02, 0.06)
    low = 0.055 if wheels else t * 0.35
    arm = beam((0, low + rise + t / 2, 0.0), (0, low + t * 0.3, radius), t, t, end=rng.uniform(0.5, 0.9))
    parts = [arm]
    if wheels:
        wheel = place(revolve([(0, -0.01), (0.025, -0.01), (0.025, 0.01), (0, 0.01)], 14), turn("z", np.pi / 2))
        twist = turn("y", rng.uniform(0, 2 * np.pi))
        parts += [place(wheel, twist, np.array([0, 0.025, radius]) + twist @ [s, 0, 0]) for s in (-0.016, 0.016)]
        parts.append(rod((0, 0.02, radius), (0, low + t, radius), 0.007, sides=8))
    return [place(parts, turn("y", 2 * np.pi * (i + 0.5) / count)) for i in range(count)]


def swivel(rng, height, radius=0.3) -> list[Part]:
    """Office-chair base: gas spring, star of feet, wheels."""
    radius *= rng.uniform(0.75, 1.15)
    column = [
        (0.03, 0.07),
        (0.03, height * 0.5),
        (0.016, height * 0.5),
        (0.016, height - 0.03),
        (0.09, height - 0.02),
        (0.09, height),
    ]
    return [revolve(column, 20)] + star(rng, radius, pick(rng, 4, (5, 3.0)), 0.06, wheels=chance(rng, 0.8))


def cross_legs(rng, width, depth, height) -> list[Part]:
    """Folding X-frames on both sides, tied by rods."""
    size, reach = thin(rng, 0.012, 0.04), rng.uniform(0.8, 1.1)
    x, z = width / 2 - size, depth / 2 * reach
    flat = size * rng.uniform(1, 2.5)
    a = beam((x, height, -z), (x, 0, z), size, flat)
    b = beam((x - size, height, z), (x - size, 0, -z), size, flat)
    parts = both_sides(a) + both_sides(b)
    for y, at in ((0.12 * height, z * 0.76), (height * 0.95, z * 0.9), (height / 2, 0.0)):
        if chance(rng, 0.7):
            parts.append(rod((-x, y, at), (x, y, at), size * 0.4, sides=8))
    if chance(rng, 0.25):  # the cross seen from the front
        return [place(parts, turn("y", np.pi / 2) @ np.diag([depth / width, 1, width / depth]))]
    return parts


def trestles(rng, width, depth, height) -> list[Part]:
    """A-shaped or board-like supports near both ends, with a tie bar."""
    size = thin(rng, 0.02, 0.06)
    x = width / 2 * rng.uniform(0.6, 0.9)
    z = depth / 2 * 0.85
    kind = pick(rng, ("a", 2.0), "board", "t", ("loop", 1.0))
    if kind == "a":
        legs = [beam((x, height, s * z * 0.4), (x + 0.05, 0, s * z), size, size, (0, 0, 1)) for s in (-1, 1)]
        y = height * rng.uniform(0.2, 0.5)
        side = legs + [beam((x, y, -z * 0.75), (x, y, z * 0.75), size * 0.6, size)]
    elif kind == "board":
        side = [cuboid((x, height / 2, 0), (size, height, 2 * z))]
    elif kind == "t":
        side = [
            cuboid((x, height / 2, 0), (size, height, 2.5 * size)),
            cuboid((x, size / 2, 0), (size * 1.2, size, 2 * z)),
        ]
        side.append(cuboid((x, height - size / 2, 0), (size, size, 2 * z)))
    else:
        corners = np.array([(x, 0, z), (x, height, z), (x, height, -z), (x, 0, -z)])
        side = [sweep(round_corners(corners, 0.02, 3, loop=True), rectangle(size, size * 0.4), up=(1, 0, 0), loop=True)]
    parts = both_sides(side)
    if chance(rng, 0.6):
        y = rng.uniform(0.2, 0.9) * height
        parts.append(beam((-x, y, 0), (x, y, 0), size * 0.6, size * rng.uniform(0.6, 2)))
    return parts
