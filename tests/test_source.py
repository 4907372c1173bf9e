"""Batches from a data set in memory: crops, box filter, windows, split, and damage that must not go unseen."""

import jax
import numpy as np
import pytest

from rendernet_jax import files
from rendernet_jax.camera import Pose
from rendernet_jax.data import shards
from rendernet_jax.data.shards import CHANNELS
from rendernet_jax.data.source import GRIDS, HALF_SIZE, NOISY, Source, flip
from rendernet_jax.errors import InputError
from rendernet_jax.voxels import Window, camera_grid

SIZE, GRID, VIEWS, UPSAMPLE = 64, 8, 3, 2
OUTSIDE = {"mask": 0.0, "normal": 0.0, "depth": -1.0, "ao": 1.0, "contour": 0.0}
# Covered rows and columns of the views: inside, over every edge, a corner, thin.
BOXES = [((20, 50), (8, 40)), ((0, 64), (0, 64)), ((40, 64), (30, 64)), ((31, 33), (5, 60))]


def make_view(rng, box) -> dict[str, np.ndarray]:
    """Random G-buffer within a box of pixels, as the ray tracer gives it; the outline reaches one pixel further."""
    rows, columns = (slice(*span) for span in box)
    outline = tuple(slice(max(low - 1, 0), high + 1) for low, high in box)
    view = {name: np.full((SIZE, SIZE, 3 if name == "normal" else 1), v, np.float32) for name, v in OUTSIDE.items()}
    inside = view["mask"][rows, columns].shape[:2]
    view["mask"][rows, columns] = rng.integers(0, 5, (*inside, 1)) / 4
    view["contour"][outline] = rng.integers(0, 5, view["contour"][outline].shape) / 4
    covered = view["mask"][..., 0] > 0
    view["normal"][covered] = rng.uniform(-1, 1, (covered.sum(), 3))
    view["depth"][covered] = rng.uniform(-1, 1, (covered.sum(), 1))
    view["ao"][covered] = rng.uniform(0, 1, (covered.sum(), 1))
    return view


def make_pose(rng) -> Pose:
    azimuth, elevation, roll = rng.uniform(-1, 1, 3)
    offset = tuple(rng.uniform(-0.1, 0.1, 3))
    return Pose(azimuth, elevation, roll, rng.uniform(0.8, 1.2), offset, rng.uniform(0, 0.5))


def make_set(folder, names, seed=0) -> list[dict]:
    """A data set of random shapes; returns the views as they were before they were stored."""
    rng = np.random.default_rng(seed)
    (folder / "shards").mkdir(parents=True)
    entries, truth = [], []
    for index, name in enumerate(names):
        views = [make_view(rng, BOXES[(index + k) % len(BOXES)]) for k in range(VIEWS)]
        grids = [(rng.random((GRID, GRID, GRID, 1)) < share).astype(np.float32) for share in (0.3, 0.5)]
        arrays = {
            **{n: np.stack([shards.encode_view(n, view[n]) for view in views]) for n in CHANNELS},
            "coverage": shards.encode_coverage(rng.integers(0, 65, (GRID, GRID, GRID, 1)) / 64),
            "binary": shards.encode_bits(grids[0]),
            "sampled": shards.encode_bits(grids[1]),
            "poses": np.stack([shards.encode_pose(make_pose(rng)) for _ in views]),
        }
        path, content = shards.shard_path(folder, index), shards.pack_shard(arrays)
        path.write_bytes(content)
        entries.append({"name": name, "file": f"shards/{path.name}", "sha256": shards.sha256(content)})
        truth += views
    settings = {"views": VIEWS, "size": SIZE, "grid": GRID}
    files.write_json(folder / "manifest.json", {"schema": shards.SCHEMA, "settings": settings, "shards": entries})
    return truth


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    return folder, make_set(folder, ["chair-1", "lamp-2", "table-3", "vase-4"])


