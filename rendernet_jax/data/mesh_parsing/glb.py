"""glb files (binary glTF 2.0): triangles in their place in the scene, vertex colours, base colours and pictures.

Open3D reads neither texture coordinates nor pictures of glb files. What a reader of shapes needs of the format is
little: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. Points and lines, skins, morph targets, wrap modes
other than repeat, and transparency are left out.
"""

import base64
import json
import struct
import urllib.parse
from pathlib import Path

import numpy as np

from .images import Materials

_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_COMPRESSED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}
MAX_COUNT = 1 << 26  # of one array, which a file may ask for without holding it
_WHITE = (1.0, 1.0, 1.0)


def read(path: Path) -> dict:
    """Arrays of a glb file, as ``mesh_subprocess.py`` hands them on.

    Raises:
        ValueError: broken, compressed, or not glTF 2.
    """
    try:
        return _Reader(path).read()
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, struct.error, RecursionError):
        raise ValueError("it is broken") from None


class _Reader:
    def __init__(self, path: Path):
        content = path.read_bytes()
        magic, version, _ = struct.unpack_from("<4sII", content)
        if magic != b"glTF" or version != 2:
            raise ValueError("it is not a glb file of glTF 2, or broken")
        chunks, start = {}, 12
        while start + 8 <= len(content):
            size, kind = struct.unpack_from("<I4s", content, start)
            chunks.setdefault(kind, content[start + 8 : start + 8 + size])
            start += 8 + size
        self.tree = json.loads(chunks[b"JSON"])
        self.chunk = chunks.get(b"BIN\0", b"")
        self.buffers: dict[int, bytes] = {}
        self.materials = Materials(path)
        if found := sorted(_COMPRESSED & set(self.tree.get("extensionsRequired", []))):
            raise ValueError(f"it is compressed ({', '.join(found)}); save it without compression")

    def read(self) -> dict:
        parts = [self._primitive(*found) for found in self._instances()]
        parts = [part for part in parts if part is not None and len(part["faces"])]
        if not parts:
            raise ValueError("it is empty or broken")
        first = np.cumsum([0] + [len(part["vertices"]) for part in parts])
        arrays = {
            "vertices": np.concatenate([part["vertices"] for part in parts]),
            "faces": np.concatenate([part["faces"] + start for part, start in zip(parts, first[:-1], strict=True)]),
        }
        if any(part["colors"] is not None for part in parts):
            colors = [np.ones_like(p["vertices"]) if p["colors"] is None else p["colors"] for p in parts]
            arrays["colors"] = np.concatenate(colors).clip(0, 1).astype(np.float32)
        if materials := self.materials.arrays():
            arrays |= materials
            arrays["uv"] = np.concatenate([part["uv"][part["faces"]] for part in parts])
            arrays["material"] = np.repeat([p["material"] for p in parts], [len(p["faces"]) for p in parts])
        return arrays | {"notes": self.materials.notes}

    # --- the scene ---

    def _instances(self):
        """Primitives and their transforms ``[4, 4]``, in the order of the scene's tree."""
        nodes = self.tree.get("nodes", [])
        scenes = self.tree.get("scenes")
        if scenes:
            roots = scenes[self.tree.get("scene", 0)].get("nodes", [])
        else:  # then all nodes are shown
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [number for number in range(len(nodes)) if number not in children]
        stack = [(number, np.eye(4)) for number in reversed(roots)]
        seen = set()
        while stack:
            number, above = stack.pop()
            if number in seen:
                raise ValueError("a node of its scene has two parents")
            seen.add(number)
            node = nodes[number]
            here = above @ _transform(node)
            if "mesh" in node:
                for primitive in self.tree["meshes"][node["mesh"]]["primitives"]:
                    yield primitive, here
            stack += [(child, here) for child in reversed(node.get("children", []))]

    def _primitive(self, primitive: dict, transform: np.ndarray) -> dict | None:
        mode = primitive.get("mode", 4)
        attributes = primitive["attributes"]
        if mode not in (4, 5, 6) or "POSITION" not in attributes:
            return None
        vertices = self._accessor(attributes["POSITION"]).astype(np.float64)
        if vertices.shape[1] != 3:
            raise ValueError("its vertices do not have three coordinates")
        if "indices" in primitive:
            index = self._accessor(primitive["indices"])[:, 0].astype(np.int64)
        else:
            index = np.arange(len(vertices))
        faces = _triangles(index, mode)
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise ValueError(f"its faces want the vertices {faces.min()} to {faces.max()} of {len(vertices)}")
        colors = None
        if "COLOR_0" in attributes:
            colors = self._attribute(attributes["COLOR_0"], len(vertices), 3)
        material, uv = self._material(primitive.get("material"), attributes, len(vertices))
        vertices = vertices @ transform[:3, :3].T + transform[:3, 3]
        return {"vertices": vertices, "faces": faces, "colors": colors, "uv": uv, "material": material}

    # --- materials ---

    def _material(self, number, attributes: dict, count: int) -> tuple[int, np.ndarray]:
        """Number of a material, and the vertices' texture coordinates ``[count, 2]``, v up."""
        uv = np.zeros((count, 2), np.float32)
        if number is None:
            return self.materials.add(_WHITE), uv
        material = self.tree["materials"][number]
        glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        if glossy is not None:
            color, texture = glossy.get("diffuseFactor", _WHITE), glossy.get("diffuseTexture")
        else:
            metallic = material.get("pbrMetallicRoughness", {})
            color, texture = metallic.get("baseColorFactor", _WHITE), metallic.get("baseColorTexture")
        if texture is None:
            return self.materials.add(color[:3]), uv
        change = texture.get("extensions", {}).get("KHR_texture_transform", {})
        name = f"TEXCOORD_{change.get('texCoord', texture.get('texCoord', 0))}"
        if name not in attributes:
            return self.materials.add(color[:3]), uv
        uv = _change_uv(self._attribute(attributes[name], count, 2), change)
        uv[:, 1] = 1.0 - uv[:, 1]  # glTF counts v from the top
        return self.materials.add(color[:3], self._image(texture["index"])), uv.astype(np.float32)

    def _image(self, number: int) -> int:
        texture = self.tree["textures"][number]
        source = texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source", texture.get("source"))
        if source is None:
            return self.materials.decode_image(("texture", number), f"picture {number}", lambda: b"")
        image = self.tree["images"][source]
        uri = image.get("uri")
        if uri is not None and not uri.startswith("data:"):
            return self.materials.read_image(urllib.parse.unquote(uri))

        def content():
            return self._view(image["bufferView"]) if uri is None else _data(uri)

        return self.materials.decode_image(source, f"picture {image.get('name', source)}", content)

    # --- numbers ---

    def _attribute(self, number: int, count: int, width: int) -> np.ndarray:
        """Numbers ``[count, width]`` as floats, integers scaled to [0, 1] (or [-1, 1]) where they are normalised."""
        values = self._accessor(number)
        if len(values) != count or values.shape[1] < width:
            raise ValueError("its vertices have attributes of another number")
        largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        # Colours in integers are always normalised; of texture coordinates, the accessor says so.
        scale = largest if width == 3 or self.tree["accessors"][number].get("normalized") else 1
        return values[:, :width].astype(np.float64) / scale

    def _accessor(self, number: int) -> np.ndarray:
        accessor = self.tree["accessors"][number]
        kind, count = np.dtype(_TYPES[accessor["componentType"]]).newbyteorder("<"), accessor["count"]
        width = _WIDTHS[accessor["type"]]
        if not 0 <= count <= MAX_COUNT:
            raise ValueError(f"it counts {count} vertices or corners, and at most {MAX_COUNT} are read")
        if "bufferView" in accessor:
            values = self._numbers(accessor["bufferView"], accessor.get("byteOffset", 0), kind, count, width)
        else:
            values = np.zeros((count, width), kind)
        if sparse := accessor.get("sparse"):
            index, new = sparse["indices"], sparse["values"]
            index_kind = np.dtype(_TYPES[index["componentType"]]).newbyteorder("<")
            place = self._numbers(index["bufferView"], index.get("byteOffset", 0), index_kind, sparse["count"], 1)
            values = values.copy()
            values[place[:, 0].astype(np.int64)] = self._numbers(
                new["bufferView"], new.get("byteOffset", 0), kind, sparse["count"], width
            )
        if accessor.get("normalized") and kind.kind in "iu" and width == 3:  # quantised positions
            return values.astype(np.float64) / np.iinfo(kind).max
        return values

    def _numbers(self, view: int, offset: int, kind: np.dtype, count: int, width: int) -> np.ndarray:
        stride = self.tree["bufferViews"][view].get("byteStride", kind.itemsize * width)
        # NumPy refuses what lies beyond the bytes.
        return np.ndarray((count, width), kind, self._view(view), offset, (stride, kind.itemsize))

    def _view(self, number: int) -> bytes:
        view = self.tree["bufferViews"][number]
        content, start = self._buffer(view["buffer"]), view.get("byteOffset", 0)
        if start < 0 or view["byteLength"] < 0 or start + view["byteLength"] > len(content):
            raise ValueError("it ends early")
        return memoryview(content)[start : start + view["byteLength"]]

    def _buffer(self, number: int) -> bytes:
        if number not in self.buffers:
            uri = self.tree["buffers"][number].get("uri")
            if uri is not None and not uri.startswith("data:"):
                raise ValueError("its vertices are in another file; save it as one")
            self.buffers[number] = self.chunk if uri is None else _data(uri)
        return self.buffers[number]


def _data(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def _transform(node: dict) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    result = np.eye(4)
    result[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    result[:3, 3] = node.get("translation", (0, 0, 0))
    return result


def _triangles(index: np.ndarray, mode: int) -> np.ndarray:
    """Corners ``[F, 3]`` of a list (mode 4), strip (5) or fan (6)."""
    if mode == 4:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    first = index[:-2] if mode == 5 else np.full(max(len(index) - 2, 0), index[0] if len(index) else 0)
    return np.stack([first, index[1:-1], index[2:]], axis=1)


def _change_uv(uv: np.ndarray, change: dict) -> np.ndarray:
    """KHR_texture_transform: scaled, turned counter-clockwise as seen with v down, moved."""
    scale, angle, move = change.get("scale", (1, 1)), float(change.get("rotation", 0)), change.get("offset", (0, 0))
    cos, sin = np.cos(angle), np.sin(angle)
    return uv * np.array(scale, np.float64) @ np.array([[cos, -sin], [sin, cos]]) + np.array(move, np.float64)
