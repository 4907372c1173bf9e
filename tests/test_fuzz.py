"""Every reader of files from anywhere is given thousands of damaged ones: what is unsound raises InputError."""

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from rendernet_jax import batch_render, fit_file, weights
from rendernet_jax.data import mesh_subprocess, meshes, shards
from rendernet_jax.data.mesh_parsing import glb, images, obj
from rendernet_jax.data.meshes import Mesh, assemble
from rendernet_jax.data.photo import load_photo
from rendernet_jax.data.picture_files import decode_picture, open_pictures
from rendernet_jax.data.picture_poses import parse_name, read_shots
from rendernet_jax.data.voxel_files import SUFFIXES, read_voxels, write_voxels
from rendernet_jax.errors import InputError
from rendernet_jax.files import write_json

COUNTS = [25, pytest.param(10_000, marks=pytest.mark.slow)]
# What a parser may trip over; most of it stands for a number or a value of JSON.
PIECES = '0 -1 1e999 NaN Infinity null true [] {} "" "x" 99999999999999999999 [[1]] [1,2] ../x /etc/passwd , : \n # \0'
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),  # where
        st.integers(0, 40),  # how many bytes go
        st.one_of(st.binary(max_size=6), st.sampled_from([piece.encode() for piece in PIECES.split(" ")])),
    ),
    min_size=1,
    max_size=5,
)


def mutate(content: bytes, changes) -> bytes:
    for place, count, piece in changes:
        start = int(place * len(content))
        content = content[:start] + piece + content[start + count :]
    return content


def fuzz(count, check):
    """Call ``check(changes)`` that many times with different changes: a few of Hypothesis's, which it makes simpler
    until they tell what is wrong, and then random ones, which take a hundredth of the time."""
    few = min(count, 25)
    hypothesis.settings(max_examples=few, deadline=None, database=None, derandomize=True)(
        hypothesis.given(CHANGES)(check)
    )()
    rng, pieces = np.random.default_rng(0), [piece.encode() for piece in PIECES.split(" ")]
    for _ in range(count - few):
        changes = []
        for _ in range(rng.integers(1, 6)):
            piece = pieces[rng.integers(len(pieces))] if rng.random() < 0.5 else rng.bytes(rng.integers(7))
            changes.append((rng.random(), int(rng.integers(41)) if rng.random() < 0.5 else len(piece), piece))
        check(changes)


