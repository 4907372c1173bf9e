"""Solid patterns and palettes: functions of space that say how much of a second colour a point has.

A pattern is made for a ``width``, about the size of what it repeats, in the units of the points; :func:`pattern` draws
one, :func:`palette` the colours of a material (sRGB-like values in [0, 1], meant as albedo).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

from .draws import chance, pick

Pattern = Callable[[np.ndarray], np.ndarray]  # points [N, 3] -> [N] in [0, 1]

_WOODS = ((0.72, 0.53, 0.34), (0.55, 0.36, 0.20), (0.40, 0.24, 0.14), (0.82, 0.68, 0.48), (0.50, 0.25, 0.15))
_SOFT = 0.006  # half the width of an edge between two colours


def palette(rng, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """First and second colour, [3] each, of a material: wood, metal, cloth, plastic, ink or dark."""
    if kind == "wood":
        first = np.array(_WOODS[int(rng.integers(len(_WOODS)))]) * rng.uniform(0.8, 1.15)
        return _clip(first), _clip(first * rng.uniform(0.45, 0.75))
    if kind == "metal":
        first = rng.uniform(0.3, 0.85) * (1 + rng.uniform(-0.06, 0.06, 3))
        if chance(rng, 0.25):  # brass and copper
            first = np.array([0.75, 0.55, 0.3]) * rng.uniform(0.7, 1.2) * (1 + rng.uniform(-0.1, 0.1, 3))
        return _clip(first), _clip(first * rng.uniform(0.4, 0.8))
    if kind == "ink":
        black, white = np.full(3, rng.uniform(0.02, 0.12)), np.full(3, rng.uniform(0.88, 1.0))
        return (black, white) if chance(rng, 0.5) else (white, black)
    ranges = {
        "cloth": ((0.15, 0.65), (0.3, 0.9)),
        "plastic": ((0.75, 1.0), (0.55, 1.0)),
        "dark": ((0.4, 1.0), (0.1, 0.35)),
    }[kind]
    first, second = (_hue(rng, *ranges) for _ in range(2))
    other = pick(rng, ("hue", 2.0), ("white", 1.0), ("black", 0.5), ("shade", 1.0))
    if other == "white":
        second = np.full(3, rng.uniform(0.85, 1.0))
    elif other == "black":
        second = np.full(3, rng.uniform(0.02, 0.12))
    elif other == "shade":
        second = first * rng.uniform(0.35, 0.7)
    return first, second


def pattern(rng, width: float) -> Pattern:
    """Any pattern, for cloth, paint and plastics."""
    make = pick(rng, (stripes, 2.0), (checks, 2.0), (dots, 1.5), (gradient, 1.0), (blotches, 1.0))
    return make(rng, width)


def stripes(rng, width: float) -> Pattern:
    """Two colours in turn along a direction, each ``width`` thick, or one of them thinner."""
    direction, phase, share = _direction(rng), rng.uniform(0, 2), rng.uniform(0.3, 0.7)

    def weight(points):
        t = (points @ direction / width + phase) % 2 / 2
        return _edge((np.minimum(t, 1 - t) - share / 2) * 2 * width)

    return weight


def checks(rng, width: float) -> Pattern:
    """Cubes of two colours in turn."""
    axes, phase = _axes(rng), rng.uniform(0, 2, 3)

    def weight(points):
        waves = np.sin(np.pi * (points @ axes / width + phase)) * width / np.pi
        return 0.5 + 0.5 * np.tanh(waves / _SOFT).prod(1)

    return weight


def dots(rng, width: float) -> Pattern:
    """Balls in a lattice, ``width`` across; what is cut between two layers of them shows none."""
    axes, phase, pitch = _axes(rng), rng.uniform(0, 1, 3), width * rng.uniform(1.3, 1.8)

    def weight(points):
        offset = ((points @ axes / pitch + phase) % 1 - 0.5) * pitch
        return _edge(0.6 * width - np.linalg.norm(offset, axis=1))

    return weight


def gradient(rng, width: float) -> Pattern:
    """From one colour to the other, over three to ten widths, and back."""
    direction, phase, length = _direction(rng), rng.uniform(0, 1), max(width * rng.uniform(3, 10), 0.2)
    return lambda points: 0.5 - 0.5 * np.cos(2 * np.pi * (points @ direction / (2 * length) + phase))


def blotches(rng, width: float) -> Pattern:
    """Irregular patches, as of a cow or of camouflage."""
    field, level = _waves(rng, width, 7), rng.uniform(-0.6, 0.6)
    return lambda points: _edge((field(points) - level) * width / 4)


def grain(rng, width: float) -> Pattern:
    """Rings of a trunk along an axis of the world, bent a little."""
    along = int(rng.integers(3))
    across = [k for k in range(3) if k != along]
    centre, bend = rng.uniform(-0.8, 0.8, 2), _waves(rng, 0.4, 4)
    sharp = rng.uniform(1.0, 2.5)

    def weight(points):
        squeezed = points.copy()
        squeezed[:, along] *= 0.25
        radius = np.linalg.norm(points[:, across] - centre, axis=1) + 0.5 * width * bend(squeezed)
        return (0.5 + 0.5 * np.sin(2 * np.pi * radius / width)) ** sharp

    return weight


def _waves(rng, width: float, count: int) -> Pattern:
    """A smooth random function, of unit deviation, whose bumps are about ``width`` across."""
    vectors = rng.normal(size=(3, count))
    vectors *= np.pi / width * rng.uniform(0.6, 1.2, count) / np.linalg.norm(vectors, axis=0)
    phase = rng.uniform(0, 2 * np.pi, count)
    return lambda points: np.sin(points @ vectors + phase).sum(1) / np.sqrt(count / 2)


def _edge(distance: np.ndarray) -> np.ndarray:
    """0 to 1 where a signed distance passes 0."""
    return 0.5 + 0.5 * np.tanh(distance / _SOFT)


def _axes(rng) -> np.ndarray:
    """Orthonormal columns [3, 3]: mostly the world's, at times turned about y by 45 degrees."""
    if chance(rng, 0.75):
        return np.eye(3)
    s = np.sqrt(0.5)
    return np.array([[s, 0, -s], [0, 1, 0], [s, 0, s]])


def _direction(rng) -> np.ndarray:
    """Unit vector [3]: mostly an axis."""
    if chance(rng, 0.7):
        return np.eye(3)[int(rng.integers(3))]
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _hue(rng, saturation, value) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)))


def _clip(color) -> np.ndarray:
    return np.clip(color, 0.0, 1.0)
