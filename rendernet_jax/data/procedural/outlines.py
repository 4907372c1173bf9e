"""Closed outlines and open paths in two or three dimensions, and the triangles of a polygon."""

from __future__ import annotations

import math

import numpy as np


def superellipse(a: float, b: float, power: float = 2.0, count: int = 32) -> np.ndarray:
    """Outline [count, 2] of half-axes a and b: power 2 is an ellipse, 4 and more a rounded rectangle."""
    t = (np.arange(count) + 0.5) * (2 * math.pi / count)
    c, s = np.cos(t), np.sin(t)
    return np.stack([a * np.sign(c) * abs(c) ** (2 / power), b * np.sign(s) * abs(s) ** (2 / power)], -1)


def rectangle(width: float, height: float, radius: float = 0.0, steps: int = 4) -> np.ndarray:
    """Outline [n, 2] of a rectangle about the origin, its corners rounded (or cut, at ``steps=1``)."""
    corners = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * [width / 2, height / 2]
    radius = min(radius, 0.49 * width, 0.49 * height)
    if radius <= 0:
        return corners
    outline = []
    for corner, start in zip(corners, np.array([-0.5, 0, 0.5, 1.0]) * math.pi):
        t = start + np.linspace(0, math.pi / 2, steps + 1)
        outline.append(corner - np.sign(corner) * radius + radius * np.stack([np.cos(t), np.sin(t)], -1))
    return np.concatenate(outline)


def regular(count: int, radius: float = 1.0, phase: float = 0.0) -> np.ndarray:
    """Outline [count, 2] of a regular polygon."""
    t = phase + np.arange(count) * (2 * math.pi / count)
    return radius * np.stack([np.cos(t), np.sin(t)], -1)


def round_corners(points, radius: float, steps: int = 5, loop: bool = False) -> np.ndarray:
    """Polyline [n, d] with each corner replaced by a quadratic curve that starts ``radius`` before it."""
    points = np.asarray(points, np.float64)
    count = len(points)
    path = [] if loop else [points[:1]]
    t = np.linspace(0, 1, steps + 1)[:, None]
    for i in range(0 if loop else 1, count if loop else count - 1):
        here, before, after = points[i], points[i - 1] - points[i], points[(i + 1) % count] - points[i]
        start = here + before * min(0.5, radius / max(np.linalg.norm(before), 1e-9))
        end = here + after * min(0.5, radius / max(np.linalg.norm(after), 1e-9))
        path.append((1 - t) ** 2 * start + 2 * t * (1 - t) * here + t**2 * end)
    return np.concatenate(path if loop else path + [points[-1:]])


def spline(points, count: int = 16) -> np.ndarray:
    """Catmull-Rom curve [count, d] through the points."""
    points = np.asarray(points, np.float64)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    position = np.linspace(0, len(points) - 1, count)
    i = np.minimum(position.astype(int), len(points) - 2)
    t = (position - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def triangulate(outline) -> np.ndarray:
    """Ear clipping of a simple polygon [M, 2] -> counter-clockwise triangles [M - 2, 3]."""
    points = [tuple(map(float, p)) for p in outline]

    def cross(o, a, b):
        return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])

    left = list(range(len(points)))
    if sum(points[i - 1][0] * points[i][1] - points[i][0] * points[i - 1][1] for i in left) < 0:
        left.reverse()
    triangles = []
    while len(left) > 3:
        for at in range(len(left)):
            i, j, k = left[at - 1], left[at], left[(at + 1) % len(left)]
            a, b, c = points[i], points[j], points[k]
            if cross(a, b, c) <= 0:
                continue
            others = (points[q] for q in left if q not in (i, j, k))
            if not any(cross(a, b, p) >= 0 and cross(b, c, p) >= 0 and cross(c, a, p) >= 0 for p in others):
                break
        else:
            at = 0  # only flat corners are left: any of them may go
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return np.array(triangles + [tuple(left)])
