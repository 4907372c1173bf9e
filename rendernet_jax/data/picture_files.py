"""Pictures of a user's own, in a folder or a tar: nothing is extracted, and what a file claims is checked first.

Of a tar only regular files are read, in memory; links, devices, sparse files, oversized files, and names that leave the
archive are passed over, each with its reason.
"""

import contextlib
import functools
import io
import lzma
import pathlib
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from rendernet_jax.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_BYTES = 1 << 26  # of one file
MAX_SIDE = 4096  # pixels
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # of 8 bits or fewer
_BROKEN_TAR = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


@contextlib.contextmanager
def open_pictures(path) -> Iterator[tuple[dict[str, Callable[[], bytes]], dict[str, str]]]:
    """List the PNG and JPEG files of a folder and its sub-folders, or of a tar (plain, gz, bz2 or xz).

    Yields:
        Name -> function that reads the file, in the order in which they are best read, and name -> reason for what is
        passed over. Names are paths within the folder or tar, with ``/``.

    Raises:
        InputError: nothing there, neither folder nor tar, damaged, or without pictures.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        readers, passed_over = _list_folder(path)
        _require_some(path, readers, passed_over)
        yield readers, passed_over
        return
    if not path.exists():
        raise InputError(f"pictures {path}: no such file or folder; check the path")
    try:
        archive = tarfile.open(path, "r:*")  # noqa: SIM115  (closed below)
    except _BROKEN_TAR as error:
        raise InputError(f"pictures {path}: expected a folder or a tar file, got another ({error})") from error
    with archive:
        readers, passed_over = _list_tar(path, archive)
        _require_some(path, readers, passed_over)
        yield readers, passed_over


def decode_picture(content: bytes) -> np.ndarray:
    """PNG or JPEG to uint8 ``[S, S, 1]`` if it is grey, else ``[S, S, 3]``; what is transparent shows white.

    Raises:
        InputError: damaged, of another format, not square, larger than :data:`MAX_SIDE`, or of more than 8 bits.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                _check_header(image)
                color = np.asarray(_on_white(image))
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise InputError(f"expected a PNG or JPEG picture, got a damaged file ({error}); write it again") from error
    grey = (color[..., 0] == color[..., 1]).all() and (color[..., 0] == color[..., 2]).all()
    return np.ascontiguousarray(color[..., :1] if grey else color)


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width != height:
        raise InputError(f"expected a square picture, got {width} x {height} pixels; crop it")
    if width > MAX_SIDE:
        raise InputError(f"expected at most {MAX_SIDE} pixels a side, got {width}; make it smaller")
    if image.mode not in _MODES:
        raise InputError(f"expected grey or RGB of 8 bits, got mode {image.mode!r}; convert it")


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def _list_folder(folder: pathlib.Path) -> tuple[dict, dict]:
    readers, passed_over = {}, {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        name, size = path.relative_to(folder).as_posix(), path.stat().st_size
        if size > MAX_BYTES:
            passed_over[name] = _too_large(size)
        elif not path.name.startswith("."):
            readers[name] = path.read_bytes
    return readers, passed_over


def _list_tar(path: pathlib.Path, archive: tarfile.TarFile) -> tuple[dict, dict]:
    readers, passed_over = {}, {}
    try:
        members = archive.getmembers()
    except _BROKEN_TAR as error:
        raise InputError(f"pictures {path}: expected a whole tar file, got a damaged one ({error})") from error
    for member in members:
        name = pathlib.PurePosixPath(member.name)
        if member.isdir() or name.name.startswith("."):
            continue
        if reason := _refuse_member(member, name, readers):
            passed_over[member.name] = reason
        else:
            readers[name.as_posix()] = functools.partial(_read_member, archive, member)
    return readers, passed_over


def _refuse_member(member: tarfile.TarInfo, name: pathlib.PurePosixPath, taken) -> str:
    """Why a tar's member is passed over; empty if it is not."""
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        return "its name leaves the archive"
    if not member.isreg() or member.issparse():
        return "a link" if member.islnk() or member.issym() else "no regular file"
    if name.suffix.lower() not in SUFFIXES:
        return f"no {' '.join(SUFFIXES)} file"
    if member.size > MAX_BYTES:
        return _too_large(member.size)
    return "a second file of that name" if name.as_posix() in taken else ""


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    try:
        content = archive.extractfile(member).read()
    except _BROKEN_TAR as error:
        raise InputError(f"expected a whole file in the tar, got a damaged one ({error})") from error
    if len(content) != member.size:
        raise InputError(f"expected {member.size} bytes in the tar, got {len(content)}; it is cut off")
    return content


def _too_large(size: int) -> str:
    return f"{size} bytes, more than {MAX_BYTES}"


def _require_some(path: pathlib.Path, readers: dict, passed_over: dict) -> None:
    if not readers:
        name, reason = next(iter(passed_over.items()), ("", ""))
        got = f"none that can be used ({name}: {reason})" if reason else "none"
        raise InputError(f"pictures {path}: expected {', '.join(SUFFIXES)} files, got {got}")
