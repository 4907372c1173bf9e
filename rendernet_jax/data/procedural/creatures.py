"""Animals, people, heads, fish, birds, shoes and blobs: smooth unions, facing +z, about one unit long."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick, thin
from .fields import Capsule, Ellipsoid, bumps, low_poly, solidify
from .parts import Part, turn


def pair(primitive):
    """The primitive and its mirror image in x."""
    if isinstance(primitive, Capsule):
        (a, b), flip = (np.array(primitive.a, float), np.array(primitive.b, float)), np.array([-1.0, 1, 1])
        return [primitive, Capsule(tuple(a * flip), tuple(b * flip), primitive.ra, primitive.rb, primitive.blend)]
    flip = np.diag([-1.0, 1, 1])
    matrix = None if primitive.matrix is None else flip @ primitive.matrix @ flip
    centre = tuple(flip @ np.array(primitive.centre, float))
    return [primitive, Ellipsoid(centre, primitive.radii, primitive.blend, matrix, primitive.power)]


def resolution(rng) -> int:
    """Cells along the longest side."""
    return int(pick(rng, (48, 1.0), (64, 2.0), (84, 2.0), (100, 1.0)))


def finish(rng, adds, cuts=(), roughness=1.0) -> list[Part]:
    """The solid, at times with a rough surface, at times with few faces, as real files have."""
    coarse = chance(rng, 0.25)
    part = solidify(adds, cuts, 48 if coarse else resolution(rng))
    if chance(rng, 0.6):
        part = bumps(rng, part, roughness * thin(rng, 0.002, 0.014), thin(rng, 4, 30))
    return [low_poly(part, int(thin(rng, 500, 5000))) if coarse else part]


def animal(rng) -> list[Part]:
    """A standing or sitting quadruped, a bird or a fish."""
    return pick(rng, (quadruped, 3.0), (sitting, 2.0), (bird, 1.5), (fish, 0.8))(rng)


def head_of(rng, at, size, tilt=0.0):
    """Skull, snout, ears, horns and eyes of an animal's head at a point, looking to +z."""
    m = turn("x", tilt)
    at = np.asarray(at, float)

    def to(x, y, z):
        return tuple(at + m @ np.array([x, y, z]) * size)

    long = rng.uniform(0.3, 1.1)
    adds = [Ellipsoid(tuple(at), tuple(size * rng.uniform(0.85, 1.1, 3)), 0.3 * size, m)]
    low = rng.uniform(-0.5, 0.0)
    adds.append(
        Capsule(to(0, low * 0.5, 0.5), to(0, low, 0.6 + long), 0.55 * size, rng.uniform(0.25, 0.5) * size, 0.3 * size)
    )
    ear = rng.uniform(0.4, 2.2)
    spread, back = rng.uniform(0.2, 1.0), rng.uniform(-0.8, 0.2)
    kind = pick(rng, "round", "pointed", "long")
    if kind == "round":
        r = rng.uniform(0.3, 0.55)
        adds += pair(Ellipsoid(to(0.8, 0.7, -0.1), (r * size, r * size, 0.2 * size), 0.1 * size))
    else:
        thick = 0.28 if kind == "pointed" else rng.uniform(0.18, 0.3)
        ear = ear if kind == "long" else min(ear, 0.9)
        tip = to(0.4 + spread * ear * 0.6, 0.6 + ear, back * ear)
        adds += pair(Capsule(to(0.4, 0.6, -0.1), tip, thick * size, 0.12 * size, 0.1 * size))
    if chance(rng, 0.3):
        adds += pair(Capsule(to(0.35, 0.8, 0.2), to(0.6, 1.4, 0.3), 0.15 * size, 0.05 * size, 0.05 * size))
    cuts = []
    if chance(rng, 0.5):
        eyes = pair(Ellipsoid(to(0.5, 0.25, 0.75), (0.16 * size,) * 3, 0.04 * size))
        adds, cuts = (adds + eyes, []) if chance(rng, 0.5) else (adds, eyes)
    return adds, cuts


