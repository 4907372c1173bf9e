"""The mean head: a closed mesh of fixed topology, the sphere's directions cast onto a smooth union of solids.

Head units: about 1 from the crown to the collar, which lies below y = -0.6; the chin is near y = -0.42, the eyes near
y = 0.02 and the nose's tip near z = 0.45. x is right, y up, z front.
"""

from __future__ import annotations

import functools

import numpy as np

from .fields import Capsule, Ellipsoid
from .parts import turn

CELLS = 40  # of a cube's edge, even; the mesh has 6 CELLS^2 + 2 vertices
CENTRE = np.array([0.0, 0.02, -0.02], np.float32)  # from which every point of the surface is seen
EYE = np.array([0.112, 0.012, 0.30])  # of x > 0
NOSE = np.array([0.0, -0.11, 0.43])
MOUTH = np.array([0.0, -0.245, 0.36])
COLLAR = -0.6  # y of the flat bottom
_REACH = 0.85  # of the rays
_STEPS = 64
_SMOOTHINGS = 2  # passes, which take off what grazing rays leave ragged


@functools.cache
def sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit directions [V, 3] (denser towards eyes, nose and mouth), outward faces [F, 3], mirror image [V] in x = 0."""
    n = CELLS
    lattice = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lattice = lattice[((lattice == 0) | (lattice == n)).any(1)]
    index = np.full((n + 1,) * 3, -1)
    index[tuple(lattice.T)] = np.arange(len(lattice))
    mirrored = index[n - lattice[:, 0], lattice[:, 1], lattice[:, 2]]
    cube = np.tan((2 * lattice / n - 1) * np.pi / 4)
    directions = _unit(_unit(cube) + [0, 0, 0.35])  # conformal, and 1.35 times as fine in front
    for centre, spread, pull in ((NOSE, 0.2, 0.35), (MOUTH, 0.24, 0.4), (EYE, 0.2, 0.5), (EYE * [-1, 1, 1], 0.2, 0.5)):
        offset = directions - _unit(centre - CENTRE)
        near = np.exp(-(offset**2).sum(1, keepdims=True) / (2 * spread**2))
        directions = _unit(directions - pull * near * offset)
    directions = (directions + directions[mirrored] * [-1, 1, 1]) / 2
    return _unit(directions), _cube_faces(lattice, index, mirrored), mirrored


@functools.cache
def mean_surface() -> tuple[np.ndarray, np.ndarray]:
    """Points [V, 3] and unit normals [V, 3] of the mean head, in head units, symmetric in x."""
    directions, faces, mirrored = sphere()
    right = np.flatnonzero(directions[:, 0] > -1e-9)
    rays = directions[right].astype(np.float32)
    near, step = np.full(len(right), _REACH, np.float32), np.float32((_REACH - 0.1) / _STEPS)
    out = np.arange(len(right))
    while len(out):  # inward, to the first point inside
        out = out[_distance(CENTRE + (near[out] - step)[:, None] * rays[out]) > 0]
        near[out] -= step
    far = near - step
    for _ in range(12):
        middle = (near + far) / 2
        inside = _distance(CENTRE + middle[:, None] * rays) <= 0
        near, far = np.where(inside, near, middle), np.where(inside, middle, far)
    points = np.zeros_like(directions)
    points[right] = CENTRE + near[:, None] * rays
    points[mirrored[right]] = points[right] * [-1, 1, 1]
    for _ in range(_SMOOTHINGS):
        points = points + (_neighbours(points, faces) - points) / 2
    points = (points + points[mirrored] * [-1, 1, 1]) / 2
    return points, normals(points, faces)


def normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3]."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, faces[:, corner], area)
    return _unit(total)


def _neighbours(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Mean [V, 3] of the vertices that share a triangle with each, in a closed mesh."""
    total, count = np.zeros_like(points), np.bincount(faces.ravel(), minlength=len(points))
    for corner in range(3):
        np.add.at(total, faces[:, corner], points[faces[:, (corner + 1) % 3]])
    return total / count[:, None]


