"""Arrays in ``.npz`` and ``.npy`` files from anywhere: what they declare is checked first, nothing is unpickled."""

import io
import math
import zipfile
from collections.abc import Callable

import numpy as np

MAX_BYTES = 1 << 32  # of all arrays of a file


def read_arrays(content: bytes, most: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name, read-only; every checksum of the zip is verified.

    Raises:
        ValueError: no such file, a damaged one, one that holds objects, or more than ``most`` bytes in it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
            if declared > most:
                raise ValueError(f"arrays of {declared} bytes, more than {most}")
            arrays = {}
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    arrays[entry.filename.removesuffix(".npy")] = read_array(stream, entry.file_size)
                    if stream.read(1):
                        raise ValueError(f"more in {entry.filename} than its array")
    except ValueError:
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy's header parser raise a dozen kinds
        raise ValueError(f"a damaged file ({error})") from error
    return arrays


def read_array(stream, size: int, judge: Callable[[tuple, np.dtype], None] = lambda *_: None) -> np.ndarray:
    """One array of the NPY format out of ``size`` bytes, read-only.

    Args:
        judge: called with shape and type before the data are read; raises what it likes.

    Raises:
        ValueError: another format, objects, or more or fewer data than the header says.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"expected the NPY format 1.0 or 2.0, got {version}; save the array with numpy.save")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = header(stream)
    judge(shape, dtype)
    if dtype.hasobject:
        raise ValueError("expected numbers, got Python objects, which are never read; save plain arrays")
    expected = math.prod(shape) * dtype.itemsize
    data = stream.read(expected + 1) if 0 <= expected <= size else b""
    if len(data) != expected:
        got = f"{size} with the header"
        raise ValueError(f"expected {expected} bytes of data for {dtype} {shape}, got {got}; write the file again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
