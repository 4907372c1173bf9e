"""A shader of the user's own: a network trained on pictures made by a formula that the project does not know."""

import dataclasses
import io
import json
import tarfile

import jax
import launching
import numpy as np
import pytest
from PIL import Image

from rendernet_jax import batch_render, camera
from rendernet_jax.camera import Pose, pose_from_degrees, pose_from_original
from rendernet_jax.config import config_from_dict, config_to_dict, preset
from rendernet_jax.data import picture_files, picture_poses
from rendernet_jax.data.own_shader import load_pictures, name_shader, picture_network
from rendernet_jax.data.picture_files import decode_picture
from rendernet_jax.data.pictures import Picture, Pictures
from rendernet_jax.data.raycast import camera_axes
from rendernet_jax.data.voxel_files import write_voxels
from rendernet_jax.errors import InputError
from rendernet_jax.voxels import Window, camera_grid
from rendernet_jax.weights import read_card

SIZE, GRID = 32, 16
SHAPES = {  # half axes of ellipsoids
    "ball": (0.4, 0.4, 0.4),
    "egg": (0.3, 0.45, 0.3),
    "coin": (0.45, 0.15, 0.45),
    "cigar": (0.2, 0.2, 0.45),
    "pebble": (0.45, 0.25, 0.35),
}


def draw(axes, pose: Pose, size=SIZE, color=True) -> np.ndarray:
    """RGBA or LA bytes of an ellipsoid: sines of its normal (colour), or hatching that is dense where it faces away."""
    t = (2 * np.arange(size) + 1) / size - 1
    x, y = np.broadcast_arrays(t, -t[:, None])
    axes, turn, d = np.asarray(axes)[:, None, None], camera_axes(pose), pose.inverse_distance
    # Points of a ray in units of the half axes: origin + q_z * step.
    flat = np.stack([x, y, 0 * x]) - np.reshape(pose.translation, (3, 1, 1))
    origin, step = (
        np.tensordot(turn.T, v, 1) / pose.scale / axes for v in (flat, np.stack([-d * x, -d * y, 0 * x + 1]))
    )
    a, b, c = (step**2).sum(0), (origin * step).sum(0), (origin**2).sum(0) - 1
    root = b * b - a * c
    normal = np.tensordot(turn, (origin + (-b + np.sqrt(np.maximum(root, 0))) / a * step) / axes, 1)
    normal /= np.linalg.norm(normal, axis=0)
    rainbow = 0.5 + 0.5 * np.sin(4 * normal + np.arange(3)[:, None, None])
    hatch = (np.sin(60 * (t - t[:, None])) < 2 * normal[2] - 1)[None] * 1.0
    picture = np.concatenate([rainbow if color else hatch, (root > 0)[None] * 1.0])
    return np.rint(255 * picture).astype(np.uint8).transpose(1, 2, 0)


def fill(axes) -> np.ndarray:
    """Binary grid of an ellipsoid."""
    cells = np.stack(np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID - 0.5] * 3, indexing="ij"), -1)
    return ((cells / axes) ** 2).sum(-1, keepdims=True).astype(np.float32).__le__(1).astype(np.float32)


def on_white(drawn: np.ndarray) -> np.ndarray:
    return np.where(drawn[..., -1:] > 0, drawn[..., :-1], 255)


def encode(pixels, kind="PNG") -> bytes:
    content = io.BytesIO()
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What a user has: a folder of pictures, one of voxels, a poses file; and the pictures as they should be read."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    entries, truth = [], {}
    (folder / "pictures" / "more").mkdir(parents=True)
    (folder / "objects").mkdir()
    for number, (name, axes) in enumerate(SHAPES.items()):
        file = f"{name}.{'npz' if number % 2 else 'binvox'}"
        write_voxels(folder / "objects" / file, fill(axes))
        for view in range(8):
            entry = {
                "azimuth_deg": rng.uniform(-180, 180),
                "elevation_deg": rng.uniform(-30, 60),
                "roll_deg": 5.0 * view,
            }
            entry |= {"scale": rng.uniform(0.9, 1.2), "translation": [0.1, -0.05, 0.0], "inverse_distance": 0.2}
            picture = f"{'more/' * (view % 2)}{name}{view}.png"
            drawn = draw(axes, pose_from_degrees(**entry))
            (folder / "pictures" / picture).write_bytes(encode(drawn))
            entries.append({"picture": picture, "object": file, **entry})
            truth[picture] = on_white(drawn)
    (folder / "poses.json").write_text(json.dumps(entries))
    return folder, entries, truth


