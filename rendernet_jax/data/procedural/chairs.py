"""Chairs, armchairs, stools, benches and sofas. Metres; the back is at -z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import seats, supports
from .draws import chance, pick, sides_of, thin
from .parts import (
    Part,
    beam,
    both_sides,
    box,
    cuboid,
    mirror,
    place,
    rectangle,
    regular,
    rod,
    round_corners,
    shell,
    slab,
    spline,
    superellipse,
    superellipsoid,
    sweep,
    tube,
    turn,
)


def chair(rng) -> list[Part]:
    """A chair: assembled, classic wooden, one bent shell, folding, or an easy chair."""
    make = pick(rng, (assembled_chair, 4.0), (wooden_chair, 3.0), (shell_chair, 2.0), (easy_chair, 1.2), (block_chair, 0.6))
    return make(rng)


def assembled_chair(rng) -> list[Part]:
    """Any seat, back, support and armrests."""
    tall = chance(rng, 0.15)
    body = seats.draw_body(rng, height=(0.6, 0.8) if tall else (0.38, 0.5))
    parts = seats.seat(rng, body) + seats.back(rng, body)
    parts += support(rng, body, tall)
    return parts + (seats.arms(rng, body) if chance(rng, 0.3) else [])


def support(rng, body, tall=False) -> list[Part]:
    """What the seat stands on, with an apron under it now and then."""
    low = body.height - 0.012
    kind = pick(rng, ("legs", 5.0), ("sled", 1.5), ("swivel", 0.8), ("pedestal", 0.4), ("cross", 0.5))
    if kind == "legs":
        parts = supports.four_legs(rng, body.width * 0.96, body.depth * 0.96, low, thin(rng, 0.012, 0.05))
        if chance(rng, 0.5):
            parts += seats.frame(body.width * 0.94, body.depth * 0.94, low, rng.uniform(0.03, 0.09), thin(rng, 0.01, 0.03))
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
    size = thin(rng, 0.018, 0.05)
    parts = supports.rear_posts(rng, body, size)
    inner = replace(body, width=body.width - size)
    count, top = int(rng.integers(1, 6)), rng.uniform(0.9, 1.0)
    low = rng.uniform(0.1, 0.6)
    t = thin(rng, 0.006, 0.03)
    style = pick(rng, ("ladder", 3.0), ("spindles", 1.5), ("panel", 1.0), ("grid", 0.4))
    if style == "ladder":
        pitch, arch = (top - low) / count, pick(rng, 0.0, rng.uniform(0.02, 0.08))
        solid = pitch * rng.uniform(0.3, 0.85)
        parts += [seats.band(inner, top - i * pitch - solid, top - i * pitch, t, 1.0, arch) for i in range(count)]
    elif style == "panel":
        parts.append(seats.band(inner, low, top, t, 1.02, pick(rng, 0.0, 0.05), pick(rng, 0.0, 0.2)))
    else:
        rail = rng.uniform(0.08, 0.2)
        parts += [seats.band(inner, top - rail, top, t), seats.band(inner, 0.1, 0.1 + rail * 0.7, t)]
        v, wide = np.linspace(0.12, top - rail / 2, 6), rng.uniform(1, 5)
        for u in np.linspace(-1, 1, count + 4)[1:-1]:
            parts.append(sweep(inner.on_back(u, v), rectangle(t * wide, t * 0.8), up=(0, 0, 1)))
        if style == "grid":
            parts += [seats.band(inner, v, v + 0.04, t) for v in np.linspace(0.3, top - rail, 4)[:-1]]
    parts += seats.seat(rng, body)
    if chance(rng, 0.75):
        apron = rng.uniform(0.03, 0.08)
        parts += seats.frame(body.width - 0.2 * size, body.depth - 0.2 * size, body.height - 0.015, apron, size * 0.5)
    corner = np.array([body.width / 2 - size / 2, body.height, body.depth / 2 - size / 2])
    if chance(rng, 0.6):
        parts += supports.stretchers(rng, corner, corner * [1, 0, 1], size * rng.uniform(0.3, 0.8))
    return parts + (seats.arms(rng, body) if chance(rng, 0.25) else [])


def shell_chair(rng) -> list[Part]:
    """One curved sheet for seat and back: bent plywood or a moulded bucket."""
    body = seats.draw_body(rng, height=pick(rng, ((0.4, 0.46), 3.0), ((0.6, 0.78), 1.0)))
    points, t = bucket(rng, body)
    parts = [shell(points, t)]
    low = points[:, points.shape[1] // 4 : points.shape[1] // 2, 1].min()
    under = replace(body, height=low + 0.01, width=body.width * rng.uniform(0.6, 0.9), depth=body.depth * rng.uniform(0.6, 0.9))
    if chance(rng, 0.25):
        parts.append(slab(rectangle(under.width, under.depth, 0.03), low - 0.02, low + 0.015))
    parts += support(rng, under)
    return parts + (seats.arms(rng, body) if chance(rng, 0.15) else [])


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
    lift = pick(rng, (0.0, 2.0), (rng.uniform(0.02, 0.16), 2.0)) * np.sin(np.pi * np.clip(s * 1.1, 0, 1)) * np.abs(u) ** 3
    hug = pick(rng, 0.0, rng.uniform(0.02, 0.1)) * np.clip(2 * s - 0.8, 0, 1) * u**2
    points = np.stack([u * half, curve[:, 1] + lift, curve[:, 0] + hug], -1)
    return points, thin(rng, 0.006, 0.035)


def easy_chair(rng) -> list[Part]:
    """A low reclined chair in side frames of boards or bent laminate, with slats or cushions."""
    body = replace(seats.draw_body(rng, (0.28, 0.42), (0.5, 0.65), (0.5, 0.65), (0.45, 0.75)), lean=rng.uniform(0.25, 0.6))
    tilt = turn("x", -rng.uniform(0, 0.25))
    seat = pick(rng, (seats.slatted_seat, 2.0), (seats.cushion_seat, 1.0))(rng, body)
    parts = [place(seat, tilt, (0, body.height - (tilt @ [0, body.height, 0])[1], body.height * tilt[1, 2]))]
    parts += pick(rng, (seats.ladder_back, 2.0), (seats.cushion_back, 1.0))(rng, body)
    x, h = body.width / 2 + 0.03, body.height + rng.uniform(0.16, 0.26)
    front, rear = body.depth / 2, -body.depth / 2 - 0.1
    size, wide = thin(rng, 0.015, 0.03), rng.uniform(0.04, 0.08)
    if chance(rng, 0.5):  # bent laminate: runner, upright and armrest in one curve
        corners = [(x, size, rear), (x, size, front), (x, h, front + 0.05), (x, h, 0), (x, h - 0.06, rear)]
        if chance(rng, 0.5):
            corners = [(x, size, front), (x, size, rear), (x, body.height, rear * 0.8), (x, h, front), (x, h, rear * 0.9)]
        path = round_corners(corners, rng.uniform(0.08, 0.2), 8)
        parts += both_sides(sweep(path, rectangle(size, wide), up=(1, 0, 0.01)))
        return parts + [rod((-x, size, z), (x, size, z), size / 2) for z in (rear * 0.8, front * 0.5)]
    lean = rng.uniform(0, 0.3)
    side = [beam((x, h, front * 0.9 - lean * 0.3), (x, 0, front), size, wide, (0, 0, 1))]
    side.append(beam((x, h + rng.uniform(0, 0.1), rear * 0.4), (x, 0, rear - lean * 0.5), size, wide, (0, 0, 1)))
    side.append(beam((x, h, front * 1.1), (x, h - rng.uniform(0, 0.05), rear), wide * 1.2, size))
    side.append(beam((x, body.height - 0.04, front), (x, body.height * 0.7, rear), size, wide))
    return parts + both_sides(side)


def block_chair(rng) -> list[Part]:
    """A chair of thick boards: side panels or steps cut in one piece."""
    body = seats.draw_body(rng, (0.35, 0.45), (0.4, 0.6), (0.4, 0.6), (0.2, 0.5))
    t = thin(rng, 0.02, 0.1)
    x, z, y = body.width / 2, body.depth / 2, body.height
    parts = [box((-x, y - t, -z), (x, y, z)), box((-x, 0 if chance(rng, 0.5) else y, -z), (x, y + body.back, -z + t))]
    arm = y + pick(rng, 0.0, rng.uniform(0.1, 0.25))
    parts += both_sides(box((x - t, 0, -z), (x, arm, z)))
    return parts


# --- stools ---------------------------------------------------------------------------------------------------------


def stool(rng) -> list[Part]:
    """A stool: round or square, step stool, three-legged, on a pedestal."""
    tall = chance(rng, 0.45)
    body = seats.draw_body(rng, (0.55, 0.8) if tall else (0.3, 0.5), (0.28, 0.46), (0.26, 0.42), (0.1, 0.3))
    make = pick(rng, (round_stool, 3.0), (square_stool, 3.0), (step_stool, 1.3), (bent_stool, 1.0))
    parts = make(rng, body)
    if make is not step_stool and chance(rng, 0.2):
        parts += pick(rng, seats.wrap_back, seats.panel_back, seats.hoop_back)(rng, body)
    return parts


def round_stool(rng, body) -> list[Part]:
    """A disc on splayed legs or a pedestal, often with a ring to rest the feet."""
    r, t = body.width / 2, thin(rng, 0.01, 0.06)
    outline = pick(rng, (regular(2 * sides_of(rng), r), 3.0), (superellipse(r, r, 3, 32), 1.0))
    parts = [slab(outline, body.height - t, body.height, pick(rng, 0.0, t * 0.4), 3)]
    if chance(rng, 0.25):
        return parts + supports.pedestal(rng, r * 1.1, body.height - t)
    count, size, splay = int(pick(rng, 3, (4, 3.0), 5)), thin(rng, 0.01, 0.045), rng.uniform(0.0, 0.4)
    low, inner, sides = body.height - t, r * rng.uniform(0.5, 0.9), sides_of(rng)
    square, ring = chance(rng, 0.4), chance(rng, 0.6)
    for i in range(count):
        a = 2 * np.pi * (i + 0.5) / count
        top, foot = np.array([np.sin(a), 0, np.cos(a)]) * inner, np.array([np.sin(a), 0, np.cos(a)]) * (inner + splay * r)
        top[1] = low
        parts.append(beam(top, foot, size, size, (0, 0, 1)) if square else rod(top, foot, size / 2, size / 2, sides))
    level = rng.uniform(0.2, 0.5)
    reach = inner + splay * r * (1 - level)
    if ring:
        circle = np.insert(regular(32, reach), 1, low * level, axis=1)
        parts.append(tube(circle, thin(rng, 0.004, 0.012), 8, loop=True))
    elif chance(rng, 0.7):
        tie, wide = thin(rng, 0.008, 0.025), rng.uniform(1, 3)
        for i in range(count):
            a, b = (np.array([np.sin(q), 0, np.cos(q)]) * reach for q in 2 * np.pi * (np.array([i, i + 1]) + 0.5) / count)
            end = b if chance(rng, 0.5) else -a if count == 4 else a * 0
            parts.append(beam(a + [0, low * level, 0], end + [0, low * level, 0], tie, tie * wide))
    return parts


def square_stool(rng, body) -> list[Part]:
    """A square seat on four legs."""
    parts = pick(rng, (seats.solid_seat, 3.0), seats.dished_seat, seats.slatted_seat, seats.cushion_seat)(rng, body)
    kind = pick(rng, (supports.four_legs, 4.0), supports.sled, (supports.cross_legs, 0.6), (supports.trestles, 0.5))
    parts += kind(rng, body.width * 0.97, body.depth * 0.97, body.height - 0.01)
    if chance(rng, 0.5):
        parts += seats.frame(body.width * 0.92, body.depth * 0.92, body.height - 0.01, rng.uniform(0.03, 0.08), 0.018)
    return parts


def step_stool(rng, body) -> list[Part]:
    """Two steps in a leaning frame of boards or of bent tubes."""
    x, h, mid = body.width / 2, body.height, body.height * rng.uniform(0.4, 0.55)
    t, z = thin(rng, 0.012, 0.035), body.depth / 2
    out = z + rng.uniform(0.12, 0.25)
    parts = [box((-x, h - t, -z), (x, h, z), t * 0.2), box((-x, mid - t, z * 0.3), (x, mid, out), t * 0.2)]
    size = thin(rng, 0.014, 0.045)
    if chance(rng, 0.4):
        corners = [(x, 0, -z - 0.05), (x, h - t, -z), (x, h - t, z), (x, mid - t, z * 0.6), (x, mid - t, out), (x, 0, out + 0.03)]
        parts += both_sides(tube(round_corners(corners, 0.07), size / 2, sides_of(rng)))
        parts.append(rod((-x, 0.1, -z - 0.04), (x, 0.1, -z - 0.04), size / 3, sides=8))
        return parts
    lean = rng.uniform(0.02, 0.15)
    for foot, top in (((x + 0.03, 0, out), (x - size, h - t, z * 0.8)), ((x + 0.03, 0, -z - lean), (x - size, h - t, -z * 0.8))):
        parts += both_sides(beam(top, foot, size, size * 1.3, (0, 0, 1)))
    parts += both_sides(beam((x, mid - t - size, -z - 0.5 * lean), (x, mid - t - size, out), size * 0.7, size * 1.5))
    if chance(rng, 0.6):
        parts.append(beam((-x, 0.2 * h, -z - lean), (x, 0.2 * h, -z - lean), size * 0.7, size))
    return parts


def bent_stool(rng, body) -> list[Part]:
    """A flat top on legs bent out of thin laminate."""
    count, r = int(pick(rng, (3, 2.0), 4)), body.width / 2
    t = thin(rng, 0.01, 0.025)
    outline = superellipse(r, r, 2, 48)
    a = np.arctan2(outline[:, 1], outline[:, 0])
    outline *= (1 + rng.uniform(0, 0.08) * np.sin(count * a))[:, None]
    parts = [slab(outline, body.height - t, body.height, t * 0.3)]
    wide, low = rng.uniform(0.03, 0.08), body.height - t
    leg = [(0, low - t / 2, r * 0.3), (0, low - t / 2, r * 0.85), (0, 0, r * rng.uniform(0.95, 1.3))]
    leg = sweep(round_corners(leg, rng.uniform(0.05, 0.12), 8), rectangle(t, wide), up=(1, 0, 0))
    return parts + [place(leg, turn("y", 2 * np.pi * i / count)) for i in range(count)]


# --- benches and sofas ----------------------------------------------------------------------------------------------


def bench(rng) -> list[Part]:
    """A long seat of boards or slats, with or without a back and armrests."""
    body = seats.draw_body(rng, (0.38, 0.5), (0.8, 1.7), (0.28, 0.5), (0.3, 0.5))
    body = replace(body, wrap=0.0)
    maker = pick(rng, (seats.solid_seat, 2.0), (bench_slats, 3.0), (seats.slatted_seat, 1.0), (seats.cushion_seat, 0.5))
    parts = maker(rng, body)
    kind = pick(rng, (supports.four_legs, 4.0), (supports.trestles, 2.0), (supports.sled, 0.7), (supports.cross_legs, 0.4))
    parts += kind(rng, body.width * 0.96, body.depth * 0.96, body.height - 0.012)
    if chance(rng, 0.5):
        parts += seats.frame(body.width * 0.97, body.depth * 0.97, body.height - 0.012, rng.uniform(0.03, 0.09), 0.025)
    if chance(rng, 0.5):
        make = pick(rng, (seats.ladder_back, 3.0), (seats.spindle_back, 1.0), (seats.panel_back, 1.0), (seats.cross_back, 0.4))
        parts += make(rng, body)
        if chance(rng, 0.7):
            parts += seats.arms(rng, body)
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
