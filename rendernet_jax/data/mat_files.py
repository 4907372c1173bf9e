"""One numeric array out of a MATLAB file of version 5 to 7; what the file declares is checked first."""

import math
import pathlib

import numpy as np
import scipy.io

from rendernet_jax.errors import InputError

MAX_BYTES = 1 << 26  # of a file, and of an array as float64
_NUMERIC = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def read_mat(path, name: str) -> np.ndarray:
    """The array called ``name``, or the only numeric one of a file that has none of that name, as float32.

    Nothing is unpickled, and no MATLAB object, cell or structure is read.

    Raises:
        InputError: no such file, another format (7.3 is HDF5), damaged, too large, no such array, or not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"{path}: expected a MATLAB file, got {got}; correct the path")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}; split the file")
    try:
        declared = {each: shape for each, shape, kind in scipy.io.whosmat(path, appendmat=False) if kind in _NUMERIC}
        chosen = name if name in declared or len(declared) != 1 else next(iter(declared))
        if chosen not in declared:
            raise InputError(f"expected numbers called {name!r}, got {', '.join(declared) or 'none'}; rename them")
        if math.prod(declared[chosen]) * 8 > MAX_BYTES:
            raise InputError(f"expected at most {MAX_BYTES // 8} numbers, got {declared[chosen]}; split the file")
        array = np.asarray(scipy.io.loadmat(path, appendmat=False, variable_names=[chosen])[chosen])
        if array.dtype.kind not in "iuf":
            raise InputError(f"{chosen}: expected real numbers, got {array.dtype}; save real ones")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except NotImplementedError as error:
        raise InputError(f"{path}: expected MATLAB 5 to 7, got {error}; save it with -v7") from error
    except Exception as error:  # scipy's readers and zlib raise a dozen kinds
        raise InputError(f"{path}: expected a MATLAB file, got a damaged one ({error}); save it again") from error
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {chosen}: expected finite numbers, got nan or inf; save it again")
    return array