@pytest.fixture(scope="module")
def source(given):
    return load_pictures(given[0] / "pictures", given[0] / "objects", given[0] / "poses.json")[0]


# --- end to end -------------------------------------------------------------------------------------------------------


def test_a_shader_that_the_project_does_not_know_is_learnt(given, tmp_path):
    folder, run = given[0], tmp_path / "run"
    places = (
        f"--pictures={folder / 'pictures'}",
        f"--objects={folder / 'objects'}",
        f"--poses={folder / 'poses.json'}",
    )
    recipe = ("--preset=tiny", "--steps=100", "--batch=4", "--patch=24", "--rate=1e-2", "--ema=0.9", "--eval_every=100")
    done = launching.start("train", *places, *recipe, "--shader=rainbow", f"--output={run}")
    assert done.returncode == 0, done.stderr
    assert "40 RGB pictures of 5 objects, 32 pixels wide" in done.stdout
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    before, after = (record for record in log if "psnr_rainbow" in record)
    assert (before["step"], after["step"]) == (0, 100)
    assert after["psnr"] > before["psnr"] + 6
    assert {path.name for path in (run / "sheets").iterdir()} == {"0000000.png", "0000100.png"}
    card = read_card(run)
    assert card["config"]["shader"] == "rainbow" and card["config"]["heads"] == [["image", 3]]
    assert card["provenance"]["data"]["objects"] == 5

    flags = (f"--input={folder / 'objects' / 'egg.npz'}", f"--weights={run}", f"--size={SIZE}")
    done = launching.start("render", *flags, "--elevation_deg=10", f"--output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "0000_rainbow.png") as image:
        drawn = np.asarray(image) / 255
    wanted = on_white(draw(SHAPES["egg"], pose_from_degrees(azimuth_deg=30, elevation_deg=10))) / 255
    assert ((drawn - wanted) ** 2).mean() < 0.5 * wanted.var()
    done = launching.call("render", *flags, "--light_azimuth_deg=10", f"--output={tmp_path / 'other'}")
    assert done.returncode == 1 and "its own light alone, that of what it learnt from; leave" in done.stderr


# --- batches ----------------------------------------------------------------------------------------------------------


def test_views_are_the_pictures_on_white_with_their_poses_and_voxels(source, given):
    _, entries, truth = given
    assert (source.size, source.channels, source.grid_channels) == (SIZE, 3, 1)
    names = sorted(truth)
    views = source.views(range(len(names)))
    assert views["image"].dtype == views["grid"].dtype == np.float32
    by_name = {entry["picture"]: entry for entry in entries}
    for index, name in enumerate(names):
        np.testing.assert_allclose(views["image"][index], truth[name] / 255, atol=1e-6)
        entry = by_name[name]
        np.testing.assert_array_equal(views["grid"][index], fill(SHAPES[entry["object"].split(".")[0]]))
        pose = pose_from_degrees(**{key: entry[key] for key in camera.POSE_KEYS})
        for field in dataclasses.fields(Pose):
            np.testing.assert_allclose(views["pose"][field.name][index], getattr(pose, field.name), rtol=1e-6)


def test_a_key_left_out_takes_the_default_of_render(tmp_path):
    (tmp_path / "poses.json").write_text(json.dumps([{"picture": "a.png", "object": "b.npz"}]))
    (shot,) = picture_poses.read_shots(tmp_path / "poses.json").values()
    np.testing.assert_array_equal(shot.pose, picture_poses.encode_pose(batch_render.View().pose))


def test_patches_are_crops_that_show_something_in_their_window(source):
    batch = source.batch(np.random.default_rng(0), 32, 16)
    assert batch["image"].shape == (32, 16, 16, 3) and batch["extent"].tolist() == [1.0] * 32
    top, left = np.rint((1 - batch["top"]) * 16).astype(int), np.rint((batch["left"] + 1) * 16).astype(int)
    assert not (top % 8).any() and not (left % 8).any() and len({*top, *left}) == 3
    assert (batch["image"].reshape(32, -1).min(1) < 1).all()
    whole = source.views(source.training)
    frame = jax.jit(lambda g, p: camera_grid(g, p, (16, 16, 8)))
    crop = jax.jit(lambda g, p, w: camera_grid(g, p, (8, 8, 8), w))
    for i in range(4):
        (view,) = np.flatnonzero(whole["pose"]["azimuth"] == batch["pose"]["azimuth"][i])
        box = slice(top[i], top[i] + 16), slice(left[i], left[i] + 16)
        np.testing.assert_array_equal(batch["image"][i], whole["image"][view][box])
        grid, pose = batch["grid"][i : i + 1], Pose(**{name: value[i] for name, value in batch["pose"].items()})
        window = Window(*(batch[name][i] for name in ("left", "top", "extent")))
        box = slice(top[i] // 2, top[i] // 2 + 8), slice(left[i] // 2, left[i] // 2 + 8)
        np.testing.assert_allclose(crop(grid, pose, window)[0], frame(grid, pose)[0][box], atol=1e-5)


def test_batches_depend_on_the_generator_and_training_pictures_alone(source, given):
    first, other = (source.batch(np.random.default_rng([5, i]), 6, 16) for i in (1, 2))
    again = load_pictures(given[0] / "pictures", given[0] / "objects", given[0] / "poses.json")[0]
    jax.tree.map(np.testing.assert_array_equal, first, again.batch(np.random.default_rng([5, 1]), 6, 16))
    assert not np.array_equal(first["image"], other["image"])
    seen = set(source.batch(np.random.default_rng(0), 200, 8)["pose"]["azimuth"].tolist())
    assert seen == set(source.views(source.training)["pose"]["azimuth"].tolist())


def test_an_object_is_on_one_side_of_the_split(source, given):
    objects = [entry["object"] for entry in sorted(given[1], key=lambda entry: entry["picture"])]
    aside = {objects[index] for index in source.validation}
    assert len(aside) >= 1 and aside.isdisjoint(objects[index] for index in source.training)
    assert sorted([*source.training, *source.validation]) == list(range(len(objects)))


def make_views(grids=("a", "b"), channels=1, azimuth=0.1):
    shots = [picture_poses.Shot(name, np.full(8, azimuth, np.float32)) for name in grids]
    return [Picture(f"{shot.object}.png", shot, np.full((8, 8, channels), 9, np.uint8)) for shot in shots]


def test_fractional_grids_come_back_and_the_identity_knows_every_input():
    rng = np.random.default_rng(0)
    odd = rng.random((3, 4, 5, 2)).astype(np.float32)
    base = {"a": odd, "b": rng.integers(0, 65, (3, 4, 5, 2)).astype(np.float32) / 64}
    source = Pictures(make_views(), base)
    got = source.views([0, 1])["grid"]
    np.testing.assert_array_equal(got, np.stack(list(base.values())))
    assert got.dtype == np.float32
    changed = [
        Pictures(make_views(azimuth=0.2), base),
        Pictures(make_views(channels=3), base),
        Pictures(make_views(), {**base, "b": 1 - base["b"]}),
    ]
    assert Pictures(make_views(), dict(reversed(base.items()))).identity == source.identity
    assert source.identity not in [other.identity for other in changed]


def test_grey_pictures_among_coloured_ones_have_three_channels():
    views = [*make_views(["a"], 1), *make_views(["b"], 3)]
    source = Pictures(views, {name: np.ones((2, 2, 2, 1), np.float32) for name in "ab"})
    assert source.channels == 3 and source.views([0, 1])["image"].shape == (2, 8, 8, 3)
    assert picture_network("tiny", "mine", source).heads == (("image", 3),)


# --- the layout of 2018 -----------------------------------------------------------------------------------------------


def add(archive, name, content=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A tar of grey pictures with poses in their names, in sub-folders, and binvox files of the same names."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "binvox").mkdir()
    truth = {}
    with tarfile.open(folder / "chairs.tar.gz", "w:gz") as archive:
        for name, number in (("model_ball_clean", 0), ("ply_p1_egg", 1)):
            axes = list(SHAPES.values())[number]
            write_voxels(folder / "binvox" / f"{name}.binvox", fill(axes))
            for angles in ((40, 60.5, 3.3), (-270.25, 100, 4)):
                picture = "data/{}_p{}_t{}_r{}.png".format(name, *angles)
                drawn = draw(axes, pose_from_original(*angles), color=False)
                add(archive, picture, encode(drawn))
                truth[picture] = (on_white(drawn), angles)
    return folder, truth


def test_names_of_2018_tell_object_and_pose(original):
    folder, truth = original
    source, passed_over = load_pictures(folder / "chairs.tar.gz", folder / "binvox")
    assert not passed_over and source.channels == 1 and len(source.training) == len(source.validation) == 2
    views = source.views(range(4))
    for index, name in enumerate(sorted(truth)):
        picture, (p, t, r) = truth[name]
        np.testing.assert_allclose(views["image"][index], picture / 255, atol=1e-6)
        np.testing.assert_allclose(views["pose"]["azimuth"][index], np.radians(90 - p), rtol=1e-6)
        np.testing.assert_allclose(views["pose"]["elevation"][index], np.radians(90 - t), rtol=1e-5)
        np.testing.assert_allclose(views["pose"]["scale"][index], 3.3 / r, rtol=1e-6)


def test_what_a_tar_should_not_hold_is_passed_over_with_a_reason(original, tmp_path):
    folder, truth = original
    picture = encode(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1), np.uint8))
    pose = "_p1_t1_r3.png"
    with tarfile.open(folder / "chairs.tar.gz") as old, tarfile.open(tmp_path / "x.tar", "w") as archive:
        for member in old.getmembers():
            archive.addfile(member, old.extractfile(member))
        add(archive, f"data/model_ball_clean{pose}", picture)
        add(archive, f"data/model_ball_clean{pose}", picture)
        add(archive, f"/tmp/model_ball_clean{pose}", picture)
        add(archive, f"a/../../model_ball_clean{pose}", picture)
        add(archive, f"link{pose}", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, f"hard{pose}", type=tarfile.LNKTYPE, linkname=sorted(truth)[0])
        add(archive, f"fifo{pose}", type=tarfile.FIFOTYPE)
        add(archive, f"lamp{pose}", picture)
        add(archive, "model_ball_clean_p1_t1_r0.png", picture)
        add(archive, "model_ball_clean_p1_t2_r3.png", picture[:200])
        add(archive, "model_ball_clean.png", picture)
        add(archive, "readme.txt", b"text")
        add(archive, "._model_ball_clean_p1_t1_r3.png", b"of another system")
        add(archive, "data/", type=tarfile.DIRTYPE)
    source, passed_over = load_pictures(tmp_path / "x.tar", folder / "binvox")
    assert len(source.training) + len(source.validation) == len(truth) + 1
    reasons = {
        f"data/model_ball_clean{pose}": "second file",
        f"/tmp/model_ball_clean{pose}": "leaves the archive",
        f"a/../../model_ball_clean{pose}": "leaves the archive",
        f"link{pose}": "a link",
        f"hard{pose}": "a link",
        f"fifo{pose}": "no regular file",
        f"lamp{pose}": "no object lamp",
        "model_ball_clean_p1_t1_r0.png": "radius: expected",
        "model_ball_clean_p1_t2_r3.png": "damaged",
        "model_ball_clean.png": "its name does not end in",
        "readme.txt": "no .png",
    }
    assert passed_over.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in passed_over[name]
    assert not (tmp_path / "data").exists()


def test_a_member_that_claims_too_much_is_not_read(original, tmp_path, monkeypatch):
    folder, truth = original
    monkeypatch.setattr(picture_files, "MAX_BYTES", 200)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "model_ball_clean_p1_t1_r3.png", bytes(300))
    with pytest.raises(InputError, match="none that can be used .*300 bytes, more than 200"):
        load_pictures(tmp_path / "x.tar", folder / "binvox")


