"""Cells near a surface, and those that it encloses: loops over triangles and bits that Numba compiles.

Cells ``[n, n, n]`` of the cube ``[-.5, .5]^3``, axes x, y, z, are bits: of a row along z, cell k is bit ``k % 64`` of
word ``k // 64``, uint64 ``[n, n, ceil(n / 64)]``. So a flood meets 64 cells at once.

Numba, of the extra ``mesh``, is imported here at once; so import this file where it is used.
"""

import math

import numba
import numpy as np

_TIE = 1e-3  # cells: what is exactly half a cell away counts as near, on both sides
# Cells: more than rounding moves the bounds within which cells are compared with a triangle, which refuses the surplus.
_SLACK = 1e-6
# Sine: of what is narrower, rounding may be all that tells its plane; its edges are as good, being this much apart.
_PARALLEL = 1e-9
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_SHIFTS = tuple(np.uint64(2**i) for i in range(6))
_FOUR_BITS = np.uint64(15)


def _compiled(function):
    """The function, compiled at its first call and kept for later processes where Numba may write."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache
        return numba.njit(function)


def solid(vertices: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """Cells whose centre is within half a cell of a surface, and all that these enclose.

    Enclosed is what a flood from outside the cube, through faces of free cells, does not reach.

    Args:
        vertices: ``[V, 3]``, in ``[-.5, .5]``.
        faces: ``[F, 3]``; one without an area is a line or a point.
        size: cells a side, n.

    Returns:
        uint64 ``[n, n, ceil(n / 64)]``; :func:`unpack` and :func:`count_blocks` read it.
    """
    cells = np.zeros((size, size, -(-size // 64)), np.uint64)
    _mark_shell(vertices[faces].astype(np.float64) * size + (0.5 * size - 0.5), cells)
    used = [np.flatnonzero(cells.any(axis=axes)) for axes in ((1, 2), (0, 2))]
    if len(used[0]):
        box = tuple(slice(along[0], along[-1] + 1) for along in used)  # beyond it all is outside
        cells[box] = _enclosed(np.ascontiguousarray(cells[box]), size)
    return cells


def unpack(cells: np.ndarray) -> np.ndarray:
    """Cells as bool ``[n, n, n]``."""
    bits = np.unpackbits(cells.astype("<u8", copy=False).view(np.uint8), axis=-1, bitorder="little")
    return bits[..., : len(cells)].view(bool)


@_compiled
def count_blocks(cells):
    """How many cells of each block of 4^3 are set: uint8 ``[n / 4]*3``."""
    side = len(cells) // 4
    counts = np.zeros((side, side, side), np.uint8)
    for x in range(4 * side):
        for y in range(4 * side):
            for z in range(side):
                four = (cells[x, y, z // 16] >> np.uint64(4 * (z % 16))) & _FOUR_BITS
                while four:  # clears the lowest set bit
                    four &= four - _ONE
                    counts[x // 4, y // 4, z] += np.uint8(1)
    return counts


# --- the shell ----------------------------------------------------------------------------------------------------


@_compiled
def _mark_shell(corners, cells):
    """Set cells within half a cell of triangles ``[F, 3, 3]``, in cells, whose centres are whole numbers.

    A column of cells, along the axis that a triangle faces most, meets a few near the triangle's plane; those are
    compared with the triangle itself. Columns are those near the part of the triangle that a row of them may meet, so
    that a sliver costs what is near it, and not its bounding box.
    """
    size, reach = len(cells), 0.5 + _TIE
    normal, inward = np.empty(3), np.empty((3, 3))
    low, high, cell = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    for corner in corners:
        flat = _cross_unit(corner[1] - corner[0], corner[2] - corner[0], normal)
        for i in range(3):
            flat |= _cross_unit(normal, corner[(i + 1) % 3] - corner[i], inward[i])
        deep = (_longest(corner) + 2) % 3  # rows of a line follow it
        if not flat:
            deep = np.abs(normal).argmax()
        a, b = (deep + 1) % 3, (deep + 2) % 3
        start, stop = corner[:, a].min() - reach, corner[:, a].max() + reach
        for i in range(max(0, math.ceil(start)), min(size - 1, math.floor(stop)) + 1):
            _bound(corner, a, i, reach + _SLACK, size, low, high)
            for j in range(low[b], high[b] + 1):
                first, last = low[deep], high[deep]
                if not flat:
                    rest = normal[a] * (corner[0, a] - i) + normal[b] * (corner[0, b] - j)
                    middle, spread = corner[0, deep] + rest / normal[deep], reach / abs(normal[deep]) + _SLACK
                    first, last = max(first, math.ceil(middle - spread)), min(last, math.floor(middle + spread))
                for k in range(first, last + 1):
                    cell[a], cell[b], cell[deep] = i, j, k
                    if _is_near(cell, corner, normal, inward, flat, reach):
                        cells[cell[0], cell[1], cell[2] // 64] |= _ONE << np.uint64(cell[2] % 64)


@_compiled
def _longest(corner):
    """The axis along which a triangle is longest."""
    longest, most = 0, -1.0
    for k in range(3):
        side = corner[:, k].max() - corner[:, k].min()
        if side > most:
            longest, most = k, side
    return longest


@_compiled
def _bound(corner, axis, place, reach, size, low, high):
    """Write the first and last cell by axes, within reach of the part of a triangle that is within reach of a plane.

    The plane is across an axis at a place. Ends of the part lie on edges: each is cut where it leaves the reach.
    """
    least, most = np.full(3, np.inf), np.full(3, -np.inf)
    for e in range(3):
        a, b = corner[e], corner[(e + 1) % 3]
        before, along = place - a[axis], b[axis] - a[axis]
        enter, leave = 0.0, 1.0
        if along != 0.0:
            one, other = (before - reach) / along, (before + reach) / along
            enter, leave = max(enter, min(one, other)), min(leave, max(one, other))
        elif abs(before) > reach:
            continue
        if enter > leave:
            continue
        for share in (enter, leave):
            for k in range(3):
                at = a[k] + share * (b[k] - a[k])
                least[k], most[k] = min(least[k], at), max(most[k], at)
    for k in range(3):
        empty = least[k] > most[k]
        low[k] = 0 if empty else max(0, math.ceil(least[k] - reach))
        high[k] = -1 if empty else min(size - 1, math.floor(most[k] + reach))


@_compiled
def _cross_unit(a, b, out):
    """Write the unit vector across two vectors; True, and zeros, if there is none."""
    x, y, z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    length = math.sqrt(x * x + y * y + z * z)
    none = length <= _PARALLEL * math.sqrt((a * a).sum() * (b * b).sum())
    out[0], out[1], out[2] = (0.0, 0.0, 0.0) if none else (x / length, y / length, z / length)
    return none


@_compiled
def _is_near(cell, corner, normal, inward, flat, reach):
    """Whether a point is within reach of a triangle, whose plane is, unless the triangle is ``flat``."""
    if not flat:
        inside = True
        for i in range(3):
            depth = 0.0
            for k in range(3):
                depth += inward[i, k] * (cell[k] - corner[i, k])
            if depth < -reach:
                return False
            inside &= depth >= 0.0
        if inside:
            height = 0.0
            for k in range(3):
                height += normal[k] * (cell[k] - corner[0, k])
            return abs(height) <= reach
    for i in range(3):
        a, b = corner[i], corner[(i + 1) % 3]
        length, along = 0.0, 0.0
        for k in range(3):
            length += (b[k] - a[k]) ** 2
            along += (b[k] - a[k]) * (cell[k] - a[k])
        share = min(max(along / length, 0.0), 1.0) if length > 0.0 else 0.0
        square = 0.0
        for k in range(3):
            square += (cell[k] - a[k] - share * (b[k] - a[k])) ** 2
        if square <= reach * reach:
            return True
    return False


# --- the flood ------------------------------------------------------------------------------------------------------


@_compiled
def _enclosed(cells, size):
    """Cells ``[X, Y, W]`` of a box outside of which all is free, and those that a flood from there does not reach."""
    wide, deep, words = cells.shape
    free, flood = ~cells, np.zeros_like(cells)
    if size % 64:  # bits beyond the cube
        free[:, :, words - 1] &= (_ONE << np.uint64(size % 64)) - _ONE
    for x in range(wide):
        for y in range(deep):
            if x in (0, wide - 1) or y in (0, deep - 1):
                flood[x, y] = free[x, y]
            flood[x, y, 0] |= free[x, y, 0] & _ONE
            flood[x, y, words - 1] |= free[x, y, words - 1] & (_ONE << np.uint64((size - 1) % 64))
    changed = True
    while changed:
        changed = False
        for x in range(wide):
            changed |= _flood_rows(flood[x], free[x])
            for y in range(1, deep):
                changed |= _flow(flood[x, y - 1 : y], flood[x, y : y + 1], free[x, y : y + 1])
            for y in range(deep - 2, -1, -1):
                changed |= _flow(flood[x, y + 1 : y + 2], flood[x, y : y + 1], free[x, y : y + 1])
        for x in range(1, wide):
            changed |= _flow(flood[x - 1], flood[x], free[x])
        for x in range(wide - 2, -1, -1):
            changed |= _flow(flood[x + 1], flood[x], free[x])
    return ~flood


@_compiled
def _flow(source, flood, free):
    """Flood rows ``[Y, W]`` from their neighbours; whether that changed them."""
    new = np.uint64(0)
    for y in range(flood.shape[0]):
        for w in range(flood.shape[1]):
            more = source[y, w] & free[y, w] & ~flood[y, w]
            flood[y, w] |= more
            new |= more
    return new != 0


@_compiled
def _flood_rows(flood, free):
    """Flood rows ``[Y, W]`` along themselves, both ways; whether that changed them.

    Within a word by doubled shifts, as carries run through Kogge and Stone's adder.
    """
    new = np.uint64(0)
    for y in range(flood.shape[0]):
        carry = np.uint64(0)
        for w in range(flood.shape[1]):
            through = free[y, w]
            reached = (flood[y, w] | carry) & through
            if reached != 0 and reached != through:
                for shift in _SHIFTS:
                    reached |= through & (reached << shift)
                    through &= through << shift
            new |= reached ^ flood[y, w]
            flood[y, w], carry = reached, reached >> _TOP
        carry = np.uint64(0)
        for w in range(flood.shape[1] - 1, -1, -1):
            through = free[y, w]
            reached = (flood[y, w] | carry) & through
            if reached != 0 and reached != through:
                for shift in _SHIFTS:
                    reached |= through & (reached >> shift)
                    through &= through >> shift
            new |= reached ^ flood[y, w]
            flood[y, w], carry = reached, (reached & _ONE) << _TOP
    return new != 0
