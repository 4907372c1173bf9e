"""Packages that only some commands need, imported where they are used: Open3D for meshes, Dask for a cluster."""

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


def import_distributed():
    """The module ``distributed``. Raises InputError if Dask is not installed."""
    try:
        import distributed
    except ImportError as error:
        message = (
            f"--executor=dask: expected Dask, got {error}; run `pip install rendernet_jax[cluster]`, or leave it out"
        )
        raise InputError(message) from error
    return distributed
