"""Materials read from files, against trimesh's reading of the same file and against hand-written ones."""

import json
import struct

import numpy as np
import pytest
from PIL import Image

from rendernet_jax.data import mesh_subprocess
from rendernet_jax.data.materials import surface_colors
from rendernet_jax.data.mesh_parsing import glb, images
from rendernet_jax.data.meshes import assemble, load_mesh, normalise

o3d = pytest.importorskip("open3d", reason="meshes need open3d", exc_type=ImportError)

IMAGE = np.random.default_rng(3).integers(0, 256, (8, 16, 3), np.uint8)
SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
HALF = np.full((1, 2), 1 / 3, np.float32)


def write_obj(folder, mtl, faces="f 1/1 2/2 3/3 4/4\n", name="a.obj"):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "a.mtl").write_text("newmtl skin\n" + mtl)
    (folder / name).write_text(f"mtllib a.mtl\n{SQUARE}usemtl skin\n{faces}")
    return folder / name


def read(path):
    """What load_mesh reads, in this process."""
    arrays = glb.read(path) if path.suffix == ".glb" else mesh_subprocess.read_obj(o3d, path)
    return assemble(arrays), arrays["notes"]


def color_at(mesh, point):
    """Albedo of the point of the mesh nearest to ``point``."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    found = scene.compute_closest_points(o3d.core.Tensor(np.atleast_2d(np.float32(point))))
    return surface_colors(mesh, found["primitive_ids"].numpy().astype(int), found["primitive_uvs"].numpy())


def texel_centres():
    """Points of the unit square at the picture's texel centres, row by row from the top."""
    rows, columns = np.mgrid[:8, :16]
    return np.stack([(columns + 0.5) / 16, 1 - (rows + 0.5) / 8, np.zeros((8, 16))], -1).reshape(-1, 3)


@pytest.mark.parametrize("line", ["map_Kd tex ture.png", "map_kd -s 1 1 1 -o 0 0 -clamp on -bm 1 tex ture.png",
                                  "map_Kd C:\\author\\tex ture.png"])  # fmt: skip