def quadruped(rng) -> list[Part]:
    """Body, four legs with paws, neck, head and tail; from mouse to horse."""
    r, length = rng.uniform(0.12, 0.3), rng.uniform(0.35, 0.6)
    leg, thin_ = rng.uniform(0.15, 0.55), rng.uniform(0.25, 0.5) * r
    y, blend = leg + r, 0.4 * r
    adds = [Ellipsoid((0, y, -length / 2), (r * rng.uniform(0.85, 1.1), r, r * 1.2), blend)]
    adds.append(Ellipsoid((0, y, length / 2), (r * rng.uniform(0.8, 1.1), r * rng.uniform(0.9, 1.15), r * 1.1), blend))
    adds.append(
        Capsule((0, y - 0.05 * r, -length / 2), (0, y, length / 2), r * rng.uniform(0.75, 0.95), r * 0.85, blend)
    )
    for z in (-length / 2 - 0.2 * r, length / 2 + 0.1 * r):
        step, x = rng.uniform(-0.12, 0.12), r * rng.uniform(0.5, 0.75)
        for side in (-1, 1):
            walk = step * side * pick(rng, 0.0, 1.0)
            knee = (side * x, leg * 0.55, z + walk + rng.uniform(-0.04, 0.04))
            foot = (side * x, thin_ * 0.5, z + walk * 1.8)
            adds.append(Capsule((side * x, y - 0.3 * r, z), knee, thin_ * 1.6, thin_, blend))
            adds.append(Capsule(knee, foot, thin_, thin_ * 0.75, blend * 0.3))
            adds.append(
                Ellipsoid(
                    (foot[0], thin_ * 0.6, foot[2] + thin_ * 0.5), (thin_ * 0.9, thin_ * 0.6, thin_ * 1.4), blend * 0.3
                )
            )
    neck, size = rng.uniform(0.1, 0.5), rng.uniform(0.6, 1.0) * r
    top = np.array([0, y + 0.4 * r + neck, length / 2 + r * 0.9 + 0.5 * neck * rng.uniform(0, 1)])
    adds.append(Capsule((0, y + 0.2 * r, length / 2 + 0.3 * r), tuple(top), 0.7 * r, 0.55 * size, blend))
    more, cuts = head_of(rng, top, size, rng.uniform(-0.2, 0.6))
    tail = rng.uniform(0.05, 0.5)
    a = np.array([0, y + 0.3 * r, -length / 2 - r])
    b = a + tail * np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.8, 0.9), -0.7])
    return finish(
        rng, adds + more + [Capsule(tuple(a), tuple(b), 0.3 * r * rng.uniform(0.4, 1.5), 0.12 * r, blend)], cuts
    )


def sitting(rng) -> list[Part]:
    """An animal on its haunches: rabbit, bear, cat."""
    r, tall = rng.uniform(0.22, 0.34), rng.uniform(0.15, 0.45)
    blend = 0.3 * r
    chest = (0, r * 0.9 + tall, rng.uniform(0.0, 0.3))
    adds = [Ellipsoid((0, r * 0.9, -0.05), (r, r * 0.9, r * rng.uniform(1.0, 1.5)), blend)]
    adds.append(Capsule((0, r * 0.9, 0), chest, r * 0.9, r * rng.uniform(0.55, 0.8), blend))
    adds += pair(Ellipsoid((r * 0.8, r * 0.55, 0.05), (r * 0.4, r * 0.55, r * 0.7), blend * 0.4))
    adds += pair(Capsule((r * 0.85, r * 0.16, 0.0), (r * 0.8, r * 0.16, r * 1.1), r * 0.18, r * 0.15, blend * 0.3))
    arm = (r * rng.uniform(0.3, 0.8), r * rng.uniform(0.1, 1.2), chest[2] + r * rng.uniform(0.5, 0.9))
    adds += pair(Capsule((r * 0.6, chest[1] * 0.9, chest[2]), arm, r * 0.25, r * 0.17, blend * 0.4))
    size = r * rng.uniform(0.55, 0.9)
    more, cuts = head_of(rng, np.array(chest) + [0, r * 0.5 + size * 0.6, r * 0.3], size, rng.uniform(-0.1, 0.4))
    tail = Ellipsoid((0, r * 0.5, -r * 1.35), (r * 0.3,) * 3, blend * 0.4)
    return finish(rng, adds + more + [tail], cuts)


