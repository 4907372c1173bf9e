"""Animals, people, heads, fish, birds, shoes and blobs: smooth unions, facing +z, about one unit long."""

from __future__ import annotations

import numpy as np

from .draws import chance, pick
from .fields import Capsule, Ellipsoid, bumps, solidify
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
    """Cells along the longest side: some real files are coarse."""
    return int(pick(rng, (28, 0.7), (44, 1.0), (64, 2.0), (84, 2.0), (100, 1.0)))


def finish(rng, adds, cuts=(), roughness=1.0) -> list[Part]:
    """The solid, at times with a rough surface."""
    part = solidify(adds, cuts, resolution(rng))
    if chance(rng, 0.55):
        part = bumps(rng, part, roughness * rng.uniform(0.002, 0.012), rng.uniform(4, 16))
    return [part]


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
    adds.append(Capsule(to(0, low * 0.5, 0.5), to(0, low, 0.6 + long), 0.55 * size, rng.uniform(0.25, 0.5) * size, 0.3 * size))
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
    adds.append(Capsule((0, y - 0.05 * r, -length / 2), (0, y, length / 2), r * rng.uniform(0.75, 0.95), r * 0.85, blend))
    for z in (-length / 2 - 0.2 * r, length / 2 + 0.1 * r):
        step, x = rng.uniform(-0.12, 0.12), r * rng.uniform(0.5, 0.75)
        for side in (-1, 1):
            walk = step * side * pick(rng, 0.0, 1.0)
            knee = (side * x, leg * 0.55, z + walk + rng.uniform(-0.04, 0.04))
            foot = (side * x, thin_ * 0.5, z + walk * 1.8)
            adds.append(Capsule((side * x, y - 0.3 * r, z), knee, thin_ * 1.6, thin_, blend))
            adds.append(Capsule(knee, foot, thin_, thin_ * 0.75, blend * 0.3))
            adds.append(Ellipsoid((foot[0], thin_ * 0.6, foot[2] + thin_ * 0.5), (thin_ * 0.9, thin_ * 0.6, thin_ * 1.4), blend * 0.3))
    neck, size = rng.uniform(0.1, 0.5), rng.uniform(0.6, 1.0) * r
    top = np.array([0, y + 0.4 * r + neck, length / 2 + r * 0.9 + 0.5 * neck * rng.uniform(0, 1)])
    adds.append(Capsule((0, y + 0.2 * r, length / 2 + 0.3 * r), tuple(top), 0.7 * r, 0.55 * size, blend))
    more, cuts = head_of(rng, top, size, rng.uniform(-0.2, 0.6))
    tail = rng.uniform(0.05, 0.5)
    a = np.array([0, y + 0.3 * r, -length / 2 - r])
    b = a + tail * np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.8, 0.9), -0.7])
    return finish(rng, adds + more + [Capsule(tuple(a), tuple(b), 0.3 * r * rng.uniform(0.4, 1.5), 0.12 * r, blend)], cuts)


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
    adds = [Capsule(tuple(a), tuple(b), r, r * rng.uniform(0.6, 0.9), blend), Ellipsoid(tuple(c), (r, r * 1.05, r * 1.05), blend)]
    head = b + axis * 0.1 + [0, r * rng.uniform(0.7, 1.5), 0.03]
    size = r * rng.uniform(0.5, 0.75)
    adds.append(Capsule(tuple(b), tuple(head), r * 0.6, size * 0.7, blend))
    adds.append(Ellipsoid(tuple(head), (size, size, size * 1.1), blend * 0.5))
    beak = rng.uniform(0.8, 2.2) * size
    adds.append(Capsule(tuple(head + [0, 0, size * 0.8]), tuple(head + [0, -0.2 * beak, size * 0.8 + beak]), size * 0.3, size * 0.08, 0.02))
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
    t = rng.uniform(0.012, 0.03)
    for sign in (-1, 1):
        adds.append(Ellipsoid((0, sign * 0.12, -0.6), (t, 0.17, 0.06), 0.03, turn("x", sign * 0.6)))
    adds.append(Ellipsoid((0, h, 0.0), (t, 0.12, rng.uniform(0.08, 0.25)), 0.04, turn("x", -0.3)))
    adds += pair(Ellipsoid((w + 0.06, -0.3 * h, 0.15), (0.12, t, 0.06), 0.03, turn("z", -0.5)))
    return finish(rng, adds, roughness=0.5)


