"""Child process of :func:`rendernet_jax.data.meshes.load_mesh`: parses one mesh file under resource limits.

A broken file can make Open3D crash, hang or ask for any amount of memory, so it is parsed where that harms nobody:
``python mesh_subprocess.py INPUT OUTPUT.npz MEMORY_BYTES``. Nothing of the package is imported here, which keeps the
start of the child down to the import of Open3D. Exit code 0: OUTPUT holds ``vertices``, ``faces`` and perhaps
``colors``; ``notes``, lines about what was left out; and of materials ``uv`` [F, 3, 2] (v up), ``material`` [F],
``material_colors`` [M, 3], ``material_images`` [M] (-1: none) and ``image_0`` .. uint8 [H, W, 3]. Exit code 3: the
reason is the last line of stderr.

The readers were chosen by what Open3D 0.20 gets right. OBJ: ``o3d.t.io`` keeps quads, but reads beyond the end of
line elements, so only vertices and faces reach it; it keeps one material of a file. OFF: both readers clamp bad
indices, hang on comments, or refuse the header ``OFF8 12 0``, so it is parsed here. glb: it reads no textures.
"""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np

if __package__:
    from rendernet_jax.data.mesh_parsing import glb, images, obj
else:  # the child: the last place to look, so that no module of this folder hides another
    sys.path.append(str(Path(__file__).parent))
    from mesh_parsing import glb, images, obj

REFUSED = 3  # exit code of a file that was understood to be unusable


def main(source: str, output: str, memory_bytes: str) -> None:
    """Parse ``source`` and write its arrays to ``output``."""
    _limit_memory(int(memory_bytes))
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if suffix == ".off":
            arrays = read_off(path)
        elif suffix == ".glb":
            arrays = glb.read(path)
        else:
            arrays = (read_obj if suffix == ".obj" else read_other)(_open3d(), path)
    except MemoryError:
        _refuse("it needs more memory than a mesh may take")
    except (ValueError, IndexError, RuntimeError, OSError) as error:
        _refuse("it is empty or broken" if isinstance(error, IndexError) else str(error) or "it is broken")
    if "uv" in arrays:  # far away, or no number: not worth losing the shape
        arrays["uv"] = np.nan_to_num(arrays["uv"], posinf=0, neginf=0).clip(-1e6, 1e6).astype(np.float32)
    np.savez(output, **arrays)


def read_obj(o3d, path: Path) -> dict:
    """Vertices, vertex colours, polygons and materials of an OBJ file; its parts are merged, lines and points dropped.

    Where there are vertex colours, a material's own colour is left out.
    """
    text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\\\n", b" ")
    lines = [line for line in text.split(b"\n") if not _is_edge(line)]
    kept = [line for line in lines if line.split(None, 1)[:1] in ([b"v"], [b"vt"], [b"vn"], [b"f"])]
    materials = images.Materials(path)
    libraries = [line for line in lines if line.split(None, 1)[:1] == [b"mtllib"]]
    numbers = obj.read_materials(path, libraries, materials)
    described = materials.arrays()
    if described:
        default = materials.add((1, 1, 1))
        statements = [b" ".join(line.split()) for line in lines]
        kept, uv, material = obj.recode(statements, numbers, default)
        described = materials.arrays()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mesh.obj"
        copy.write_bytes(b"\n".join(kept) + b"\n")
        arrays = read_other(o3d, copy)
    codes = arrays.pop("texture_uvs", None)
    if described:
        codes = obj.decode(codes)
        arrays |= described | {"uv": uv[codes], "material": material[codes[:, 0]]}
        if "colors" in arrays:
            arrays["material_colors"] = np.ones_like(described["material_colors"])
    return arrays | {"notes": materials.notes}


def _is_edge(line: bytes) -> bool:
    """Whether an OBJ line is a face of less than three corners, over which Open3D loses its count."""
    return line[:1].strip() in (b"f", b"") and line.split(None, 1)[:1] == [b"f"] and len(line.split(None, 3)) < 4


def read_off(path: Path) -> dict:
    """OFF, COFF and NOFF text with polygons of any size (fans), ``#`` comments, and counts glued to the header."""
    lines = [line.split("#", 1)[0].strip() for line in path.read_text("utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    header = re.match(r"(C?)(N?)OFF\s*(.*)$", lines[0]) if lines else None
    if header is None:
        raise ValueError("its first line is not OFF, COFF or NOFF (text)")
    lines = [header[3]] * bool(header[3]) + lines[1:]
    counts = [int(token) for token in lines[0].split()[:2]] if lines else []
    if len(counts) != 2 or min(counts) < 0 or sum(counts) > len(lines) - 1:
        raise ValueError(f"it declares {counts} vertices and faces but has {max(len(lines) - 1, 0)} lines of them")
    table = np.array([line.split() for line in lines[1 : 1 + counts[0]]], dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 3:
        raise ValueError("its vertices do not have three coordinates")
    arrays = {"vertices": table[:, :3], "faces": _fans(lines[1 + counts[0] : 1 + sum(counts)])}
    first_color = 6 if header[2] else 3
    if header[1] and table.shape[1] >= first_color + 3:
        colors = table[:, first_color : first_color + 3]
        arrays["colors"] = colors / 255 if colors.max() > 1 else colors
    return arrays


def read_other(o3d, path: Path) -> dict:
    """PLY, STL and cleaned OBJ by Open3D."""
    mesh = o3d.t.io.read_triangle_mesh(str(path))
    if "positions" not in mesh.vertex or "indices" not in mesh.triangle:
        raise ValueError("it is empty or broken")
    arrays = {"vertices": mesh.vertex["positions"].numpy(), "faces": mesh.triangle["indices"].numpy()}
    if "texture_uvs" in mesh.triangle:
        arrays["texture_uvs"] = mesh.triangle["texture_uvs"].numpy()
    return arrays | ({"colors": mesh.vertex["colors"].numpy()} if "colors" in mesh.vertex else {})


def _fans(lines: list[str]) -> np.ndarray:
    """Face lines ``n i1 .. in [colour]`` -> triangles ``[F, 3]``, each polygon cut into a fan."""
    faces = []
    for line in lines:
        tokens = line.split()
        corners = [int(token) for token in tokens[1 : 1 + int(tokens[0])]]
        if len(corners) != int(tokens[0]):
            raise ValueError(f"its face {line[:40]!r} has too few corners")
        faces.extend((corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1))
    return np.array(faces, np.int64).reshape(-1, 3)


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    except (ImportError, ValueError, OSError):
        pass  # not every system has this limit; the time limit still holds


def _open3d():
    try:
        import open3d
    except ImportError as error:
        _refuse(f"Open3D cannot be imported ({error}); install rendernet-jax[mesh] and the system libraries it names")
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
    return open3d


def _refuse(reason: str) -> None:
    print(reason.replace("\n", " "), file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
