"""How heads are coloured: the mean head's albedo, and its change for one standard deviation of each number.

Layers are painted over one another on the mean head: skin, beard, lips, brows, hair, and the eyes last. A mode shifts
the colour of a layer, how much of it there is, or where it ends; each is linear in the colours, so that a hairline
moves by the first term of its Taylor series.
"""

from __future__ import annotations

import numpy as np

from .head_mesh import EYE, mean_surface, sphere
from .head_modes import hair_cover, hair_line, smooth_field

COUNT = 40
FRECKLES, BLOTCHES, LOPSIDED = 4, 8, 4
_SEED = 20182
SKIN = np.array([0.66, 0.50, 0.41])
HAIR = np.array([0.35, 0.27, 0.205])
BROW = np.array([0.26, 0.19, 0.14])
LIPS = np.array([0.60, 0.32, 0.30])
WHITE = np.array([0.86, 0.84, 0.81])
IRIS = np.array([0.30, 0.28, 0.24])
PUPIL = np.array([0.06, 0.05, 0.05])


def colors() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Mean albedo [V, 3], and changes [V, 3] for one standard deviation by name, those that change most first."""
    layers = _layers()
    mean = SKIN * np.ones_like(mean_surface()[0])
    for layer, color in (("beard", None), ("lips", LIPS), ("brows", BROW), ("hair", HAIR)):
        cover = layers[layer] if color is not None else 0.22 * layers[layer]
        mean = mean + cover * ((HAIR if color is None else color) - mean)
    mean = mean * (1 - 0.25 * layers["sockets"])
    eyes = (("white", WHITE), ("iris", IRIS), ("pupil", PUPIL), ("lashes", 0.6 * BROW))
    for layer, color in eyes:
        mean = mean + layers[layer] * (color - mean)
    modes = {**_named(layers, mean), **_fields(layers)}
    assert len(modes) == COUNT
    order = sorted(modes, key=lambda name: -(modes[name] ** 2).sum())
    return mean, {name: modes[name] for name in order}


def _layers() -> dict[str, np.ndarray]:
    """Cover [V, 1] of each layer, 0 to 1."""
    x, y, z = mean_surface()[0].T
    side = np.abs(x)

    def inside(value, width):  # 1 where value > 0
        return (0.5 + 0.5 * np.tanh(value / width))[:, None]

    face = inside(z - 0.1, 0.03)
    across, along = side - EYE[0], y - EYE[1]
    lids = np.sqrt((across / 0.052) ** 2 + (along / 0.027) ** 2)
    eye = inside(1 - lids, 0.12) * face
    iris = np.sqrt((across + 0.003) ** 2 + along**2)
    arch = 0.088 + 0.012 * (1 - ((side - 0.125) / 0.06) ** 2)
    brow = inside(0.0115 - np.abs(y - arch), 0.005) * inside(0.068 - np.abs(side - 0.112), 0.008) * face
    mouth = 0.080 - side
    bow = -0.209 - 0.008 * np.exp(-((side / 0.018) ** 2)) - 0.028 * (side / 0.08) ** 2
    lips = inside(bow - y, 0.005) * inside(y + 0.293 - 0.03 * (side / 0.08) ** 2, 0.006) * inside(mouth, 0.006) * face
    chin = inside(-0.17 - y + 0.35 * np.maximum(0.2 - z, -0.07), 0.03) * inside(z - 0.0, 0.03) * inside(y + 0.43, 0.02)
    around = inside(0.115 - np.sqrt(side**2 + ((y + 0.25) / 0.9) ** 2), 0.015) * face
    under_nose = 1 - inside(0.05 - side, 0.012) * inside(y + 0.175, 0.01)
    hair = hair_cover()[:, None]
    return {
        "eye": eye,
        "white": eye,
        "iris": eye * inside(0.0245 - iris, 0.004),
        "pupil": eye * inside(0.010 - iris, 0.004),
        "lashes": 0.9 * np.exp(-(((lids - 1.05) / 0.16) ** 2))[:, None] * inside(along - 0.004, 0.006) * face,
        "sockets": np.exp(-((across / 0.065) ** 2 + (along / 0.045) ** 2))[:, None] * face * (1 - eye),
        "brows": brow,
        "lips": lips,
        "crease": lips * np.exp(-(((y + 0.247 - 0.012 * (side / 0.08) ** 2) / 0.008) ** 2))[:, None],
        "beard": chin * (1 - lips) * under_nose * (1 - hair),
        "moustache": around * inside(-0.165 - y, 0.012) * (1 - lips),
        "hair": hair,
        "skin": (1 - hair) * (1 - eye) * (1 - 0.6 * lips),
    }


def _named(layers, mean) -> dict[str, np.ndarray]:
    points = mean_surface()[0]
    x, y, z = points.T
    side = np.abs(x)
    skin, hair, white, iris = (layers[name] for name in ("skin", "hair", "white", "iris"))
    iris = iris * (1 - layers["pupil"])
    fade = HAIR - SKIN

    def bell(value, width):
        return np.exp(-((value / width) ** 2))[:, None]

    edge = bell(hair_line(points), 0.035)
    top = bell(np.hypot(x, z - 0.08), 0.17) * (0.5 + 0.5 * np.tanh((y - 0.3) / 0.04))[:, None]
    cheeks = bell(side - 0.15, 0.06) * bell(y + 0.1, 0.07) * skin
    nose = bell(side, 0.06) * bell(y + 0.1, 0.05) * (0.5 + 0.5 * np.tanh((z - 0.36) / 0.02))[:, None] * skin
    neck = (0.5 + 0.5 * np.tanh((-0.42 - y) / 0.02))[:, None] * skin
    ears = bell(side - 0.31, 0.04) * bell(y + 0.035, 0.1) * bell(z + 0.045, 0.07) * skin
    brow_edge = layers["brows"] * (1 - layers["brows"]) * 4
    return {
        "skin lightness": (skin + 0.4 * layers["lips"]) * [0.110, 0.093, 0.082],
        "skin warmth": skin * [0.014, -0.001, -0.028],
        "skin redness": skin * [0.014, -0.012, -0.008],
        "hair lightness": hair * [0.110, 0.088, 0.062] + layers["brows"] * [0.05, 0.04, 0.025],
        "hair redness": (hair + 0.5 * layers["brows"]) * [0.050, 0.002, -0.022],
        "hair greyness": (hair + 0.6 * layers["brows"]) * [-0.012, 0.010, 0.028],
        "hair at the crown": hair * top * (SKIN - HAIR) * 0.35,
        "hair at the back": hair * bell(z + 0.4, 0.25) * [-0.07, -0.055, -0.04],
        "hairline": edge * fade * 0.45,
        "sideburns": bell(side - 0.27, 0.08) * bell(y + 0.13, 0.06) * bell(z - 0.06, 0.05) * fade * 0.30 * skin,
        "brow lightness": layers["brows"] * [0.070, 0.055, 0.040],
        "brow thickness": (brow_edge + 0.2 * layers["brows"]) * (BROW - SKIN) * 0.35,
        "brow height": layers["brows"] * np.tanh((y - 0.095) / 0.008)[:, None] * (BROW - SKIN) * 0.28,
        "lip redness": layers["lips"] * [0.030, -0.055, -0.040],
        "lip lightness": layers["lips"] * [0.070, 0.060, 0.055],
        "iris blueness": iris * [-0.085, 0.010, 0.120],
        "iris lightness": iris * [0.070, 0.080, 0.055],
        "eye sockets": layers["sockets"] * [-0.070, -0.065, -0.050],
        "beard": layers["beard"] * fade * 0.26,
        "moustache": layers["moustache"] * fade * 0.26,
        "cheeks": cheeks * [0.020, -0.035, -0.028],
        "nose": nose * [0.014, -0.034, -0.028],
        "neck": neck * [-0.050, -0.045, -0.035],
        "ears": ears * [0.018, -0.036, -0.030],
    }


def _fields(layers) -> dict[str, np.ndarray]:
    """Freckles and blotches of the skin, and what differs between its halves."""
    points, mirrored = mean_surface()[0], sphere()[2]
    rng = np.random.default_rng(_SEED)
    modes = {}
    plans = (
        [("freckles", k, 7.0 + 2.0 * k, 0.020 / (1 + 0.15 * k)) for k in range(FRECKLES)]
        + [("blotches", k, 1.2 + 0.25 * k, 0.015 / (1 + 0.12 * k)) for k in range(BLOTCHES)]
        + [("lopsided", k, 1.0 + 0.4 * k, 0.014 / (1 + 0.15 * k)) for k in range(LOPSIDED)]
    )
    for name, k, frequency, deviation in plans:
        tint = np.array([0.7, 0.9, 1.0]) if name == "freckles" else _unit_tint(rng)
        wave = smooth_field(rng, points, frequency, 10 if name == "freckles" else 6)
        if name == "lopsided":
            wave = wave - wave[mirrored]
        else:
            wave = wave + wave[mirrored]
        wave *= deviation / np.sqrt((wave**2).mean())
        cover = layers["skin"] + (0.8 * layers["hair"] if name != "freckles" else 0)
        modes[f"{name} {k + 1}"] = cover * wave[:, None] * tint
    return modes


def _unit_tint(rng) -> np.ndarray:
    tint = 1.0 + 0.25 * rng.normal(size=3)
    return tint / np.abs(tint).max()
