"""G-buffer and light to shaded picture: pure functions of arrays, used in training, rendering and fitting alike.

Arrays are ``[..., H, W, C]`` with any leading batch axes ``[...]``; the fields of a light are ``[...]`` too, or scalars
for one light on all pictures. Backgrounds are white, but for ``mask``. Pictures lie in [0, 1] as long as
``ambient + intensity + specular <= 1``.

A G-buffer is a dict with any of the keys

- ``mask`` ``[..., 1]``: covered fraction of the pixel, [0, 1]
- ``normal`` ``[..., 3]``: mean unit normal of the pixel's covered part, camera axes, facing the viewer
- ``depth`` ``[..., 1]``: mean q_z of the covered part, [-1, 1]
- ``ao`` ``[..., 1]``: mean unoccluded fraction of the covered part, [0, 1]
- ``contour`` ``[..., 1]``: fraction of the pixel under a contour line, [0, 1]
- ``albedo`` ``[..., 3]`` (optional): mean colour of the covered part, [0, 1]
"""

import jax
import jax.numpy as jnp

from rendernet_jax.camera import Light, direction
from rendernet_jax.errors import InputError

TOON_RAMP = 0.03  # width in n.l of the step between two tones


def phong(
    normal: jax.Array,
    mask: jax.Array,
    light: Light,
    albedo: jax.Array | None = None,
    specular: jax.Array | float = 0.0,
    shininess: jax.Array | float = 20.0,
) -> jax.Array:
    """Phong picture ``ambient + intensity max(n.l, 0) + specular max(r.v, 0)^shininess`` on white.

    The normal is used at the length it has. The mean of several unit normals is shorter than 1, and the mean of their
    shades, where all are lit, is the shade of that mean: renormalising would brighten edges and uncertain places.
    The viewer's direction v is the picture's normal, also under perspective (Phong 1975).

    Args:
        normal, mask, albedo: G-buffer entries; albedo multiplies all but the highlight.
        light: one light a picture, or one for all.
        specular, shininess: strength and exponent of the highlight, ``[...]`` or scalar.

    Returns:
        ``[..., H, W, 1]``, or ``[..., H, W, 3]`` with an albedo.
    """
    toward_light, ambient, intensity = _lift_light(light, normal.ndim)
    cosine = _cosine(normal, toward_light)
    color = ambient + intensity * jnp.maximum(cosine, 0.0)
    if albedo is not None:
        color = albedo * color
    if isinstance(specular, (int, float)) and specular == 0.0:
        return _on_white(color, mask)
    # At most 1 for a unit normal; a network's may be longer, and its power overflow.
    reflected = jnp.minimum(2.0 * cosine * normal[..., 2:] - toward_light[..., 2:], 1.0)
    lit = (cosine > 0.0) & (reflected > 0.0)
    # A safe base: the derivative of 0^m by m is not a number.
    highlight = jnp.where(lit, jnp.where(lit, reflected, 1.0) ** _lift(shininess, normal.ndim), 0.0)
    return _on_white(color + _lift(specular, normal.ndim) * highlight, mask)


def toon(normal: jax.Array, mask: jax.Array, contour: jax.Array, light: Light) -> jax.Array:
    """Four tones .25 .5 .75 1 of ``max(n.l, 0)``, divided at .25 .5 .75, under black contour lines, on white.

    Each step is a linear ramp of width :data:`TOON_RAMP`, which smooths it and gives it a gradient. A light's ambient
    and intensity play no part.

    Returns:
        ``[..., H, W, 1]``.
    """
    cosine = _cosine(normal, _lift_light(light, normal.ndim)[0])
    steps = [jnp.clip((cosine - threshold) / TOON_RAMP + 0.5, 0.0, 1.0) for threshold in (0.25, 0.5, 0.75)]
    tone = 0.25 * (1.0 + sum(steps))
    return _on_white(tone, mask) * (1.0 - contour)


def shade(buffers: dict[str, jax.Array], light: Light, output: str) -> jax.Array:
    """One of :data:`OUTPUTS` from a G-buffer.

    ``phong`` and ``toon`` are grey, ``colour`` is Phong times the albedo. ``contour`` is 0 on lines; ``normal`` is
    ``n / 2 + 1/2``; ``depth`` is ``(1 - q_z) / 2``; ``mask`` is 1 on the object, 0 outside.

    Returns:
        ``[..., H, W, C]``: C = 3 for ``normal``, ``albedo`` and ``colour``, else 1.

    Raises:
        InputError: an unknown output, or a G-buffer without what the output needs.
    """
    if output not in _SHADERS:
        raise InputError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
    needs, shader = _SHADERS[output]
    missing = [name for name in needs if name not in buffers]
    if missing:
        raise InputError(
            f"buffers: expected {', '.join(needs)} for output {output!r}, got {', '.join(buffers) or 'none'}; "
            f"use a network with a head for {', '.join(missing)}"
        )
    return shader(buffers, light)


_SHADERS = {
    "phong": (("normal", "mask"), lambda b, light: phong(b["normal"], b["mask"], light)),
    "toon": (("normal", "mask", "contour"), lambda b, light: toon(b["normal"], b["mask"], b["contour"], light)),
    "contour": (("contour",), lambda b, light: 1.0 - b["contour"]),
    "ao": (("ao", "mask"), lambda b, light: _on_white(b["ao"], b["mask"])),
    "normal": (("normal", "mask"), lambda b, light: _on_white(0.5 * b["normal"] + 0.5, b["mask"])),
    "depth": (("depth", "mask"), lambda b, light: _on_white(0.5 - 0.5 * b["depth"], b["mask"])),
    "mask": (("mask",), lambda b, light: b["mask"]),
    "albedo": (("albedo", "mask"), lambda b, light: _on_white(b["albedo"], b["mask"])),
    "colour": (("normal", "mask", "albedo"), lambda b, light: phong(b["normal"], b["mask"], light, b["albedo"])),
}
OUTPUTS = tuple(_SHADERS)
NEEDS = {name: needs for name, (needs, _) in _SHADERS.items()}  # G-buffer entries each output reads


def _on_white(color: jax.Array, mask: jax.Array) -> jax.Array:
    return mask * color + (1.0 - mask)


def _cosine(normal: jax.Array, toward_light: jax.Array) -> jax.Array:
    # Written out: XLA's CPU backend sums so short an axis thirty times slower.
    return sum(normal[..., i : i + 1] * toward_light[..., i : i + 1] for i in range(3))


def _lift_light(light: Light, rank: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Direction, ambient and intensity of a light, shaped to broadcast against ``[..., H, W, C]`` of that rank."""
    toward_light = direction(light.azimuth, light.elevation)
    lifted = toward_light.reshape((1,) * (rank - toward_light.ndim - 2) + (*toward_light.shape[:-1], 1, 1, 3))
    return lifted, _lift(light.ambient, rank), _lift(light.intensity, rank)


def _lift(value, rank: int) -> jax.Array:
    value = jnp.asarray(value, jnp.float32)
    return value.reshape((1,) * (rank - value.ndim - 3) + (*value.shape, 1, 1, 1))
