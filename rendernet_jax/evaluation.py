"""What every scored or written picture goes through: views, what weights can draw, one drawn view, and figures."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import camera, metrics, rendering, shading
from rendernet_jax.config import Config
from rendernet_jax.errors import InputError

VIEWS = ((20.0, 0.0), (110.0, 15.0), (200.0, 30.0), (290.0, 45.0))  # azimuth, elevation in degrees


def view_pose(index: int) -> camera.Pose:
    """Pose of one of :data:`VIEWS`."""
    azimuth, elevation = VIEWS[index]
    return camera.pose_from_degrees(azimuth_deg=azimuth, elevation_deg=elevation)


def check_outputs(config: Config, outputs: Sequence[str], buffers: Sequence[str] = ()) -> None:
    """Raise InputError unless the network has the heads for the outputs, of which one at least, and the buffers."""
    known = config.shader or "image" if config.draws_images else ", ".join(shading.OUTPUTS)
    if not outputs:
        raise InputError(f"outputs: expected one or more of {known}, got none; name what to draw")
    heads = [name for name, _ in config.heads]
    for output in outputs:
        if config.draws_images:
            rendering.check_output(config, output)
            continue
        if output not in shading.OUTPUTS:
            raise InputError(f"output: expected one of {known}, got {output!r}; correct the name")
        if missing := [name for name in shading.NEEDS[output] if name not in heads]:
            raise InputError(f"output {output!r}: these weights lack the head {', '.join(missing)}; use other weights")
    if missing := [name for name in buffers if name not in heads]:
        raise InputError(
            f"weights: expected the heads {', '.join(buffers)} for what is to be written, got {', '.join(heads)} "
            f"without {', '.join(missing)}; use other weights"
        )


@functools.partial(jax.jit, static_argnames=("config", "size", "outputs"))
def _draw(params, config, grid, pose, light, size, outputs):
    # Parameters are an argument: captured, they would be constants of the program and of its entry in the cache.
    buffers = rendering.render_buffers(params, config, grid, pose, size)
    finite = jnp.stack([jnp.isfinite(buffer).all() for buffer in buffers.values()]).all()
    return buffers, {output: rendering.shade(config, buffers, light, output) for output in outputs}, finite


def draw_view(params, config: Config, grid, pose, light, size: int, outputs: tuple[str, ...]) -> tuple[dict, dict]:
    """One view of one grid ``[1, X, Y, Z, C]``, in one compiled program -> (G-buffer, pictures), each [H, W, c] a name.

    The G-buffer stays on the device, the pictures are NumPy.

    Raises:
        InputError: the network's pictures hold NaN or infinity, the grid does not fit it, or an image network is asked
            for another light or output than its own.
    """
    rendering.check_light(config, light)
    light = None if config.draws_images else light  # checked here, where it is no tracer yet
    buffers, pictures, finite = _draw(params, config, grid, pose, light, size, tuple(outputs))
    if not finite:
        raise InputError(
            "picture: expected finite numbers, the network drew NaN or infinity; correct the pose, the voxels or the "
            "weights"
        )
    return {name: buffer[0] for name, buffer in buffers.items()}, {o: np.asarray(pictures[o][0]) for o in outputs}


def finite_psnr(picture, reference, mask=None) -> float | None:
    """PSNR in dB of two pictures ``[H, W, C]``, over the pixels the mask ``[H, W, 1]`` touches if there is one.

    None, which is JSON's null, where the figure is infinite: the pictures are equal, or there are no such pixels.
    """
    weight = None if mask is None else (np.asarray(mask) > 0).astype(np.float32)[None]
    value = float(metrics.psnr(picture[None], reference[None], weight)[0])
    return None if value == math.inf else value


def mean_figures(figures: Sequence[dict]) -> dict:
    """Mean of each key over dicts of the same keys; a None is left out, and the mean of nothing is None."""
    present = {key: [each[key] for each in figures if each[key] is not None] for key in figures[0]}
    return {key: float(np.mean(values)) if values else None for key, values in present.items()}


def show(figure: float | None, digits: int = 2) -> str:
    """A figure as text."""
    return "-" if figure is None else f"{figure:.{digits}f}"
