"""Packages that only some commands need, each imported where it is used."""

import importlib

from rendernet_jax.errors import InputError


def import_open3d():
    """The ``open3d`` module.

    Raises:
        InputError: it, or a system library it loads, is missing.
    """
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise InputError(
            f"Open3D: expected to import it, got {error}; install rendernet_jax[mesh] and the system libraries it "
            "names, or use voxel files"
        ) from error
    return open3d


def import_numba():
    """The module ``numba``. Raises InputError if it is not installed."""
    return _import("numba", "meshes to voxels", "mesh")


def import_distributed():
    """The module ``distributed`` of Dask. Raises InputError if it is not installed."""
    return _import("distributed", "--executor=dask", "cluster")


def import_array_record():
    """The module that reads and writes ArrayRecord files. Raises InputError if it is not installed."""
    return _import("array_record.python.array_record_module", "packed data sets", "records")


def import_grain():
    """The module ``grain``. Raises InputError if it is not installed."""
    return _import("grain", "--workers", "records")


def import_tensorboard():
    """The module ``tensorboardX``. Raises InputError if it is not installed."""
    return _import("tensorboardX", "tensorboard", "tensorboard")


def import_ffmpeg():
    """The module ``imageio_ffmpeg``. Raises InputError if it is not installed."""
    return _import("imageio_ffmpeg", "mp4", "video")


def _import(module: str, what: str, extra: str):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{what}: expected {module}, got {error}; install rendernet_jax[{extra}]") from error
