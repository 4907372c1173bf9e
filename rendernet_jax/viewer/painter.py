"""Draws for every browser with one set of weights, one picture at a time."""

import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax import rendering, shading, weights
from rendernet_jax.camera import Light, Pose
from rendernet_jax.errors import InputError

_MOVING = 256  # pixels: the least that the shipped weights draw well

_buffers = jax.jit(rendering.render_buffers, static_argnums=(1, 4))
_shade = jax.jit(rendering.shade, static_argnums=(0, 3))


class Painter:
    """A network, and the sizes in which it draws: coarse while the object moves, sharp when it rests."""

    def __init__(self, name: str = "compact", size: int = 512):
        """Load weights by name; ``size`` is that of sharp pictures. Raises InputError if it cannot be drawn."""
        self.name = name
        self.params, self.config = weights.load_weights(name)
        rendering.check_size(self.config, size)
        self.size = size
        self._lock = threading.Lock()  # two pictures at once would take twice as long each

    @property
    def outputs(self) -> tuple[str, ...]:
        """Pictures that the network draws."""
        if self.config.draws_images:
            return (self.config.shader or "image",)
        heads = {name for name, _ in self.config.heads}
        return tuple(output for output in shading.OUTPUTS if set(shading.NEEDS[output]) <= heads)

    @property
    def relights(self) -> bool:
        """Whether pictures can be drawn under any light."""
        return not self.config.draws_images

    def coarse(self, size: int) -> int:
        """Size while moving, for a size at rest."""
        return size if self.config.size else min(_MOVING, size)

    def sizes(self) -> tuple[int, ...]:
        """Sizes to choose from."""
        known = {self.size} if self.config.size else {self.size, _MOVING, 512, 1024}
        return tuple(sorted(size for size in known if size % self.config.multiple == 0))

    def check_grid(self, grid: np.ndarray) -> None:
        """Raise InputError unless the network reads such a grid ``[1, X, Y, Z, C]``."""
        if grid.shape[-1] != self.config.channels:
            raise InputError(
                f"voxels: expected {self.config.channels} channels for weights {self.name!r}, got {grid.shape[-1]}; "
                "use other voxels"
            )

    def draw_buffers(self, grid: jax.Array, pose: Pose, size: int) -> dict[str, jax.Array]:
        """What the network draws of one grid ``[1, X, Y, Z, C]`` in one pose: ``[1, size, size, c]`` by name.

        Raises:
            InputError: it holds NaN or infinity.
        """
        with self._lock:
            pose = jax.tree.map(jnp.float32, pose)  # plain numbers would be weakly typed: another program
            buffers = jax.block_until_ready(_buffers(self.params, self.config, grid, pose, size))
        if not all(np.isfinite(buffer).all() for buffer in buffers.values()):
            raise InputError("picture: the network drew NaN or infinity; correct the voxels or the weights")
        return buffers

    def shade(self, buffers: dict, light: Light, output: str, albedo: tuple[float, ...] | None) -> np.ndarray:
        """Picture ``[size, size, C]`` in [0, 1] of a G-buffer; an image network's is taken as it is.

        With an albedo, Phong pictures take that colour.
        """
        if not self.relights:
            return np.asarray(buffers["image"][0])
        if albedo is not None and output in ("phong", "colour"):
            output = "colour"
            color = jnp.broadcast_to(jnp.asarray(albedo, jnp.float32), (*buffers["mask"].shape[:-1], len(albedo)))
            buffers = {**buffers, "albedo": color}
        light = jax.tree.map(jnp.float32, light)
        return np.clip(np.asarray(_shade(self.config, buffers, light, output)[0]), 0.0, 1.0)

    def warm_up(self, grid: np.ndarray, tell: Callable[[str], None]) -> None:
        """Compile what the first pictures need."""
        for size in sorted({self.coarse(self.size), self.size}):
            tell(f"compiling for {size} x {size} pixels")
            buffers = self.draw_buffers(jnp.asarray(grid), Pose(), size)
            self.shade(buffers, Light(), self.outputs[0], None)
