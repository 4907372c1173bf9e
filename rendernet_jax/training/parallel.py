"""One training step on all devices of all processes: the batch is split, the state is replicated and unstacked."""

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rendernet_jax.errors import InputError
from rendernet_jax.training.step import AXIS

MODES = ("pmap", "sharding")


def data_parallel(make_step, mode: str = "pmap", devices: int | None = None):
    """The step on all devices, in either of two ways that agree up to rounding and share state and checkpoints.

    ``pmap``: ``jax.pmap`` with gradients averaged over the axis ``"data"``; the state goes in and comes out as one
    unstacked tree (``in_axes=None``, ``out_axes=None``). Since JAX 0.10 this is ``jit(shard_map)`` underneath.
    ``sharding``: ``jax.jit`` with a ``NamedSharding`` of the batch over a mesh of all devices; XLA splits the program.

    Args:
        make_step: ``axis -> step(state, batch)``; ``axis`` is the name over which the step averages, or None.
        devices: of this process; all if None.

    Returns:
        ``step(state, batch)`` for a host batch whose leaves are ``[B, ...]``: of several processes each gives its own
        part, in their order.

    Raises (when called):
        InputError: B is no multiple of the device count; a device would stand idle.
    """
    count = devices or jax.local_device_count()
    spread = (_map_devices if mode == "pmap" else _shard)(make_step, count)

    def step(state, batch):
        size = len(jax.tree.leaves(batch)[0])
        if size % count:
            raise InputError(f"batch: expected a multiple of the {count} devices, got {size}; change --batch")
        return spread(state, batch)

    return step


def _map_devices(make_step, count: int):
    mapped = jax.pmap(make_step(AXIS), axis_name=AXIS, in_axes=(None, 0), out_axes=None)
    split = lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:])  # noqa: E731
    return lambda state, batch: mapped(state, jax.tree.map(split, batch))


def _shard(make_step, count: int):
    # Explicit axes, the default, would make types of every array in the step; here XLA is to find the split.
    mesh = jax.make_mesh((count * jax.process_count(),), (AXIS,), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    compiled = jax.jit(make_step(None), in_shardings=(whole, split), out_shardings=whole)

    def step(state, batch):
        # Nothing is donated: what device_put returns may be the array that it was given.
        batch = jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(split, leaf), batch)
        return compiled(jax.device_put(state, whole), batch)

    return step
