"""Closed building blocks of the procedural families: boxes, sweeps, revolutions, thick shells, extrusions.

A part is ``(vertices [V, 3] float64, faces [F, 3] int64)``, wound outward, in any unit: a finished shape is normalised
once. x is right, y up, z front. Parts of one shape may overlap, as they do in most furniture files.
"""

from __future__ import annotations

import math

import numpy as np

from .outlines import rectangle, regular, triangulate

Part = tuple[np.ndarray, np.ndarray]


def join(parts) -> Part:
    """Several parts (nested lists allowed) as one bag of triangles."""
    flat = list(flatten(parts))
    if not flat:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in flat[:-1]])
    return np.concatenate([v for v, _ in flat]), np.concatenate([f + o for (_, f), o in zip(flat, offsets)])


def flatten(parts):
    """Each part of nested lists."""
    for part in parts:
        if isinstance(part, tuple):
            yield part
        else:
            yield from flatten(part)


def outward(vertices, faces) -> Part:
    """The part wound so that its signed volume is positive (divergence theorem)."""
    vertices = np.asarray(vertices, np.float64)
    faces = np.asarray(faces, np.int64)
    a, b, c = (vertices[faces[:, i]] - vertices[:1] for i in range(3))
    return (vertices, faces) if np.einsum("ij,ij->", a, np.cross(b, c)) >= 0 else (vertices, faces[:, ::-1])


# --- placement ------------------------------------------------------------------------------------------------------


