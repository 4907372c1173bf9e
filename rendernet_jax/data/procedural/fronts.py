"""Fronts of drawers and doors, with handles. Metres; they face +z."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick, thin
from .outlines import round_corners
from .parts import Part, box, place, revolve, tube


def drawer_front(rng, x0, x1, y0, y1, z) -> list[Part]:
    """A front that stands before the carcass by its thickness, with a handle or a knob."""
    t = thin(rng, 0.006, 0.025)
    front = box((x0, y0, z - 0.002), (x1, y1, z + t), pick(rng, 0.0, t * 0.4))
    x, y, out = (x0 + x1) / 2, (y0 + y1) / 2, z + t
    y = y if chance(rng, 0.7) else y1 - 0.2 * (y1 - y0)
    reach = rng.uniform(0.015, 0.04)
    kind = pick(rng, "knob", "bar", "strip", "none")
    parts = [front]
    if kind == "knob":
        r = thin(rng, 0.006, 0.02)
        knob = revolve([(0.4 * r, 0), (0.4 * r, reach * 0.5), (r, reach * 0.7), (r * 0.8, reach), (0, reach)], 12)
        parts.append(place(knob, np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), (x, y, out)))
    elif kind == "bar":
        half, r = (x1 - x0) * rng.uniform(0.1, 0.35), thin(rng, 0.003, 0.009)
        path = [
            (x - half, y, out - 0.005),
            (x - half, y, out + reach),
            (x + half, y, out + reach),
            (x + half, y, out - 0.005),
        ]
        parts.append(tube(round_corners(path, 0.02), r, 8))
    elif kind == "strip":
        parts.append(box((x - (x1 - x0) * 0.3, y1 - 0.02, out), (x + (x1 - x0) * 0.3, y1 - 0.008, out + reach * 0.6)))
    return parts
