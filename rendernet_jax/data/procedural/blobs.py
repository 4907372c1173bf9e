"""Shoes, metaballs, stones and sponges: solids out of smooth fields."""

from __future__ import annotations

import numpy as np

from .creatures import finish, resolution
from .draws import chance, pick, thin
from .fields import Block, Capsule, Ellipsoid, bumps, isosurface, low_poly, solidify
from .parts import Part, turn


def shoe(rng) -> list[Part]:
    """A shoe or boot: sole, heel, toe, shaft with an opening."""
    w, tall = rng.uniform(0.1, 0.15), rng.uniform(0.12, 0.6)
    adds = [
        Ellipsoid((0, 0.1, 0.28), (w, 0.09, 0.2), 0.08),
        Capsule((0, 0.12, -0.28), (0, 0.13, 0.2), w * 0.85, w * 0.8, 0.08),
    ]
    lean = rng.uniform(-0.05, 0.08)
    adds.append(Capsule((0, 0.15, -0.25), (0, 0.15 + tall, -0.25 - lean), w * 0.95, w * rng.uniform(0.9, 1.2), 0.08))
    adds.append(Capsule((0, 0.12 + tall * 0.3, -0.15), (0, 0.16, 0.15), w * 0.8, w * 0.7, 0.08))
    sole = rng.uniform(0.015, 0.04)
    for z, r in ((-0.26, 0.9), (0.25, 1.1)):
        adds.append(Ellipsoid((0, sole, z), (w * r, sole, 0.2 if z > 0 else 0.13), 0.03, None, 4.0))
    adds.append(Ellipsoid((0, sole * 1.2, 0), (w * 0.75, sole * 0.9, 0.3), 0.03, None, 4.0))
    if chance(rng, 0.4):
        adds.append(Block((0, -0.02, -0.28), (w * 0.8, 0.06, 0.1), 0.01, None, 0.01))
    hole = w * rng.uniform(0.65, 0.85)
    cuts = [Capsule((0, 0.14 + tall * 0.5, -0.25 - lean * 0.5), (0, 0.35 + tall, -0.25 - lean), hole, hole * 1.1, 0.02)]
    cuts.append(Block((0, 0.35 + tall, -0.2), (0.5, 0.25, 0.5), 0.02, turn("x", rng.uniform(-0.2, 0.3))))
    for i in range(int(rng.integers(0, 6))):
        z = 0.0 + 0.05 * i
        adds.append(
            Capsule(
                (-w * 0.5, 0.23 + tall * 0.12 - 0.02 * i, z),
                (w * 0.5, 0.23 + tall * 0.12 - 0.02 * i, z + 0.03),
                0.012,
                0.012,
                0.01,
            )
        )
    return finish(rng, adds, cuts, roughness=0.5)


def blob(rng) -> list[Part]:
    """Metaballs, a stone or a sponge."""
    return pick(rng, (metaballs, 3.0), (noise, 1.5), (stone, 0.7))(rng)


def noise(rng) -> list[Part]:
    """Where a sum of random waves is low inside a ball or block: tunnels, bridges, islands."""
    count, waves = int(pick(rng, 48, 64)), rng.normal(size=(10, 3)) * rng.uniform(2.5, 6.0)
    axis = np.linspace(-1.1, 1.1, count, dtype=np.float32)
    x, y, z = np.ix_(axis, axis, axis)
    field = sum(np.sin(a * x + (b * y + (c * z + p))) for (a, b, c), p in zip(waves, rng.uniform(0, 6.3, 10)))
    size = rng.uniform(0.5, 1.0, 3)
    power = pick(rng, 2.0, 6.0)
    inside = (abs(x / size[0]) ** power + abs(y / size[1]) ** power + abs(z / size[2]) ** power) ** (1 / power) - 1
    field, inside = (field - rng.uniform(-1.0, 3.0)) * 0.15, inside * size.min()
    part = isosurface(np.logaddexp(12 * field, 12 * inside) / 12 - 0.02)  # a smooth maximum leaves no ragged edges
    return [part] if 100 < len(part[1]) < 60_000 else metaballs(rng)


def stone(rng) -> list[Part]:
    """A ball with strong bumps: stones, fruit, heaps."""
    radii = rng.uniform(0.3, 0.5, 3)
    part = solidify([Ellipsoid((0, 0, 0), tuple(radii), 0.02, None, pick(rng, 2.0, 4.0))], (), resolution(rng))
    part = bumps(rng, part, rng.uniform(0.01, 0.06), rng.uniform(2, 7))
    return [low_poly(part, int(thin(rng, 60, 4000))) if chance(rng, 0.4) else part]


def metaballs(rng) -> list[Part]:
    """Random capsules and ellipsoids, melted together, dented."""
    scale = rng.uniform(0.15, 0.4)
    adds, points = [], rng.normal(size=(int(rng.integers(3, 12)), 3)) * 0.3
    blend = rng.uniform(0.02, 0.2)
    for point in points:
        radii = scale * np.exp(rng.normal(size=3) * 0.4)
        matrix = turn("y", rng.uniform(0, 3)) @ turn("x", rng.uniform(0, 3))
        if chance(rng, 0.5):
            adds.append(Ellipsoid(tuple(point), tuple(radii), blend, matrix, pick(rng, 2.0, 4.0)))
        else:
            other = points[int(rng.integers(len(points)))]
            adds.append(Capsule(tuple(point), tuple(other), radii[0] * 0.5, radii[1] * 0.4, blend))
    cuts = [Ellipsoid(tuple(c), (0.15,) * 3, 0.03) for c in rng.normal(size=(int(rng.integers(0, 4)), 3)) * 0.4]
    return finish(rng, adds, cuts, roughness=2.0)
