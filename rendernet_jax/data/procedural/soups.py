"""Triangle soups: rods, sheets, wires and grilles, many far thinner than a voxel."""

from __future__ import annotations

import numpy as np

from .csg import spin, torus
from .draws import chance, pick, sides_of, thin
from .outlines import rectangle, spline, superellipse
from .parts import Part, beam, cuboid, extrude, place, revolve, rod, sheet, shell, tube, turn


def soup(rng) -> list[Part]:
    """A bag of rods, sheets, wires, boxes and discs: parts far thinner than a voxel beside thick ones, some open."""
    make = pick(rng, (scatter, 2.0), (lattice, 1.0), (fan_of_sheets, 1.0), (wires, 1.0))
    return make(rng)


def scatter(rng) -> list[Part]:
    """Parts of any kind at random places, mostly axis-aligned or mostly tilted."""
    tilted, parts = chance(rng, 0.5), []
    for _ in range(int(rng.integers(4, 18))):
        matrix = spin(rng) if tilted else np.eye(3)[rng.permutation(3)]
        t = thin(rng, 0.0016, 0.15)
        size = rng.uniform(0.1, 0.8, 2)
        kind = int(rng.integers(5))
        if kind == 0:
            part = cuboid((0, 0, 0), (size[0], t, size[1]))
        elif kind == 1:
            part = rod((0, -size[0] / 2, 0), (0, size[0] / 2, 0), t / 2, sides=sides_of(rng))
        elif kind == 2:
            part = revolve([(size[0] / 2, -t / 2), (size[0] / 2, t / 2)], 2 * sides_of(rng))
        elif kind == 3:
            part = torus(size[0] / 2, min(t, size[0] / 2), 32, 8)
        else:
            u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9), indexing="ij")
            bent = np.stack(
                [u * size[0] / 2, 0.2 * rng.normal() * u**2 + 0.2 * rng.normal() * v**2, v * size[1] / 2], -1
            )
            part = sheet(bent) if chance(rng, 0.3) else shell(bent, t)
        parts.append(place(part, matrix, rng.uniform(-0.35, 0.35, 3)))
    return parts


def lattice(rng) -> list[Part]:
    """A frame of rods or bars along three axes: grilles, cages, scaffolds."""
    n, size, r = rng.integers(1, 6, 3), rng.uniform(0.3, 1.0, 3), thin(rng, 0.0016, 0.03)
    round_, at = chance(rng, 0.5), [np.linspace(-s / 2, s / 2, k + 1) for s, k in zip(size, n)]
    parts = []
    for axis in range(3):
        if chance(rng, 0.15):
            continue
        i, j = [k for k in range(3) if k != axis]
        thick = r * rng.uniform(0.5, 2.0)
        for a in at[i]:
            for b in at[j]:
                start = np.zeros(3)
                start[i], start[j], start[axis] = a, b, -size[axis] / 2
                end = start.copy()
                end[axis] *= -1
                parts.append(rod(start, end, thick, sides=6) if round_ else beam(start, end, 2 * thick, 2 * thick))
    return parts + [cuboid((0, 0, 0), size * [1, 0.02, 1])]


def fan_of_sheets(rng) -> list[Part]:
    """Parallel or turning thin boards."""
    count, t = int(rng.integers(3, 16)), thin(rng, 0.0016, 0.04)
    pitch, twist, part = rng.uniform(0.04, 0.15), pick(rng, 0.0, rng.uniform(-0.3, 0.3)), None
    outline = pick(rng, rectangle(1.0, rng.uniform(0.2, 1)), superellipse(0.5, 0.4, 3, 32))
    part = extrude(outline, 0, t, "y")
    parts = [place(part, turn("y", twist * i), (0, i * pitch, 0)) for i in range(count)]
    parts += [rod((x, 0, 0), (x, count * pitch, 0), thin(rng, 0.004, 0.03)) for x in pick(rng, [0.0], [-0.3, 0.3])]
    return [place(parts, pick(rng, np.eye(3), turn("x", np.pi / 2), turn("z", np.pi / 2)))]


def wires(rng) -> list[Part]:
    """Bent wires and springs on a plate."""
    parts = [cuboid((0, -0.42, 0), (0.7, thin(rng, 0.004, 0.1), 0.7))] if chance(rng, 0.6) else []
    for _ in range(int(rng.integers(1, 9))):
        path = spline(rng.uniform(-0.45, 0.45, (int(rng.integers(3, 7)), 3)), 40)
        parts.append(tube(path, thin(rng, 0.002, 0.03), 8))
    return parts