def test_a_damaged_object_costs_its_own_pictures_only(original, tmp_path):
    folder, truth = original
    for path in (folder / "binvox").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ply_p1_egg.binvox").write_bytes(b"#binvox 1\n")
    with pytest.raises(InputError, match="two or more, .*got model_ball_clean alone"):
        load_pictures(folder / "chairs.tar.gz", tmp_path)
    (tmp_path / "model_ball_clean.binvox").unlink()
    with pytest.raises(InputError, match="expected some that can be used, got none; data/"):
        load_pictures(folder / "chairs.tar.gz", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no tar", None])
def test_a_damaged_tar_is_one_error(original, tmp_path, content):
    folder, _ = original
    whole = (folder / "chairs.tar.gz").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=r"x\.tar: expected"):
        load_pictures(tmp_path / "x.tar", folder / "binvox")


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_of_every_kind_are_read_as_shown():
    rng = np.random.default_rng(0)
    grey, color = rng.integers(0, 256, (8, 8, 1), np.uint8), rng.integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(decode_picture(encode(grey)), grey)
    np.testing.assert_array_equal(decode_picture(encode(np.repeat(grey, 3, 2))), grey)
    np.testing.assert_array_equal(decode_picture(encode(color)), color)
    clear = np.concatenate([color, np.full((8, 8, 1), 51, np.uint8)], 2)
    np.testing.assert_allclose(decode_picture(encode(clear)), 0.2 * color + 0.8 * 255, atol=1)
    assert decode_picture(encode(np.full((8, 8, 3), 77, np.uint8), "JPEG")).shape == (8, 8, 1)
    palette = io.BytesIO()
    Image.fromarray(np.repeat(grey // 64 * 64, 3, 2)).quantize(4).save(palette, "PNG", transparency=0)
    assert (decode_picture(palette.getvalue()) == 255).any()


def test_pictures_that_cannot_be_used_are_named(monkeypatch):
    flat = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    deep = io.BytesIO()
    Image.fromarray(flat.astype(np.uint16)).save(deep, "PNG")
    cases = [
        (encode(flat[:4]), "square picture, got 8 x 4"),
        (deep.getvalue(), "8 bits, got mode 'I;16'"),
        (b"", "damaged"),
        (encode(flat)[:50], "damaged"),
        (encode(flat, "GIF"), "PNG or JPEG"),
    ]
    for content, message in cases:
        with pytest.raises(InputError, match=message):
            decode_picture(content)
    monkeypatch.setattr(picture_files, "MAX_SIDE", 4)
    with pytest.raises(InputError, match="at most 4 pixels a side, got 8"):
        decode_picture(encode(flat))


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = {"picture": "a.png", "object": "a.npz"}


@pytest.fixture
def small(tmp_path):
    """Two pictures of two objects."""
    for name in "ab":
        write_voxels(tmp_path / f"{name}.npz", np.ones((4, 4, 4), np.uint8))
        (tmp_path / f"{name}.png").write_bytes(encode(np.zeros((8, 8, 1), np.uint8)))
    return tmp_path


def load(folder, entries):
    (folder / "poses.json").write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return load_pictures(folder, folder, folder / "poses.json")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[", "expected a JSON list"),
        ([], "expected a JSON list of one or more"),
        ({}, "expected a JSON list of one or more"),
        ([GOOD, 3], "entry 1: expected an object with the keys picture, object, azimuth_deg"),
        ([GOOD, {**GOOD, "picture": "b.png", "azimuth": 3}], "entry 1: unknown azimuth; known are picture, object"),
        ([GOOD, GOOD], "entry 1: picture 'a.png' is that of entry 0 too"),
        ([{"picture": "a.png"}], "entry 0: object: expected a path within its folder, got None"),
        ([{**GOOD, "picture": "../a.png"}], "entry 0: picture: expected a path within"),
        ([{**GOOD, "object": "/a.npz"}], "entry 0: object: expected a path within"),
        ([{**GOOD, "scale": "1"}], "entry 0: scale: expected a number, got '1'"),
        ([{**GOOD, "scale": True}], "entry 0: scale: expected a number"),
        ([{**GOOD, "scale": 0}], "entry 0: scale: expected a number above 0"),
        ([{**GOOD, "roll_deg": 10**400}], "entry 0: roll_deg: expected a finite"),
        ([{**GOOD, "scale": 1e300}], "entry 0: pose: expected numbers that float32 holds"),
        ([{**GOOD, "translation": [1, 2]}], "entry 0: translation: expected 3 finite"),
        ([{**GOOD, "translation": [1, 2, [3]]}], "entry 0: translation: expected 3 finite"),
        ('[{"picture": "a.png", "object": "a.npz", "azimuth_deg": NaN}]', "entry 0: azimuth_deg: expected a finite"),
        ([{**GOOD, "picture": "c.png"}], "entry 0: picture 'c.png' of .* can't be used .no such file"),
        ([{**GOOD, "object": "c.npz"}], "entry 0: expected an object .*c.npz, found none"),
        ([GOOD], "objects: expected two or more.* got a.npz alone"),
        ([GOOD, {"picture": "b.png", "object": "b.png"}], "b.png: expected a mesh file"),
    ],
)
def test_a_poses_file_is_judged_by_entry(small, entries, message):
    with pytest.raises(InputError, match=message):
        load(small, entries)


BOTH = [GOOD, {"picture": "b.png", "object": "b.npz"}]


def test_pictures_without_an_entry_are_passed_over(small):
    (small / "c.png").write_bytes(b"whatever")
    source, passed_over = load(small, BOTH)
    assert list(passed_over) == ["c.png"] and "no entry" in passed_over["c.png"]
    assert len(source.training) == len(source.validation) == 1


def test_unequal_pictures_and_grids_are_refused(small):
    (small / "b.png").write_bytes(encode(np.zeros((16, 16, 1), np.uint8)))
    with pytest.raises(InputError, match=r"one size, got 8 pixels a side \(a.png\) and 16 \(b.png\)"):
        load(small, BOTH)
    (small / "b.png").write_bytes(encode(np.zeros((16, 8, 1), np.uint8)))
    with pytest.raises(InputError, match="picture b.png: expected a square picture, got 8 x 16"):
        load(small, BOTH)
    (small / "b.png").write_bytes(encode(np.zeros((8, 8, 1), np.uint8)))
    write_voxels(small / "b.npz", np.ones((5, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"one shape, got \(4, 4, 4, 1\) \(a.npz\) and \(5, 4, 4, 1\)"):
        load(small, BOTH)


def test_empty_and_missing_folders_are_refused(small):
    (small / "empty").mkdir()
    (small / "poses.json").write_text(json.dumps(BOTH))
    for pictures, objects, message in [
        ("empty", ".", "pictures .*empty: expected .png, .jpg, .jpeg files, got none"),
        ("nowhere", ".", "pictures .*nowhere: no such file or folder"),
        (".", "nowhere", "objects .*nowhere: expected a folder"),
        ("a.npz", ".", "pictures .*a.npz: expected a folder or a tar file"),
    ]:
        with pytest.raises(InputError, match=message):
            load_pictures(small / pictures, small / objects, small / "poses.json")
    with pytest.raises(InputError, match="objects .*empty: expected .binvox.* files, found none"):
        load_pictures(small, small / "empty")
    (small / "sub").mkdir()
    write_voxels(small / "sub" / "a.npy", np.ones((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="expected one file named a, got"):
        load_pictures(small, small)


def test_names_and_sizes_that_a_network_cannot_take(small):
    assert name_shader("/x/My shots!.tar.gz") == "My_shots"
    assert name_shader("/x/hatch/") == "hatch" == name_shader("/x", "hatch")
    with pytest.raises(InputError, match="shader: expected letters"):
        name_shader("/x", "a/b")
    source = load(small, BOTH)[0]
    config = picture_network("compact", "mine", source)
    assert (config.heads, config.shader, config.stages) == ((("image", 1),), "mine", preset("compact").stages)
    assert config.light_deg is None and config_from_dict(config_to_dict(config)) == config
    source.size = 9
    with pytest.raises(InputError, match="pictures: size: expected a multiple of 8 .* resize the pictures"):
        picture_network("compact", "mine", source)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pictures=x"], "--objects: expected a value"),
        (["--pictures=x", "--objects=x", "--data=x"], "--data: expected without --pictures"),
        (["--data=x", "--poses=x"], "--poses: expected with --pictures only"),
        (["--data=x", "--heads=image", "--shader=hatch"], "--shader: expected one of phong"),
        (["--pictures=x", "--objects=x", "--heads=gbuffer"], "--heads: expected image"),
    ],
)
def test_flags_that_do_not_go_together(flags, message, tmp_path):
    done = launching.call("train", *flags, f"--output={tmp_path / 'run'}")
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