def _cube_faces(lattice, index, mirrored) -> np.ndarray:
    """Triangles of the cube's lattice; those of x < 0 are the mirror images of the others."""
    n, faces = CELLS, []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        for side in (0, n):
            corner = lattice[(lattice[:, axis] == side) & (lattice[:, others] < n).all(1)]
            step = np.zeros((2, 3), int)
            step[0, others[0]] = step[1, others[1]] = 1
            a, b, c, d = (index[tuple((corner + s).T)] for s in (0 * step[0], step[0], step.sum(0), step[1]))
            faces.append(np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]))
    faces = np.concatenate(faces)
    faces = faces[lattice[faces, 0].mean(1) > n / 2]
    corners = lattice[faces] - n / 2
    inward = np.einsum(
        "ij,ij->i", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    faces = np.where((inward < 0)[:, None], faces[:, ::-1], faces)
    return np.concatenate([faces, mirrored[faces][:, ::-1]])


# --- the solid --------------------------------------------------------------------------------------------------------


def _pair(*solids):
    """Solids and their mirror images in x."""
    for solid in solids:
        yield solid
        if isinstance(solid, Capsule):
            yield Capsule(_flip(solid.a), _flip(solid.b), solid.ra, solid.rb, solid.blend)
        else:
            matrix = None if solid.matrix is None else np.diag([-1.0, 1, 1]) @ solid.matrix @ np.diag([-1.0, 1, 1])
            yield Ellipsoid(_flip(solid.centre), solid.radii, solid.blend, matrix, solid.power)


def _flip(point):
    return (-point[0], point[1], point[2])


_EYE = (float(EYE[0]), float(EYE[1]), 0.24)
_ADDS = (
    Ellipsoid((0, 0.13, -0.06), (0.29, 0.325, 0.36), 0.05),  # skull
    Ellipsoid((0, -0.08, 0.08), (0.235, 0.34, 0.25), 0.10),  # face
    *_pair(Capsule((0.165, -0.19, 0.02), (0.055, -0.36, 0.21), 0.065, 0.06, 0.10)),  # jaw
    Ellipsoid((0, -0.37, 0.262), (0.08, 0.058, 0.066), 0.07),  # chin
    *_pair(Ellipsoid((0.15, -0.06, 0.215), (0.07, 0.05, 0.06), 0.10)),  # cheekbones
    *_pair(Capsule((0.05, 0.085, 0.298), (0.165, 0.085, 0.235), 0.03, 0.028, 0.06)),  # brow ridge
    Ellipsoid((0, -0.22, 0.255), (0.115, 0.10, 0.08), 0.08),  # muzzle
    Capsule((0, 0.09, 0.30), (0, -0.10, 0.372), 0.026, 0.032, 0.05),  # bridge of the nose
    Ellipsoid((0, -0.108, 0.388), (0.042, 0.037, 0.044), 0.03),  # its tip
    *_pair(Ellipsoid((0.045, -0.125, 0.35), (0.028, 0.027, 0.036), 0.025)),  # its wings
    Ellipsoid((0, -0.228, 0.327), (0.08, 0.021, 0.036), 0.012),  # lips
    Ellipsoid((0, -0.27, 0.322), (0.068, 0.026, 0.037), 0.012),
    Capsule((0, -0.15, -0.09), (0, -0.85, -0.11), 0.15, 0.17, 0.10),  # neck
    *_pair(Ellipsoid((0.283, -0.035, -0.04), (0.034, 0.1, 0.062), 0.025, turn("y", 0.5) @ turn("x", -0.2))),  # ears
)
_SOCKETS = tuple(_pair(Ellipsoid((0.112, 0.022, 0.34), (0.072, 0.04, 0.06), 0.045)))
_EYEBALLS = tuple(_pair(Ellipsoid(_EYE, (0.055, 0.05, 0.057), 0.02)))


def _distance(points: np.ndarray) -> np.ndarray:
    """About the signed distance [N] to the mean head; polynomial smooth unions after Quilez, as in ``fields``."""
    x, y, z = points.T
    field = np.full(len(points), 1.0)
    for solids, sign in ((_ADDS, 1.0), (_SOCKETS, -1.0), (_EYEBALLS, 1.0)):
        for solid in solids:
            d, here = solid.distance(x, y, z), sign * field
            h = np.maximum(solid.blend - np.abs(here - d), 0) / solid.blend
            field = sign * (np.minimum(here, d) - h * h * solid.blend / 4)
    h = np.maximum(0.06 - np.abs(field - COLLAR + y), 0) / 0.06
    return np.maximum(field, COLLAR - y) + h * h * 0.06 / 4


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
