"""RenderNet in JAX: a differentiable network that draws pictures of voxel grids.

``params, config = load_weights("compact")``, then ``render(params, config, grid, pose, light)``.
"""

import importlib

_HOME = {
    "Pose": "camera",
    "Light": "camera",
    "InputError": "errors",
    "camera_grid": "voxels",
    "render": "rendering",
    "render_buffers": "rendering",
    "load_weights": "weights",
    "save_weights": "weights",
}
__all__ = list(_HOME)


def __getattr__(name):
    """Import on first use, so that ``python -m rendernet_jax`` and ``--help`` need not wait for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'rendernet_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"rendernet_jax.{_HOME[name]}"), name)


def __dir__():
    return __all__
