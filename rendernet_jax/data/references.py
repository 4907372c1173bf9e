"""Ray-traced references: what a mesh looks like under every shader, from the convention of WORKSPACE.md.

Host-side NumPy. A scene is built once for a mesh and traced from many poses::

    scene = build_scene(mesh)
    buffers = trace(scene, pose, size=256)                                    # G-buffer, for training
    pictures = reference_pictures(scene, pose, light, 512, ("phong", "ao"))   # exact pictures, for evaluation
"""

import math
from collections.abc import Callable

import numpy as np

from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.materials import surface_colors
from rendernet_jax.data.meshes import Mesh
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.data.raycast import FRAME, Hits, Scene, build_scene, camera_axes, cast_view, direction, scalar
from rendernet_jax.errors import InputError
from rendernet_jax.shading import OUTPUTS
from rendernet_jax.voxels import Window

__all__ = ["CHANNELS", "Scene", "build_scene", "reference_pictures", "surface_of", "trace"]

CHANNELS = {"mask": 1, "normal": 3, "depth": 1, "contour": 1, "ao": 1, "albedo": 3}

AO_RAYS = 64  # rays a pixel, shared by its sub-samples
AO_REACH = 0.35  # of the object's longest side
_AO_OFFSET = 1e-4  # of the object's longest side; lifts a ray off its own surface
_AO_PATTERNS = 128  # differently scrambled sets of directions; neighbouring pixels use different ones
_AO_CHUNK = 1 << 15  # sub-samples traced together, which bounds memory

CONTOUR_DEPTH = 0.03  # camera-cube units
CONTOUR_COSINE = math.cos(math.radians(45.0))


def trace(
    scene: Scene,
    pose: Pose,
    size: int,
    channels=("mask", "normal", "depth", "contour", "ao", "albedo"),
    supersample: int = 2,
    seed: int = 0,
    threads: int = 0,
    window: tuple[float, float, float] = FRAME,
) -> dict[str, np.ndarray]:
    """Ray trace the G-buffer of one view, each pixel from ``supersample`` x ``supersample`` sub-samples.

    Args:
        scene: from :func:`build_scene`.
        pose: one pose, without batch axes.
        size: pixels on a side.
        channels: any of :data:`CHANNELS`.
        supersample: sub-samples on a pixel's side; 1 is one ray through each pixel's centre.
        seed: of the ``ao`` directions; the same seed gives the same picture.
        threads: Open3D's threads; 0 uses every core.
        window: the square of the frame that is shown: u and v of its centre, and half its side.

    Returns:
        float32 ``[size, size, C]`` a channel:

        - ``mask``: covered fraction, [0, 1].
        - ``normal``: mean over the covered sub-samples of the unit geometric face normals, camera axes (right, up,
          toward the viewer), turned to face the viewer; not renormalised, 0 where nothing is covered.
        - ``depth``: mean q_z of the covered sub-samples, [-1, 1], larger is nearer; -1 where nothing is covered.
        - ``contour``: fraction of the sub-samples on a contour line, [0, 1].
        - ``ao``: mean unoccluded fraction of the covered sub-samples' hemispheres, [0, 1]; 1 where nothing is covered.
        - ``albedo``: mean colour of the covered sub-samples, [0, 1]; 1 where nothing is covered or the mesh is plain.

    Raises:
        InputError: an unknown channel, a size or supersample below 1, or a batched pose.
    """
    _check_known("channels", channels, CHANNELS)
    hits = cast_view(scene, pose, size, supersample, threads, window)
    count = _pool(_scatter(hits, np.ones((len(hits.index), 1), np.float32), 0.0), supersample)
    covered = np.maximum(count, 1.0)

    def mean(values, outside):
        total = _pool(_scatter(hits, values, 0.0), supersample) / covered
        return total if outside == 0.0 else np.where(count > 0, total, np.float32(outside))

    makers = {
        "mask": lambda: count / np.float32(supersample**2),
        "normal": lambda: mean(_camera_normals(hits, pose), 0.0),
        "depth": lambda: mean(hits.depth[:, None], -1.0),
        "contour": lambda: _pool(_contour_lines(hits, supersample), supersample) / supersample**2,
        "ao": lambda: mean(_unoccluded(scene, hits, supersample, seed, threads), 1.0),
        "albedo": lambda: mean(surface_colors(scene.mesh, hits.face, hits.uv), 1.0),
    }
    return {name: makers[name]().astype(np.float32, copy=False) for name in channels}


def surface_of(mesh: Mesh) -> Callable[[Pose, Window, int, int], tuple[np.ndarray, np.ndarray]]:
    """What a mesh shows: ``(pose, window, size, samples)`` -> normals ``[size, size, 3]`` and mask ``[size, size, 1]``.

    The pose has no batch axes; normals and mask are those of :func:`trace`, float32, each pixel from ``samples`` x
    ``samples`` sub-samples, by default three.
    """
    scene = build_scene(mesh)

    def surface(pose: Pose, window: Window, size: int, samples: int = 3) -> tuple[np.ndarray, np.ndarray]:
        half = 0.5 * float(window.extent)
        square = (float(window.left) + half, float(window.top) - half, half)
        traced = trace(scene, pose, size, ("normal", "mask"), supersample=samples, window=square)
        return traced["normal"], traced["mask"]

    return surface