def figure(rng) -> list[Part]:
    """A person, robot-like to human, in any pose of arms and legs."""
    fat = rng.uniform(0.75, 1.5)
    hip, chest, neck = np.array([0, 0.5, 0]), np.array([0, 0.74, 0.0]), np.array([0, 0.86, 0.0])
    adds = [Ellipsoid(tuple(chest), (0.105 * fat, 0.1, 0.065 * fat), 0.05), Ellipsoid(tuple(hip), (0.09 * fat, 0.075, 0.065 * fat), 0.05)]
    adds.append(Capsule(tuple(hip), tuple(chest), 0.065 * fat, 0.07 * fat, 0.05))
    adds.append(Capsule(tuple(chest), tuple(neck), 0.035, 0.03, 0.03))
    size = rng.uniform(0.06, 0.1)
    head = neck + [0, size * 0.95, 0.015]
    adds.append(Ellipsoid(tuple(head), (0.78 * size, size, 0.88 * size), 0.02))
    adds.append(Capsule(tuple(head + [0, -0.1 * size, size * 0.8]), tuple(head + [0, -0.25 * size, size]), 0.15 * size, 0.15 * size, 0.02))
    same = chance(rng, 0.6)
    for limb in (_arm, _leg):
        pose = rng.uniform(-1, 1, 4)
        for side in (-1, 1):
            pose = pose if same else rng.uniform(-1, 1, 4)
            adds += limb(side, pose, fat)
    if chance(rng, 0.3):
        adds.append(Ellipsoid((0, 0.02, 0), (0.25, 0.03, 0.2), 0.03))
    if chance(rng, 0.25):  # a skirt or coat
        adds.append(Capsule((0, 0.55, 0), (0, rng.uniform(0.1, 0.35), 0), 0.08, rng.uniform(0.14, 0.22), 0.04))
    return finish(rng, adds, roughness=0.4)


def _arm(side, pose, fat):
    shoulder = np.array([side * 0.125 * fat, 0.8, 0])
    raise_ = 0.3 + 0.65 * (pose[0] + 1) / 2 * np.pi / 2
    direction = np.array([side * np.sin(raise_), -np.cos(raise_), 0.4 * pose[1]])
    elbow = shoulder + 0.17 * direction / np.linalg.norm(direction)
    bent = direction + np.array([0, 0.3 * pose[2], 0.8 * max(pose[3], 0)])
    hand = elbow + 0.16 * bent / np.linalg.norm(bent)
    palm = hand + 0.04 * bent / np.linalg.norm(bent)
    adds = [Capsule(tuple(shoulder), tuple(elbow), 0.036 * fat, 0.028, 0.03), Capsule(tuple(elbow), tuple(hand), 0.028, 0.02, 0.015)]
    return adds + [Ellipsoid(tuple(palm), (0.02, 0.03, 0.03), 0.02)]


def _leg(side, pose, fat):
    top = np.array([side * 0.055 * fat, 0.47, 0])
    open_ = 0.12 * (pose[0] + 1) / 2
    knee = top + np.array([side * open_, -0.23, 0.1 * max(pose[1], -0.3)])
    foot = np.array([knee[0] + side * open_ * 0.5, 0.03, knee[2] - 0.06 * max(pose[2], 0)])
    adds = [Capsule(tuple(top), tuple(knee), 0.055 * fat, 0.04, 0.03), Capsule(tuple(knee), tuple(foot), 0.04, 0.026, 0.02)]
    return adds + [Capsule(tuple(foot), tuple(foot + [side * 0.015, -0.008, 0.08]), 0.026, 0.02, 0.02)]


def head(rng) -> list[Part]:
    """A human-like head or bust, with hair, hat or crown."""
    w, d, blend = rng.uniform(0.26, 0.34), rng.uniform(0.32, 0.4), 0.06
    adds = [Ellipsoid((0, 0.62, 0), (w, rng.uniform(0.36, 0.42), d), blend)]
    chin = rng.uniform(-0.02, 0.06)
    adds.append(Capsule((0, 0.45, 0.1), (0, 0.3 - chin, 0.2), 0.22, rng.uniform(0.08, 0.14), 0.1))
    nose = rng.uniform(0.03, 0.1)
    adds.append(Capsule((0, 0.66, d - 0.03), (0, 0.5, d - 0.01 + nose), 0.035, rng.uniform(0.04, 0.07), 0.05))
    adds += pair(Capsule((0.04, 0.7, d - 0.03), (0.18, 0.71, d - 0.11), 0.035, 0.03, 0.04))
    adds += pair(Ellipsoid((0.17, 0.5, d - 0.14), (0.08, 0.07, 0.06), 0.08))
    adds += [Ellipsoid((0, y, d - 0.04 - 0.05), (0.09, 0.025, 0.06), 0.02) for y in (0.39, 0.43)]
    adds += pair(Ellipsoid((w + 0.01, 0.56, -0.02), (rng.uniform(0.02, 0.06), 0.11, 0.06), 0.03, turn("y", 0.4)))
    cuts = pair(Ellipsoid((0.11, 0.62, d + 0.02), (0.07, 0.04, 0.07), 0.03))
    adds += pair(Ellipsoid((0.11, 0.615, d - 0.085), (0.05, 0.035, 0.05), 0.01))
    if chance(rng, 0.75):
        adds.append(Capsule((0, 0.35, -0.05), (0, 0.0, -0.03), 0.17, rng.uniform(0.16, 0.22), 0.08))
        if chance(rng, 0.7):
            adds.append(Ellipsoid((0, -0.08, -0.02), (rng.uniform(0.3, 0.6), 0.12, 0.22), 0.12, None, rng.uniform(2, 5)))
        adds.append(Ellipsoid((0, -0.2, 0), (0.22, 0.1, 0.2), 0.05, None, 6.0))
    top = pick(rng, (None, 1.0), ("hair", 1.5), ("hat", 1.0), ("tall", 0.8), ("bun", 0.7))
    if top == "hair":
        adds.append(Ellipsoid((0, 0.68, -0.06), (w * 1.1, 0.4, d * 1.08), 0.03))
        if chance(rng, 0.5):
            adds.append(Capsule((0, 0.55, -0.2), (0, rng.uniform(0, 0.3), -0.25), 0.25, 0.15, 0.08))
    elif top == "hat":
        adds += [Ellipsoid((0, 0.8, 0), (w * 1.8, 0.03, d * 1.6), 0.03), Ellipsoid((0, 0.9, 0), (w, 0.25, d), 0.03, None, 3.0)]
    elif top == "tall":
        adds.append(Capsule((0, 0.75, -0.05), (0, 1.15, -0.3), 0.32, 0.42, 0.03))
        cuts = cuts + [Ellipsoid((0, 1.75, -0.4), (1, 0.45, 1), 0.01, turn("x", -0.5), 8.0)]
    elif top == "bun":
        adds.append(Ellipsoid((0, 0.95, -0.2), (0.15, 0.14, 0.15), 0.04))
    return finish(rng, adds, cuts, roughness=0.7)


