"""Smooth unions of capsules and ellipsoids on a grid, and their iso-surface (Open3D, imported when called)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rendernet_jax.data.optional import import_open3d

from .parts import Part, outward


@dataclass(frozen=True)
class Capsule:
    """A ball that moves from ``a`` to ``b`` while its radius goes from ``ra`` to ``rb``; ``blend`` is how far it melts
    into what it touches.
    """

    a: tuple
    b: tuple
    ra: float
    rb: float
    blend: float = 0.05

    def bounds(self):
        a, b = np.asarray(self.a, float), np.asarray(self.b, float)
        return np.minimum(a - self.ra, b - self.rb), np.maximum(a + self.ra, b + self.rb)

    def distance(self, x, y, z):
        a = np.asarray(self.a, np.float32)
        d = np.asarray(self.b, np.float32) - a
        x, y, z = x - a[0], y - a[1], z - a[2]
        h = np.clip((x * d[0] + y * d[1] + z * d[2]) * (1 / max(float(d @ d), 1e-9)), 0, 1)
        return np.sqrt((x - h * d[0]) ** 2 + (y - h * d[1]) ** 2 + (z - h * d[2]) ** 2) - (
            self.ra + (self.rb - self.ra) * h
        )


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid of half-axes ``radii``, turned by ``matrix``; ``power`` above 2 squares it off."""

    centre: tuple
    radii: tuple
    blend: float = 0.05
    matrix: np.ndarray | None = None
    power: float = 2.0

    def bounds(self):
        matrix = np.eye(3) if self.matrix is None else self.matrix
        reach = np.abs(matrix) @ np.asarray(self.radii, float)
        return np.asarray(self.centre, float) - reach, np.asarray(self.centre, float) + reach

    def distance(self, x, y, z):
        r = np.asarray(self.radii, np.float32)
        x, y, z = (v / s for v, s in zip(_local(self, x, y, z), r))
        if self.power == 2.0:
            length = np.sqrt(x * x + y * y + z * z)
        else:
            length = (np.abs(x) ** self.power + np.abs(y) ** self.power + np.abs(z) ** self.power) ** (1 / self.power)
        # First-order distance: (f - 1) / |grad f|, bounded by the half-axes, is enough for blending.
        return (length - 1) * np.float32(r.min() + 0.3 * (r.mean() - r.min()))


MAX_FACES = 56_000


@dataclass(frozen=True)
class Block:
    """A box of half-sides ``radii`` with edges rounded by ``rounding``, turned by ``matrix``."""

    centre: tuple
    radii: tuple
    blend: float = 0.02
    matrix: np.ndarray | None = None
    rounding: float = 0.0

    def bounds(self):
        matrix = np.eye(3) if self.matrix is None else self.matrix
        reach = np.abs(matrix) @ np.asarray(self.radii, float)
        return np.asarray(self.centre, float) - reach, np.asarray(self.centre, float) + reach

    def distance(self, x, y, z):
        x, y, z = _local(self, x, y, z)
        a, b, c = (np.abs(v) - np.float32(r - self.rounding) for v, r in zip((x, y, z), self.radii))
        outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2 + np.maximum(c, 0) ** 2)
        return outside + np.minimum(np.maximum(np.maximum(a, b), c), 0) - np.float32(self.rounding)


def _local(primitive, x, y, z):
    """Coordinates in the axes of a primitive with a centre and perhaps a matrix."""
    c = np.asarray(primitive.centre, np.float32)
    x, y, z = x - c[0], y - c[1], z - c[2]
    if primitive.matrix is None:
        return x, y, z
    m = np.asarray(primitive.matrix, np.float32).T
    return tuple(m[i, 0] * x + m[i, 1] * y + m[i, 2] * z for i in range(3))


