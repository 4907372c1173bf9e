"""Voxel files: ``.binvox`` (own strict codec), ``.npz`` and ``.npy``, read as occupancy ``[X, Y, Z, C]``.

Voxel (i, j, k) of a grid is centred at ``((i + .5) / X - .5, (j + .5) / Y - .5, (k + .5) / Z - .5)``: each axis spans
[-.5, .5] by its own count, also where the counts differ. Files come from anywhere: whatever they declare is checked
before memory is taken, and nothing is ever unpickled.
"""

import io
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from rendernet_jax.array_files import read_array
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_atomically

SUFFIXES = (".binvox", ".npz", ".npy")
MAX_SIDE = 512  # cells along an axis
MAX_BYTES = 1 << 30  # of one array, as stored and as float32

_BINVOX_HEADER = re.compile(
    rb"#binvox 1\r?\n(?:#[^\n]*\n)*dim (\d{1,9}) (\d{1,9}) (\d{1,9})\s*?\r?\n"
    rb"(?:translate (\S+) (\S+) (\S+)\s*?\r?\n)?(?:scale (\S+)\s*?\r?\n)?data\r?\n"
)


def read_voxels(path) -> np.ndarray:
    """Read a voxel file as float32 occupancy ``[X, Y, Z, C]`` in [0, 1].

    ``.binvox``: cubic, y up, C = 1; its translate and scale place the grid in a world that is not used here.
    ``.npz``: the array named ``grid``, or the only one; ``.npy``: the array. Both ``[X, Y, Z]`` or ``[X, Y, Z, C]``,
    boolean, integers 0 and 1, or floats in [0, 1].

    Raises:
        InputError: no such file, another format, damaged, larger than :data:`MAX_SIDE` an axis or :data:`MAX_BYTES`,
            not a grid, or values outside [0, 1].
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a voxel file ({' '.join(SUFFIXES)}), got {path.suffix!r}; convert it")
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"{path}: expected a voxel file, got {got}; correct the path")
    if path.stat().st_size > 2 * MAX_BYTES:
        raise InputError(f"{path}: expected at most {2 * MAX_BYTES} bytes, got {path.stat().st_size}; use fewer cells")
    reader = {".binvox": _read_binvox, ".npz": _read_npz, ".npy": _read_npy}[suffix]
    try:
        return _check_grid(reader(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # zipfile, its decompressors and NumPy's header parser raise a dozen kinds
        raise InputError(f"{path}: expected a voxel grid, got a damaged file ({error}); write it again") from error


def write_voxels(path, grid) -> None:
    """Write a grid ``[X, Y, Z]`` or ``[X, Y, Z, C]`` of values in [0, 1]; an existing file is replaced.

    ``.npz`` and ``.npy`` take any grid and keep binary ones as uint8; ``.binvox`` takes a cubic binary one with C = 1.

    Raises:
        InputError: another suffix, a grid that :func:`read_voxels` would refuse or the format cannot hold, or the file
            cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name ending in {' '.join(SUFFIXES)}, got {path.suffix!r}; rename it")
    grid = _check_grid(np.asarray(grid))
    binary = bool(((grid == 0) | (grid == 1)).all())
    stored = grid.astype(np.uint8) if binary else grid
    buffer = io.BytesIO()
    if suffix == ".binvox":
        if not binary or grid.shape[3] != 1 or len(set(grid.shape[:3])) != 1:
            got = f"{'binary' if binary else 'fractional'} {grid.shape}"
            raise InputError(f"grid: expected binary [N, N, N, 1] for .binvox, got {got}; threshold it or use .npz")
        buffer.write(_encode_binvox(stored[..., 0]))
    elif suffix == ".npz":
        np.savez_compressed(buffer, grid=stored)
    else:
        np.save(buffer, stored)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"{path}: expected a writable place, got {error}; choose another") from None