def reference_pictures(
    scene: Scene,
    pose: Pose,
    light: Light,
    size: int,
    outputs=OUTPUTS,
    supersample: int = 2,
    seed: int = 0,
    threads: int = 0,
) -> dict[str, np.ndarray]:
    """Exact pictures of one view: every sub-sample is shaded, then averaged over its pixel.

    The definitions are those of :func:`rendernet_jax.shading.shade`. Background white, but for ``mask``, which is 1 on
    the object and 0 outside.

    Args:
        scene, pose, size, supersample, seed, threads: as for :func:`trace`.
        light: one light, without batch axes; ``phong``, ``toon`` and ``colour`` use it.
        outputs: any of :data:`rendernet_jax.shading.OUTPUTS`.

    Returns:
        float32 ``[size, size, C]`` in [0, 1] an output: C = 3 for ``normal``, ``albedo`` and ``colour``, else 1.

    Raises:
        InputError: an unknown output, a size or supersample below 1, or a batched pose or light.
    """
    _check_known("outputs", outputs, OUTPUTS)
    hits = cast_view(scene, pose, size, supersample, threads)
    lines = _contour_lines(hits, supersample) if {"contour", "toon"} & set(outputs) else None
    colors = surface_colors(scene.mesh, hits.face, hits.uv) if {"albedo", "colour"} & set(outputs) else None
    makers = {
        "phong": lambda: _scatter(hits, _phong(_cosine(hits, pose, light), light), 1.0),
        "toon": lambda: _scatter(hits, _toon(_cosine(hits, pose, light)), 1.0) * ~lines,
        "contour": lambda: ~lines,
        "ao": lambda: _scatter(hits, _unoccluded(scene, hits, supersample, seed, threads), 1.0),
        "normal": lambda: _scatter(hits, _camera_normals(hits, pose) * 0.5 + 0.5, 1.0),
        "depth": lambda: _scatter(hits, (1.0 - hits.depth[:, None]) / 2.0, 1.0),
        "mask": lambda: _scatter(hits, np.ones((len(hits.index), 1), np.float32), 0.0),
        "albedo": lambda: _scatter(hits, colors, 1.0),
        "colour": lambda: _scatter(hits, colors * _phong(_cosine(hits, pose, light), light), 1.0),
    }
    return {name: np.clip(_pool(makers[name](), supersample) / supersample**2, 0.0, 1.0) for name in outputs}


# --- pictures ----------------------------------------------------------------------------------------------


def _scatter(hits: Hits, values: np.ndarray, outside: float) -> np.ndarray:
    """Values [N, C] at the covered sub-samples -> picture [side, side, C]."""
    picture = np.full((hits.side * hits.side, values.shape[-1]), outside, np.float32)
    picture[hits.index] = values
    return picture.reshape(hits.side, hits.side, -1)


