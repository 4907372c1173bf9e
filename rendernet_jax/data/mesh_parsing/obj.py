"""Materials of OBJ files. Open3D reads the shape, and keeps one material only, so that they are smuggled past it.

Each pair of a texture coordinate and a material gets a number, which replaces the texture coordinate in a copy of the
file. Open3D hands it back for each corner of the triangles it makes, however it cuts polygons and orders them.
"""

from pathlib import Path

import numpy as np

from .images import Materials

MAX_MTL_BYTES = 1 << 26
_BASE = 4096  # a number is written as two, which float32 holds exactly
_OPTIONS = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2}  # of map_Kd: numbers that may follow; one word follows all others


def read_materials(path: Path, lines: list[bytes], materials: Materials) -> dict[str, int]:
    """Numbers of the materials that the ``mtllib`` lines of an OBJ file lead to, by name.

    A material is its picture (``map_Kd``) or, without a readable one, its colour (``Kd``).
    """
    found = {}
    for line in lines:
        name = _rest(line)
        names = [name] if _is_beside(path, name) else name.split()  # a name with spaces, or several
        for name in names:
            if _is_beside(path, name):
                found |= _read_mtl((path.parent / name).read_text("utf-8", errors="replace"), materials)
            else:
                materials.leave_out(f"material file {name}", "no such file in the folder of the mesh")
    return found


def _is_beside(path: Path, name: str) -> bool:
    place = (path.parent / name).resolve()
    inside = place.is_relative_to(path.parent.resolve())
    return inside and place.is_file() and place.stat().st_size <= MAX_MTL_BYTES


def recode(lines: list[bytes], numbers: dict[str, int], default: int) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """Lines of an OBJ file (``v``, ``vt``, ``usemtl``, ``f``) with numbers in place of texture coordinates.

    Args:
        lines: of the file, each of one statement.
        numbers: materials by name.
        default: the material of faces whose own is not known.

    Returns:
        Lines; the texture coordinate ``[N, 2]`` and the material ``[N]`` of each number.

    Raises:
        ValueError, IndexError: a face or texture coordinate cannot be read.
    """
    texture, codes, kept, faces = [(0.0, 0.0)], {}, [], []
    material, vertices = default, 0
    for line in lines:
        key, _, rest = line.partition(b" ")
        if key == b"v":
            vertices += 1
            kept.append(line)
        elif key == b"vt":
            words = rest.split()
            texture.append((float(words[0]), float(words[1]) if len(words) > 1 else 0.0))
        elif key == b"usemtl":
            material = numbers.get(_rest(line), default)
        elif key == b"f":
            corners = []
            for word in rest.split():
                parts = word.split(b"/")
                corner, place = int(parts[0]), int(parts[1]) if len(parts) > 1 and parts[1] else 0
                corner = corner if corner > 0 else vertices + 1 + corner
                place = place if place >= 0 else len(texture) + place
                if not 0 <= place < len(texture):
                    raise ValueError(f"a face has the texture coordinate {place} of {len(texture) - 1}")
                code = codes.setdefault((place, material), len(codes))
                corners.append(b"%d/%d" % (corner, code + 1))
            faces.append(b"f " + b" ".join(corners))
    kept += [b"vt %d %d" % divmod(code, _BASE) for code in range(len(codes))]
    table = np.array(list(codes), np.int64).reshape(-1, 2)
    return kept + faces, np.array(texture)[table[:, 0]], table[:, 1]


def decode(found: np.ndarray) -> np.ndarray:
    """Numbers ``[F, 3]`` from the texture coordinates ``[F, 3, 2]`` that Open3D read."""
    return np.rint(found.astype(np.float64)).astype(np.int64) @ [_BASE, 1]


def _read_mtl(text: str, materials: Materials) -> dict[str, int]:
    found, name, color, picture = {}, None, (1.0, 1.0, 1.0), None

    def finish():
        if name is not None:
            image = -1 if picture is None else materials.read_image(picture)
            found[name] = materials.add(color if image < 0 else (1.0, 1.0, 1.0), image)

    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        key = words[0].lower() if words else ""
        if key == "newmtl":
            finish()
            name, color, picture = " ".join(words[1:]), (1.0, 1.0, 1.0), None
        elif key == "kd" and len(words) >= 2:
            try:
                values = [float(word) for word in words[1:4]]
                color = tuple(values) if len(values) == 3 else (values[0],) * 3
            except ValueError:
                pass  # a spectral file, or damage: white
        elif key == "map_kd" and len(words) >= 2:
            picture = _picture_name(words[1:])
    finish()
    return found


def _picture_name(words: list[str]) -> str | None:
    """The file's name, which may hold spaces, behind the options of a ``map_Kd`` line."""
    while len(words) > 1 and words[0].startswith("-"):
        option, words = words[0], words[1:]
        for _ in range(_OPTIONS.get(option, 1)):
            if len(words) > 1 and (option not in _OPTIONS or _is_number(words[0])):
                words = words[1:]
    return " ".join(words) or None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _rest(line: bytes) -> str:
    return " ".join(line.decode("utf-8", errors="replace").split()[1:])
