"""Morphable-model data in the layout of 2018: small files of balls whose normals and colours are known exactly."""

import io
import tarfile

import launching
import numpy as np
import pytest
import scipy.io
from PIL import Image

from rendernet_jax.camera import Pose, pose_from_original
from rendernet_jax.data.mat_files import read_mat
from rendernet_jax.data.morphable_files import load_morphable
from rendernet_jax.data.raycast import camera_axes
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError
from rendernet_jax.weights import load_weights

SIZE, GRID, NUMBERS = 64, 16, 199
NAMES = ("ply7", "ply10", "ply80024")
VIEWS = ((294, 105), (30, 90), (180, 60))
STILL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # y-up object axes to z-up ones
T = (2 * np.arange(SIZE) + 1) / SIZE - 1
X, Y = np.broadcast_arrays(T, -T[:, None])


def ball(pose: Pose, background: float = 1.0, still: bool = False):
    """Albedo, normal picture, camera normals and mask of a ball of radius 1/2, coloured by its object-space normal."""
    mask = X**2 + Y**2 < (0.5 * pose.scale) ** 2
    n = np.stack([X, Y], -1) / (0.5 * pose.scale)
    n = np.concatenate([n, np.sqrt(np.maximum(1 - (n**2).sum(-1, keepdims=True), 0))], -1)
    in_object = n @ camera_axes(pose)
    stored = in_object @ STILL.T if still else n
    albedo = np.where(mask[..., None], 0.5 + 0.4 * in_object, background)
    picture = np.where(mask[..., None], stored / 2 + 0.5, background)
    return albedo, picture, np.where(mask[..., None], n, 0), mask


def png(picture) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def stem(name, view) -> str:
    return f"{name}_p{view[0]}_t{view[1]}_r3.3"


def texture(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=NUMBERS)


def write(folder, background=1.0, still=False):
    """The flat layout: everything in one folder and a sub-folder."""
    (folder / "models").mkdir(parents=True)
    cells = np.stack(np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID - 0.5] * 3, indexing="ij"), -1)
    for index, name in enumerate(NAMES):
        write_voxels(folder / "models" / f"{name}.binvox", ((cells**2).sum(-1) < 0.25).astype(np.float32)[..., None])
        scipy.io.savemat(folder / "models" / f"beta{name[3:]}.mat", {"beta": texture(index)[:, None], "alpha": [1.0]})
        for view in VIEWS:
            albedo, normal, _, _ = ball(pose_from_original(*view, 3.3), background, still)
            (folder / f"{stem(name, view)}_albedo.png").write_bytes(png(albedo))
            (folder / f"{stem(name, view)}_normal.png").write_bytes(png(normal))
    return folder


@pytest.mark.parametrize(("background", "still"), [(1.0, False), (0.0, False), (1.0, True)])
def test_views_are_what_the_files_show(tmp_path, background, still):
    source = load_morphable(write(tmp_path / "data", background, still))
    assert source.size == SIZE and source.texture_numbers == NUMBERS
    assert len(source.training) + len(source.validation) == 9 and len(source.validation) in (3, 6)
    assert source.description["normals_turn_with_the_camera"] != still
    views = source.views(range(9))
    assert views["grid"].shape == (9, GRID, GRID, GRID, 1) and views["texture"].shape == (9, NUMBERS)
    order = sorted((stem(name, view), index, view) for index, name in enumerate(NAMES) for view in VIEWS)
    for place, (_, index, view) in enumerate(order):
        pose = pose_from_original(*view, 3.3)
        albedo, _, normal, mask = ball(pose)
        np.testing.assert_allclose(views["texture"][place], texture(index), rtol=1e-6)
        np.testing.assert_allclose(views["pose"]["azimuth"][place], pose.azimuth, atol=1e-6)
        np.testing.assert_allclose(views["albedo"][place], albedo, atol=0.01)
        np.testing.assert_allclose(views["normal"][place], normal, atol=0.03)
        np.testing.assert_allclose(views["mask"][place, ..., 0], mask, atol=0.02)
    assert all(value.dtype == np.float32 for name, value in views.items() if name != "pose")


def test_batches_are_patches_of_training_views(tmp_path):
    source = load_morphable(write(tmp_path / "data"))
    batch, again = (source.batch(np.random.default_rng(3), 6, 32) for _ in range(2))
    for name, channels in (("albedo", 3), ("normal", 3), ("mask", 1)):
        assert batch[name].shape == (6, 32, 32, channels)
        np.testing.assert_array_equal(batch[name], again[name])
    assert batch["mask"].mean() > 0.2
    assert {"grid", "pose", "left", "top", "extent", "texture"} <= batch.keys()
    whole = source.views(source.training)
    for sample in range(6):
        row = round((1 - batch["top"][sample]) * SIZE / 2)
        column = round((1 + batch["left"][sample]) * SIZE / 2)
        crop = whole["albedo"][:, row : row + 32, column : column + 32]
        assert np.abs(crop - batch["albedo"][sample]).max((1, 2, 3)).min() < 1e-6
    with pytest.raises(InputError, match="patch"):
        source.batch(np.random.default_rng(0), 1, 20)
    with pytest.raises(InputError, match="occupancy"):
        source.views([0], "coverage")


