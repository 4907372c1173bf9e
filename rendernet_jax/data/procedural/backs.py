"""Backs and armrests of chairs, benches and sofas. Lengths in metres."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, round_corners, spline
from .parts import Part, both_sides, box, cuboid, rod, shell, sweep, tube
from .seats import Body


def band(body: Body, low, high, thickness, reach=1.0, arch=0.0, rounding=0.0, columns=13, rows=5) -> Part:
    """A board that follows the back between two heights; ``arch`` raises its middle, ``rounding`` its lower corners."""
    u = np.linspace(-reach, reach, columns)[:, None]
    v = np.linspace(0, 1, rows)[None]
    shrink = rounding * np.abs(u / reach) ** 6
    centre, half = (low + high) / 2, (high - low) / 2
    height = centre + half * (2 * v - 1) * (1 - shrink) + arch * (1 - (u / reach) ** 2)
    return shell(body.on_back(u, height), thickness)


def posts(rng, body: Body, top=1.0, low=-0.1, reach=1.0, size=None) -> list[Part]:
    """Two uprights along the edges of the back."""
    size = size or thin(rng, 0.012, 0.045)
    v = np.linspace(low, top, 7)
    path = body.on_back(reach, v)
    if chance(rng, 0.4):
        return both_sides(tube(path, size / 2 * np.linspace(1.1, rng.uniform(0.6, 1.1), 7), sides_of(rng)))
    section = rectangle(size, size * rng.uniform(0.6, 1.8), pick(rng, 0.0, size * 0.2), 2)
    return both_sides(sweep(path, section, up=(0, 0, 1)))


def panel_back(rng, body: Body) -> list[Part]:
    """One board: the whole back or its upper part."""
    low = pick(rng, 0.0, rng.uniform(0.2, 0.65), 0.1)
    t = thin(rng, 0.006, 0.05)
    rounding = pick(rng, (0.0, 2.0), rng.uniform(0.1, 0.7))
    parts = [band(body, low, 1.0, t, rng.uniform(0.85, 1.0), pick(rng, 0.0, rng.uniform(0, 0.12)), rounding, 21, 9)]
    return parts + (posts(rng, body, rng.uniform(0.8, 0.98), reach=rng.uniform(0.5, 0.95)) if low > 0 else [])


def ladder_back(rng, body: Body) -> list[Part]:
    """Horizontal slats between posts."""
    count = int(rng.integers(1, 8))
    low = rng.uniform(0.1, 0.4)
    pitch = (0.98 - low) / count
    solid = pitch * rng.uniform(0.3, 0.85)
    t, arch = thin(rng, 0.005, 0.025), pick(rng, (0.0, 2.0), rng.uniform(0.02, 0.08))
    slats = [band(body, low + i * pitch, low + i * pitch + solid, t, 1.0, arch) for i in range(count)]
    return slats + posts(rng, body, pick(rng, 1.0, 1.04))


def spindle_back(rng, body: Body) -> list[Part]:
    """Vertical spindles or slats under a top rail."""
    count, rail = int(rng.integers(3, 12)), rng.uniform(0.06, 0.25)
    parts = [band(body, 1 - rail, 1.0, thin(rng, 0.01, 0.03), rng.uniform(0.95, 1.1), pick(rng, 0.0, 0.04))]
    v = np.linspace(-0.02, 1 - rail / 2, 6)
    flat, r = chance(rng, 0.35), thin(rng, 0.003, 0.014)
    for u in np.linspace(-0.85, 0.85, count):
        path = body.on_back(u, v)
        if flat:
            parts.append(sweep(path, rectangle(4 * r, r * 1.2), up=(0, 0, 1)))
        else:
            parts.append(tube(path, r * (1 + rng.uniform(0, 0.3) * np.sin(np.linspace(0, np.pi, 6))), 8))
    return parts + (posts(rng, body) if chance(rng, 0.6) else [])


def hoop_back(rng, body: Body) -> list[Part]:
    """A bent rod from one corner over the top to the other, filled with spindles, a pad or nothing."""
    r = thin(rng, 0.006, 0.018)
    t = np.linspace(0, np.pi, 25)
    power = rng.uniform(0.3, 1.0)
    u, v = np.cos(t), np.sin(t) ** power
    u = np.sign(u) * np.abs(u) ** rng.uniform(0.5, 1.0)
    parts = [tube(body.on_back(u * 0.97, v * 0.98), r, sides_of(rng))]
    fill = pick(rng, "spindles", "pad", "none", "bars")
    if fill == "spindles":
        for at in np.linspace(-0.75, 0.75, int(rng.integers(3, 10))):
            top = np.interp(abs(at), np.abs(u[:13])[::-1], v[:13][::-1])
            parts.append(tube(body.on_back(at, np.linspace(0, top * 0.98, 5)), r * 0.6, 8))
    elif fill == "pad":
        low = rng.uniform(0.3, 0.6)
        parts.append(band(body, low, 0.93, rng.uniform(0.01, 0.05), 0.9, 0.0, rng.uniform(0.1, 0.6), 17, 7))
    elif fill == "bars":
        parts += [tube(body.on_back(np.linspace(-0.9, 0.9, 9), at), r * 0.8, 8) for at in (0.35, 0.6)]
    return parts


def cross_back(rng, body: Body) -> list[Part]:
    """Posts, top rail and a diagonal cross."""
    w, t = thin(rng, 0.015, 0.05), thin(rng, 0.008, 0.02)
    parts = [band(body, 0.85, 1.0, t), band(body, 0.12, 0.22, t)]
    v = np.linspace(0.15, 0.9, 7)
    for sign in (-1, 1):
        parts.append(sweep(body.on_back(sign * np.linspace(-0.9, 0.9, 7), v), rectangle(t, w), up=(0, 1, 0.01)))
    return parts + posts(rng, body)


def cushion_back(rng, body: Body) -> list[Part]:
    """An upholstered back with a rounded edge."""
    u, v = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(0, 1, 15), indexing="ij")
    t = rng.uniform(0.04, 0.14)
    swell = 0.15 + 0.85 * ((1 - np.abs(u) ** rng.uniform(4, 14)) * (1 - np.abs(2 * v - 1) ** rng.uniform(4, 14))) ** 0.5
    return [shell(body.on_back(u * 0.97, v), t * swell)]


def wrap_back(rng, body: Body) -> list[Part]:
    """A band around the rear half of the seat, on rods: the low back of captain's chairs and bar stools."""
    reach = rng.uniform(0.6, 1.25) * np.pi / 2
    t = np.linspace(-reach, reach, 25)
    half, height, thickness = (
        rng.uniform(0.015, 0.09),
        body.height + body.back * rng.uniform(0.5, 0.9),
        thin(rng, 0.01, 0.035),
    )
    drop = rng.uniform(0.0, 0.6) * half
    x, z = body.width / 2 * 1.05 * np.sin(t), -body.depth / 2 * 1.05 * np.cos(t)
    v = np.linspace(-1, 1, 5)
    rise = half * v[None] * (1 - 0.6 * (np.abs(t) / reach)[:, None] ** 4) - drop * (t[:, None] / reach) ** 2
    flare = 1 + 0.1 * v[None]
    points = np.stack([x[:, None] * flare, height + rise, z[:, None] * flare], -1)
    parts = [shell(points, thickness)]
    r = thin(rng, 0.004, 0.016)
    for at in np.linspace(-reach * 0.85, reach * 0.85, int(pick(rng, 2, 4, 6, 8))):
        top = np.array([body.width / 2 * 1.03 * np.sin(at), height, -body.depth / 2 * 1.03 * np.cos(at)])
        foot = top * [0.85, 0, 0.85] + [0, body.height - 0.01, 0]
        parts.append(rod(foot, top, r, r, 8))
    return parts


