"""Random choices that every family makes."""

from __future__ import annotations

import numpy as np


def pick(rng: np.random.Generator, *options):
    """One of the options; an option given as ``(value, weight)`` with a float weight is drawn that much more often."""
    weighted = [o if isinstance(o, tuple) and len(o) == 2 and isinstance(o[1], float) else (o, 1.0) for o in options]
    weights = np.array([w for _, w in weighted])
    return weighted[int(rng.choice(len(weighted), p=weights / weights.sum()))][0]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def thin(rng: np.random.Generator, low: float, high: float) -> float:
    """A size drawn log-uniformly, as thicknesses are spread in real objects."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def sides_of(rng: np.random.Generator) -> int:
    """How many sides a round part has: real files go from coarse to smooth."""
    return int(pick(rng, (6, 0.5), (8, 1.0), (12, 2.0), (20, 2.0), (32, 1.0)))