def bird(rng) -> list[Part]:
    """Penguin to duck: an upright or level body, wings, beak, feet, tail."""
    up, r = rng.uniform(0.2, 1.4), rng.uniform(0.18, 0.28)
    axis = np.array([0, np.sin(up), np.cos(up)])
    c = np.array([0, 0.5, 0])
    a, b, blend = c - axis * 0.25, c + axis * 0.22, 0.3 * r
    adds = [
        Capsule(tuple(a), tuple(b), r, r * rng.uniform(0.6, 0.9), blend),
        Ellipsoid(tuple(c), (r, r * 1.05, r * 1.05), blend),
    ]
    head = b + axis * 0.1 + [0, r * rng.uniform(0.7, 1.5), 0.03]
    size = r * rng.uniform(0.5, 0.75)
    adds.append(Capsule(tuple(b), tuple(head), r * 0.6, size * 0.7, blend))
    adds.append(Ellipsoid(tuple(head), (size, size, size * 1.1), blend * 0.5))
    beak = rng.uniform(0.8, 2.2) * size
    adds.append(
        Capsule(
            tuple(head + [0, 0, size * 0.8]),
            tuple(head + [0, -0.2 * beak, size * 0.8 + beak]),
            size * 0.3,
            size * 0.08,
            0.02,
        )
    )
    m = turn("x", -up)
    shoulder = c + [r * 1.0, 0.0, 0.0]
    adds += pair(Ellipsoid(tuple(shoulder), (0.05, r * 0.6, 0.3), 0.03, turn("z", rng.uniform(0, 0.5)) @ m))
    adds.append(Ellipsoid(tuple(a - axis * r), (r * 0.5, 0.03, 0.15), 0.06, m))
    foot = c[1] - 0.3 * np.sin(up) - r * 1.25
    x = r * 0.5
    adds += pair(Capsule((x, foot + 0.3, a[2] * 0.5), (x, foot, a[2] * 0.4), 0.04, 0.03, 0.04))
    adds += pair(Ellipsoid((x, foot, a[2] * 0.4 + 0.07), (0.07, 0.025, 0.13), 0.03))
    return finish(rng, adds, roughness=0.6)


def fish(rng) -> list[Part]:
    """A fish, dolphin or submarine-like body with thin fins."""
    h, w = rng.uniform(0.1, 0.28), rng.uniform(0.06, 0.16)
    adds = [Ellipsoid((0, 0, 0.05), (w, h, 0.45), 0.05), Capsule((0, 0, -0.2), (0, 0, -0.5), w * 0.6, w * 0.25, 0.08)]
    t, long, fork = rng.uniform(0.012, 0.03), rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.9)
    for sign in (-1, 1):
        adds.append(Ellipsoid((0, sign * long * 0.8, -0.5 - 0.3 * long), (t, long, 0.06), 0.04, turn("x", sign * fork)))
    adds.append(Ellipsoid((0, h, 0.0), (t, 0.12, rng.uniform(0.08, 0.25)), 0.04, turn("x", -0.3)))
    adds += pair(Ellipsoid((w + 0.06, -0.3 * h, 0.15), (0.12, t, 0.06), 0.03, turn("z", -0.5)))
    return finish(rng, adds, roughness=0.5)