def zipped(name: str, content: bytes) -> bytes:
    """A sound zip around content that may not be."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def check_grid(path):
    grid = read_voxels(path)
    assert grid.ndim == 4 and np.isfinite(grid).all() and grid.min() >= 0 and grid.max() <= 1


def check_tar(path):
    with open_pictures(path) as (readers, _):
        for name, read in readers.items():
            assert not pathlib.PurePosixPath(name).is_absolute() and ".." not in name.split("/")
            parse_name(name)
            assert decode_picture(read()).ndim == 3


def check_shots(path):
    for name, shot in read_shots(path).items():
        for inside in (name, shot.object):
            assert not pathlib.PurePosixPath(inside).is_absolute() and ".." not in inside.split("/")
        assert np.isfinite(shot.pose).all()


def check_views(path):
    assert all(
        np.isfinite(float(view.pose.azimuth)) for view in batch_render.read_views(str(path), batch_render.View())
    )


def check_photo(path):
    photo = load_photo(path, size=16)
    assert np.isfinite(photo.picture).all() and 0 <= photo.mask.min() <= photo.mask.max() <= 1


def picture(kind="PNG") -> bytes:
    pixels = np.full((24, 24, 3), 255, np.uint8)
    pixels[6:18, 8:16] = np.random.default_rng(0).integers(0, 200, (12, 8, 3))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a/x_p270_t10_r3.3.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(picture())
            archive.addfile(member, io.BytesIO(picture()))
    return file.getvalue()


def grid_file(suffix, folder) -> bytes:
    grid = np.zeros((6, 6, 6), np.uint8)
    grid[1:4, 2:5, 3:] = 1
    write_voxels(folder / f"valid{suffix}", grid)
    return (folder / f"valid{suffix}").read_bytes()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SHOT = {"picture": "a.png", "object": "b.npz", "azimuth_deg": 30, "scale": 1.5, "translation": [0.1, 0, 0.2]}
VIEW = {"azimuth_deg": 30, "translation": [0.1, 0, 0.2], "light_elevation_deg": 20.5, "inverse_distance": 0.25}
START = {
    "pose": {"azimuth_deg": 30.0, "scale": 1.1, "translation": [0.1, 0.0, 0.0]},
    "light": {"azimuth_deg": 10.0, "ambient": 0.2},
    "albedo": [0.5, 0.5, 0.25],
    "shape": [0.1] * 8,
}
MANIFEST = {
    "schema": shards.SCHEMA,
    "settings": {"views": 1, "size": 8, "grid": 4},
    "shards": [{"name": "a", "file": "shards/000000.npz", "sha256": "0" * 64}],
}
# name -> suffix, valid content, what reads and checks a file
READERS = {
    **{suffix: (suffix, lambda folder, suffix=suffix: grid_file(suffix, folder), check_grid) for suffix in SUFFIXES},
    "png": (".png", lambda _: picture(), check_photo),
    "jpeg": (".jpg", lambda _: picture("JPEG"), check_photo),
    "tar": (".tar", lambda _: tar(), check_tar),
    "poses of pictures": (".json", lambda _: json.dumps([SHOT, {**SHOT, "picture": "c.png"}]).encode(), check_shots),
    "poses of render": (".json", lambda _: json.dumps([VIEW, VIEW]).encode(), check_views),
    "start of a fit": (
        ".json",
        lambda _: json.dumps(START).encode(),
        lambda path: fit_file.read_start(str(path), ()),
    ),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_raises_nothing_but_input_error(tmp_path, name, count):
    suffix, make, check = READERS[name]
    path, valid = tmp_path / f"x{suffix}", make(tmp_path)
    path.write_bytes(valid)
    check(path)

    def attempt(changes):
        path.write_bytes(mutate(valid, changes))
        try:
            check(path)
        except InputError:
            pass

    fuzz(count, attempt)


# What stands behind a checksum is damaged before the sum is made.


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_array_in_a_sound_zip_raises_nothing_but_input_error(tmp_path, count):
    valid = npy(np.eye(5, dtype=np.float32)[None].repeat(5, 0))

    def attempt(changes):
        (tmp_path / "x.npz").write_bytes(zipped("grid.npy", mutate(valid, changes)))
        try:
            check_grid(tmp_path / "x.npz")
        except InputError:
            pass

    fuzz(count, attempt)


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_shard_manifest_or_card_of_right_sums_raises_nothing_but_input_error(tmp_path, count):
    shard, card = npy(np.zeros((4, 4, 4), np.uint8)), {"config": {"name": "x"}, "provenance": {"step": 1}}

    def attempt(changes):
        (tmp_path / "shard.npz").write_bytes(zipped("coverage.npy", mutate(shard, changes)))
        (tmp_path / "manifest.json").write_bytes(mutate(json.dumps(MANIFEST).encode(), changes))
        content = zipped("a.npy", mutate(npy(np.zeros((3, 3), np.uint16)), changes))
        (tmp_path / "w.npz").write_bytes(content)
        write_json(tmp_path / "w.json", {**card, "sha256": shards.sha256(content)})
        (tmp_path / "v.npz").write_bytes(b"")
        (tmp_path / "v.json").write_bytes(mutate((tmp_path / "w.json").read_bytes(), changes))
        for read in (
            lambda: shards.read_shard(tmp_path / "shard.npz"),
            lambda: shards.read_manifest(tmp_path),
            lambda: weights.read_params(tmp_path / "w.npz"),
            lambda: weights.read_card(tmp_path / "v.npz"),
        ):
            try:
                read()
            except InputError:
                pass

    fuzz(count, attempt)


# --- meshes -----------------------------------------------------------------------------------------------------------

OFF = b"COFF\n4 3 0 # a tent\n0 0 0 255 0 0\n1 0 0 0 255 0\n0 1 0 0 0 255\n0 0 1 9 9 9\n3 0 1 2\n4 0 1 3 2\n3 1 2 3\n"
REFUSED = (ValueError, IndexError, RuntimeError, OSError, MemoryError)  # what the child process tells as a broken file


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_off_file_is_refused_or_gives_a_sound_mesh(tmp_path, count):
    path = tmp_path / "x.off"

    def attempt(changes):
        path.write_bytes(mutate(OFF, changes))
        try:
            mesh = Mesh(**mesh_subprocess.read_off(path))
        except REFUSED:
            return
        assert mesh.faces.max() < len(mesh.vertices) and np.isfinite(mesh.vertices).all()

    fuzz(count, attempt)


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_glb_file_is_refused_or_gives_a_sound_mesh(tmp_path, count):
    pytest.importorskip("open3d", exc_type=ImportError)
    from test_mesh_materials import write_square

    colors = {"COLOR_0": (np.full((4, 4), 99, np.uint8), {"normalized": True})}
    path = write_square(tmp_path / "x.glb", colors, node={"rotation": [0.6, 0, 0, 0.8], "scale": [1, 2, 3]})
    content, images = path.read_bytes(), 0

    def attempt(changes):
        nonlocal images
        path.write_bytes(mutate(content, changes))
        try:
            mesh = assemble(glb.read(path))
        except (*REFUSED, MemoryError):
            return
        assert mesh.faces.max() < len(mesh.vertices) and np.isfinite(mesh.vertices).all()
        images += mesh.texture is not None and mesh.texture.materials[0].image is not None

    fuzz(count, attempt)
    assert images, "no picture got through: what is after it was not tried"


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_materials_of_an_obj_are_left_out(tmp_path, count):
    Image.new("RGB", (2, 2)).save(tmp_path / "t.png")
    mtl = b"newmtl a b\nKd 0.5 0.5 0.5\nmap_Kd -o 1 2 3 -s 1 t.png\nnewmtl c # d\nKd 1\nKd nan nan 1\nmap_Kd t.png\n"
    text = (
        b"mtllib x.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 1\nvt 0.5\nusemtl a b\nf 1/1 2/2 3/-1\nusemtl c\nf 1/2 3 2//1\n"
    )

    def attempt(changes):
        (tmp_path / "x.mtl").write_bytes(mutate(mtl, changes))
        materials = images.Materials(tmp_path / "x.obj")
        numbers = obj.read_materials(tmp_path / "x.obj", [b"mtllib x.mtl"], materials)
        assert all(isinstance(number, int) for number in numbers.values())
        assert all(0 <= c <= 1 for color in materials.arrays().get("material_colors", []) for c in color)
        try:
            kept, uv, material = obj.recode(mutate(text, changes).split(b"\n"), {"a b": 0, "c": 1}, 2)
        except REFUSED:
            return
        assert len(uv) == len(material) and set(material) <= {0, 1, 2}

    fuzz(count, attempt)


@pytest.mark.parametrize("count", COUNTS)
def test_no_arrays_make_an_unsound_mesh(count):
    kinds = [np.float32, np.float64, np.int64, np.int32, np.uint8, bool, np.complex64]
    some = st.sampled_from(kinds).flatmap(lambda kind: arrays.arrays(kind, st.tuples(*[st.integers(0, 4)] * 2)))

    @hypothesis.settings(max_examples=count, deadline=None, database=None, derandomize=count < 100)
    @hypothesis.given(some, some, st.none() | some)
    def check(vertices, faces, colors):
        try:
            mesh = Mesh(vertices, faces, colors)
        except InputError:
            return
        assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices) and np.isfinite(mesh.vertices).all()

    check()


# Open3D takes a second to start, and a fork of it 50 ms: one process, forked again where a file brings it down, stands
# for the children that load_mesh starts, one for each file.
FORKS = """
import collections, json, os, pathlib, resource, signal, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_fuzz import PIECES
from rendernet_jax.data import mesh_subprocess
from rendernet_jax.data.meshes import assemble
from rendernet_jax.errors import InputError
import open3d