def _pool(picture: np.ndarray, supersample: int) -> np.ndarray:
    """Sum of each pixel's sub-samples: [size s, size s, C] -> float32 [size, size, C]."""
    total = np.zeros((picture.shape[0] // supersample, picture.shape[1] // supersample, picture.shape[2]), np.float32)
    for row in range(supersample):
        for column in range(supersample):
            total += picture[row::supersample, column::supersample]
    return total


def _camera_normals(hits: Hits, pose: Pose) -> np.ndarray:
    # einsum, because a threaded matrix product is 20 times slower on so thin a matrix.
    return np.einsum("ni,ji->nj", hits.normal, camera_axes(pose).astype(np.float32))


# --- shaders --------------------------------------------------------------------------------------------------------


def _cosine(hits: Hits, pose: Pose, light: Light) -> np.ndarray:
    azimuth, elevation = (scalar(f"light.{name}", getattr(light, name)) for name in ("azimuth", "elevation"))
    toward_light = (direction(azimuth, elevation) @ camera_axes(pose)).astype(np.float32)
    return np.maximum(np.einsum("ni,i->n", hits.normal, toward_light), 0.0)[:, None]


def _phong(cosine: np.ndarray, light: Light) -> np.ndarray:
    return scalar("light.ambient", light.ambient) + scalar("light.intensity", light.intensity) * cosine


def _toon(cosine: np.ndarray) -> np.ndarray:
    return np.ceil(np.clip(4.0 * cosine, 1.0, 4.0)) / np.float32(4.0)


def _contour_lines(hits: Hits, supersample: int) -> np.ndarray:
    """Sub-samples on a line, bool [side, side, 1]."""
    # Depth -9 outside makes a change of the mask one more jump in depth.
    depth = _scatter(hits, hits.depth[:, None], -9.0)[..., 0]
    normal = _scatter(hits, hits.normal, 0.0)
    line = np.zeros(depth.shape, bool)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        jumps = np.abs(depth[here] - depth[there]) > CONTOUR_DEPTH
        turns = np.einsum("yxc,yxc->yx", normal[here], normal[there]) < CONTOUR_COSINE
        line[here] |= jumps | (turns & (depth[here] > -9.0))
    width = max(supersample, round(hits.side / 340))
    return _dilate(line, width)[..., None]


def _dilate(line: np.ndarray, width: int) -> np.ndarray:
    """Draw a line that marks the upper or left one of each pair with a round brush of ``width`` sub-samples."""
    low, high = (width - 1) // 2, width // 2
    padded = np.pad(line, ((high, low), (high, low)))
    drawn = np.zeros_like(line)
    centre = (low - high) / 2.0
    for row in range(-low, high + 1):
        for column in range(-low, high + 1):
            if math.hypot(row + centre, column + centre) <= width / 2:
                drawn |= padded[high - row :, high - column :][: line.shape[0], : line.shape[1]]
    return drawn


def _unoccluded(scene: Scene, hits: Hits, supersample: int, seed: int, threads: int) -> np.ndarray:
    """Unoccluded fraction [N, 1] of each covered sub-sample's cosine-weighted hemisphere."""
    o3d = import_open3d()

    rng = np.random.default_rng(seed)
    count = max(1, AO_RAYS // supersample**2)
    table = _hemispheres(rng, supersample**2, count)
    row, column = np.divmod(hits.index, hits.side)
    pixel = row // supersample * (hits.side // supersample) + column // supersample
    part = row % supersample * supersample + column % supersample
    pattern = rng.integers(0, _AO_PATTERNS, (hits.side // supersample) ** 2)[pixel]
    free = np.empty((len(pixel), 1), np.float32)
    for start in range(0, len(pixel), _AO_CHUNK):
        chunk = np.s_[start : start + _AO_CHUNK]
        normal = hits.normal[chunk]
        local = table[pattern[chunk], part[chunk]]
        rays = np.empty((len(normal), count, 6), np.float32)
        rays[..., :3] = (hits.point[chunk] + np.float32(_AO_OFFSET * scene.longest_side) * normal)[:, None]
        for axis, (x, y, z) in enumerate(zip(*_tangents(normal), normal.T, strict=True)):
            rays[..., 3 + axis] = local[:, 0] * x[:, None] + local[:, 1] * y[:, None] + local[:, 2] * z[:, None]
        hidden = scene.raycaster.test_occlusions(
            o3d.core.Tensor.from_numpy(rays), tfar=AO_REACH * scene.longest_side, nthreads=threads
        )
        free[chunk, 0] = 1.0 - hidden.numpy().mean(-1)
    return free


def _tangents(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two tangents [3, N] of unit normals [N, 3] (Duff et al. 2017, "Building an Orthonormal Basis, Revisited")."""
    x, y, z = normal.T
    sign = np.copysign(np.float32(1.0), z)
    a = -1.0 / (sign + z)
    b = x * y * a
    return np.stack([1.0 + sign * x * x * a, sign * b, -sign * x]), np.stack([b, sign + y * y * a, -y])


def _hemispheres(rng: np.random.Generator, parts: int, count: int) -> np.ndarray:
    """Cosine-weighted directions [patterns, parts, 3, count], z along the normal.

    The first two dimensions of Sobol's sequence: every part is evenly spread, and so are a pixel's parts together.
    Each pattern flips its own bits (a digital shift), which keeps that. A disc point lifted to the hemisphere is
    cosine-weighted (Malley's method).
    """
    index = np.arange(parts * count, dtype=np.uint32)
    first, second = np.zeros_like(index), np.zeros_like(index)
    flip, column = np.uint32(1 << 31), np.uint32(1 << 31)
    for bit in range(max(1, int(index[-1]).bit_length())):
        chosen = (index >> np.uint32(bit)) & np.uint32(1)
        first ^= chosen * (flip >> np.uint32(bit))
        second ^= chosen * column
        column ^= column >> np.uint32(1)
    shift = rng.integers(0, 1 << 32, (2, _AO_PATTERNS, 1), dtype=np.uint32)
    radius2, turn = ((np.stack([first, second])[:, None] ^ shift) + 0.5) / 2.0**32
    angle = 2.0 * np.pi * turn
    directions = np.stack([np.sqrt(radius2) * np.cos(angle), np.sqrt(radius2) * np.sin(angle), np.sqrt(1.0 - radius2)])
    return np.moveaxis(directions.reshape(3, _AO_PATTERNS, parts, count), 0, 2).astype(np.float32)


def _check_known(name: str, wanted, known) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise InputError(f"{name}: expected some of {', '.join(known)}, got {', '.join(unknown)}")