def turn(axis: str, angle: float) -> np.ndarray:
    """Rotation matrix [3, 3] about "x", "y" or "z" by an angle in radians (right-handed)."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


def place(part, matrix=None, move=(0.0, 0.0, 0.0)) -> Part:
    """A part, or a list of them, after ``matrix @ p + move``."""
    vertices, faces = part if isinstance(part, tuple) else join(part)
    vertices = vertices if matrix is None else vertices @ np.asarray(matrix).T
    return outward(vertices + np.asarray(move, np.float64), faces)


def mirror(part, axis: int = 0) -> Part:
    """The part reflected in the plane ``axis = 0``."""
    flip = np.ones(3)
    flip[axis] = -1
    return place(part, np.diag(flip))


def both_sides(part) -> list[Part]:
    """The part and its mirror image in x."""
    part = part if isinstance(part, tuple) else join(part)
    return [part, mirror(part)]


# --- solids ---------------------------------------------------------------------------------------------------------


def loft(rings, loop: bool = False) -> Part:
    """Solid through rings [N, M, 3]; ``loop`` joins the last to the first, otherwise both are capped."""
    rings = np.asarray(rings, np.float64)
    n, m = rings.shape[:2]
    i, j = np.meshgrid(np.arange(n if loop else n - 1), np.arange(m), indexing="ij")
    a, b = i * m + j, i * m + (j + 1) % m
    c, d = (i + 1) % n * m + (j + 1) % m, (i + 1) % n * m + j
    faces = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    vertices = rings.reshape(-1, 3)
    if not loop:
        j = np.arange(m)
        k = (j + 1) % m
        vertices = np.concatenate([vertices, rings[0].mean(0)[None], rings[-1].mean(0)[None]])
        faces.append(np.stack([np.full(m, n * m), k, j], -1))
        faces.append(np.stack([np.full(m, n * m + 1), (n - 1) * m + j, (n - 1) * m + k], -1))
    return outward(vertices, np.concatenate(faces))


def sweep(path, section, up=(0.0, 1.0, 0.0), loop: bool = False, size=None) -> Part:
    """A section [M, 2] moved along a path [N, 3].

    The section's second axis points to ``up`` where the path is most across it, and turns with the path from there;
    its first is across both. ``size`` ([N] or [N, 2]) scales it along the way. Corners are mitred.
    """
    path = np.asarray(path, np.float64)
    if loop:
        steps = np.roll(path, -1, 0) - path
    else:
        steps = np.diff(path, axis=0)
        steps = np.concatenate([steps, steps[-1:]])
    steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    back = np.roll(steps, 1, 0)
    if not loop:
        back[0] = steps[0]
    tangent = steps + back
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    across, above = _frames(tangent, np.asarray(up, np.float64), loop)
    section = np.broadcast_to(np.asarray(section, np.float64), (len(path),) + np.shape(section)[-2:])
    if size is not None:
        size = np.asarray(size, np.float64)
        section = section * (size[:, None, None] if size.ndim == 1 else size[:, None, :])
    rings = path[:, None] + section[..., :1] * across[:, None] + section[..., 1:] * above[:, None]
    # A mitre cuts along the plane that halves the corner: stretch by 1 / cos(half the turn) away from its axis.
    bend = steps - back
    length = np.linalg.norm(bend, axis=1, keepdims=True)
    bend = bend / np.maximum(length, 1e-9)
    stretch = np.minimum(1 / np.sqrt(np.maximum(1 - (length / 2) ** 2, 0.1)), 2.0) - 1
    offset = rings - path[:, None]
    rings = rings + (np.einsum("nmk,nk->nm", offset, bend) * stretch)[..., None] * bend[:, None]
    return loft(rings, loop)


def _frames(tangent: np.ndarray, up: np.ndarray, loop: bool):
    """Two unit normals [N, 3] of each tangent: laid out where ``up`` is most across the path, carried on from there.

    Carrying a normal on by projection twists it least; what a loop then lacks to close is spread over its length.
    """
    count = len(tangent)
    start = int(np.argmin(np.abs(tangent @ up)))
    side = np.cross(up, tangent[start])
    if np.linalg.norm(side) < 1e-6 * max(np.linalg.norm(up), 1e-9):
        side = np.eye(3)[np.argmin(np.abs(tangent[start]))]
    across = np.zeros((count, 3))
    orders = [range(start, start + count + 1)] if loop else [range(start, count), range(start, -1, -1)]
    for order in orders:
        normal = side
        for i in order:
            t = tangent[i % count]
            normal = normal - t * normal.dot(t)
            normal = normal / max(math.sqrt(normal.dot(normal)), 1e-9)
            if i < start + count:
                across[i % count] = normal
    above = np.cross(tangent, across)
    if loop:
        gap = math.atan2(normal @ above[start], normal @ across[start])
        angle = -gap * ((np.arange(count) - start) % count)[:, None] / count
        across, above = np.cos(angle) * across + np.sin(angle) * above, np.cos(angle) * above - np.sin(angle) * across
    return across, above


def tube(path, radius, sides: int = 10, loop: bool = False) -> Part:
    """Round rod along a path [N, 3]; ``radius`` is a number or one for each point."""
    radius = np.broadcast_to(np.asarray(radius, np.float64), (len(path),))
    return sweep(path, regular(sides, 1.0, 0.2), up=(0.31, 0.2, 0.93), loop=loop, size=radius)


def rod(a, b, radius, end_radius=None, sides: int = 10) -> Part:
    """Straight, optionally tapered round rod between two points."""
    return tube(np.array([a, b], np.float64), [radius, radius if end_radius is None else end_radius], sides)


def beam(a, b, width: float, height: float, up=(0.0, 1.0, 0.0), end: float = 1.0, bevel: float = 0.0) -> Part:
    """Straight bar of rectangular section (``height`` towards ``up``), its far end scaled by ``end``."""
    section = rectangle(width, height, bevel, 1)
    return sweep(np.array([a, b], np.float64), section, up, size=np.array([1.0, end]))


def box(low, high, bevel: float = 0.0, steps: int = 1) -> Part:
    """Axis-aligned box between two corners; ``bevel`` rounds every edge (``steps=1`` chamfers)."""
    low, high = np.minimum(low, high).astype(np.float64), np.maximum(low, high).astype(np.float64)
    half, middle = (high - low) / 2, (high + low) / 2
    bevel = min(bevel, 0.49 * half.min() * 2)
    if bevel <= 0:
        outline = rectangle(2 * half[0], 2 * half[2])
        rings = [np.stack([outline[:, 0], np.full(4, y), -outline[:, 1]], -1) for y in (-half[1], half[1])]
        return place(loft(rings), move=middle)
    t = np.linspace(0, math.pi / 2, steps + 1)
    heights = np.concatenate([-half[1] + bevel * (1 - np.cos(t)), half[1] - bevel * (1 - np.cos(t[::-1]))])
    inset = np.concatenate([bevel * (1 - np.sin(t)), bevel * (1 - np.sin(t[::-1]))])
    base = rectangle(2 * half[0], 2 * half[2], bevel, steps)
    direction = base - np.sign(base) * (half[[0, 2]] - bevel)
    rings = []
    for y, d in zip(heights, inset):
        outline = base - direction * (d / bevel)
        rings.append(np.stack([outline[:, 0], np.full(len(outline), y), -outline[:, 1]], -1))
    return place(loft(rings), move=middle)


def cuboid(centre, size, bevel: float = 0.0, steps: int = 1) -> Part:
    """As :func:`box`, by centre and size."""
    centre, half = np.asarray(centre, np.float64), np.asarray(size, np.float64) / 2
    return box(centre - half, centre + half, bevel, steps)


def slab(outline, low: float, high: float, bevel: float = 0.0, steps: int = 2, taper: float = 0.0) -> Part:
    """Outline [M, 2] in (x, z), star-shaped about its mean, between two heights; edges rounded by ``bevel``.

    ``taper`` is by how much the bottom is smaller than the top.
    """
    outline = np.asarray(outline, np.float64)
    centre = outline.mean(0)
    reach = np.abs(outline - centre).max()
    bevel = min(bevel, 0.49 * (high - low), 0.4 * reach)
    t = np.linspace(0, math.pi / 2, steps + 1) if bevel > 0 else np.array([math.pi / 2])
    heights = np.concatenate([low + bevel * (1 - np.cos(t)), high - bevel * (1 - np.cos(t[::-1]))])
    inset = np.concatenate([bevel * (1 - np.sin(t)), bevel * (1 - np.sin(t[::-1]))])
    rings = []
    for y, d in zip(heights, inset):
        scale = (1 - d / reach) * (1 - taper * (high - y) / max(high - low, 1e-9))
        flat = centre + (outline - centre) * scale
        rings.append(np.stack([flat[:, 0], np.full(len(flat), y), flat[:, 1]], -1))
    return loft(rings)


def revolve(profile, sides: int = 32, squash: float = 1.0) -> Part:
    """Profile [N, 2] of (radius, height) turned about y. A closed profile (first = last point) gives a ring."""
    profile = np.asarray(profile, np.float64)
    loop = len(profile) > 3 and np.allclose(profile[0], profile[-1])
    profile = profile[:-1] if loop else profile
    t = -np.arange(sides) * (2 * math.pi / sides)
    circle = np.stack([np.cos(t), np.zeros(sides), squash * np.sin(t)], -1)
    rings = np.maximum(profile[:, :1], 0)[:, None] * circle + profile[:, 1][:, None, None] * np.array([0.0, 1.0, 0.0])
    return loft(rings, loop)


def superellipsoid(centre, radii, e1: float = 1.0, e2: float = 1.0, sides: int = 24, rings: int = 14) -> Part:
    """Barr's superellipsoid: exponents 1 give an ellipsoid, towards 0 a box; e1 shapes the section along y."""
    v = np.linspace(-math.pi / 2, math.pi / 2, rings)
    u = np.arange(sides) * (2 * math.pi / sides)

    def power(value, exponent):
        return np.sign(value) * np.abs(value) ** exponent

    cv, sv = power(np.cos(v), e1)[:, None], power(np.sin(v), e1)[:, None]
    x, z = cv * power(np.cos(u), e2), -cv * power(np.sin(u), e2)
    points = np.stack([x, np.broadcast_to(sv, x.shape), z], -1) * np.asarray(radii, np.float64)
    return place(loft(points), move=centre)


