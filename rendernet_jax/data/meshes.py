"""Triangle meshes: reading and writing files, and the project's normal position and size.

World: right-handed, y up. A normalised mesh is centred on its bounding box and its longest side is 1.
"""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from rendernet_jax.data.materials import Material, Texture, surface_colors
from rendernet_jax.data.optional import import_open3d
from rendernet_jax.errors import InputError

SUFFIXES = (".obj", ".ply", ".off", ".stl", ".glb")
MAX_FILE_BYTES = 1 << 30
MAX_FACES = 20_000_000
MAX_MEMORY_BYTES = 8 << 30
TIME_LIMIT_SECONDS = 60
MAX_NOTES = 3  # lines on stderr about one file


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles that were checked: whoever holds a Mesh may hand it to Open3D, which crashes on a bad index.

    Attributes:
        vertices: float32 ``[V, 3]``, finite.
        faces: int32 ``[F, 3]``, F >= 1, indices into ``vertices``; the winding carries no meaning.
        colors: float32 ``[V, 3]`` in [0, 1], or None.
        texture: materials and texture coordinates of the faces, or None. Where there are colours too, albedo is the
            product of both (:func:`rendernet_jax.data.materials.surface_colors`).

    Raises:
        InputError: an array has another shape, is empty or not finite, an index is out of range, all corners coincide,
            or the texture is of another number of faces.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    texture: Texture | None = None

    def __post_init__(self):
        vertices, faces = np.asarray(self.vertices), np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu" or not len(vertices):
            raise InputError(f"vertices: expected numbers [V, 3], V >= 1, got {_describe(vertices)}; repair the mesh")
        if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
            raise InputError(f"faces: expected integers [F, 3], F >= 1, got {_describe(faces)}; triangulate the mesh")
        with np.errstate(over="ignore"):
            vertices = np.ascontiguousarray(vertices, np.float32)
        if not np.isfinite(vertices).all():
            bad = int((~np.isfinite(vertices)).any(axis=1).sum())
            raise InputError(f"vertices: expected finite coordinates, got {bad} with NaN or infinity; repair the mesh")
        low, high = int(faces.min()), int(faces.max())
        if low < 0 or high >= len(vertices):
            wanted = f"indices from 0 to {len(vertices) - 1}"
            raise InputError(f"faces: expected {wanted}, got {low} to {high}; the file is damaged, export it again")
        corners = vertices[faces.reshape(-1)]
        if not (corners != corners[0]).any():
            raise InputError("vertices: expected an extent above 0, got one point; export the mesh again")
        if self.texture is not None and len(self.texture.uv) != len(faces):
            raise InputError(f"texture: expected one of {len(faces)} faces, got {len(self.texture.uv)}; correct it")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", np.ascontiguousarray(faces, np.int32))
        object.__setattr__(self, "colors", _check_colors(self.colors, len(vertices)))

    @property
    def colored(self) -> bool:
        """Whether the mesh has colours of any kind."""
        return self.colors is not None or self.texture is not None