def shoe(rng) -> list[Part]:
    """A shoe or boot: sole, heel, toe, shaft with an opening."""
    w, long, tall = rng.uniform(0.1, 0.15), 0.5, rng.uniform(0.12, 0.6)
    adds = [Ellipsoid((0, 0.1, 0.28), (w, 0.09, 0.2), 0.08), Capsule((0, 0.12, -0.28), (0, 0.13, 0.2), w * 0.85, w * 0.8, 0.08)]
    lean = rng.uniform(-0.05, 0.08)
    adds.append(Capsule((0, 0.15, -0.25), (0, 0.15 + tall, -0.25 - lean), w * 0.95, w * rng.uniform(0.9, 1.2), 0.08))
    adds.append(Capsule((0, 0.12 + tall * 0.3, -0.15), (0, 0.16, 0.15), w * 0.8, w * 0.7, 0.08))
    sole = rng.uniform(0.015, 0.04)
    for z, r in ((-0.26, 0.9), (0.25, 1.1)):
        adds.append(Ellipsoid((0, sole, z), (w * r, sole, 0.2 if z > 0 else 0.13), 0.03, None, 4.0))
    adds.append(Ellipsoid((0, sole * 1.2, 0), (w * 0.75, sole * 0.9, 0.3), 0.03, None, 4.0))
    if chance(rng, 0.4):
        adds.append(Ellipsoid((0, -0.02, -0.28), (w * 0.8, 0.06, 0.1), 0.01, None, 6.0))
    hole = w * rng.uniform(0.65, 0.85)
    cuts = [Capsule((0, 0.14 + tall * 0.5, -0.25 - lean * 0.5), (0, 0.35 + tall, -0.25 - lean), hole, hole * 1.1, 0.02)]
    cuts.append(Ellipsoid((0, 0.35 + tall, -0.2), (0.4, 0.2 + 0.05, 0.4), 0.02, turn("x", rng.uniform(-0.2, 0.3)), 8.0))
    for i in range(int(rng.integers(0, 6))):
        z = 0.0 + 0.05 * i
        adds.append(Capsule((-w * 0.5, 0.23 + tall * 0.12 - 0.02 * i, z), (w * 0.5, 0.23 + tall * 0.12 - 0.02 * i, z + 0.03), 0.012, 0.012, 0.01))
    return finish(rng, adds, cuts, roughness=0.5)


def blob(rng) -> list[Part]:
    """Meatballs: random capsules and ellipsoids, melted together, dented."""
    scale = rng.uniform(0.15, 0.4)
    adds, points = [], rng.normal(size=(int(rng.integers(3, 12)), 3)) * 0.3
    blend = rng.uniform(0.02, 0.2)
    for point in points:
        radii = scale * np.exp(rng.normal(size=3) * 0.4)
        matrix = turn("y", rng.uniform(0, 3)) @ turn("x", rng.uniform(0, 3))
        if chance(rng, 0.5):
            adds.append(Ellipsoid(tuple(point), tuple(radii), blend, matrix, pick(rng, 2.0, 4.0)))
        else:
            other = points[int(rng.integers(len(points)))]
            adds.append(Capsule(tuple(point), tuple(other), radii[0] * 0.5, radii[1] * 0.4, blend))
    cuts = [Ellipsoid(tuple(c), (0.15,) * 3, 0.03) for c in rng.normal(size=(int(rng.integers(0, 4)), 3)) * 0.4]
    return finish(rng, adds, cuts, roughness=2.0)