def solidify(adds, cuts=(), resolution: int = 72) -> Part:
    """Iso-surface of the smooth union of ``adds`` minus ``cuts``.

    ``resolution`` cells lie along the longest side, fewer where the surface would exceed :data:`MAX_FACES`.
    """
    part = _surface(adds, cuts, resolution)
    if len(part[1]) > MAX_FACES:
        part = _surface(adds, cuts, int(0.95 * resolution * (MAX_FACES / len(part[1])) ** 0.5))
    return part


def _surface(adds, cuts, resolution: int) -> Part:
    low = np.min([a.bounds()[0] for a in adds], axis=0)
    high = np.max([a.bounds()[1] for a in adds], axis=0)
    step = float((high - low).max()) / resolution
    low = low - 4 * step
    shape = np.ceil((high - low) / step).astype(int) + 5
    axes = [np.float32(low[i]) + np.float32(step) * np.arange(shape[i], dtype=np.float32) for i in range(3)]
    field = np.full(shape, 4 * step, np.float32)
    for primitive in adds:
        _apply(field, axes, primitive, step, 1.0)
    for primitive in cuts:
        _apply(field, axes, primitive, step, -1.0)
    vertices, faces = isosurface(field)
    return outward(low + step * vertices, faces)


def _apply(field, axes, primitive, step, sign) -> None:
    """Smooth minimum (polynomial of degree 2, after Quilez) with a primitive; ``sign`` -1 subtracts it."""
    k = np.float32(max(primitive.blend, 1e-3))
    bounds = primitive.bounds()
    reach = 2 * float(k) + 3 * step
    window = tuple(
        slice(
            max(int((bounds[0][i] - reach - axes[i][0]) / step), 0),
            max(int((bounds[1][i] + reach - axes[i][0]) / step) + 2, 0),
        )
        for i in range(3)
    )
    x, y, z = np.ix_(*(axes[i][window[i]] for i in range(3)))
    d = primitive.distance(x, y, z)
    here = np.float32(sign) * field[window]
    h = np.maximum(k - np.abs(here - d), 0) / k
    field[window] = np.float32(sign) * (np.minimum(here, d) - h * h * (k * np.float32(0.25)))


def isosurface(field: np.ndarray) -> Part:
    """Zero level of a field [X, Y, Z] (negative inside), in index units."""
    o3d = import_open3d()

    surface = o3d.t.geometry.TriangleMesh.create_isosurfaces(
        o3d.core.Tensor(np.ascontiguousarray(field, np.float32)), [0.0]
    )
    if surface.is_empty():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    return surface.vertex.positions.numpy()[:, ::-1].astype(np.float64), surface.triangle.indices.numpy().astype(
        np.int64
    )


def low_poly(part: Part, count: int) -> Part:
    """The part with about ``count`` faces, by quadric edge collapse (Garland and Heckbert 1997, Open3D)."""
    o3d = import_open3d()

    vertices, faces = part
    if len(faces) <= count:
        return part
    mesh = o3d.t.geometry.TriangleMesh(vertices.astype(np.float32), faces.astype(np.int32))
    mesh = mesh.simplify_quadric_decimation(1 - count / len(faces))
    return mesh.vertex.positions.numpy().astype(np.float64), mesh.triangle.indices.numpy().astype(np.int64)


def vertex_normals(part: Part) -> np.ndarray:
    """Area-weighted unit normals [V, 3]."""
    vertices, faces = part
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)
    total = np.stack([sum(np.bincount(faces[:, i], area[:, j], len(vertices)) for i in range(3)) for j in range(3)], -1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def bumps(rng, part: Part, amount: float, frequency: float) -> Part:
    """Moves the surface along its normals by a few random waves: fur, folds, scanning noise."""
    vertices, faces = part
    if not len(vertices):
        return part
    offset = np.zeros(len(vertices))
    for octave in range(4):
        waves = rng.normal(size=(3, 4)) * frequency * 1.7**octave
        offset += np.sin(vertices @ waves + rng.uniform(0, 2 * np.pi, 4)).sum(1) * 0.5**octave
    return vertices + vertex_normals(part) * (amount * offset / 4)[:, None], faces