@pytest.fixture(scope="module")
def source(stored):
    return Source(stored[0], UPSAMPLE)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def pool_naively(view: dict, step: int) -> dict:
    """Box filter, pixel by pixel; what the object has is weighed by coverage."""
    small = {}
    for name in CHANNELS:
        picture = np.empty((SIZE // step, SIZE // step, view[name].shape[-1]))
        for row, column in np.ndindex(picture.shape[:2]):
            part = tuple(slice(i * step, (i + 1) * step) for i in (row, column))
            weight = np.ones((step, step, 1)) if name in ("mask", "contour") else view["mask"][part].astype(np.float64)
            total = weight.sum()
            mean = (view[name][part] * weight).sum((0, 1)) / total if total else OUTSIDE[name]
            picture[row, column] = mean
        small[name] = picture
    return small


def all_views(source, occupancy="coverage"):
    return source.views(range(len(source.training) + len(source.validation)), occupancy)


def draw_many(source, patch, count=64, seed=3):
    """Samples of one batch, each with its view, step, and top left pixel in the view at 1/step of its size."""
    batch = source.batch(np.random.default_rng(seed), count, patch)
    whole = all_views(source)
    for i in range(count):
        sample = jax.tree.map(lambda x: x[i], batch)  # noqa: B023
        (view,) = np.flatnonzero(whole["pose"]["azimuth"] == sample["pose"]["azimuth"])
        frame = np.rint(2 * patch / sample["extent"])
        top, left = (1 - sample["top"]) / 2 * frame, (sample["left"] + 1) / 2 * frame
        assert sample["extent"] == np.float32(2 * patch / frame)
        yield sample, int(view), int(SIZE // frame), int(top), int(left)


def test_whole_views_are_what_was_stored(source, stored):
    got = source.views(range(len(stored[1])))
    steps = {"mask": 1 / 255, "normal": 1 / 127, "depth": 2 / 65535, "ao": 1 / 255, "contour": 1 / 255}
    for name, step in steps.items():
        wanted = np.stack([view[name] for view in stored[1]])
        assert got[name].dtype == np.float32
        np.testing.assert_allclose(got[name], wanted, atol=step / 2 + 1e-6)
    assert (got["left"].min(), got["top"].max(), got["extent"].max()) == (-1, 1, 2)


def test_full_size_patches_are_crops_of_the_whole_view(source):
    whole = all_views(source)
    seen = 0
    for sample, view, step, top, left in draw_many(source, 16):
        if step == 1:
            seen += 1
            for name in CHANNELS:
                np.testing.assert_array_equal(sample[name], whole[name][view, top : top + 16, left : left + 16])
    assert seen > 30


def test_half_size_patches_are_crops_of_the_box_filtered_view(source):
    whole = all_views(source)
    seen = 0
    for sample, view, step, top, left in draw_many(source, 16):
        if step == 2:
            seen += 1
            small = pool_naively({name: whole[name][view] for name in CHANNELS}, 2)
            for name in CHANNELS:
                np.testing.assert_allclose(sample[name], small[name][top : top + 16, left : left + 16], atol=1e-6)
    assert seen > 5


def test_patches_hold_a_part_of_the_object_and_whole_columns(source):
    for sample, _, _, top, left in draw_many(source, 16, seed=4):
        assert sample["mask"].max() > 0
        assert top % UPSAMPLE == left % UPSAMPLE == 0


def test_a_view_too_small_to_halve_is_drawn_at_full_size(source):
    assert {step for _, _, step, _, _ in draw_many(source, 64, count=20)} == {1}


def test_window_is_a_crop_of_the_whole_camera_grid(source):
    """A patch's camera grid is the crop of the frame's."""
    patch, depth = 16, 4
    side = patch // UPSAMPLE
    crop = jax.jit(lambda g, p, w: camera_grid(g, p, (side, side, depth), w))
    whole = {n: jax.jit(lambda g, p, n=n: camera_grid(g, p, (n, n, depth))) for n in (16, 32)}
    steps = []
    for sample, _, step, top, left in draw_many(source, patch, count=16):
        steps.append(step)
        grid, pose = sample["grid"][None], Pose(**sample["pose"])
        got = crop(grid, pose, Window(sample["left"], sample["top"], sample["extent"]))[0]
        frame = whole[SIZE // step // UPSAMPLE](grid, pose)[0]
        row, column = top // UPSAMPLE, left // UPSAMPLE
        np.testing.assert_allclose(got, frame[row : row + side, column : column + side], atol=1e-5)
    assert set(steps) == {1, 2}


def test_kinds_of_grid_and_half_sizes_come_as_often_as_said(source):
    count = 600
    grids = {name: all_views(source, name)["grid"] for name in GRIDS}
    seen, halves, noisy = dict.fromkeys(GRIDS, 0), 0, 0
    for sample, view, step, _, _ in draw_many(source, 16, count):
        changed = {name: np.mean(grids[name][view] != sample["grid"]) for name in GRIDS}
        kind = min(changed, key=changed.get)
        assert changed[kind] < 0.05, "the other kinds differ in a quarter of the cells and more"
        noisy += changed[kind] > 0
        seen[kind] += 1
        halves += step == 2
    for name, share in GRIDS.items():
        assert abs(seen[name] / count - share) < 4 * np.sqrt(share * (1 - share) / count)
    assert abs(halves / count - HALF_SIZE) < 0.08
    assert NOISY / 3 < noisy / count < 1.2 * NOISY, "of 512 cells, a noisy grid has 5 flipped ones on average, or none"


def test_flipped_voxels_are_as_many_as_said_and_complements():
    grid = np.random.default_rng(0).integers(0, 65, (32, 32, 32, 1)).astype(np.float32) / 64
    got = flip(np.random.default_rng(1), grid, 0.02)
    changed = got != grid
    assert got.dtype == np.float32 and changed.mean() == pytest.approx(0.02, abs=0.004)
    np.testing.assert_array_equal(got[changed], 1 - grid[changed])


def test_a_batch_depends_on_the_generator_alone(stored, source):
    first = source.batch(np.random.default_rng([5, 1]), 6, 16)
    other = source.batch(np.random.default_rng([5, 2]), 6, 16)
    assert_same(first, Source(stored[0], UPSAMPLE).batch(np.random.default_rng([5, 1]), 6, 16))
    assert not np.array_equal(first["pose"]["azimuth"], other["pose"]["azimuth"])


def test_batches_hold_training_views_only(source):
    assert {view for _, view, *_ in draw_many(source, 16, 200)} == set(source.training.tolist())


# --- split ----------------------------------------------------------------------------------------------------------


def validation_names(source):
    return {source.names[view // VIEWS] for view in source.validation}


def test_split_is_by_shape_and_by_name_alone(tmp_path):
    names = [f"shape-{i}" for i in range(12)]
    make_set(tmp_path / "few", names[:9])
    make_set(tmp_path / "many", names[::-1], seed=1)
    few, many = Source(tmp_path / "few", validation=0.4), Source(tmp_path / "many", validation=0.4)
    assert sorted([*many.training, *many.validation]) == list(range(12 * VIEWS))
    assert len(many.validation) == len(validation_names(many)) * VIEWS
    assert 0 < len(validation_names(few)) < 9
    assert validation_names(few) == validation_names(many) & set(names[:9])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_two_shapes_give_both_sides_one(tmp_path, share):
    make_set(tmp_path / "set", ["a", "b"])
    source = Source(tmp_path / "set", validation=share)
    assert len(source.training) == len(source.validation) == VIEWS


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_single_shape_is_trained_on(tmp_path, share):
    make_set(tmp_path / "set", ["a"])
    assert len(Source(tmp_path / "set", validation=share).training) == VIEWS


# --- bad input ------------------------------------------------------------------------------------------------------


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "flipped":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    else:  # a valid shard, but not the one that the manifest names
        path.write_bytes(path.with_name("000001.npz").read_bytes())


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped", "swapped"])
def test_a_damaged_shard_is_one_clear_error(tmp_path, how):
    make_set(tmp_path / "set", ["a", "b"])
    damage(shards.shard_path(tmp_path / "set", 0), how)
    with pytest.raises(InputError, match=r"000000\.npz: expected a shard.*repeat the command"):
        Source(tmp_path / "set")


def test_every_flipped_byte_of_a_shard_is_noticed_or_harmless(tmp_path):
    """Without the manifest's digest too, which is how an interrupted build finds out what it has."""
    make_set(tmp_path / "set", ["a"])
    path = shards.shard_path(tmp_path / "set", 0)
    content, before = path.read_bytes(), shards.read_shard(path)
    for place in np.random.default_rng(0).integers(0, len(content), 150).tolist() + [0, len(content) - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
        try:
            assert_same(shards.read_shard(path), before)  # a bit that means nothing, such as a date
        except InputError:
            pass
    for length in (0, 1, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            shards.read_shard(path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mask", None),
        ("ao", None),
        ("mask", np.zeros((VIEWS, SIZE, SIZE), np.float32)),
        ("mask", np.zeros(VIEWS, np.uint8)),
        ("binary", np.zeros(3, np.uint8)),
        ("poses", np.zeros((VIEWS + 1, 8), np.float32)),
        ("extra", np.zeros(1)),
    ],
)
def test_arrays_of_another_shape_are_no_shard(tmp_path, name, array):
    make_set(tmp_path / "set", ["a"])
    path = shards.shard_path(tmp_path / "set", 0)
    arrays = {**shards.read_shard(path), name: array}
    path.write_bytes(shards.pack_shard({n: a for n, a in arrays.items() if a is not None}))
    with pytest.raises(InputError, match=name):
        shards.read_shard(path)


def test_a_set_that_is_not_finished_is_refused(tmp_path):
    make_set(tmp_path / "set", ["a"])
    (tmp_path / "set" / "manifest.json").rename(tmp_path / "set" / "plan.json")
    with pytest.raises(InputError, match=r"no .*manifest\.json; build it with .*build_dataset"):
        Source(tmp_path / "set")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}'])
def test_a_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: expected"):
        Source(tmp_path)


@pytest.mark.parametrize("upsample", [0, 3, 16])
def test_an_upsampling_that_does_not_fit_is_refused(stored, upsample):
    with pytest.raises(InputError, match="upsample: expected"):
        Source(stored[0], upsample)


def test_bad_patches_and_kinds_are_refused(source):
    rng = np.random.default_rng(0)
    for patch in (0, 12, SIZE + 8):
        with pytest.raises(InputError, match=f"patch: expected a multiple of 8 up to {SIZE}, got {patch}"):
            source.batch(rng, 1, patch)
    with pytest.raises(InputError, match="occupancy: expected one of coverage"):
        source.views([0], "full")
