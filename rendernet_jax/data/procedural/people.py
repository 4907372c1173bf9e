"""Standing figures, heads and busts: smooth unions, facing +z."""

from __future__ import annotations

import numpy as np

from .creatures import finish, pair
from .draws import chance, pick
from .fields import Block, Capsule, Ellipsoid, solidify
from .parts import Part, turn


def figure(rng) -> list[Part]:
    """A person, robot-like to human, in any pose of arms and legs."""
    fat = rng.uniform(0.75, 1.5)
    hip, chest, neck = np.array([0, 0.5, 0]), np.array([0, 0.74, 0.0]), np.array([0, 0.86, 0.0])
    adds = [
        Ellipsoid(tuple(chest), (0.105 * fat, 0.1, 0.065 * fat), 0.05),
        Ellipsoid(tuple(hip), (0.09 * fat, 0.075, 0.065 * fat), 0.05),
    ]
    adds.append(Capsule(tuple(hip), tuple(chest), 0.065 * fat, 0.07 * fat, 0.05))
    adds.append(Capsule(tuple(chest), tuple(neck), 0.035, 0.03, 0.03))
    size = rng.uniform(0.06, 0.1)
    head = neck + [0, size * 0.95, 0.015]
    adds.append(Ellipsoid(tuple(head), (0.78 * size, size, 0.88 * size), 0.02))
    adds.append(
        Capsule(
            tuple(head + [0, -0.1 * size, size * 0.8]),
            tuple(head + [0, -0.25 * size, size]),
            0.15 * size,
            0.15 * size,
            0.02,
        )
    )
    same = chance(rng, 0.6)
    limbs = {_arm: [], _leg: []}
    for limb, bones in limbs.items():
        pose = rng.uniform(-1, 1, 4)
        for side in (-1, 1):
            pose = pose if same else rng.uniform(-1, 1, 4)
            bones += limb(side, pose, fat)
    adds, legs = adds + limbs[_arm], limbs[_leg]
    if chance(rng, 0.3):
        legs.append(Ellipsoid((0, 0.02, 0), (0.25, 0.03, 0.2), 0.03))
    if chance(rng, 0.2):  # a skirt or coat, cut off level at the hem
        hem = rng.uniform(0.1, 0.35)
        adds.insert(0, Capsule((0, 0.55, 0), (0, hem, 0), 0.07, rng.uniform(0.12, 0.2), 0.03))
        body = finish(rng, adds, [Block((0, hem - 0.5, 0), (1, 0.5, 1), 0.01)], 0.4)
        return body + [solidify(legs, (), 48)]
    return finish(rng, adds + legs, roughness=0.4)


def _arm(side, pose, fat):
    shoulder = np.array([side * 0.125 * fat, 0.8, 0])
    raise_ = 0.3 + 0.65 * (pose[0] + 1) / 2 * np.pi / 2
    direction = np.array([side * np.sin(raise_), -np.cos(raise_), 0.4 * pose[1]])
    elbow = shoulder + 0.17 * direction / np.linalg.norm(direction)
    bent = direction + np.array([0, 0.3 * pose[2], 0.8 * max(pose[3], 0)])
    hand = elbow + 0.16 * bent / np.linalg.norm(bent)
    palm = hand + 0.04 * bent / np.linalg.norm(bent)
    adds = [
        Capsule(tuple(shoulder), tuple(elbow), 0.036 * fat, 0.028, 0.03),
        Capsule(tuple(elbow), tuple(hand), 0.028, 0.02, 0.015),
    ]
    return adds + [Ellipsoid(tuple(palm), (0.02, 0.03, 0.03), 0.02)]


def _leg(side, pose, fat):
    top = np.array([side * 0.055 * fat, 0.47, 0])
    open_ = 0.12 * (pose[0] + 1) / 2
    knee = top + np.array([side * open_, -0.23, 0.1 * max(pose[1], -0.3)])
    foot = np.array([knee[0] + side * open_ * 0.5, 0.03, knee[2] - 0.06 * max(pose[2], 0)])
    adds = [
        Capsule(tuple(top), tuple(knee), 0.055 * fat, 0.04, 0.03),
        Capsule(tuple(knee), tuple(foot), 0.04, 0.026, 0.02),
    ]
    return adds + [Capsule(tuple(foot), tuple(foot + [side * 0.015, -0.008, 0.08]), 0.026, 0.02, 0.02)]


