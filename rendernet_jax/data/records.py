"""A data set that need not fit in memory: one record for each view, in ArrayRecord files, read when it is asked for.

The folder holds ``manifest.json``, that of the data set with the files in ``records``, and the files in ``records/``. A
record is an ``.npz`` of what :class:`~rendernet_jax.data.views.View` holds and of the view's number. Every read is
checked twice: by the sum that ArrayRecord keeps of each record, and by those within the ``.npz``.
"""

import bisect
import hashlib
import itertools
import json
import pathlib
import zipfile

import numpy as np
import tqdm

from rendernet_jax.array_files import read_arrays
from rendernet_jax.data import shards
from rendernet_jax.data.optional import import_array_record
from rendernet_jax.data.shards import OCCUPANCIES
from rendernet_jax.data.views import COLOURS, View, crop_views
from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder, remove_leftovers, replace_file, seal, write_json

_SHAPES = 256  # whose views go into one file: some hundred megabytes of pictures of 512 pixels
_TYPES = {"mask": np.uint8, "normal": np.int8, "depth": np.uint16, "ao": np.uint8, "contour": np.uint8}


class Records:
    """The views of a packed data set by number; picklable, for processes that read on their own.

    Raises:
        InputError: no array_record, or a file that is missing or not as long as it was; and when a view is read, a
            record that is damaged.
    """

    def __init__(self, folder, manifest: dict):
        """``manifest`` is the folder's own, with ``records``."""
        self._module, self._readers = import_array_record(), {}
        self._settings = manifest["settings"]
        self._paths = [pathlib.Path(folder).absolute() / entry["file"] for entry in manifest["records"]]
        self._ends = list(itertools.accumulate(entry["views"] for entry in manifest["records"]))
        for path, entry in zip(self._paths, manifest["records"]):
            found = path.stat().st_size if path.is_file() else None
            if found != entry["bytes"]:
                got = "no such file" if found is None else f"{found}"
                raise InputError(f"{path}: expected {entry['bytes']} bytes, got {got}; pack the data set again")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> View:
        file = bisect.bisect_right(self._ends, number)
        place = int(number) - (self._ends[file - 1] if file else 0)
        try:
            if file not in self._readers:
                # Records are read in any order: what lies behind one is not wanted next.
                options = {"options": "readahead_buffer_size:0", "file_reader_buffer_size": 1 << 15}
                self._readers[file] = self._module.ArrayRecordReader(str(self._paths[file]), **options)
            return _unpack(self._readers[file].read([place])[0], number, self._settings)
        except Exception as error:  # array_record raises RuntimeError for whatever is wrong
            wanted = f"expected view {number} of a data set"
            raise InputError(f"{self._paths[file]}: {wanted}, got {error}; pack the data set again") from error

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_module": None, "_readers": {}}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _module=import_array_record())


def pack(folder, output) -> dict:
    """Pack a finished data set's views; files that are there already, whole, are not made again.

    Args:
        folder: of the data set.
        output: folder that exists, empty or of an earlier packing of the same data set.

    Returns:
        The manifest.

    Raises:
        InputError: no finished data set in the folder, or a packed one; damaged shards; other files in the output
            folder, or another process that packs there; no array_record.
        OSError: a file cannot be written.
    """
    manifest, output = shards.read_manifest(folder), pathlib.Path(output)
    if "records" in manifest:
        raise InputError(f"data set: {folder} is packed already; name the one that build_dataset made")
    # Files bear the name of what they were made of: what is there under a name is what belongs there.
    origin = shards.sha256(json.dumps(manifest, sort_keys=True).encode())[:12]
    entries = manifest["shards"]
    with lock_folder(output):
        before = _find_packed(output, origin)
        (output / "records").mkdir(exist_ok=True)
        files = []
        with tqdm.tqdm(total=len(entries), unit="shape", disable=None) as bar:
            for first in range(0, len(entries), _SHAPES):
                part = entries[first : first + _SHAPES]
                path = output / "records" / f"{origin}-{len(files):05d}.array_record"
                if not path.exists() or before.get(path.name) not in (None, _digest(path)):
                    _write(path, folder, part, first, manifest["settings"]["views"])
                views = len(part) * manifest["settings"]["views"]
                entry = {"file": f"records/{path.name}", "sha256": _digest(path), "bytes": path.stat().st_size}
                files.append({**entry, "views": views})
                bar.update(len(part))
        write_json(output / "manifest.json", seal({**manifest, "records": files}))
    return shards.read_manifest(output)


