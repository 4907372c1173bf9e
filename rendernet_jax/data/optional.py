"""Open3D, which only meshes need: imported where it is used, so that voxel files and training do without it."""

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