def head(rng) -> list[Part]:
    """A human-like head or bust, with hair, hat or crown."""
    w, d, blend = rng.uniform(0.26, 0.34), rng.uniform(0.32, 0.4), 0.06
    adds = [Ellipsoid((0, 0.62, 0), (w, rng.uniform(0.36, 0.42), d), blend)]
    chin = rng.uniform(-0.02, 0.06)
    adds.append(Capsule((0, 0.45, 0.1), (0, 0.3 - chin, 0.2), 0.22, rng.uniform(0.08, 0.14), 0.1))
    nose = rng.uniform(0.03, 0.1)
    adds.append(Capsule((0, 0.66, d - 0.03), (0, 0.5, d - 0.01 + nose), 0.035, rng.uniform(0.04, 0.07), 0.05))
    if chance(rng, 0.6):
        brow = rng.uniform(0.67, 0.74)
        adds += pair(
            Capsule((0.05, brow + rng.uniform(-0.03, 0.03), d - 0.05), (0.18, brow, d - 0.12), 0.03, 0.025, 0.06)
        )
    adds += pair(Ellipsoid((0.17, 0.5, d - 0.14), (0.08, 0.07, 0.06), 0.08))
    lips, mouth = rng.uniform(0.06, 0.12), rng.uniform(0.36, 0.43)
    adds += [Ellipsoid((0, mouth + y, d - 0.09), (lips, 0.025, rng.uniform(0.05, 0.07)), 0.02) for y in (0, 0.04)]
    adds += pair(Ellipsoid((w + 0.01, 0.56, -0.02), (rng.uniform(0.02, 0.06), 0.11, 0.06), 0.03, turn("y", 0.4)))
    socket, apart, eye = rng.uniform(0.025, 0.06), rng.uniform(0.09, 0.14), rng.uniform(0.03, 0.06)
    cuts = pair(Ellipsoid((apart, 0.62, d + rng.uniform(0.01, 0.05)), (socket * 1.6, socket, 0.07), 0.04))
    adds += pair(Ellipsoid((apart, 0.615, d - 0.085), (eye, eye * rng.uniform(0.6, 1), 0.05), 0.01))
    if chance(rng, 0.75):
        adds.append(Capsule((0, 0.35, -0.05), (0, 0.0, -0.03), 0.17, rng.uniform(0.16, 0.22), 0.08))
        if chance(rng, 0.7):
            adds.append(
                Ellipsoid((0, -0.08, -0.02), (rng.uniform(0.3, 0.6), 0.12, 0.22), 0.12, None, rng.uniform(2, 5))
            )
        adds.append(Block((0, -0.2, 0), (rng.uniform(0.15, 0.26), 0.1, 0.2), 0.05, None, 0.03))
    top = pick(rng, (None, 1.0), ("hair", 1.5), ("hat", 1.0), ("tall", 0.8), ("bun", 0.7))
    if top == "hair":
        adds.append(Ellipsoid((0, 0.68, -0.06), (w * 1.1, 0.4, d * 1.08), 0.03))
        if chance(rng, 0.5):
            adds.append(Capsule((0, 0.55, -0.2), (0, rng.uniform(0, 0.3), -0.25), 0.25, 0.15, 0.08))
    elif top == "hat":
        adds += [
            Ellipsoid((0, 0.8, 0), (w * 1.8, 0.03, d * 1.6), 0.03),
            Ellipsoid((0, 0.9, 0), (w, 0.25, d), 0.03, None, 3.0),
        ]
    elif top == "tall":
        adds.append(Capsule((0, 0.75, -0.05), (0, 1.15, -0.3), 0.32, 0.42, 0.03))
        cuts = cuts + [Block((0, 1.75, -0.6), (1, 0.45, 1), 0.02, turn("x", -0.5))]
    elif top == "bun":
        adds.append(Ellipsoid((0, 0.95, -0.2), (0.15, 0.14, 0.15), 0.04))
    return finish(rng, adds, cuts, roughness=0.7)
