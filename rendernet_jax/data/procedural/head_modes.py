"""How heads differ in shape: displacement fields of the mean head, each the change for one standard deviation.

Named fields move one thing that people have names for; the rest are smooth waves along the normal, most of them
symmetric. All are functions of the mean head's points alone, in head units (see ``head_mesh``).
"""

from __future__ import annotations

import numpy as np

from .head_mesh import mean_surface, sphere

COUNT = 40
SPREAD = 0.8  # of all deviations: how unlike each other heads are
SYMMETRIC_WAVES, LOPSIDED_WAVES = 9, 3
_SEED = 20181


def shape_modes() -> dict[str, np.ndarray]:
    """Displacements [V, 3] for one standard deviation by name, those that move most first."""
    modes = {**_named(), **_waves()}
    assert len(modes) == COUNT
    order = sorted(modes, key=lambda name: -(modes[name] ** 2).sum())
    return {name: SPREAD * modes[name] for name in order}


def _named() -> dict[str, np.ndarray]:
    points, normals = mean_surface()
    x, y, z = points.T
    side = np.tanh(x / 0.03)  # +1 on the right, -1 on the left, smooth between
    right, up, front = np.eye(3)

    def near(centre, spread):  # a bell about a point and its mirror image
        spread = np.broadcast_to(spread, 3)
        far = ((np.abs(x) - centre[0]) / spread[0]) ** 2
        return np.exp(-(far + ((y - centre[1]) / spread[1]) ** 2 + ((z - centre[2]) / spread[2]) ** 2) / 2)[:, None]

    def step(value, width):  # 0 to 1 around value = 0
        return (0.5 + 0.5 * np.tanh(value / width))[:, None]

    face = step(z - 0.12, 0.08)
    low = step(-0.16 - y, 0.07) * step(y + 0.46, 0.04) * step(z + 0.02, 0.06)  # jaw and chin
    neck = step(-0.40 - y, 0.04) * step(0.24 - z, 0.05)
    ear = near((0.31, -0.035, -0.05), (0.03, 0.075, 0.05))
    sideways = x[:, None] * right
    tip, wings = near((0, -0.11, 0.40), (0.045, 0.04, 0.06)), near((0.045, -0.12, 0.36), (0.03, 0.04, 0.05))
    lips, eyes = near((0, -0.25, 0.345), (0.07, 0.04, 0.06)), near((0.112, 0.015, 0.3), (0.06, 0.045, 0.08))
    hair = hair_cover()[:, None]
    return {
        "width": 0.07 * sideways,
        "height": 0.05 * y[:, None] * up,
        "depth": 0.06 * z[:, None] * front,
        "crown": 0.030 * step(y - 0.22, 0.09) * up,
        "back of the head": -0.025 * step(-0.12 - z, 0.1) * step(y + 0.2, 0.06) * front,
        "forehead": 0.018 * near((0, 0.27, 0.22), (0.2, 0.1, 0.2)) * front,
        "temples": 0.012 * near((0.24, 0.16, 0.12), (0.08, 0.1, 0.1)) * side[:, None] * right,
        "hair volume": 0.016 * hair * normals,
        "brow": 0.011 * near((0.1, 0.09, 0.28), (0.09, 0.03, 0.08)) * front,
        "brow height": 0.010 * near((0.1, 0.085, 0.28), (0.09, 0.04, 0.08)) * up,
        "cheekbones": 0.013 * near((0.18, -0.04, 0.2), (0.06, 0.06, 0.08)) * (side[:, None] * right + 0.4 * front),
        "cheeks": 0.016 * near((0.16, -0.17, 0.18), (0.07, 0.07, 0.1)) * normals,
        "jaw width": 0.11 * low * sideways,
        "jaw forward": 0.016 * low * face * front,
        "chin length": -0.022 * step(-0.28 - y, 0.05) * step(y + 0.47, 0.03) * step(z - 0.05, 0.06) * up,
        "chin": 0.018 * near((0, -0.37, 0.3), (0.07, 0.045, 0.08)) * front,
        "nose length": 0.020 * near((0, -0.08, 0.40), (0.045, 0.075, 0.07)) * front,
        "nose width": 0.009 * wings * side[:, None] * right + 0.003 * wings * front,
        "nose tip height": 0.009 * tip * up,
        "nose bridge": 0.010 * near((0, 0.0, 0.34), (0.03, 0.05, 0.06)) * front,
        "ears out": 0.014 * ear * side[:, None] * right,
        "ear size": 0.16 * ear * (points - np.stack([x, 0 * x - 0.035, 0 * x - 0.045], -1)),
        "lip fullness": 0.010 * lips * front,
        "mouth width": 0.13 * lips * sideways,
        "eye distance": 0.009 * eyes * side[:, None] * right,
        "eye depth": -0.009 * eyes * front,
        "neck width": 0.11 * neck * (points * [1, 0, 1] + [0, 0, 0.1]),
        "nose aside": 0.007 * near((0, -0.09, 0.39), (0.05, 0.07, 0.07)) * right,
    }


def _waves() -> dict[str, np.ndarray]:
    """Sums of plane waves along the normal, finer and weaker from one to the next."""
    points, normals = mean_surface()
    mirrored = sphere()[2]
    rng = np.random.default_rng(_SEED)
    modes = {}
    for number in range(SYMMETRIC_WAVES + LOPSIDED_WAVES):
        lopsided = number >= SYMMETRIC_WAVES
        rank = number - SYMMETRIC_WAVES * lopsided
        waves = smooth_field(rng, points, 1.0 + 0.18 * rank)
        waves = waves - waves[mirrored] if lopsided else waves + waves[mirrored]
        deviation = (0.0045 if lopsided else 0.007) / (1 + 0.12 * rank)
        waves *= deviation / np.sqrt((waves**2).mean())
        modes[f"{'lopsided' if lopsided else 'smooth'} {rank + 1}"] = waves[:, None] * normals
    return modes


def smooth_field(rng: np.random.Generator, points: np.ndarray, frequency: float, count: int = 6) -> np.ndarray:
    """A random smooth function [V] of space: plane waves of about ``frequency`` periods across a head."""
    vectors = rng.normal(size=(3, count))
    vectors *= 2 * np.pi * frequency * rng.uniform(0.7, 1.3, count) / np.linalg.norm(vectors, axis=0)
    return np.sin(points @ vectors + rng.uniform(0, 2 * np.pi, count)).sum(1)


def hair_line(points: np.ndarray) -> np.ndarray:
    """How far [V] a point lies behind the hairline, in head units: negative on the face, the ears and the neck."""
    x, y, z = points.T
    line = np.minimum((y - 0.285 - 1.75 * (z - 0.235)) / 2.0, y + 0.27)
    sideburn = 0.05 - np.sqrt(((np.abs(x) - 0.27) / 0.6) ** 2 + ((y + 0.04) / 1.5) ** 2 + (z - 0.045) ** 2)
    ear = np.sqrt(((np.abs(x) - 0.315) / 0.6) ** 2 + ((y + 0.035) / 1.35) ** 2 + ((z + 0.045) / 0.9) ** 2) - 0.085
    return np.minimum(np.maximum(line, sideburn), ear)


def hair_cover() -> np.ndarray:
    """Share [V] of hair on the mean head."""
    return 0.5 + 0.5 * np.tanh(hair_line(mean_surface()[0]) / 0.012)