def test_obj_with_a_picture_is_upright(tmp_path, line, capsys):
    Image.fromarray(IMAGE).save(tmp_path / "tex ture.png")
    mesh = load_mesh(write_obj(tmp_path, f"Kd 0.5 0.5 0.5\n{line}\n"))
    np.testing.assert_allclose(color_at(mesh, texel_centres()), IMAGE.reshape(-1, 3) / 255, atol=1e-3)
    assert capsys.readouterr().err == ""
    normal = normalise(load_mesh(tmp_path / "a.obj", up="z"))
    turned = (texel_centres() - [0.5, 0.5, 0])[:, [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(color_at(normal, turned), IMAGE.reshape(-1, 3) / 255, atol=1e-3)


def test_materials_follow_their_faces_through_polygons_groups_and_relative_indices(tmp_path):
    path = write_obj(
        tmp_path,
        "Kd 1 0 0\nnewmtl blue paint\nKd 0 0 1\nnewmtl grey # of one number\nKd 0.5\n",
        "f -4/-4/1 -3/-3 -2/-2 -1\nusemtl grey\nv 0 0 2\nv 1 0 2\nv 1 1 2\nv 0.5 2 2\nv 0 1 2\ng p\nf 5 6 7 8 9\n"
        "usemtl blue paint\nf 1 2 6 5\nusemtl unknown\nf 1/1 4/4 9/1\nusemtl skin\nf 2//1 3//2 7//9\n",
    )
    mesh, _ = read(path)
    for point, color in [
        ((0.3, 0.7, 0), (1, 0, 0)),
        ((0.5, 1.8, 2), (0.5, 0.5, 0.5)),
        ((0.1, 0.1, 2), (0.5, 0.5, 0.5)),
        ((0.5, 0, 1), (0, 0, 1)),
        ((0, 0.8, 0.9), (1, 1, 1)),
        ((1, 0.8, 0.9), (1, 0, 0)),
    ]:
        np.testing.assert_allclose(color_at(mesh, point), [color], atol=1e-6, err_msg=str(point))


def test_many_materials_and_coordinates_keep_their_numbers(tmp_path):
    """More pairs than fit one of the two numbers they are written as."""
    lines, count = ["mtllib a.mtl"], 3000
    for k in range(count):
        lines += [f"v {k} 0 0", f"v {k + 1} 0 0", f"v {k} 1 0", f"vt {k} 0", f"vt {k} 1", f"vt {k} 2"]
        lines += [f"usemtl m{k % 7}", f"f {3 * k + 1}/{3 * k + 1} {3 * k + 2}/{3 * k + 2} {3 * k + 3}/{3 * k + 3}"]
    (tmp_path / "a.obj").write_text("\n".join(lines))
    (tmp_path / "a.mtl").write_text("".join(f"newmtl m{k}\nKd {k / 7} 0 0\n" for k in range(7)))
    mesh, _ = read(tmp_path / "a.obj")
    left = np.rint(mesh.vertices[mesh.faces][:, 0, 0]).astype(int)
    found = surface_colors(mesh, np.arange(count), np.tile(HALF, (count, 1)))
    np.testing.assert_allclose(found[:, 0], left % 7 / 7, atol=1e-6)
    np.testing.assert_array_equal(
        mesh.texture.uv, np.stack([np.tile(left[:, None], 3), np.tile([0, 1, 2], (count, 1))], -1)
    )


def test_vertex_colours_replace_a_materials_colour_and_tint_its_picture(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 51, np.uint8)).save(tmp_path / "t.png")
    path = write_obj(tmp_path, "map_Kd t.png\nnewmtl plain\nKd 0 0 0\n", "f 1/1 2/2 3/3\nusemtl plain\nf 1 3 4\n")
    path.write_text(path.read_text().replace(" 0\nv", " 0 1 0.5 0\nv").replace("0 1 0\nvt", "0 1 0 1 0.5 0\nvt"))
    mesh, _ = read(path)
    np.testing.assert_allclose(color_at(mesh, [(0.9, 0.1, 0), (0.1, 0.9, 0)]), [[0.2, 0.1, 0], [1, 0.5, 0]], atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_pictures_of_every_kind_are_read(tmp_path, mode):
    image = Image.fromarray(np.full((3, 2), 255 if mode == "1" else 200, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((3, 2), 200 * 257, np.uint16))
    image = image if mode == "I;16" else image.convert("RGBA").convert("RGB").convert(mode)
    name = "t.tif" if mode == "CMYK" else "t.png"
    image.save(tmp_path / name)
    mesh, _ = read(write_obj(tmp_path, f"map_Kd {name}\n"))
    expected = 1.0 if mode == "1" else 200 / 255
    np.testing.assert_allclose(color_at(mesh, [0.4, 0.4, 0]), [[expected] * 3], atol=5 / 255)


def save_bomb(path):
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""
    image = Image.new("1", (8, 8))
    image.save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)


def test_pictures_that_cannot_be_used_cost_a_line_and_the_colour_stays(tmp_path):
    home = tmp_path / "deep" / "models" / "chair"
    home.mkdir(parents=True)
    secret = np.full((2, 2, 3), 9, np.uint8)
    Image.fromarray(secret).save(tmp_path / "deep" / "secret.png")
    Image.fromarray(secret).save(tmp_path / "secret.png")
    (home / "link.png").symlink_to(tmp_path / "secret.png")
    (home / "text.png").write_text("no picture")
    (home / "folder.png").mkdir()
    Image.fromarray(IMAGE).save(home / "cut.png")
    (home / "cut.png").write_bytes((home / "cut.png").read_bytes()[:-60])
    save_bomb(home / "bomb.png")
    names = ["../../secret.png", "../../../secret.png", str(tmp_path / "secret.png"), "link.png", "gone.png",
             "text.png", "folder.png", "cut.png", "bomb.png", "..", "\x1b[31m", "a\0b"]  # fmt: skip
    for name in names:
        mesh, notes = read(write_obj(home, f"Kd 1 0.5 0\nmap_Kd {name}\n"))
        np.testing.assert_allclose(color_at(mesh, [0.4, 0.4, 0]), [[1, 0.5, 0]], atol=1e-6)
        assert len(notes) == 1 and "left out" in notes[0] and notes[0].isprintable(), name


def test_many_lines_are_summed_up(tmp_path, capsys):
    load_mesh(write_obj(tmp_path, "Kd 1 0 0\n" + "".join(f"newmtl m{k}\nmap_Kd gone{k}.png\n" for k in range(9))))
    assert capsys.readouterr().err.splitlines()[3:] == [f"{tmp_path / 'a.obj'}: 6 more like these"]


def test_shapenets_folder_beside_the_meshs_is_found(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images" / "t.jpg", quality=100)
    mesh, notes = read(write_obj(tmp_path / "models", "map_Kd ../images/t.jpg\n"))
    assert mesh.texture.materials[0].image.shape == IMAGE.shape and not notes


@pytest.mark.parametrize("name", ["gone.mtl", "../a.mtl"])
def test_a_material_file_that_is_not_there_costs_a_line(tmp_path, name):
    (tmp_path / "a.mtl").write_text("newmtl skin\nKd 1 0 0\n")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.obj"
    path.write_text(f"mtllib {name}\n{SQUARE}usemtl skin\nf 1 2 3\n")
    mesh, notes = read(path)
    assert not mesh.colored and len(notes) == 1 and "left out" in notes[0]


def test_pictures_together_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_TOTAL_PIXELS", 200)
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(IMAGE).save(tmp_path / "b.png")
    materials = images.Materials(tmp_path / "x.obj")
    assert materials.read_image("a.png") == materials.read_image("a.png") == 0 and not materials.notes
    assert materials.read_image("b.png") == -1 and len(materials.notes) == 1


# --- glb ------------------------------------------------------------------------------------------------------------


def pack(tree, chunk=b""):
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunk += b"\0" * (-len(chunk) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


class Writer:
    """Puts arrays into a chunk, and accessors and views of them into a tree."""

    def __init__(self):
        self.tree = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.chunk = b""

    def view(self, content, **more):
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        self.tree["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.chunk), "byteLength": len(content), **more}
        )
        self.chunk += content
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, array, **more):
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        kind = {"f4": 5126, "u1": 5121, "u2": 5123, "u4": 5125, "i2": 5122}[array.dtype.str[1:]]
        width = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[array.shape[1] if array.ndim == 2 else 1]
        entry = {"bufferView": self.view(array.tobytes()), "componentType": kind, "count": len(array), "type": width}
        self.tree["accessors"].append(entry | more)
        return len(self.tree["accessors"]) - 1

    def save(self, path):
        self.tree["buffers"] = [{"byteLength": len(self.chunk)}]
        path.write_bytes(pack(self.tree, self.chunk))
        return path


CORNERS = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


def write_square(path, attributes=None, material=None, mode=4, indices=(0, 1, 2, 0, 2, 3), uv=True, node=None):
    import io

    writer = Writer()
    image = io.BytesIO()
    Image.fromarray(IMAGE).save(image, "PNG")
    primitive = {"attributes": {"POSITION": writer.accessor(CORNERS)}, "mode": mode, "material": 0}
    primitive["indices"] = writer.accessor(np.uint16(indices))
    if uv:
        primitive["attributes"]["TEXCOORD_0"] = writer.accessor(CORNERS[:, :2] * [1, -1] + np.float32([0, 1]))
    for name, (values, more) in (attributes or {}).items():
        primitive["attributes"][name] = writer.accessor(values, **more)
    writer.tree |= {
        "images": [{"bufferView": writer.view(image.getvalue()), "mimeType": "image/png", "name": "skin"}],
        "textures": [{"source": 0}],
        "materials": [material or {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0} | (node or {})],
        "scenes": [{"nodes": [0]}],
    }
    return writer.save(path)


@pytest.mark.parametrize(("mode", "indices"), [(4, (0, 1, 2, 0, 2, 3)), (5, (0, 1, 3, 2)), (6, (0, 1, 2, 3))])
def test_glb_with_a_picture_is_upright(tmp_path, mode, indices):
    mesh, _ = read(write_square(tmp_path / "a.glb", mode=mode, indices=indices))
    assert len(mesh.faces) == 2
    np.testing.assert_allclose(color_at(mesh, texel_centres()), IMAGE.reshape(-1, 3) / 255, atol=1e-3)


def test_glb_factors_and_vertex_colours_multiply_the_picture(tmp_path):
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 0.5, 0.25, 0.1]}}
    color = {"COLOR_0": (np.tile(np.uint8([255, 255, 51, 7]), (4, 1)), {"normalized": True})}
    mesh, _ = read(write_square(tmp_path / "a.glb", color, material))
    expected = IMAGE.reshape(-1, 3) / 255 * [1, 0.5, 0.05]
    np.testing.assert_allclose(color_at(mesh, texel_centres()), expected, atol=1e-3)
    mesh, _ = read(write_square(tmp_path / "a.glb", color, material, uv=False))
    np.testing.assert_allclose(color_at(mesh, [0.4, 0.4, 0]), [[1, 0.5, 0.05]], atol=1e-5)


