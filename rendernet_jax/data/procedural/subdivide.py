"""Finer triangles for parts whose colours vary: colours are kept at vertices."""

from __future__ import annotations

import numpy as np

from .parts import Part

_ROUNDS = 24


def subdivide(part: Part, longest: float) -> Part:
    """The same surface with no edge longer than ``longest``: longer ones are halved, round by round.

    Neighbours that share an edge's vertices share its middle, so that closed parts stay closed.
    """
    vertices, faces = part
    for _ in range(_ROUNDS):
        ends = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], 2)
        long = ((vertices[ends[..., 0]] - vertices[ends[..., 1]]) ** 2).sum(2) > longest**2
        if not long.any():
            break
        halved, edge_of = np.unique(ends[long] @ [len(vertices), 1], return_inverse=True)
        middle = np.full(faces.shape, -1)
        middle[long] = len(vertices) + edge_of
        low, high = np.divmod(halved, len(vertices))
        vertices = np.concatenate([vertices, (vertices[low] + vertices[high]) / 2])
        faces = _split(vertices, faces, middle)
    return vertices, faces


def surface_area(part: Part) -> float:
    """Area of all triangles."""
    a, b, c = (part[0][part[1][:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _split(vertices, faces, middle) -> np.ndarray:
    """Faces [F', 3] after splitting at the middles [F, 3] of edges 01, 12 and 20, -1 where an edge stays whole."""
    count = (middle >= 0).sum(1)
    pieces = [faces[count == 0]]

    some = count == 1  # turned until the split edge comes first
    (a, b, c), (m, _, _) = _turned(faces[some], middle[some], (middle[some] >= 0).argmax(1))
    pieces += [np.stack([a, m, c], -1), np.stack([m, b, c], -1)]

    some = count == 2  # turned until the whole edge comes last
    (a, b, c), (m, n, _) = _turned(faces[some], middle[some], (middle[some] < 0).argmax(1) + 1)
    across = np.linalg.norm(vertices[a] - vertices[n], axis=1) <= np.linalg.norm(vertices[m] - vertices[c], axis=1)
    pieces.append(np.stack([m, b, n], -1))
    pieces.append(np.where(across[:, None], np.stack([a, m, n], -1), np.stack([a, m, c], -1)))
    pieces.append(np.where(across[:, None], np.stack([a, n, c], -1), np.stack([m, n, c], -1)))

    some = count == 3
    (a, b, c), (m, n, o) = faces[some].T, middle[some].T
    pieces += [np.stack(corners, -1) for corners in ((a, m, o), (m, b, n), (o, n, c), (m, n, o))]
    return np.concatenate(pieces)


def _turned(faces, middle, first):
    """Corners and middles, each three arrays [F], beginning with edge ``first``."""
    order = (first[:, None] + np.arange(3)) % 3
    return np.take_along_axis(faces, order, 1).T, np.take_along_axis(middle, order, 1).T
