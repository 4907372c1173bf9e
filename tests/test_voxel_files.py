import io
import zipfile

import numpy as np
import pytest

from rendernet_jax.data.voxel_files import read_voxels, write_voxels
from rendernet_jax.errors import InputError


def binary_grid(side=11, seed=0):
    grid = np.zeros((side,) * 3, np.uint8)
    grid[2:7, 1:4, 5:] = 1  # nothing symmetric, so that a wrong axis order shows
    return grid | (np.random.default_rng(seed).random(grid.shape) < 0.1)


def binvox(dim=(2, 2, 2), data=b"\x01\x08", extra=b""):
    return b"#binvox 1\ndim %d %d %d\ntranslate 0 0 0\nscale 1\n" % dim + extra + b"data\n" + data


def test_binvox_written_here_is_read_the_same_by_trimesh(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    grid = binary_grid()
    write_voxels(tmp_path / "a.binvox", grid)
    with open(tmp_path / "a.binvox", "rb") as stream:
        oracle = trimesh.exchange.binvox.load_binvox(stream)
    np.testing.assert_array_equal(oracle.matrix, grid.astype(bool))
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.binvox"), grid[..., None])


def test_binvox_written_by_trimesh_is_read_the_same(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    grid = binary_grid(16)
    (tmp_path / "b.binvox").write_bytes(trimesh.exchange.binvox.export_binvox(trimesh.voxel.VoxelGrid(grid)))
    np.testing.assert_array_equal(read_voxels(tmp_path / "b.binvox"), grid[..., None])


@pytest.mark.parametrize("length", [1, 254, 255, 256, 510, 511, 1000])
def test_binvox_run_lengths(tmp_path, length):
    grid = (np.arange(1000) < length).reshape(10, 10, 10).transpose(0, 2, 1)  # x, z, y in the file
    write_voxels(tmp_path / "a.binvox", grid)
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.binvox")[..., 0], grid)
    runs = (tmp_path / "a.binvox").read_bytes().split(b"data\n")[1]
    assert len(runs) == 2 * (-(-length // 255) + -(-(1000 - length) // 255))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        binvox()[:-1],
        binvox()[:-2],
        binvox() + b"\x00",
        binvox() + b"\x00\x01",
        binvox(data=b"\x02\x08"),
        binvox(data=b"\x01\x08\x01\x00"),
        binvox(data=b"\x01\x09"),
        binvox(dim=(2, 2, 4), data=b"\x01\x10"),
        binvox(dim=(0, 0, 0), data=b""),
        binvox(dim=(513, 513, 513)),
        binvox(dim=(999999999, 999999999, 999999999)),
        binvox(extra=b"junk 1\n"),
        binvox().replace(b"#binvox", b"#vox"),
        binvox().replace(b"scale 1", b"scale nan"),
        binvox().replace(b"scale 1", b"scale one"),
    ],
)
def test_broken_binvox_is_one_input_error(tmp_path, content):
    (tmp_path / "a.binvox").write_bytes(content)
    with pytest.raises(InputError, match="a.binvox"):
        read_voxels(tmp_path / "a.binvox")


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_arrays_round_trip_without_a_cubic_shape(tmp_path, suffix, dtype):
    grid = (np.random.default_rng(1).random((3, 5, 7, 2)) < 0.5).astype(dtype)
    grid = np.asfortranarray(grid)
    path = tmp_path / f"a{suffix}"
    np.savez(path, grid=grid, other=np.zeros(3)) if suffix == ".npz" else np.save(path, grid)
    read = read_voxels(path)
    assert read.dtype == np.float32 and read.shape == (3, 5, 7, 2)
    np.testing.assert_array_equal(read, grid)
    write_voxels(path, read * 0.75)
    np.testing.assert_array_equal(read_voxels(path), read * 0.75)


def test_channel_axis_is_added_and_a_single_array_needs_no_name(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", occupancy=np.ones((2, 3, 4)))
    assert read_voxels(tmp_path / "a.npz").shape == (2, 3, 4, 1)


@pytest.mark.parametrize(
    "grid",
    [
        np.array([None, 1], object),
        np.full((2, 2, 2), np.nan),
        np.full((2, 2, 2), 1.5),
        np.full((2, 2, 2), -1),
        np.full((2, 2, 2), 255, np.uint8),
        np.zeros((2, 2)),
        np.zeros((1, 2, 2, 2, 1)),
        np.zeros((0, 2, 2)),
        np.zeros((513, 1, 1)),
        np.zeros((2, 2, 2), complex),
        np.zeros((2, 2, 2), "datetime64[s]"),
        np.zeros((2, 2, 2), [("a", "f4")]),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_arrays_that_are_no_grid_are_refused(tmp_path, suffix, grid):
    path = tmp_path / f"a{suffix}"
    np.savez(path, grid=grid) if suffix == ".npz" else np.save(path, grid)
    with pytest.raises(InputError, match="a.np"):
        read_voxels(path)


def npy_header(shape, dtype="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(10**6,) * 3, (512, 512, 512, 4096), (2**40, 2**40, 2**40), (-1, 2, 2), (9, 9, 9)])
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_lying_headers_are_refused_before_memory_is_taken(tmp_path, suffix, shape):
    content = npy_header(shape) + b"\0" * 8
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("grid.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError):
        read_voxels(path)


def test_zip_bomb_is_refused_without_unpacking(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("grid.npy", npy_header((2, 2, 2)) + b"\0" * 50_000_000)
    with pytest.raises(InputError, match="expected 8 bytes"):
        read_voxels(tmp_path / "a.npz")


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_npz_without_an_obvious_grid_is_refused(tmp_path, names):
    np.savez(tmp_path / "a.npz", **{name: np.zeros((2, 2, 2)) for name in names})
    with pytest.raises(InputError, match="grid"):
        read_voxels(tmp_path / "a.npz")


def test_paths_that_are_no_voxel_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "a.txt").write_text("1")
    for name, reason in [("missing.npz", "nothing there"), ("folder.npz", "a folder"), ("a.txt", ".txt")]:
        with pytest.raises(InputError, match=reason):
            read_voxels(tmp_path / name)


def test_writer_refuses_what_the_format_cannot_hold(tmp_path):
    for grid in [np.full((2, 2, 2), 0.5), np.ones((2, 2, 3)), np.ones((2, 2, 2, 2)), np.full((2, 2, 2), np.nan)]:
        with pytest.raises(InputError, match="grid"):
            write_voxels(tmp_path / "a.binvox", grid)
    with pytest.raises(InputError, match="name ending"):
        write_voxels(tmp_path / "a.vox", np.ones((2, 2, 2)))
    with pytest.raises(InputError, match="writable"):
        write_voxels(tmp_path / "missing" / "a.npz", np.ones((2, 2, 2)))
    assert not list(tmp_path.iterdir())