def test_glb_texture_transform_and_second_coordinates(tmp_path):
    change = {"scale": [0.5, 1], "offset": [0.5, 0]}
    texture = {"index": 0, "texCoord": 1, "extensions": {"KHR_texture_transform": change}}
    uv = np.uint16(np.rint((CORNERS[:, :2] * [1, -1] + [0, 1]) * 65535))
    attributes = {"TEXCOORD_1": (uv, {"normalized": True})}
    material = {"pbrMetallicRoughness": {"baseColorTexture": texture}}
    mesh, _ = read(write_square(tmp_path / "a.glb", attributes, material, uv=False))
    right_half = texel_centres().reshape(8, 16, 3)[:, 8:].reshape(-1, 3) * [2, 1, 1] - [1, 0, 0]
    np.testing.assert_allclose(color_at(mesh, right_half), IMAGE[:, 8:].reshape(-1, 3) / 255, atol=2e-3)
    change |= {"scale": [1, 1], "offset": [0, 1], "rotation": np.pi / 2}  # u, v become v, 1 - u, both from the top
    mesh, _ = read(write_square(tmp_path / "a.glb", attributes, material, uv=False))
    np.testing.assert_allclose(color_at(mesh, [0.5 / 8, 0.5 / 16, 0]), IMAGE[-1:, -1] / 255, atol=2e-3)


