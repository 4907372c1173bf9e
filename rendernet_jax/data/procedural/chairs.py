"""Chairs. Metres; the back is at -z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import backs, seats, supports
from .draws import chance, pick, thin
from .outlines import rectangle, round_corners, spline
from .parts import Part, beam, both_sides, box, place, rod, shell, slab, sweep, turn


def chair(rng) -> list[Part]:
    """A chair: assembled, classic wooden, one bent shell, folding, or an easy chair."""
    make = pick(
        rng,
        (assembled_chair, 4.0),
        (wooden_chair, 3.0),
        (shell_chair, 2.0),
        (easy_chair, 1.2),
        (block_chair, 0.5),
        (corner_chair, 0.5),
    )
    return make(rng)


def assembled_chair(rng) -> list[Part]:
    """Any seat, back, support and armrests."""
    tall = chance(rng, 0.15)
    body = seats.draw_body(rng, height=(0.6, 0.8) if tall else (0.38, 0.5))
    parts = seats.seat(rng, body) + backs.back(rng, body)
    parts += support(rng, body, tall)
    return parts + (backs.arms(rng, body) if chance(rng, 0.3) else [])


def support(rng, body, tall=False) -> list[Part]:
    """What the seat stands on, with an apron under it now and then."""
    low = body.height - 0.012
    kind = pick(rng, ("legs", 5.0), ("sled", 1.5), ("swivel", 0.8), ("pedestal", 0.4), ("cross", 0.5))
    if kind == "legs":
        parts = supports.four_legs(rng, body.width * 0.96, body.depth * 0.96, low, supports.leg_size(rng))
        if chance(rng, 0.5):
            parts += seats.frame(
                body.width * 0.94, body.depth * 0.94, low, rng.uniform(0.03, 0.09), thin(rng, 0.01, 0.03)
            )
        if tall:
            y = body.height * rng.uniform(0.25, 0.5)
            parts.append(rod((-body.width / 2, y, body.depth / 2), (body.width / 2, y, body.depth / 2), 0.01, sides=8))
        return parts
    if kind == "sled":
        return supports.sled(rng, body.width * 0.9, body.depth * 0.95, low)
    if kind == "swivel":
        return supports.swivel(rng, low)
    if kind == "pedestal":
        return supports.pedestal(rng, body.width * 0.6, low)
    return supports.cross_legs(rng, body.width, body.depth, low)


def wooden_chair(rng) -> list[Part]:
    """Rear legs run on into the uprights; ladder, spindle or panel between them; apron and stretchers."""
    body = seats.draw_body(rng, height=pick(rng, ((0.42, 0.48), 4.0), ((0.6, 0.75), 1.0)), back=(0.25, 0.62))
    size = thin(rng, 0.02, 0.055)
    parts = supports.rear_posts(rng, body, size)
    inner = replace(body, width=body.width - size)
    count, top = int(rng.integers(1, 6)), rng.uniform(0.9, 1.0)
    low = rng.uniform(0.1, 0.6)
    t = thin(rng, 0.006, 0.03)
    style = pick(rng, ("ladder", 3.0), ("spindles", 1.5), ("panel", 1.0), ("grid", 0.4))
    if style == "ladder":
        pitch, arch = (top - low) / count, pick(rng, 0.0, rng.uniform(0.02, 0.08))
        solid = pitch * rng.uniform(0.3, 0.85)
        parts += [backs.band(inner, top - i * pitch - solid, top - i * pitch, t, 1.0, arch) for i in range(count)]
    elif style == "panel":
        parts.append(backs.band(inner, low, top, t, 1.02, pick(rng, 0.0, 0.05), pick(rng, 0.0, 0.2)))
    else:
        rail = rng.uniform(0.08, 0.2)
        parts += [backs.band(inner, top - rail, top, t), backs.band(inner, 0.1, 0.1 + rail * 0.7, t)]
        v, wide = np.linspace(0.12, top - rail / 2, 6), rng.uniform(1, 5)
        for u in np.linspace(-1, 1, count + 4)[1:-1]:
            parts.append(sweep(inner.on_back(u, v), rectangle(t * wide, t * 0.8), up=(0, 0, 1)))
        if style == "grid":
            parts += [backs.band(inner, v, v + 0.04, t) for v in np.linspace(0.3, top - rail, 4)[:-1]]
    parts += seats.seat(rng, body)
    if chance(rng, 0.75):
        apron = rng.uniform(0.03, 0.08)
        parts += seats.frame(body.width - 0.2 * size, body.depth - 0.2 * size, body.height - 0.015, apron, size * 0.5)
    corner = np.array([body.width / 2 - size / 2, body.height, body.depth / 2 - size / 2])
    if chance(rng, 0.6):
        parts += supports.stretchers(rng, corner, corner * [1, 0, 1], size * rng.uniform(0.3, 0.8))
    return parts + (backs.arms(rng, body) if chance(rng, 0.25) else [])


def shell_chair(rng) -> list[Part]:
    """One curved sheet for seat and back: bent plywood or a moulded bucket."""
    body = seats.draw_body(rng, height=pick(rng, ((0.4, 0.46), 3.0), ((0.6, 0.78), 1.0)))
    points, t = bucket(rng, body)
    parts = [shell(points, t)]
    low = points[:, points.shape[1] // 4 : points.shape[1] // 2, 1].min()
    under = replace(
        body, height=low + 0.01, width=body.width * rng.uniform(0.6, 0.9), depth=body.depth * rng.uniform(0.6, 0.9)
    )
    if chance(rng, 0.25):
        parts.append(slab(rectangle(under.width, under.depth, 0.03), low - 0.02, low + 0.015))
    parts += support(rng, under)
    return parts + (backs.arms(rng, body) if chance(rng, 0.15) else [])


def bucket(rng, body):
    """Surface [A, B, 3] from the front edge over the seat and up the back, and its thickness."""
    lean = body.lean + 0.08
    profile = [
        (body.depth / 2 + rng.uniform(-0.02, 0.03), body.height - rng.uniform(0.0, 0.05)),
        (body.depth / 4, body.height),
        (-body.depth / 4, body.height - rng.uniform(0.0, 0.03)),
        (-body.depth / 2 + 0.02, body.height + 0.06),
        (-body.depth / 2 - lean * body.back / 2, body.height + body.back / 2),
        (-body.depth / 2 - lean * body.back - rng.uniform(0, 0.06), body.height + body.back),
    ]
    curve = spline(profile, 33)
    s = np.linspace(0, 1, 33)
    u = np.linspace(-1, 1, 19)[:, None]
    ends = rng.uniform(0, 1) * np.clip(np.abs(2 * s - 1), 0, 1) ** rng.uniform(4, 12)
    waist = 1 - rng.uniform(0, 0.3) * np.exp(-(((s - 0.5) / 0.12) ** 2))
    half = body.width / 2 * waist * np.sqrt(np.maximum(1 - 0.9 * ends**2, 0.02))
    lift = (
        pick(rng, (0.0, 2.0), (rng.uniform(0.02, 0.16), 2.0)) * np.sin(np.pi * np.clip(s * 1.1, 0, 1)) * np.abs(u) ** 3
    )
    hug = pick(rng, 0.0, rng.uniform(0.02, 0.1)) * np.clip(2 * s - 0.8, 0, 1) * u**2
    points = np.stack([u * half, curve[:, 1] + lift, curve[:, 0] + hug], -1)
    return points, thin(rng, 0.006, 0.035)


def easy_chair(rng) -> list[Part]:
    """A low reclined chair in side frames of boards or bent laminate, with slats or cushions."""
    body = replace(
        seats.draw_body(rng, (0.28, 0.42), (0.5, 0.65), (0.5, 0.65), (0.45, 0.75)), lean=rng.uniform(0.25, 0.6)
    )
    tilt = turn("x", -rng.uniform(0, 0.25))
    seat = pick(rng, (seats.slatted_seat, 2.0), (seats.cushion_seat, 1.0))(rng, body)
    parts = [place(seat, tilt, (0, body.height - (tilt @ [0, body.height, 0])[1], body.height * tilt[1, 2]))]
    parts += pick(rng, (backs.ladder_back, 2.0), (backs.cushion_back, 1.0))(rng, body)
    x, h = body.width / 2 + 0.03, body.height + rng.uniform(0.16, 0.26)
    front, rear = body.depth / 2, -body.depth / 2 - 0.1
    size, wide = thin(rng, 0.015, 0.03), rng.uniform(0.04, 0.08)
    if chance(rng, 0.5):  # bent laminate: runner, upright and armrest in one curve
        corners = [(x, size, rear), (x, size, front), (x, h, front + 0.05), (x, h, 0), (x, h - 0.06, rear)]
        if chance(rng, 0.5):
            corners = [
                (x, size, front),
                (x, size, rear),
                (x, body.height, rear * 0.8),
                (x, h, front),
                (x, h, rear * 0.9),
            ]
        path = round_corners(corners, rng.uniform(0.08, 0.2), 8)
        parts += both_sides(sweep(path, rectangle(size, wide), up=(1, 0, 0.01)))
        return parts + [rod((-x, size, z), (x, size, z), size / 2) for z in (rear * 0.8, front * 0.5)]
    lean = rng.uniform(0, 0.3)
    side = [beam((x, h, front * 0.9 - lean * 0.3), (x, 0, front), size, wide, (0, 0, 1))]
    side.append(beam((x, h + rng.uniform(0, 0.1), rear * 0.4), (x, 0, rear - lean * 0.5), size, wide, (0, 0, 1)))
    side.append(beam((x, h, front * 1.1), (x, h - rng.uniform(0, 0.05), rear), wide * 1.2, size))
    side.append(beam((x, body.height - 0.04, front), (x, body.height * 0.7, rear), size, wide))
    return parts + both_sides(side)


def corner_chair(rng) -> list[Part]:
    """A low square module of an outdoor sofa: slats, a back, and a second back on the left at times."""
    body = seats.draw_body(rng, (0.28, 0.42), (0.5, 0.8), (0.5, 0.8), (0.3, 0.55))
    body = replace(body, depth=body.width, wrap=0.0, spread=0.0)
    fill = seats.slatted_seat(rng, body) if chance(rng, 0.7) else seats.cushion_seat(rng, body)
    rear = pick(rng, (backs.ladder_back, 3.0), backs.panel_back, backs.cushion_back)(rng, body)
    parts = fill + rear + supports.four_legs(rng, body.width, body.depth, body.height - 0.01, thin(rng, 0.035, 0.09))
    parts += seats.frame(body.width, body.depth, body.height - 0.01, rng.uniform(0.04, 0.12), 0.025)
    return parts + ([place(rear, turn("y", np.pi / 2))] if chance(rng, 0.5) else [])


def block_chair(rng) -> list[Part]:
    """A chair of thick boards: side panels or steps cut in one piece."""
    body = seats.draw_body(rng, (0.35, 0.45), (0.4, 0.6), (0.4, 0.6), (0.2, 0.5))
    t = thin(rng, 0.02, 0.1)
    x, z, y = body.width / 2, body.depth / 2, body.height
    parts = [box((-x, y - t, -z), (x, y, z)), box((-x, 0 if chance(rng, 0.5) else y, -z), (x, y + body.back, -z + t))]
    arm = y + pick(rng, 0.0, rng.uniform(0.1, 0.25))
    parts += both_sides(box((x - t, 0, -z), (x, arm, z)))
    return parts
