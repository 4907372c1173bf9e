"""``render`` as one file that draws without this package: StableHLO with the weights inside, by ``jax.export``."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp

from rendernet_jax import rendering, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError
from rendernet_jax.evaluation import check_outputs
from rendernet_jax.files import write_atomically, write_json

PLATFORMS = ("cpu", "cuda", "tpu")
POSE_FIELDS = tuple(field.name for field in dataclasses.fields(Pose))
LIGHT_FIELDS = {"light_azimuth": "azimuth", "light_elevation": "elevation"}
ARTEFACT, SIGNATURE = "render.jaxexport", "render.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """What to export; see ``experiments.export`` for the meaning of each."""

    output: pathlib.Path
    weights: str = "compact"
    outputs: tuple[str, ...] | None = None  # Phong, or what an image network draws
    size: int = 512
    grid: int = 64
    platforms: tuple[str, ...] = PLATFORMS
    gradient: bool = True


def export_render(
    params: dict, config: Config, outputs: tuple[str, ...], size: int, grid: int, platforms=PLATFORMS
) -> jax.export.Exported:
    """A program ``(grid, view) -> {output: picture}`` for any number N of pictures, with the weights inside.

    Its ``grid`` is float32 ``[N, G, G, G, C]``, occupancy in [0, 1]; ``view`` is a dict of float32 arrays ``[N]``: the
    fields of :class:`Pose` (``translation`` is ``[N, 3]``, angles are radians) and, unless the network draws under one
    light alone, ``light_azimuth`` and ``light_elevation``. Pictures are ``[N, size, size, c]`` in [0, 1].

    Raises:
        InputError: what the network cannot draw, or an unknown platform.
    """
    rendering.check_size(config, size)
    check_outputs(config, outputs)
    if not platforms or not set(platforms) <= set(PLATFORMS):
        got = ", ".join(platforms) or "none"
        raise InputError(f"platforms: expected some of {', '.join(PLATFORMS)}, got {got}; correct them")

    def draw(grid, view):
        light = Light(**{field: view[key] for key, field in LIGHT_FIELDS.items() if key in view})
        buffers = rendering.render_buffers(params, config, grid, Pose(**{k: view[k] for k in POSE_FIELDS}), size)
        return {o: rendering.shade(config, buffers, None if config.draws_images else light, o) for o in outputs}

    (count,) = jax.export.symbolic_shape("N")
    array = lambda *shape: jax.ShapeDtypeStruct((count, *shape), jnp.float32)  # noqa: E731
    names = (*POSE_FIELDS, *(() if config.draws_images else LIGHT_FIELDS))
    view = {name: array(3) if name == "translation" else array() for name in names}
    grids = array(grid, grid, grid, config.channels)
    return jax.export.export(jax.jit(draw), platforms=tuple(platforms))(grids, view)


def run(job: Job, provenance: dict) -> dict:
    """Write the artefact and a JSON that tells what it takes and gives; returns that JSON.

    Raises:
        InputError: the weights cannot draw that, or the package ``flatbuffers`` is missing.
    """
    params, config = weights.load_weights(job.weights)
    outputs = job.outputs or (config.shader or "image" if config.draws_images else "phong",)
    exported = export_render(params, config, outputs, job.size, job.grid, job.platforms)
    try:
        content = bytes(exported.serialize(vjp_order=int(job.gradient)))
    except ImportError as error:
        raise InputError(
            f"export: expected the package flatbuffers, got {error}; install rendernet_jax[export]"
        ) from error
    tree = lambda avals, tree: jax.tree.unflatten(tree, [[str(a.dtype), str(a.shape)] for a in avals])  # noqa: E731
    (grids, view), _ = tree(exported.in_avals, exported.in_tree)
    signature = {
        "grid": grids,
        "view": view,
        "pictures": tree(exported.out_avals, exported.out_tree),
        "platforms": list(exported.platforms),
        "gradient": job.gradient,
        "calling_convention_version": exported.calling_convention_version,
        "weights": job.weights,
        "weights_sha256": weights.read_card(job.weights)["sha256"],
        "provenance": provenance,
    }
    write_atomically(job.output / ARTEFACT, content)
    write_json(job.output / SIGNATURE, signature)
    return signature