def load_mesh(path, up: str = "y") -> Mesh:
    """Read a mesh file as it is, without moving or scaling it (see :func:`normalise`).

    All parts of a file become one mesh, polygons become triangles; vertex colours, and the materials of OBJ (``Kd``,
    ``map_Kd``) and glb files with their pictures are kept (:mod:`rendernet_jax.data.materials`). A picture that cannot
    be read, or lies outside the folder of the file and those beside it, is left out with a line on stderr.

    The file is parsed in a child process with limits on memory and time (about one second to start), so that a broken
    one cannot take this process down.

    Args:
        path: an ``.obj``, ``.ply``, ``.off``, ``.stl`` or ``.glb`` file, of any letter case.
        up: the axis that points up in the file: "y", or "z", which maps (x, y, z) to (x, z, -y).

    Raises:
        InputError: no such file, another format, broken, empty, too large, or refused by :class:`Mesh`.
    """
    path = Path(path)
    if up not in ("y", "z"):
        raise InputError(f"up: expected 'y' or 'z', got {up!r}; name the axis that points up in the file")
    _check_file(path)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "mesh.npz"
        _run_child(path, output)
        with np.load(output, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    if len(found["faces"]) > MAX_FACES:
        count = len(found["faces"])
        raise InputError(f"{path}: expected at most {MAX_FACES} triangles, got {count}; decimate the mesh")
    try:
        mesh = assemble(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    notes = found.get("notes", np.array([])).tolist()
    for note in notes[:MAX_NOTES]:
        print(f"{path}: {note}", file=sys.stderr)
    if len(notes) > MAX_NOTES:
        print(f"{path}: {len(notes) - MAX_NOTES} more like these", file=sys.stderr)
    if up == "z":
        mesh = dataclasses.replace(mesh, vertices=mesh.vertices[:, [0, 2, 1]] * np.float32([1, 1, -1]))
    return mesh


def assemble(arrays: dict[str, np.ndarray]) -> Mesh:
    """The mesh of the arrays that ``mesh_subprocess.py`` writes. Raises InputError if they make none."""
    texture = None
    if "material" in arrays:
        images = arrays["material_images"]
        materials = tuple(
            Material(color, None if image < 0 else arrays[f"image_{image}"])
            for color, image in zip(arrays["material_colors"], images, strict=True)
        )
        texture = Texture(arrays["uv"], materials, arrays["material"])
    return Mesh(arrays["vertices"], arrays["faces"], arrays.get("colors"), texture)


def normalise(mesh: Mesh) -> Mesh:
    """Centre a mesh on its bounding box and make its longest side 1; vertices that no face uses are dropped."""
    mesh = take_faces(mesh, np.s_[:])
    vertices = mesh.vertices.astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = (vertices - (low + high) / 2) / (high - low).max()
    return dataclasses.replace(mesh, vertices=vertices.astype(np.float32))


def take_faces(mesh: Mesh, kept) -> Mesh:
    """Some faces of a mesh with their colours and texture; vertices that none of them uses are dropped.

    Args:
        mesh: any mesh.
        kept: what selects faces of ``[F]``: a mask, indices, or a slice.
    """
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    return Mesh(
        mesh.vertices[used],
        faces.reshape(-1, 3).astype(np.int32),
        None if mesh.colors is None else mesh.colors[used],
        None if mesh.texture is None else mesh.texture.take(kept),
    )


def with_vertex_colors(mesh: Mesh) -> Mesh:
    """A textured mesh with a vertex for each corner of a face and the albedo there as its colour, instead of a texture.

    What the picture shows between the corners is lost. A mesh without texture is returned as it is.
    """
    if mesh.texture is None:
        return mesh
    face = np.repeat(np.arange(len(mesh.faces)), 3)
    corner = np.tile(np.float32([[0, 0], [1, 0], [0, 1]]), (len(mesh.faces), 1))
    faces = np.arange(3 * len(mesh.faces), dtype=np.int32).reshape(-1, 3)
    return Mesh(mesh.vertices[mesh.faces.reshape(-1)], faces, surface_colors(mesh, face, corner))


def save_mesh(path, mesh: Mesh) -> None:
    """Write a mesh as ``.obj``, ``.ply``, ``.off``, ``.stl`` or ``.glb``; an existing file is replaced.

    STL carries no colours; PLY and OFF carry them in 8 bits; OFF carries six digits of a coordinate. No texture is
    written: a textured mesh is saved with the colours at its faces' corners (:func:`with_vertex_colors`).

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a name ending in .obj, .ply, .off, .stl or .glb, got {suffix!r}; rename it")
    o3d = import_open3d()

    mesh = mesh if suffix == ".stl" else with_vertex_colors(mesh)
    # The tensor writer for every format: the legacy one writes a glb that reads back empty.
    tensor = o3d.t.geometry.TriangleMesh(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.faces))
    if suffix == ".stl":
        tensor.compute_triangle_normals()
    elif mesh.colors is not None:
        tensor.vertex.colors = o3d.core.Tensor(mesh.colors)
    try:
        path.touch()  # Open3D only logs that it cannot write
        written = o3d.t.io.write_triangle_mesh(str(path), tensor)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: expected a writable place, got {error}; choose another") from None
    if not written:
        raise InputError(f"{path}: expected a writable place, got a failed write; choose another")


def _check_file(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a mesh file ({' '.join(SUFFIXES)}), got {path.suffix!r}; convert it")
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"{path}: expected a mesh file, got {got}; correct the path")
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise InputError(f"{path}: expected 1 to {MAX_FILE_BYTES} bytes, got {size}; export it again or decimate it")


def _run_child(path: Path, output: Path) -> None:
    script = Path(__file__).with_name("mesh_subprocess.py")
    # -P keeps this folder's module names off the child's search path.
    command = [sys.executable, "-P", str(script), str(path.absolute()), str(output), str(MAX_MEMORY_BYTES)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        child = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path}: expected a mesh that loads within {TIME_LIMIT_SECONDS} s, got none; decimate or repair it"
        ) from None
    if child.returncode == 0 and output.is_file():
        return
    if child.returncode == 3:
        reason = child.stderr.decode(errors="replace").strip().splitlines()[-1]
    elif child.returncode < 0:
        reason = f"its parser died of {signal.Signals(-child.returncode).name}"
    else:
        reason = "it is broken"
    raise InputError(f"{path}: expected a readable mesh, got a file that could not be used: {reason}; export it again")


def _check_colors(colors, count: int) -> np.ndarray | None:
    if colors is None:
        return None
    colors = np.asarray(colors)
    if colors.ndim != 2 or colors.shape[0] != count or colors.shape[1] not in (3, 4):
        raise InputError(f"colors: expected [{count}, 3], got {_describe(colors)}; give one colour a vertex, or None")
    colors = colors[:, :3].astype(np.float32) / (255.0 if colors.dtype == np.uint8 else 1.0)
    if not (np.isfinite(colors).all() and colors.min() >= 0 and colors.max() <= 1):
        raise InputError("colors: expected numbers from 0 to 1, got others; divide bytes by 255")
    return np.ascontiguousarray(colors, np.float32)


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