folder, each = pathlib.Path(sys.argv[2]), int(sys.argv[3])
kinds, pieces = [folder / f"valid{suffix}" for suffix in sys.argv[4:]], [piece.encode() for piece in PIECES.split(" ")]
total = each * len(kinds)

def damaged(number):
    rng, content = np.random.default_rng(number), bytearray(kinds[number // each].read_bytes())
    for _ in range(rng.integers(1, 6)):
        place, piece = rng.integers(len(content) + 1), pieces[rng.integers(len(pieces))]
        piece = piece if rng.random() < 0.3 else rng.bytes(rng.integers(0, 5))
        content[place : place + rng.integers(0, 12)] = piece
    return content

def judge(number):
    path, output = folder / f"x{kinds[number // each].suffix}", folder / "x.npz"
    path.write_bytes(damaged(number))
    try:
        mesh_subprocess.main(str(path), str(output), str(8 << 30))
        with np.load(output, allow_pickle=False) as file:
            mesh = assemble({name: file[name] for name in file.files})
    except (SystemExit, InputError):
        return b"r"
    return b"s" if mesh.faces.max() < len(mesh.vertices) and np.isfinite(mesh.vertices).all() else b"u"

done, counts = 0, collections.Counter()
while done < total:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            for number in range(done, min(done + 500, total)):
                signal.setitimer(signal.ITIMER_PROF, 20)
                os.write(writing, judge(number))
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answers = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    counts.update({"r": "refused", "s": "sound", "u": "unsound"}[answer] for answer in answers)
    done += len(answers)
    if code:
        counts[f"died {code}"] += 1
        done += 1
print(json.dumps(counts))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_damaged_meshes_of_open3d_are_refused_or_sound(tmp_path):
    """2,500 files of each of obj, ply, stl and glb; where the parser dies, load_mesh tells it as a broken file."""
    pytest.importorskip("open3d", exc_type=ImportError)
    corners = np.asarray([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    mesh = Mesh(corners, np.asarray([[0, 1, 2], [0, 1, 3], [1, 2, 3]]), corners)
    suffixes = (".obj", ".ply", ".stl", ".glb")
    for suffix in suffixes:
        meshes.save_mesh(tmp_path / f"valid{suffix}", mesh)
    (tmp_path / "valid.mtl").write_text("newmtl a\nKd 1 0.5 0\nnewmtl b\nKd 0 0 1\n")
    plain = (tmp_path / "valid.obj").read_text()
    (tmp_path / "valid.obj").write_text(f"mtllib valid.mtl\nvt 0 1\nusemtl a\nf 1/1 2 3/1\nusemtl b\n{plain}")
    command = [sys.executable, "-c", FORKS, str(pathlib.Path(__file__).parent), str(tmp_path), "2500", *suffixes]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    print(counts)
    assert sum(counts.values()) == 10_000 and counts["sound"] > 100 and counts["refused"] > 100
    assert "unsound" not in counts