def test_glb_of_trimesh_has_the_albedo_that_trimesh_sees(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene()
    ball = trimesh.creation.icosphere(2)
    ramps = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(64) * 4, 99), -1).astype(np.uint8)
    uv = np.stack([np.arctan2(ball.vertices[:, 0], ball.vertices[:, 2]) / 7 + 0.5, ball.vertices[:, 1] / 3 + 0.5], -1)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(ramps), baseColorFactor=[255] * 4)
    ball.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    scene.add_geometry(ball, transform=trimesh.transformations.rotation_matrix(0.7, [1, 2, 3], [0, 0, 3]))
    box = trimesh.creation.box()
    box.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (8, 4))
    scene.add_geometry(box, transform=np.diag([1, 2, 3, 1.0]))
    scene.export(tmp_path / "a.glb")
    mesh, _ = read(tmp_path / "a.glb")
    corners = mesh.vertices[mesh.faces]
    found = surface_colors(
        mesh, np.repeat(np.arange(len(mesh.faces)), 3), np.tile(np.eye(3)[:, 1:], (len(mesh.faces), 1))
    )
    oracle = trimesh.load(tmp_path / "a.glb", force="scene")
    expected = {}
    for part in oracle.dump():
        colors = part.visual.to_color().vertex_colors if part.visual.kind == "texture" else part.visual.vertex_colors
        for place, color in zip(np.round(part.vertices, 4), np.asarray(colors)[:, :3], strict=True):
            expected.setdefault(tuple(place + 0.0), []).append(color)
    assert len(found) == 3 * (len(ball.faces) + len(box.faces))
    for place, color in zip(np.round(corners.reshape(-1, 3), 4).astype(float), found * 255, strict=True):
        near = min(expected, key=lambda p: np.abs(np.subtract(p, place)).max())
        assert min(np.abs(color - other).max() for other in expected[near]) < 6, place  # it takes the nearest texel