def _find_packed(output: pathlib.Path, origin: str) -> dict[str, str]:
    """Digests by name of the files that a finished packing left; removes what an interrupted one left half done."""
    remove_leftovers(output)
    remove_leftovers(output / "records")
    visible = [path for path in output.iterdir() if not path.name.startswith(".") and path.name != "records"]
    visible = [path for path in visible if path.name != "manifest.json"] + list((output / "records").glob("*"))
    if other := [path for path in visible if not path.name.startswith(f"{origin}-")]:
        raise InputError(f"output: expected an empty folder or this data set packed, got {other[0]}; choose another")
    if not (output / "manifest.json").exists():
        return {}
    found = shards.read_manifest(output).get("records")
    if not found or not all(pathlib.PurePath(entry["file"]).name.startswith(f"{origin}-") for entry in found):
        raise InputError(f"output: {output} holds another data set; choose another folder")
    return {pathlib.PurePath(entry["file"]).name: entry["sha256"] for entry in found}


def _write(path: pathlib.Path, folder, entries: list[dict], first: int, count: int) -> None:
    """One file of the views of some shapes, the first of which has that place among all."""
    module, number = import_array_record(), first * count
    with replace_file(path) as temporary:
        writer = module.ArrayRecordWriter(str(temporary), "group_size:1,zstd:3")
        try:
            for entry in entries:
                shard = pathlib.Path(folder) / entry["file"]
                views = crop_views(shards.read_shard(shard, entry["sha256"]), coloured=True)
                if len(views) != count:
                    raise InputError(f"{shard}: expected {count} views, got {len(views)}; build the data set again")
                for view in views:
                    writer.write(_pack(view, number))
                    number += 1
            writer.close()
        except RuntimeError as error:
            raise OSError(f"{path}: cannot be written ({error})") from error


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(view: View, number: int) -> bytes:
    arrays = {**view.channels, **view.grids, "pose": view.pose}
    arrays |= {"number": np.asarray([number], np.int64), "corner": np.asarray([view.top, view.left], np.int32)}
    return shards.pack_shard(arrays, zipfile.ZIP_STORED)  # ArrayRecord compresses


def _unpack(content: bytes, number: int, settings: dict) -> View:
    """Raises ValueError, or whatever a wrong structure brings about, unless the record is that view."""
    arrays = read_arrays(content)
    if arrays["number"].tolist() != [number]:
        raise ValueError("another view")
    (top, left), size, cells = map(int, arrays["corner"]), settings["size"], settings["grid"]
    rows, columns = arrays["mask"].shape
    bits = (-(-(cells**3) // 8),)
    expected = {name: (kind, (rows, columns, *(3,) * (name == "normal"))) for name, kind in _TYPES.items()}
    expected |= {"coverage": (np.uint8, (cells,) * 3), "binary": (np.uint8, bits), "sampled": (np.uint8, bits)}
    expected["pose"] = (np.float32, (len(shards.POSE_COLUMNS),))
    optional = {"albedo": (np.uint8, (rows, columns, 3)), "colours": (np.uint8, (cells,) * 3 + (3,))}
    optional["texture"] = (np.float32, arrays["texture"].shape[:1] if "texture" in arrays else ())
    expected |= {name: kind for name, kind in optional.items() if name in arrays}
    for name, (kind, shape) in expected.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            raise ValueError(f"array {name!r} of {arrays[name].dtype} {arrays[name].shape}")
    if min(top, left) < 0 or max(top + rows, left + columns) > size:
        raise ValueError(f"pixels beyond the view's {size}")
    parts = ((*_TYPES, "albedo"), (*OCCUPANCIES, *COLOURS))
    channels, grids = ({name: arrays[name] for name in names if name in arrays} for names in parts)
    return View(arrays["pose"], top, left, channels, grids)
