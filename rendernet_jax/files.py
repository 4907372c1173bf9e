"""Files that are seen either not at all or whole, and folders that one process at a time writes."""

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator

from rendernet_jax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PARTIAL = ".partial"
_LOCK = ".lock"
_SEAL = "seal"


@contextlib.contextmanager
def replace_file(path) -> Iterator[pathlib.Path]:
    """A hidden path beside a file, which what is written there becomes, or replaces, at the end of the block.

    A crash leaves the old file or the new one, and perhaps the hidden one.
    """
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
    os.close(handle)
    try:
        yield pathlib.Path(temporary)
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def write_atomically(path, content: bytes) -> None:
    """Write or replace a file as :func:`replace_file` does."""
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path, value) -> None:
    """Write JSON as :func:`write_atomically` does; equal values give equal bytes.

    Raises:
        ValueError: a number is NaN or infinite, for which JSON has no word.
    """
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def seal(value: dict) -> dict:
    """A JSON object with ``seal`` added, the sha256 of all else in it: whatever is altered later is noticed."""
    return {**value, _SEAL: _digest(value)}


def unseal(value: dict) -> dict:
    """The object without its seal; one that never had a seal comes back as it is.

    Raises:
        ValueError: no object, or the seal is not that of the content.
    """
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object, got another structure")
    content = {key: value[key] for key in value if key != _SEAL}
    if _SEAL in value and value[_SEAL] != _digest(content):
        raise ValueError("its content is not what its seal says; it was altered")
    return content


def _digest(value: dict) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def remove_leftovers(folder) -> None:
    """Remove what :func:`write_atomically` left in a folder when its process was killed."""
    for path in pathlib.Path(folder).glob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_folder(folder) -> Iterator[None]:
    """Keep every other process that does the same out of a folder; a process that dies lets it go.

    Where the system or the file system knows no locks, nothing is locked.

    Raises:
        InputError: another process holds the folder.
    """
    path = pathlib.Path(folder) / _LOCK
    handle = _take_lock(path)
    try:
        yield
    finally:
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)


def _take_lock(path: pathlib.Path) -> int | None:
    while fcntl is not None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.stat(path), os.fstat(handle)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise InputError(
                f"output: expected {path.parent} to be free, but another process is using it; wait for its end, or "
                "choose another --output"
            ) from None
        except OSError:
            path.unlink(missing_ok=True)
            os.close(handle)
            return None
        os.close(handle)  # its last holder removed the file between the two calls
    return None
