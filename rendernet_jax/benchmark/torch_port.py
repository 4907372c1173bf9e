"""The same network in PyTorch, written as a user of PyTorch would: channels-last, fused library calls.

PyTorch is no dependency: this file alone imports it, and is imported only where it is installed. Arrays keep the
library's layout ``[B, H, W, C]`` or ``[B, H, W, D, C]`` in memory; convolutions see it as channels-last.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from rendernet_jax import composite
from rendernet_jax.benchmark.processes import available_cpus
from rendernet_jax.benchmark.stages import DECAY, RATE, Inputs
from rendernet_jax.camera import Pose, rotation
from rendernet_jax.composite import REACH, SLAB
from rendernet_jax.config import Config
from rendernet_jax.voxels import Window
from rendernet_jax.weights import flatten

_FORMAT = {4: torch.channels_last, 5: torch.channels_last_3d}


class Port:
    """The network of some inputs on a device, with the parameters copied."""

    def __init__(self, inputs: Inputs, device: str, compiled: bool = False):
        if device == "cpu":
            torch.set_num_threads(available_cpus())
        torch.backends.cuda.matmul.allow_tf32 = True  # as JAX does
        self.config, self.size, self.patch, self.device = inputs.config, inputs.size, inputs.patch, device
        self.dtype = torch.bfloat16 if inputs.dtype == "bfloat16" else torch.float32
        transposed = _transposed(inputs.config)
        arrays = {name: np.asarray(p) for name, p in flatten(inputs.params).items()}
        self.params = {n: _parameter(p, n.rpartition(".")[0] in transposed, device) for n, p in arrays.items()}
        self.picture = self._place(inputs.grid, inputs.pose, None)
        patches = inputs.patches
        self.patches = self._place(patches["grid"], patches["pose"], patches["window"])
        self.target = {name: self._tensor(x) for name, x in patches["target"].items()}
        self.optimizer = torch.optim.AdamW(self.params.values(), lr=RATE, weight_decay=DECAY, fused=True)
        self.losses = []  # before each step so far
        self.run = torch.compile(self._run) if compiled else self._run

    @torch.no_grad()
    def forward(self) -> dict[str, torch.Tensor]:
        """G-buffer of the pictures: head -> ``[B, size, size, c]``."""
        buffers = self.run(*self.picture, self.size)
        self._wait()
        return buffers

    def train(self) -> None:
        """One training step on the patches."""
        self.optimizer.zero_grad(set_to_none=True)
        drawn = self.run(*self.patches, self.patch)
        loss = sum(torch.mean((drawn[name] - target) ** 2) for name, target in self.target.items())
        loss.backward()
        self.optimizer.step()
        self._wait()
        self.losses.append(loss.item())

    def _wait(self):
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _tensor(self, x):
        return torch.from_numpy(np.array(x, np.float32)).to(self.device)

    def _place(self, grid, pose: Pose, window: Window | None):
        """Object grids as ``grid_sample`` wants them, and what a pose and a window come down to."""
        count = len(pose.azimuth)
        frame = (-1.0, 1.0, 2.0) if window is None else (window.left, window.top, window.extent)
        frame = [self._tensor(np.broadcast_to(x, (count,))) for x in frame]
        numbers = [rotation(pose), pose.translation, pose.scale, pose.inverse_distance]
        return self._tensor(grid).permute(0, 4, 1, 2, 3), [self._tensor(x) for x in numbers], frame

    def _run(self, grid, pose, frame, size):
        config, side = self.config, size // self.config.upsample
        cells = _camera_grid(grid, pose, frame, (side, side, config.depth))
        analytic = _analytic_features(cells[:, 0], 2.0 * side / frame[2]) if config.analytic else None
        p = {name: value.to(self.dtype) for name, value in self.params.items()}
        raw = _network(p, config, cells.to(self.dtype), analytic)
        return _finish(config, raw, analytic, cells)


def device_for(platform: str) -> str | None:
    """PyTorch's name of the device that JAX calls its platform; None if this PyTorch can't use it."""
    if platform == "cpu":
        return "cpu"
    return "cuda" if platform in ("gpu", "cuda") and torch.cuda.is_available() else None


def _transposed(config: Config) -> set[str]:
    return {f"stage{i}.entry" for i, stage in enumerate(config.stages) if config.transposed and stage.resample > 0}


def _parameter(p: np.ndarray, transposed: bool, device: str) -> torch.nn.Parameter:
    tensor = torch.from_numpy(p.astype(np.float32))
    if transposed and p.ndim > 1:  # PyTorch turns the kernel around, and wants the inputs first
        tensor = tensor.flip(0, 1).permute(2, 3, 0, 1)
    elif p.ndim > 1:
        tensor = tensor.permute(p.ndim - 1, p.ndim - 2, *range(p.ndim - 2))
    tensor = tensor.to(device, memory_format=_FORMAT.get(p.ndim, torch.contiguous_format), copy=True)
    return torch.nn.Parameter(tensor)


# --- resampling -----------------------------------------------------------------------------------------------------


def _camera_grid(grid, pose, frame, shape):
    """Object grids ``[B, C, X, Y, Z]`` (B may be 1) -> camera grids ``[N, C, H, W, D]`` in channels-last order."""
    rows, columns, depth = shape
    left, top, extent = (x[:, None, None, None] for x in frame)
    centres = [torch.arange(n, device=grid.device, dtype=torch.float32) + 0.5 for n in shape]
    x = left + centres[1][:, None] * (extent / columns)
    y = top - centres[0][:, None, None] * (extent / rows)
    z = (1.0 - centres[2] * (2.0 / depth))[None, None, None]
    matrix, translation, scale, inverse_distance = pose
    divisor = 1.0 - inverse_distance[:, None, None, None] * z
    q = torch.broadcast_tensors(x * divisor, y * divisor, z)
    q = (torch.stack(q, dim=-1) - translation[:, None, None, None]) / scale[:, None, None, None, None]
    count, cell_count = len(matrix), rows * columns * depth
    # grid_sample's last coordinate runs along its first axis, and [-1, 1] is the object cube.
    points = torch.bmm(q.reshape(count, cell_count, 3), 2.0 * matrix.flip(2)).reshape(count, *shape, 3)
    grid = grid.expand(count, *grid.shape[1:])
    pieces = math.gcd(rows, torch.get_num_threads()) if grid.device.type == "cpu" else 1
    if pieces > 1:  # on CPUs grid_sample shares out the batch alone among threads
        points = points.reshape(count * pieces, rows // pieces, columns, depth, 3)
        grid = grid[:, None].expand(count, pieces, *grid.shape[1:]).reshape(count * pieces, *grid.shape[1:])
    cells = F.grid_sample(grid, points, mode="bilinear", padding_mode="zeros", align_corners=False)
    channels = grid.shape[1]
    if pieces > 1:
        cells = cells.reshape(count, pieces, channels, rows // pieces, columns, depth).transpose(1, 2)
        cells = cells.reshape(count, channels, *shape)
    return cells.contiguous(memory_format=torch.channels_last_3d)


# --- analytic features, see composite.py ----------------------------------------------------------------------------


def _analytic_features(grid, columns):
    """Occupancy ``[B, H, W, D]`` and columns ``[B]`` -> features, expected q_z and normals, channels last."""
    depth = grid.shape[-1]
    opacity_of_cell = grid.clamp(0.0, 0.999)
    before = torch.ones(depth, depth, device=grid.device).triu(1)
    weights = opacity_of_cell * torch.exp(torch.log1p(-opacity_of_cell) @ before)
    centres = 1.0 - (torch.arange(depth, device=grid.device, dtype=torch.float32) + 0.5) * (2.0 / depth)
    moments = weights @ torch.stack([torch.ones_like(centres), centres, centres**2], dim=-1)
    opacity, first, second = moments.split(1, dim=-1)
    z = (first - 1e-3) / (opacity + 1e-3)
    variance = ((second + 1e-3) / (opacity + 1e-3) - z**2).clamp(min=0.0)
    ratio = (columns / depth)[:, None, None, None]
    normal = -_weighted_gradient(grid, weights) * torch.cat([ratio, ratio, torch.ones_like(ratio)], dim=-1)
    normal = normal / torch.sqrt((normal**2).sum(-1, keepdim=True) + 1e-4)
    features = [
        opacity,
        4.0 * z,
        torch.sqrt(variance + 1e-4),
        normal,
        grid.sum(-1, keepdim=True) / 16.0,
        grid.amax(-1, keepdim=True),
        (ratio - 1.0).expand_as(opacity),
        _edge(opacity, z),
        _slab(grid, z[..., 0]),
    ]
    features = torch.cat(features, dim=-1)
    assert features.shape[-1] == composite.CHANNELS
    return features, z, normal


def _weighted_gradient(grid, weights):
    right = F.pad((weights[:, :, :-1] * grid[:, :, 1:]).sum(-1), (0, 1))
    left = F.pad((weights[:, :, 1:] * grid[:, :, :-1]).sum(-1), (1, 0))
    below = F.pad((weights[:, :-1] * grid[:, 1:]).sum(-1), (0, 0, 0, 1))
    above = F.pad((weights[:, 1:] * grid[:, :-1]).sum(-1), (0, 0, 1, 0))
    padded = F.pad(grid, (1, 1))
    toward = (weights * (padded[..., :-2] - padded[..., 2:])).sum(-1)
    return torch.stack([right - left, above - below, toward], dim=-1)


def _edge(opacity, z):
    padded = F.pad(z[..., 0], (1, 1, 1, 1), mode="replicate")
    beside = torch.minimum(padded[:, 1:-1, 2:], padded[:, 1:-1, :-2])
    farthest = torch.minimum(torch.minimum(padded[:, 2:, 1:-1], padded[:, :-2, 1:-1]), beside)
    return opacity * torch.tanh(8.0 * (z - farthest[..., None]))


def _slab(grid, z):
    depth = grid.shape[-1]
    position = (1.0 - z) * (depth / 2.0) - 0.5
    cell = torch.floor(position)
    index = cell.long()[..., None] + torch.arange(SLAB[0], SLAB[1] + 1, device=grid.device)
    values = torch.gather(grid, 3, index.clamp(0, depth - 1)) * ((index >= 0) & (index < depth))
    fraction = (position - cell)[..., None]
    return values[..., :-1] * (1.0 - fraction) + values[..., 1:] * fraction


# --- network, see network.py ----------------------------------------------------------------------------------------


def _network(p, config, x, analytic):
    """Camera grid ``[B, C, H, W, D]`` -> raw pictures ``[B, H, W, c]``, float32."""
    for i, layer in enumerate(config.volume):
        x = _prelu(p, f"volume_act{i}", _conv(p, f"volume{i}", x, layer.strides))
    if config.volume_blocks:
        x = _blocks(p, "volume_blocks", x, config.volume_blocks)
    x = x.permute(0, 2, 3, 4, 1).flatten(3).permute(0, 3, 1, 2)
    for i in range(len(config.projection)):
        x = _prelu(p, f"projection.act{i}", _conv(p, f"projection.conv{i}", x))
    if analytic is not None:
        x = torch.cat([x, analytic[0].permute(0, 3, 1, 2).to(x.dtype)], dim=1)
    remembered = []
    for i, stage in enumerate(config.stages):
        if stage.resample < 0:
            remembered.append(x)
        joined = remembered.pop() if stage.resample > 0 and remembered else None
        x = _stage(p, f"stage{i}", stage, config, x, joined)
    return _depth_to_space(_conv(p, "head", x), config.subpixel).permute(0, 2, 3, 1).float()


def _stage(p, name, stage, config, x, joined):
    if stage.resample < 0:
        x = _space_to_depth(x)
    if stage.kernel:
        if stage.resample > 0 and config.transposed:
            x = _conv_transposed(p, f"{name}.entry", x)
        else:
            x = _conv(p, f"{name}.entry", x)
            x = _depth_to_space(x) if stage.resample > 0 else x
        if joined is not None:
            x = x + _conv(p, f"{name}.join", joined)
        x = _prelu(p, f"{name}.act", x)
    return _blocks(p, f"{name}.blocks", x, stage.blocks) if stage.blocks else x


def _blocks(p, name, x, count):
    y = x
    for i in range(count):
        inner = _prelu(p, f"{name}.block{i}.act", _conv(p, f"{name}.block{i}.conv0", y))
        y = y + _conv(p, f"{name}.block{i}.conv1", inner)
    return x + _conv(p, f"{name}.last", y)


def _prelu(p, name, x):
    return F.prelu(x, p[f"{name}.slope"])


def _conv(p, name, x, strides=None):
    """Convolution padded as JAX's ``SAME``: the odd cell of padding goes last."""
    kernel, bias = p[f"{name}.kernel"], p[f"{name}.bias"]
    strides = strides or (1,) * (x.ndim - 2)
    totals = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[2:], kernel.shape[2:], strides, strict=True)
    ]
    padding = [total // 2 for total in totals]
    if any(total % 2 for total in totals):
        x = F.pad(x, [n for total in reversed(totals) for n in (total // 2, total - total // 2)])
        padding = [0] * len(totals)
    return (F.conv2d if x.ndim == 4 else F.conv3d)(x, kernel, bias, stride=strides, padding=padding)


def _conv_transposed(p, name, x):
    kernel = p[f"{name}.kernel"]
    return F.conv_transpose2d(x, kernel, p[f"{name}.bias"], stride=2, padding=kernel.shape[-1] // 2 - 1)


def _depth_to_space(x, factor=2):
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, factor, factor, c // factor**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * factor, w * factor, -1).permute(0, 3, 1, 2)


def _space_to_depth(x, factor=2):
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // factor, factor, w // factor, factor, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // factor, w // factor, -1).permute(0, 3, 1, 2)


def _finish(config, x, analytic, cells):
    names, counts = zip(*config.heads, strict=True)
    raw = dict(zip(names, x.split(counts, dim=-1), strict=True))
    if analytic is not None:
        for name, known in (("normal", analytic[2]), ("depth", analytic[1])):
            if name in raw:
                raw[name] = raw[name] + _upsample(known, config.upsample)
    if "normal" in raw:
        length = (raw["normal"] ** 2).sum(-1, keepdim=True)
        raw["normal"] = raw["normal"] * torch.rsqrt(length.clamp(min=1.0))
    buffers = {name: v if name in ("normal", "depth") else torch.sigmoid(v) for name, v in raw.items()}
    largest = F.max_pool2d(cells.detach().amax((1, 4))[:, None], 2 * REACH + 1, 1, REACH)[:, 0, ..., None]
    drawn = _upsample((largest > 0).float(), config.upsample)
    return {name: v * drawn if name in ("mask", "contour") else v for name, v in buffers.items()}


def _upsample(x, factor):
    return x.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
