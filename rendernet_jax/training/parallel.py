"""One training step on all local devices: the batch is split, the state is replicated and unstacked."""

import jax

from rendernet_jax.errors import InputError
from rendernet_jax.training.step import AXIS


def data_parallel(step, devices: int | None = None):
    """``jax.pmap`` of ``step(state, batch)`` with gradients averaged over the axis ``"data"``.

    The state goes in and comes out as one unstacked tree (``in_axes=None``, ``out_axes=None``), so that checkpoints
    do not depend on the device count. Since JAX 0.10 this is ``jit(shard_map)`` underneath.

    Returns:
        ``step(state, batch)`` for a host batch whose leaves are ``[B, ...]``.

    Raises (when called):
        InputError: B is no multiple of the device count; a device would stand idle.
    """
    devices = devices or jax.local_device_count()
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None)

    def split(leaf):
        if leaf.shape[0] % devices:
            raise InputError(
                f"batch: expected a multiple of the {devices} devices, got {leaf.shape[0]}; change --batch"
            )
        return leaf.reshape(devices, leaf.shape[0] // devices, *leaf.shape[1:])

    return lambda state, batch: mapped(state, jax.tree.map(split, batch))
