"""What stands beside the network's picture: ray-traced pictures of the same object from the same place."""

import functools

import numpy as np

from rendernet_jax import rendering
from rendernet_jax.camera import Light, Pose
from rendernet_jax.data.inputs import Object
from rendernet_jax.data.raycast import Scene
from rendernet_jax.data.references import build_scene, reference_pictures
from rendernet_jax.errors import InputError
from rendernet_jax.report import voxel_blocks


class Scenes:
    """Ray tracers of one object, built when they are first asked for."""

    def __init__(self, thing: Object):
        self._thing = thing

    def trace_mesh(self, pose: Pose, light: Light, size: int, output: str) -> dict[str, np.ndarray]:
        """The mesh's picture ``output``, and its ``mask``, ``[size, size, C]`` in [0, 1].

        Raises:
            InputError: the object came as voxels, Open3D is missing, or there is no such picture of a mesh.
        """
        outputs = tuple(dict.fromkeys((output, "mask")))
        return reference_pictures(self._mesh, pose, light, size, outputs)

    def trace_voxels(self, pose: Pose, size: int) -> np.ndarray:
        """The voxels as blocks ``[size, size, 3]``, the less in one, the darker it is. InputError without Open3D."""
        light = rendering.DEFAULT_LIGHT
        return reference_pictures(self._voxels, pose, light, size, ("colour",))["colour"]

    @functools.cached_property
    def _mesh(self) -> Scene:
        if self._thing.mesh is None:
            raise InputError("reference: expected a mesh to trace, got voxels; load a mesh file")
        return build_scene(self._thing.mesh)

    @functools.cached_property
    def _voxels(self) -> Scene:
        return build_scene(voxel_blocks(self._thing.grid[0]))
