"""The same network on several foundations, held to the same results and then timed in turn."""

import importlib.util
import time

import jax
import jax.numpy as jnp
import numpy as np

from rendernet_jax.benchmark import stages, timing
from rendernet_jax.benchmark.stages import Inputs, Library
from rendernet_jax.errors import InputError

# Largest difference of any pixel of any head; relative difference of the losses of the first steps.
_TOLERANCE = {"float32": (2e-3, 1e-3), "bfloat16": (0.1, 0.05)}
_STEPS = 3


class Compiled:
    """The network as JAX compiles it from one :class:`Library`; each training step goes on where the last ended."""

    def __init__(self, inputs: Inputs, library: Library):
        function, self._arguments = stages.whole(inputs, library)
        self._forward = jax.jit(function).lower(*self._arguments).compile()
        step, (self._state, self._patches) = stages.train_step(inputs, library)
        began = time.perf_counter()
        self._step = jax.jit(step, donate_argnums=0).lower(self._state, self._patches).compile()
        self.losses = []  # before each step so far
        self.train()
        self.first_train_seconds = time.perf_counter() - began
        self.train_memory_mib = timing.memory_mib(self._step)

    def forward(self) -> dict:
        """G-buffer of the pictures: head -> ``[B, size, size, c]``."""
        return jax.block_until_ready(self._forward(*self._arguments))

    def train(self) -> None:
        """One training step."""
        self._state, loss = jax.block_until_ready(self._step(self._state, self._patches))
        self.losses.append(float(loss))


def torch_is_installed() -> bool:
    """Whether PyTorch can be imported; it is not imported."""
    return importlib.util.find_spec("torch") is not None


def make_contenders(inputs: Inputs, use_torch: bool) -> dict:
    """Name -> the network on that foundation: ``ours``, ``nnx`` and, if asked for, ``torch``.

    On a GPU also ``torch.compile``. Without ``torch`` if JAX runs on a device that the installed PyTorch can't use.
    """
    made = {"ours": Compiled(inputs, stages.OURS), "nnx": Compiled(inputs, stages.PLAIN)}
    if not use_torch:
        return made
    from rendernet_jax.benchmark import torch_port

    device = torch_port.device_for(jax.devices()[0].platform)
    if device is not None:
        made["torch"] = torch_port.Port(inputs, device)
    if device == "cuda":
        made["torch.compile"] = torch_port.Port(inputs, device, compiled=True)
    return made


def check_agreement(contenders: dict, dtype) -> dict[str, float]:
    """Name -> largest difference of a contender's pictures from ours; for contenders fresh from their making.

    Raises:
        InputError: they differ by more than rounding, or the losses of the first training steps do.
    """
    pixels, part = _TOLERANCE[jnp.dtype(dtype).name]
    buffers = {name: {h: np.asarray(v) for h, v in c.forward().items()} for name, c in contenders.items()}
    for contender in contenders.values():
        while len(contender.losses) < _STEPS:
            contender.train()
    losses = {name: contender.losses[:_STEPS] for name, contender in contenders.items()}
    differences = {}
    for name in [name for name in contenders if name != "ours"]:
        difference = max(float(np.max(np.abs(v - buffers["ours"][head]))) for head, v in buffers[name].items())
        if not difference <= pixels:
            raise InputError(
                f"{name}: expected the pictures of the same network within {pixels}, got a difference of "
                f"{difference:.2g}; its times would mean nothing: use the versions that third_party/README.md names"
            )
        if not np.allclose(losses[name], losses["ours"], rtol=part, atol=0.0):
            raise InputError(
                f"{name}: expected the training losses {losses['ours']} of the same network within a part of {part}, "
                f"got {losses[name]}; its times would mean nothing: use the versions that third_party/README.md names"
            )
        differences[name] = difference
    return differences


def time_contenders(contenders: dict, rounds: int) -> dict[str, dict[str, list[float]]]:
    """``forward`` and ``train`` -> name -> seconds of each round."""
    return {
        "forward": timing.interleave({name: c.forward for name, c in contenders.items()}, rounds),
        "train": timing.interleave({name: c.train for name, c in contenders.items()}, rounds),
    }