def test_the_layout_of_the_training_code_gives_the_same(tmp_path):
    """A tar of albedo and a folder of normals, of the same names, and all vectors in one file."""
    flat = write(tmp_path / "flat")
    whole = load_morphable(flat)
    (tmp_path / "normals").mkdir()
    with tarfile.open(tmp_path / "albedo.tar", "w") as archive:
        for path in sorted(flat.glob("*_albedo.png")):
            archive.add(path, path.name.replace("_albedo", ""))
    for path in flat.glob("*_normal.png"):
        path.rename(tmp_path / "normals" / path.name.replace("_normal", ""))
    scipy.io.savemat(tmp_path / "all.mat", {"beta": np.stack([texture(k) for k in range(3)])}, do_compression=True)
    split = load_morphable(flat / "models", tmp_path / "all.mat", tmp_path / "albedo.tar", tmp_path / "normals")
    assert split.identity == whole.identity


def damage_no_pictures(folder):
    for path in folder.glob("*.png"):
        path.unlink()


def damage_lost_partner(folder):
    (folder / f"{stem('ply7', VIEWS[0])}_normal.png").unlink()


def damage_lost_voxels(folder):
    (folder / "models" / "ply10.binvox").unlink()


def damage_lost_texture(folder):
    (folder / "models" / "beta80024.mat").unlink()


def damage_cut_texture(folder):
    path = folder / "models" / "beta7.mat"
    path.write_bytes(path.read_bytes()[:-400])


def damage_short_texture(folder):
    scipy.io.savemat(folder / "models" / "beta7.mat", {"beta": np.zeros(12)})


def damage_nan_texture(folder):
    scipy.io.savemat(folder / "models" / "beta7.mat", {"beta": np.full(NUMBERS, np.nan)})


def damage_size(folder):
    (folder / f"{stem('ply7', VIEWS[0])}_albedo.png").write_bytes(png(np.ones((32, 32, 3))))


def damage_one_object(folder):
    for name in NAMES[1:]:
        for path in folder.glob(f"{name}_*.png"):
            path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_no_pictures, "pictures .*expected"),
        (damage_lost_partner, r"ply7_p294_t105_r3.3.png: expected its normal picture too"),
        (damage_lost_voxels, "expected ply10.binvox, found none"),
        (damage_lost_texture, "expected beta80024.mat of ply80024, found none"),
        (damage_cut_texture, "beta7.mat: expected a MATLAB file, got a damaged one"),
        (damage_short_texture, r"textures: expected all of one size, got \(12,\) \(ply7\)"),
        (damage_nan_texture, "beta7.mat: beta: expected finite numbers"),
        (damage_size, "pictures: expected all of one size"),
        (damage_one_object, "objects: expected two or more"),
    ],
)
def test_bad_data_are_refused_by_name(tmp_path, damage, message):
    folder = write(tmp_path / "data")
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_morphable(folder)


def test_mat_files_are_judged_before_they_are_read(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"other": np.arange(4)})
    np.testing.assert_array_equal(read_mat(path, "beta"), [[0, 1, 2, 3]])
    scipy.io.savemat(path, {"a": np.zeros(2), "b": np.zeros(2)})
    with pytest.raises(InputError, match="expected numbers called 'beta', got a, b"):
        read_mat(path, "beta")
    scipy.io.savemat(path, {"beta": np.zeros(9_000_000, np.float64)}, do_compression=True)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="expected at most 8388608 numbers"):
        read_mat(path, "beta")
    scipy.io.savemat(path, {"beta": {"a": 1}})
    with pytest.raises(InputError, match="got none"):
        read_mat(path, "beta")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match="a.mat: expected"):
        read_mat(path, "beta")
    with pytest.raises(InputError, match="nothing there"):
        read_mat(tmp_path / "none.mat", "beta")


def test_a_network_learns_from_such_faces(tmp_path):
    """Through what is drawn of the vectors, as nothing else tells their colours."""
    source_folder, output = write(tmp_path / "faces"), tmp_path / "run"
    command = ["--preset=tiny-texture", f"--data={source_folder}", f"--output={output}", "--steps=2", "--batch=2"]
    done = launching.call("train", *command, "--patch=16", "--eval_every=2")
    assert done.returncode == 0, done.stderr
    params, config = load_weights(output)
    assert config.paint.texture.vector == NUMBERS
    assert float(abs(params["texture"]["basis"]).max()) > 0