def shell(points, thickness) -> Part:
    """Closed thick sheet about a surface grid [A, B, 3]; ``thickness`` is a number or [A, B]."""
    points = np.asarray(points, np.float64)
    a, b = points.shape[:2]
    normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    half = np.broadcast_to(np.asarray(thickness, np.float64) / 2, (a, b))[..., None] * normal
    rings = np.concatenate([points + half, (points - half)[:, ::-1]], axis=1)
    faces = []
    side = np.arange(2 * b)
    for i in range(a - 1):
        p, q = i * 2 * b + side, i * 2 * b + (side + 1) % (2 * b)
        faces += [np.stack([p, q, q + 2 * b], -1), np.stack([p, q + 2 * b, p + 2 * b], -1)]
    for ring, flip in ((0, False), (a - 1, True)):  # strips across the thickness close the two ends
        p = ring * 2 * b + np.arange(b - 1)
        q = ring * 2 * b + 2 * b - 1 - np.arange(b - 1)
        strip = np.concatenate([np.stack([p, q, p + 1], -1), np.stack([p + 1, q, q - 1], -1)])
        faces.append(strip[:, ::-1] if flip else strip)
    return outward(rings.reshape(-1, 3), np.concatenate(faces))


def sheet(points) -> Part:
    """Open surface of a grid [A, B, 3], without thickness."""
    points = np.asarray(points, np.float64)
    a, b = points.shape[:2]
    i, j = np.meshgrid(np.arange(a - 1), np.arange(b - 1), indexing="ij")
    p = (i * b + j).ravel()
    faces = np.concatenate([np.stack([p, p + b, p + b + 1], -1), np.stack([p, p + b + 1, p + 1], -1)])
    return points.reshape(-1, 3), faces


def extrude(outline, low: float, high: float, axis: str = "z") -> Part:
    """Any simple polygon [M, 2] between two positions along an axis.

    The outline lies in (x, y) for axis "z", (z, y) for "x" and (x, z) for "y".
    """
    outline = np.asarray(outline, np.float64)
    m = len(outline)
    top = triangulate(outline)
    j = np.arange(m)
    k = (j + 1) % m
    faces = np.concatenate([top[:, ::-1], top + m, np.stack([j, k, k + m], -1), np.stack([j, k + m, j + m], -1)])
    order = {"z": (0, 1, 2), "x": (2, 1, 0), "y": (0, 2, 1)}[axis]
    vertices = np.concatenate([np.column_stack([outline, np.full(m, at)]) for at in (low, high)])[:, order]
    return outward(vertices, faces)
