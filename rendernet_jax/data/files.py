"""Files that are seen either not at all or whole, whatever happens while they are written."""

import json
import os
import pathlib
import tempfile

_PARTIAL = ".partial"


def write_atomically(path, content: bytes) -> None:
    """Write or replace a file; a crash leaves the old file or the new one, and perhaps a hidden one beside it."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path, value) -> None:
    """Write JSON as :func:`write_atomically` does; equal values give equal bytes."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def remove_leftovers(folder) -> None:
    """Remove what :func:`write_atomically` left in a folder when its process was killed."""
    for path in pathlib.Path(folder).glob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)