def back(rng, body: Body) -> list[Part]:
    """Any kind of back."""
    make = pick(
        rng,
        (panel_back, 3.0),
        (ladder_back, 3.0),
        (spindle_back, 2.0),
        (hoop_back, 1.0),
        (cross_back, 0.6),
        (cushion_back, 1.2),
        (wrap_back, 1.2),
    )
    return make(rng, body)


# --- armrests -------------------------------------------------------------------------------------------------------


def arms(rng, body: Body) -> list[Part]:
    """Armrests on both sides: boards on posts, tube loops, or side panels."""
    h, x = body.height + rng.uniform(0.15, 0.26), body.width / 2 + rng.uniform(-0.012, 0.012)
    rear, front = -body.depth / 2 - body.lean * 0.2, body.depth / 2 * rng.uniform(0.5, 1.0)
    kind = pick(rng, ("board", 2.0), "loop", ("panel", 0.8), "curve")
    if kind == "panel":
        t = thin(rng, 0.015, 0.09)
        low = pick(rng, 0.0, body.height - 0.1)
        return both_sides(
            box((x - t / 2, low, -body.depth / 2), (x + t / 2, h, body.depth / 2), pick(rng, 0.0, t * 0.3), 3)
        )
    if kind == "loop":
        r = thin(rng, 0.006, 0.016)
        corners = [
            (x, body.height - 0.03, front),
            (x, h, front),
            (x, h, rear),
            (x, pick(rng, h, body.height), rear - 0.01),
        ]
        return both_sides(tube(round_corners(corners, rng.uniform(0.03, 0.12)), r, sides_of(rng)))
    t, width = thin(rng, 0.01, 0.03), rng.uniform(0.03, 0.07)
    post = rod(
        (x, body.height - 0.05, front - 0.04), (x, h, front - 0.02), thin(rng, 0.008, 0.022), sides=sides_of(rng)
    )
    if kind == "board":
        rest = cuboid((x, h + t / 2, (rear + front) / 2), (width, t, front - rear), pick(rng, 0.0, t * 0.4), 2)
        return both_sides(rest) + both_sides(post)
    path = spline([(x, h + 0.02, rear), (x + 0.03, h + 0.01, (rear + front) / 2), (x, h - 0.02, front)], 11)
    return both_sides(sweep(path, rectangle(width, t, t * 0.3, 2))) + both_sides(post)
