"""Seats and the frame they share with their backs: for chairs, stools, benches and sofas. Lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, superellipse
from .parts import Part, box, cuboid, rod, shell, slab, superellipsoid, tube


@dataclass(frozen=True)
class Body:
    """Frame of a seat: width (x), depth (z, about 0), height of its top, and the surface of its back.

    The back leans by ``lean`` (tangent), its sides come forward by ``wrap`` and its top bends by ``bow``.
    """

    width: float
    depth: float
    height: float
    back: float
    lean: float
    wrap: float
    bow: float
    spread: float

    def on_back(self, u, v) -> np.ndarray:
        """Points [..., 3] of the back surface; u in [-1, 1] across, v in [0, 1] from the seat to the top."""
        u, v = np.broadcast_arrays(np.asarray(u, np.float64), np.asarray(v, np.float64))
        x = u * self.width / 2 * (1 + self.spread * v)
        y = self.height + v * self.back
        z = (
            -self.depth / 2
            - self.lean * v * self.back
            - self.bow * v * v
            + self.wrap * u * u * np.minimum(1, 2 * v + 0.3)
        )
        return np.stack([x, y, z], -1)


def draw_body(rng, height=(0.4, 0.5), width=(0.38, 0.56), depth=(0.36, 0.54), back=(0.25, 0.65)) -> Body:
    """A body of chair-like proportions; the ranges are in metres."""
    curved = chance(rng, 0.55)
    return Body(
        width=rng.uniform(*width),
        depth=rng.uniform(*depth),
        height=rng.uniform(*height),
        back=rng.uniform(*back),
        lean=pick(rng, (0.0, 0.5), (rng.uniform(0.03, 0.22), 2.0), (rng.uniform(0.2, 0.45), 0.6)),
        wrap=rng.uniform(0.02, 0.12) if curved else 0.0,
        bow=pick(rng, (0.0, 2.0), (rng.uniform(0.02, 0.12), 1.0)),
        spread=pick(rng, (0.0, 2.0), (rng.uniform(-0.12, 0.15), 1.0)),
    )


# --- seats ----------------------------------------------------------------------------------------------------------


def outline_of_seat(rng, body: Body) -> np.ndarray:
    """Plan [M, 2] in (x, z): rectangle, rounded, D-shaped, trapezoid or disc."""
    w, d = body.width, body.depth
    kind = pick(rng, ("rectangle", 2.0), ("rounded", 2.0), "ellipse", ("trapezoid", 2.0), "d")
    if kind == "rectangle":
        return rectangle(w, d)
    if kind == "rounded":
        return rectangle(w, d, rng.uniform(0.02, 0.18), 5)
    if kind == "ellipse":
        return superellipse(w / 2, d / 2, rng.uniform(2, 5), 2 * sides_of(rng))
    outline = rectangle(w, d, rng.uniform(0.01, 0.12), 4)
    if kind == "trapezoid":
        outline[:, 0] *= 1 + rng.uniform(0.05, 0.18) * outline[:, 1] / (d / 2)
        return outline
    front = outline[:, 1] > 0
    outline[front, 1] += rng.uniform(0.02, 0.08) * (1 - (2 * outline[front, 0] / w) ** 2)
    return outline


def solid_seat(rng, body: Body) -> list[Part]:
    """A board, or a board with a cushion on it."""
    thickness = thin(rng, 0.008, 0.06)
    outline = outline_of_seat(rng, body)
    bevel = pick(rng, 0.0, thickness * rng.uniform(0.1, 0.45))
    parts = [slab(outline, body.height - thickness, body.height, bevel, taper=pick(rng, 0.0, rng.uniform(0, 0.08)))]
    if chance(rng, 0.25):
        parts.append(slab(outline * 0.96, body.height, body.height + rng.uniform(0.02, 0.07), 0.03, 4))
    return parts


def dished_seat(rng, body: Body) -> list[Part]:
    """A thin seat hollowed for sitting, or falling over its front edge."""
    u, v = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-1, 1, 15), indexing="ij")
    # A square grid is drawn towards a disc so that the corners of the seat are round.
    round_ = rng.uniform(0, 0.8)
    x = u * np.sqrt(1 - round_ * v**2 / 2) * body.width / 2
    z = v * np.sqrt(1 - round_ * u**2 / 2) * body.depth / 2
    dish = -rng.uniform(0.0, 0.035) * (1 - u**2) * (1 - v**2)
    fall = -rng.uniform(0.0, 0.06) * np.maximum(v, 0) ** 3 + rng.uniform(0.0, 0.03) * np.maximum(-v, 0) ** 2
    thickness = thin(rng, 0.006, 0.035)
    return [shell(np.stack([x, body.height - thickness / 2 + dish + fall, z], -1), thickness)]


def cushion_seat(rng, body: Body) -> list[Part]:
    """An upholstered block."""
    h = rng.uniform(0.05, 0.14)
    centre = (0, body.height - h / 2, 0)
    if chance(rng, 0.5):
        size = (body.width / 2, h / 2, body.depth / 2)
        return [superellipsoid(centre, size, rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.6), 32, 14)]
    return [cuboid(centre, (body.width, h, body.depth), rng.uniform(0.01, 0.04), 3)]


def slatted_seat(rng, body: Body) -> list[Part]:
    """Slats or round rods across a frame, across or along the seat."""
    t, count = thin(rng, 0.006, 0.025), int(rng.integers(4, 16))
    across = chance(rng, 0.6)
    span, run = (body.width, body.depth) if across else (body.depth, body.width)
    pitch = run / count
    solid = pitch * rng.uniform(0.45, 0.92)
    parts: list[Part] = []
    dip = pick(rng, 0.0, rng.uniform(0.01, 0.05))
    for i in range(count):
        at = -run / 2 + (i + 0.5) * pitch
        y = body.height - t / 2 - dip * (1 - (2 * at / run) ** 2)
        size = (span, t, solid) if across else (solid, t, span)
        parts.append(cuboid((0, y, at) if across else (at, y, 0), size))
    if chance(rng, 0.7):
        parts += frame(body.width, body.depth, body.height - t, rng.uniform(0.02, 0.07), thin(rng, 0.012, 0.04))
    return parts


def wire_seat(rng, body: Body) -> list[Part]:
    """A grille of thin wires in a rim."""
    r, count = thin(rng, 0.0015, 0.005), int(rng.integers(6, 14))
    x, z, y = body.width / 2, body.depth / 2, body.height
    parts = [rod((a, y, -z), (a, y, z), r, sides=6) for a in np.linspace(-x, x, count)]
    parts += [rod((-x, y + 2 * r, a), (x, y + 2 * r, a), r, sides=6) for a in np.linspace(-z, z, count)]
    rim = rectangle(2 * x, 2 * z, rng.uniform(0, 0.1), 5)
    path = np.stack([rim[:, 0], np.full(len(rim), y), rim[:, 1]], -1)
    return parts + [tube(path, max(2 * r, 0.005), 8, loop=True)]


def frame(width, depth, top, height, thickness) -> list[Part]:
    """Four boards under a seat or a table top (the apron)."""
    x, z = width / 2, depth / 2
    sides = [box((s * x - s * thickness, top - height, -z), (s * x, top, z)) for s in (-1, 1)]
    return sides + [box((-x, top - height, s * z - s * thickness), (x, top, s * z)) for s in (-1, 1)]


def seat(rng, body: Body) -> list[Part]:
    """Any kind of seat."""
    make = pick(rng, (solid_seat, 4.0), (dished_seat, 2.0), (cushion_seat, 1.5), (slatted_seat, 2.0), (wire_seat, 0.4))
    return make(rng, body)
