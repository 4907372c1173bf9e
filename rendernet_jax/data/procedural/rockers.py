"""Rocking chairs. Metres; the back is at -z. Each is made upright, its feet at y = 0, and leant back on its runners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import backs, chairs, seats, supports
from .draws import chance, pick, thin
from .outlines import rectangle, regular, spline
from .parts import Part, beam, both_sides, join, place, rod, shell, sweep, tube, turn


def rocker(rng) -> list[Part]:
    """A rocking chair: classic wooden, bent from rods, a shell on a light frame, or an easy chair."""
    make = pick(rng, (wooden, 5.0), (bentwood, 1.5), (modern, 2.0), (easy, 1.5))
    vertices, faces = place(make(rng), turn("x", -rng.uniform(0.03, 0.16)))
    return [(vertices - [0, vertices[:, 1].min(), 0], faces)]


def runners(rng, parts) -> list[Part]:
    """A circle through the feet of the parts on each side, on past both: a board on edge, a flat board or a rod."""
    vertices, _ = join(parts)
    feet = vertices[(vertices[:, 1] < 0.02) & (vertices[:, 0] > 0)] * [1, 0, 1]
    front, rear = feet[feet[:, 2] > 0].mean(0), feet[feet[:, 2] < 0].mean(0)
    half, radius = (front - rear)[2] / 2, rng.uniform(0.8, 1.5)
    z = np.linspace(half + rng.uniform(0.02, 0.2), -half - rng.uniform(0.1, 0.35), 25)
    path = (front + rear) / 2 + np.outer(z / (2 * half), front - rear)
    tail = pick(rng, 0.0, rng.uniform(-0.5, 1.0)) * np.maximum(-half - z, 0) ** 2  # flatter than the circle, or upswept
    path[:, 1] += np.sqrt(radius**2 - half**2) - np.sqrt(radius**2 - z**2) + tail
    board = rectangle(thin(rng, 0.012, 0.05), thin(rng, 0.02, 0.07), pick(rng, 0.0, 0.003), 2)
    section = pick(rng, (board, 4.0), (board[:, ::-1], 1.0), (regular(12, thin(rng, 0.006, 0.02)), 1.0))
    return both_sides(sweep(path, section, size=np.linspace(1, rng.uniform(0.5, 1), 25)))


def wooden(rng) -> list[Part]:
    """A tall back over the legs of a Windsor chair, or between posts that run up from the rear legs."""
    body = seats.draw_body(rng, (0.36, 0.44), (0.42, 0.58), (0.4, 0.52), (0.5, 0.85))
    body, size = replace(body, lean=rng.uniform(0.1, 0.35), wrap=body.wrap / 2), thin(rng, 0.022, 0.05)
    parts = pick(rng, (seats.solid_seat, 3.0), (seats.dished_seat, 2.0), (seats.slatted_seat, 2.0))(rng, body)
    x, z = body.width / 2 - size / 2, body.depth / 2 - size / 2
    if chance(rng, 0.5):
        parts += supports.rear_posts(rng, body, size) + seats.frame(2 * x, 2 * z, body.height - 0.012, size, size / 2)
        bars = supports.stretchers(rng, np.array([x, body.height, z]), np.array([x, 0, z]), size * 0.6)
        parts.append(place(bars, np.diag([1, 1, 1.05]), (0, 0, -0.05 * z)))  # as the rear feet stand further back
    else:
        parts += supports.four_legs(rng, body.width * 0.85, body.depth * 0.85, body.height - 0.012, size)
        x, z = 0.93 * x, z * rng.uniform(0.5, 0.9)
    back = pick(rng, (backs.spindle_back, 3.0), (backs.ladder_back, 3.0), backs.hoop_back, (backs.cross_back, 0.3))
    parts += back(rng, body) + (backs.posts(rng, body) if back is backs.spindle_back else [])
    return parts + runners(rng, parts) + (armrests(rng, body, x, z, size * 0.8) if chance(rng, 0.75) else [])


def armrests(rng, body, x, z, size) -> list[Part]:
    """Boards or rods from the back to posts on the seat at (x, z), scrolled down at times, with spindles under them."""
    rise, bulge, foot = rng.uniform(0.18, 0.27), rng.uniform(0, 0.04), np.array([x, body.height - 0.03, z])
    rear, front = body.on_back(1.0, rise / body.back), foot + [bulge, rise + rng.uniform(0.01, 0.06), 0]
    points = [rear, (rear + front) / 2 + [bulge, -0.4 * bulge, 0], front, front + [0, 0, rng.uniform(0.02, 0.07)]]
    if chance(rng, 0.4):
        points += [points[-1] + [0, -dy, dz] for dy, dz in ((0.025, 0.025), (0.06, 0.01), (0.055, -0.025))]
    path, turned = spline(points, 4 * len(points)), supports.turned_leg(rng, front, foot, size / 2)
    section = pick(rng, (rectangle(rng.uniform(0.03, 0.1), 0.5 * size), 3.0), (regular(10, 0.3 * size), 1.0))
    side = [sweep(path, section), turned if chance(rng, 0.5) else beam(foot, front, size, size)]
    for top in path[1 : 8 : pick(rng, 1, 2, 3)] if chance(rng, 0.4) else ():
        side.append(rod((0.95 * x, foot[1], max(top[2], -z)), top, thin(rng, 0.004, 0.01), sides=8))
    return both_sides(side)


def bentwood(rng) -> list[Part]:
    """Each side one scrolled rod - seat, runner, armrest; between them a bent loop with thin panels of cane."""
    scale, x, r, top = rng.uniform(0.9, 1.1, 2), rng.uniform(0.2, 0.28), thin(rng, 0.009, 0.02), rng.uniform(0.75, 1.15)
    z = [0.05, 0.3, 0.48, 0.44, 0.22, -0.1, -0.45, -0.66, -0.52, -0.3, 0.05, 0.28, 0.36, 0.27, 0.19]
    y = [0.37, 0.36, 0.27, 0.12, 0.02, 0.0, 0.07, 0.2, 0.42, 0.58, 0.63, 0.6, 0.5, 0.42, 0.47]
    side = spline(np.column_stack([np.full(15, x + 2 * r), y, z]) + rng.normal(0, 0.015, (15, 3)) * [0, 1, 1], 70)
    side = side[: pick(rng, 70, 62, 57)] * [1, *scale]
    parts = both_sides(tube(side, r)) + [rod(side[i], side[i] * [-1, 1, 1], 0.8 * r) for i in (2, 20, 31, 38, 45)]
    half = x * np.sqrt(1 - np.linspace(-1, 1, 41) ** pick(rng, 6, 10, 20))
    loop = [(0.4, 0.3), (0.38, 0), (0.37, -0.2), (0.48, -0.29), (0.8 * top, -0.42), (top, -0.53)]
    right = np.column_stack([half, spline(loop, 41) * scale])
    parts.append(tube(np.concatenate([right, right[-2:0:-1] * [-1, 1, 1]]), r, loop=True))
    across, low = np.linspace(-1, 1, 5)[:, None, None] * [1, 0, 0] + [0, 1, 1], pick(rng, 18, 22, 26)
    return parts + [shell(right[a:b] * across, thin(rng, 0.004, 0.02)) for a, b in ((1, 18), (low, 40))]


def modern(rng) -> list[Part]:
    """A bent or moulded shell on thin, crossed rods or on dowels."""
    body = seats.draw_body(rng, (0.34, 0.44), (0.44, 0.62), (0.4, 0.54), (0.3, 0.75))
    (points, t), x, z = chairs.bucket(rng, body), body.width * rng.uniform(0.3, 0.5), body.depth * rng.uniform(0.3, 0.5)
    r, count = (thin(rng, 0.004, 0.009), 4) if chance(rng, 0.6) else (thin(rng, 0.01, 0.02), 1)
    feet = np.array([[(sx * x, 0, sz * z) for sz in (-1, 1)] for sx in (-1, 1)])
    tops, parts = points[np.ix_([5, 13], [15, 4])], []
    for i, j in np.ndindex(2, 2):
        ends = [tops[i, j], tops[i, 1 - j], tops[1 - i, j], feet[1 - i, j]]
        parts += [rod(end, feet[i, j], r, sides=8) for end in ends[:count]]
    return parts + runners(rng, parts) + [shell(points, t)]


def easy(rng) -> list[Part]:
    """A reclined seat of slats or cushions between side frames of two legs, a rail and an arm board."""
    body = replace(seats.draw_body(rng, (0.32, 0.42), (0.5, 0.64), (0.5, 0.6), (0.5, 0.8)), lean=rng.uniform(0.25, 0.5))
    parts = pick(rng, (seats.slatted_seat, 2.0), seats.cushion_seat)(rng, body)
    parts += pick(rng, (backs.ladder_back, 2.0), backs.spindle_back, backs.cushion_back)(rng, body)
    size, wide, arm = thin(rng, 0.015, 0.035), rng.uniform(0.03, 0.08), body.height + rng.uniform(0.16, 0.26)
    x, front, rear = body.width / 2 + 0.01, body.depth * rng.uniform(0.4, 0.52), -body.depth * rng.uniform(0.4, 0.6)
    side = [beam((x, body.height - wide, front), (x, body.height - wide, rear - 0.05), size, wide)]
    side.append(beam((x, arm, front - rng.uniform(-0.05, 0.1)), (x, 0, front), size, wide, (0, 0, 1)))
    side.append(beam((x, arm - 0.03, rear + rng.uniform(-0.05, 0.1)), (x, 0, rear), size, wide, (0, 0, 1)))
    side.append(beam((x, arm, front + 0.04), (x, arm - 0.03, rear - 0.05), wide * 1.3, size))
    return parts + both_sides(side) + runners(rng, side)