def _check_grid(grid: np.ndarray) -> np.ndarray:
    _check_layout(grid.shape, grid.dtype)
    if grid.dtype.kind == "f" and not np.isfinite(grid).all():
        raise InputError("grid: expected finite values, got NaN or infinity; repair the grid")
    if grid.dtype.kind != "b" and not (grid.min() >= 0 and grid.max() <= 1):
        raise InputError(f"grid: expected values from 0 to 1, got {grid.min()} to {grid.max()}; divide by the largest")
    grid = grid if grid.ndim == 4 else grid[..., None]
    return np.ascontiguousarray(grid, np.float32)


def _check_layout(shape: tuple, dtype: np.dtype) -> None:
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"grid: expected [X, Y, Z] or [X, Y, Z, C], got {tuple(shape)}; store one grid a file")
    if dtype.kind not in "buif":
        raise InputError(f"grid: expected booleans, integers or floats, got {dtype}; convert the array")
    values = math.prod(shape)
    if max(shape[:3]) > MAX_SIDE or values * max(dtype.itemsize, 4) > MAX_BYTES:
        limit = f"at most {MAX_SIDE} cells an axis and {MAX_BYTES >> 20} MiB"
        raise InputError(f"grid: expected {limit}, got {dtype} {tuple(shape)}; use fewer cells")


# --- .binvox: runs of (value, count) bytes in the order x, z, y with y fastest ----------------------------------------


def _read_binvox(path: Path) -> np.ndarray:
    data = path.read_bytes()
    header = _BINVOX_HEADER.match(data[:1024])
    if header is None:
        raise InputError("expected a binvox header (#binvox 1, dim, translate, scale, data), got another; convert it")
    dim = tuple(int(n) for n in header.groups()[:3])
    if len(set(dim)) != 1 or not 1 <= dim[0] <= MAX_SIDE:
        raise InputError(f"dim: expected a cube of 1 to {MAX_SIDE} cells a side, got {dim}; use .npz for other grids")
    if not all(math.isfinite(float(n)) for n in header.groups()[3:] if n is not None):
        raise InputError("translate and scale: expected finite numbers, got others; repair the header")
    runs = np.frombuffer(data, np.uint8, offset=header.end())
    values, counts = runs[0::2], runs[1::2]
    if len(runs) % 2 or (values > 1).any() or (counts == 0).any():
        raise InputError("data: expected pairs of a value 0 or 1 and a count 1 to 255, got others; the file is damaged")
    cells = int(counts.sum(dtype=np.int64))
    if cells != dim[0] ** 3:
        raise InputError(f"data: expected {dim[0] ** 3} cells, got {cells}; the file is cut off or has trailing bytes")
    return np.repeat(values, counts).reshape(dim).transpose(0, 2, 1)


def _encode_binvox(grid: np.ndarray) -> bytes:
    cells = np.ascontiguousarray(grid.transpose(0, 2, 1)).reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1])
    lengths = np.diff(np.append(starts, len(cells)))
    pieces = -(-lengths // 255)
    runs = np.empty((pieces.sum(), 2), np.uint8)
    runs[:, 0] = np.repeat(cells[starts], pieces)
    runs[:, 1] = 255
    runs[np.cumsum(pieces) - 1, 1] = lengths - 255 * (pieces - 1)
    side = grid.shape[0]
    # The cube of side 1 about the origin, which is where a normalised mesh stands.
    return f"#binvox 1\ndim {side} {side} {side}\ntranslate -0.5 -0.5 -0.5\nscale 1\ndata\n".encode() + runs.tobytes()


# --- .npz and .npy ----------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if "grid.npy" not in names and len(names) != 1:
            raise InputError(f"expected an array named 'grid' or a single one, got {names[:8]}; save it as grid=...")
        name = "grid.npy" if "grid.npy" in names else names[0]
        size = archive.getinfo(name).file_size
        with archive.open(name) as stream:
            return read_array(stream, size, _check_layout)


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        return read_array(stream, path.stat().st_size, _check_layout)
