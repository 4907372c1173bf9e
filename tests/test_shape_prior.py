"""The shape prior: its network, its grids, a training run that resumes exactly, and its launcher."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

from rendernet_jax import shape_prior, vector_matrix, weights
from rendernet_jax.data import shape_grids, shards
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.shape_grids import GridSet, Shape
from rendernet_jax.data.tasks import FIRST_TEST_SEED, procedural_tasks
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.shape_prior import PRESETS
from rendernet_jax.training.shape_prior_loop import find_gallery, reconstruction, train_prior
from rendernet_jax.training.shape_prior_step import (
    PriorRecipe,
    as_given,
    divergence,
    grid_losses,
    init_state,
    make_step,
)
from rendernet_jax.weights import load_prior, save_weights

pytestmark = pytest.mark.optax
CONFIG = PRESETS["tiny"]
RECIPE = PriorRecipe(steps=6, batch=4, rate=3e-3, ema=0.9)
SIDE = CONFIG.grid


def boxes(count: int) -> list[Shape]:
    """Boxes of random size and place."""
    rng, shapes = np.random.default_rng(0), []
    for number in range(count):
        low, grid = rng.integers(1, 6, 3), np.zeros((SIDE, SIDE, SIDE, 1), np.float32)
        grid[tuple(slice(a, a + b) for a, b in zip(low, rng.integers(4, 10, 3), strict=True))] = 1
        shapes.append(Shape(f"box-{number}", "box", shards.encode_bits(grid)))
    return shapes


@pytest.fixture(scope="module")
def params():
    return jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(1), CONFIG)


# --- network --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_of_latents_and_grids(name):
    config = PRESETS[name]
    shapes = shape_prior.shapes(config)
    grid = jax.ShapeDtypeStruct((2, *(config.grid,) * 3, 1), jnp.float32)
    latent = jax.eval_shape(lambda p, g: shape_prior.encode(p, config, g), shapes, grid)
    assert latent.shape == (2, config.latent) and latent.dtype == jnp.float32
    back = jax.eval_shape(lambda p, z: shape_prior.decode(p, config, z), shapes, latent)
    assert back.shape == grid.shape and back.dtype == jnp.float32


def test_default_ships_in_six_mebibytes():
    leaves = jax.tree.leaves(shape_prior.shapes(PRESETS["shape_prior"]))
    assert 2 * sum(int(np.prod(leaf.shape)) for leaf in leaves) < 5.9 * 2**20


def test_a_grid_is_a_sum_of_pictures_times_profiles(params):
    """Added up cell by cell; pictures come patch after patch."""
    decoder = shape_prior.bind(params, CONFIG).decoder
    hidden = jax.random.normal(jax.random.key(5), (1, CONFIG.hidden))
    pictures, profiles = np.asarray(decoder.pictures(hidden)[0]), np.asarray(decoder.profiles(hidden)[0])
    patch = CONFIG.patch

    def picture(axis, row, column):
        index = (row // patch * (SIDE // patch) + column // patch) * patch**2 + row % patch * patch + column % patch
        return pictures[axis, index]

    decoder.dense0 = decoder.dense1 = decoder.act0 = lambda x: x
    decoder.act1 = jnp.zeros_like  # what is decoded is the hidden numbers themselves
    grid = np.asarray(decoder(hidden))[0, ..., 0]
    for x, y, z in ((0, 0, 0), (3, 9, 14), (15, 6, 1), (7, 8, 5)):
        total = (
            profiles[0, x] @ picture(0, y, z) + profiles[1, y] @ picture(1, x, z) + profiles[2, z] @ picture(2, x, y)
        )
        np.testing.assert_allclose(grid[x, y, z], total / np.sqrt(CONFIG.rank) - 3.0, rtol=1e-4)


def test_product_with_neighbours_is_a_convolution():
    key = jax.random.split(jax.random.key(0))
    x, kernel = jax.random.normal(key[0], (2, 6, 3)), jax.random.normal(key[1], (3, 3, 2))
    layout = ("NWC", "WIO", "NWC")
    expected = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=layout)
    np.testing.assert_allclose(vector_matrix.with_neighbours(x) @ kernel.reshape(-1, 2), expected, atol=1e-5)


def test_decode_has_the_gradient_of_finite_differences(params):
    weight = jax.random.normal(jax.random.key(2), (1, SIDE, SIDE, SIDE, 1))
    latent, direction = jax.random.normal(jax.random.key(3), (2, 1, CONFIG.latent))
    value = jax.jit(lambda z: jnp.sum(weight * shape_prior.decode(params, CONFIG, z)))
    slope = jnp.sum(jax.grad(value)(latent) * direction)
    step = 2e-3  # short of the next kink of a PReLU
    difference = (value(latent + step * direction) - value(latent - step * direction)) / (2 * step)
    assert abs(slope) > 0.01
    np.testing.assert_allclose(slope, difference, rtol=0.03)


def test_numbers_count_for_how_far_they_exceed_their_noise(params):
    gallery = jnp.zeros((4, CONFIG.latent)).at[:2, 0].set(1.0).at[:2, 1].set(1.0)
    noise = params["log_noise"].at[1].add(np.log(2.0))
    weights = shape_prior.importance({**params, "gallery": gallery, "log_noise": noise})
    np.testing.assert_allclose(weights[0], 4.0 * weights[1], rtol=1e-5)
    assert weights[2:].max() < 1e-2 * weights[0] and abs(weights.mean() - 1.0) < 1e-5


def test_along_principal_axes_known_shapes_are_unit_normal(params):
    mix = jax.random.normal(jax.random.key(1), (CONFIG.latent, CONFIG.latent))
    gallery = jax.random.normal(jax.random.key(2), (500, CONFIG.latent)) @ mix + 3.0
    mean, axes = map(np.asarray, shape_prior.principal_axes({**params, "gallery": gallery}))
    along = np.linalg.solve(axes, (np.asarray(gallery) - mean).T)
    np.testing.assert_allclose(along.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(along, bias=True), np.eye(CONFIG.latent), atol=5e-3)
    few = shape_prior.principal_axes({**params, "gallery": gallery[:4]})[1]  # fewer shapes than numbers
    assert np.isfinite(np.linalg.inv(few)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: shape_prior.encode(p, CONFIG, jnp.zeros((1, 8, 8, 8, 1))), r"grid: expected \[B, 16, 16, 16, 1\]"),
        (lambda p: shape_prior.decode(p, CONFIG, jnp.zeros(CONFIG.latent)), r"latent: expected \[B, 12\]"),
        (lambda p: dataclasses.replace(CONFIG, grid=20), "prior config: 20 cells"),
    ],
)
def test_what_does_not_fit_is_refused(params, call, message):
    with pytest.raises(InputError, match=message):
        call(params)


# --- files ----------------------------------------------------------------------------------------------------------


def test_saved_prior_comes_back(tmp_path, params):
    save_weights(tmp_path, params, CONFIG, {"command": "none"})
    found, config = load_prior(tmp_path)
    assert config == CONFIG
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), found, params)


def test_damaged_or_other_weights_are_refused(tmp_path, params):
    with pytest.raises(InputError, match="expected those of a shape prior"):
        load_prior("compact")
    save_weights(tmp_path, params, dataclasses.replace(CONFIG, latent=13), {})
    with pytest.raises(InputError, match="do not fit network"):
        load_prior(tmp_path)
    data = bytearray((tmp_path / "weights.npz").read_bytes())
    data[200] ^= 1
    (tmp_path / "weights.npz").write_bytes(data)
    with pytest.raises(InputError, match="the file is damaged"):
        load_prior(tmp_path)


# --- grids ----------------------------------------------------------------------------------------------------------


def test_procedural_grids_tell_coverage_where_asked(tmp_path):
    tasks = procedural_tasks(2, ["face"])
    (whole, _), (bits, _) = (
        shape_grids.make_procedural(tasks, tmp_path / rule, 16, workers=0, occupancy=rule)
        for rule in ("coverage", "binary")
    )
    coverage = whole.grid(16)
    assert ((coverage > 0.5) <= (bits.grid(16) > 0)).all()
    assert ((0 < coverage) & (coverage < 1)).any()
    np.testing.assert_array_equal(bits.cells(16), bits.grid(16) > 0)
    assert (whole.cells(16) & bits.cells(16)).sum() > 0.9 * (whole.cells(16) | bits.cells(16)).sum()
    np.testing.assert_array_equal(shape_grids.read_kept(tmp_path / "coverage", 16)[0].stored, whole.stored)
    with pytest.raises(InputError, match="expected grids of binary cells of the shapes asked for, got something else"):
        shape_grids.make_procedural(tasks, tmp_path / "coverage", 16, workers=0)
    with pytest.raises(InputError, match="expected occupancy binary or coverage"):
        dataclasses.replace(CONFIG, occupancy="sampled")


def test_procedural_grids_are_kept_and_made_again_where_damaged(tmp_path, capsys):
    tasks = procedural_tasks(4, ["stool", "lamp"])
    made = shape_grids.make_procedural(tasks, tmp_path, 16, workers=0)
    assert [shape.name for shape in made] == [task.name for task in tasks]
    assert all(shape.grid(16).any() for shape in made)
    (file,) = tmp_path.iterdir()
    kept = shape_grids.read_kept(tmp_path, 16)
    assert [(shape.name, shape.family) for shape in kept] == [(shape.name, shape.family) for shape in made]
    np.testing.assert_array_equal([shape.stored for shape in kept], [shape.stored for shape in made])
    with pytest.raises(InputError, match="expected grids of 32 cells"):
        shape_grids.read_kept(tmp_path, 32)
    with pytest.raises(InputError, match="found none"):
        shape_grids.read_kept(tmp_path / "nowhere", 16)
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    capsys.readouterr()
    shape_grids.make_procedural(tasks, tmp_path, 16, workers=0)
    assert file.stat().st_mtime_ns == stamp and not capsys.readouterr().err
    file.write_bytes(before[:-100])
    shape_grids.make_procedural(tasks, tmp_path, 16, workers=0)
    assert file.read_bytes() == before
    with pytest.raises(InputError, match="got those of other shapes"):
        shape_grids.make_procedural(tasks[:3], tmp_path, 16, workers=0)


def test_batches_hold_training_shapes_and_their_mirror_images():
    shapes = boxes(20)
    grids = GridSet(shapes, SIDE, validation=0.2)
    assert set(grids.training).isdisjoint(grids.validation) and len(grids.validation)
    batch = grids.batch(np.random.default_rng(0), 64)
    again = grids.batch(np.random.default_rng(0), 64)
    np.testing.assert_array_equal(batch, again)
    whole = grids.grids(range(20))
    mirrored = 0
    for grid in batch:
        straight = [i for i in range(20) if np.array_equal(whole[i], grid)]
        turned = [i for i in range(20) if np.array_equal(whole[i][::-1], grid)]
        assert set(straight + turned) <= set(grids.training) and straight + turned
        mirrored += not straight
    assert 16 < mirrored < 48


def test_priors_of_coverage_learn_to_read_binary_grids():
    grid = jnp.asarray(np.random.default_rng(0).choice([0.0, 0.05, 0.3, 1.0], (400, 4, 4, 4, 1)), jnp.float32)
    given = as_given(dataclasses.replace(CONFIG, occupancy="coverage"), grid, jax.random.key(0))
    binary = np.asarray((given == (grid > 0.1)).all((1, 2, 3, 4)))
    assert 60 < binary.sum() < 140
    np.testing.assert_array_equal(given[~binary], grid[~binary])
    np.testing.assert_array_equal(as_given(CONFIG, grid, jax.random.key(0)), grid)


def test_overlap_is_of_cells_set_by_the_rule_of_the_prior():
    first, second = np.zeros((2, 2, 4, 4, 4, 1), np.float32)
    first[:, 0, 0, 0], second[:, 0, 0, :2] = 0.2, 1.0
    for occupancy, expected in (("coverage", 0.5), ("binary", 0.0)):
        config = dataclasses.replace(CONFIG, occupancy=occupancy)
        np.testing.assert_allclose(shape_prior.overlap(config, first, second), expected)


def test_gallery_holds_latents_of_training_shapes(params):
    grids = GridSet(boxes(12), SIDE, validation=0.2)
    rebuild = jax.jit(lambda params, grid: reconstruction(params, CONFIG, grid))
    gallery = find_gallery(rebuild, params, CONFIG, grids)
    latents = np.asarray(rebuild(params, grids.grids(grids.training))[0])
    distances = np.abs(gallery[:, None] - latents[None]).max(-1)
    assert gallery.shape == (CONFIG.gallery, CONFIG.latent) and distances.min(1).max() < 1e-5
    assert len(set(distances.argmin(1))) == CONFIG.gallery


def test_the_shipped_prior_keeps_unseen_chairs_and_more_of_them_if_it_looks_twice():
    """Six of the chairs of which it keeps 0.854 on average."""
    prior, config = load_prior()
    grid = np.stack([voxelise(make_shape("chair", FIRST_TEST_SEED + number)) for number in range(6)])

    @jax.jit
    def kept(grid):
        ways = shape_prior.encode, shape_prior.encode_closely
        latents = [way(prior, config, grid) for way in ways]
        return [shape_prior.overlap(config, shape_prior.decode(prior, config, latent), grid) for latent in latents]

    at_once, closely = (np.mean(each) for each in kept(grid))
    assert closely > at_once + 0.003 and closely > 0.82


def test_no_shape_is_refused():
    with pytest.raises(InputError, match="expected at least one"):
        GridSet([], SIDE)


# --- training -------------------------------------------------------------------------------------------------------


def test_losses_by_hand():
    target = jnp.zeros((2, 4, 4, 4, 1)).at[0, 0].set(1.0)
    np.testing.assert_allclose(grid_losses(jnp.where(target > 0, 30.0, -30.0), target, 0.5), 0.0, atol=1e-4)
    at_half = grid_losses(jnp.zeros_like(target), target, 0.5)
    np.testing.assert_allclose(at_half[0], 64 * np.log(2) / (16 + 0.512) + 1 - 17 / 33 + 1 - 9 / 41, rtol=1e-5)
    assert divergence(jnp.zeros((1, 3)), jnp.zeros(3)) == 0
    np.testing.assert_allclose(divergence(jnp.full((1, 3), 2.0), jnp.zeros(3)), 6.0, rtol=1e-6)


@pytest.mark.parametrize(("coverage", "lowest", "highest"), [(0.25, 0.25, 0.35), (0.5, 0.5, 0.55), (0.75, 0.75, 0.77)])
def test_a_partly_covered_cell_is_best_drawn_about_as_such(coverage, lowest, highest):
    """The faintest a little more opaque, so that they count as set; with Dice's plain coefficient they would fade."""
    target = jnp.zeros((1, 8, 8, 8, 1)).at[0, :2].set(0.999).at[0, 2].set(coverage)
    logits = jnp.full_like(target, -8.0).at[0, :2].set(7.0)
    tried = jnp.linspace(-4.0, 4.0, 401)
    losses = [float(grid_losses(logits.at[0, 2].set(logit), target, 0.1)[0]) for logit in tried]
    assert lowest <= jax.nn.sigmoid(tried[np.argmin(losses)]) <= highest


def test_two_shapes_are_learned():
    shapes = boxes(4)[1:3]
    grid = np.stack([shape.grid(SIDE) for shape in shapes])
    recipe = PriorRecipe(steps=200, rate=1e-2, kl=0.01)
    state, step = init_state(CONFIG, recipe), jax.jit(make_step(CONFIG, recipe, None))
    for _ in range(recipe.steps):
        state, _ = step(state, grid)
    _, iou = reconstruction(state["params"], CONFIG, grid)
    assert iou.min() > 0.95


class Failing(GridSet):
    """Gives up, or gives a number that is none, in one batch."""

    stop_at = poison = None
    made = 0

    def batch(self, rng, count):
        self.made += 1
        if self.made == self.stop_at:
            raise ConnectionError("the data is gone")
        batch = super().batch(rng, count)
        if self.made == self.poison:
            batch[0, 0, 0, 0] = np.nan
        return batch


def run(folder, **failure) -> dict:
    grids = Failing(boxes(12), SIDE, validation=0.2)
    vars(grids).update(failure)
    return train_prior(CONFIG, lambda: grids, RECIPE, folder, eval_every=2, inputs={"shapes": 12})


def records(folder) -> list[dict]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    timed = ("examples_per_second", "data_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def test_interrupted_run_goes_on_exactly(tmp_path):
    scores = run(tmp_path / "whole")
    assert set(scores) == {"iou", "iou_box", "deviation"} and 0 <= scores["iou"] <= 1
    with pytest.raises(ConnectionError):
        run(tmp_path / "broken", stop_at=4)
    assert run(tmp_path / "broken") == scores
    assert records(tmp_path / "broken") == records(tmp_path / "whole")
    files = [(tmp_path / name / "weights.npz").read_bytes() for name in ("broken", "whole")]
    assert files[0] == files[1]
    assert load_prior(tmp_path / "whole")[1] == CONFIG
    with pytest.raises(InputError, match="another run"):
        train_prior(CONFIG, lambda: 1 / 0, RECIPE, tmp_path / "whole", eval_every=2, inputs={"shapes": 13})


def test_number_that_is_none_stops_training(tmp_path):
    with pytest.raises(InputError, match="step 3: expected finite figures"):
        run(tmp_path, poison=3)
    assert weights.read_card(tmp_path)["provenance"]["step"] == 2


# --- launcher -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output: expected a value"),
        (["--families=chair,unicorn"], "unicorn"),
        (["--shapes=0"], "--shapes: expected 1 or more"),
        (["--data=nowhere"], "nowhere"),
    ],
)
def test_bad_flags_give_one_line(tmp_path, arguments, message):
    output = tmp_path / "run"
    done = launching.call("train_shape_prior", *arguments, *([f"--output={output}"] if arguments else []))
    assert done.returncode == 1 and done.stdout == "" and not output.exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_batch_that_devices_cannot_share_is_refused_before_shapes_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    done = launching.call("train_shape_prior", "--batch=7", f"--output={tmp_path / 'run'}")
    assert done.returncode == 1 and "--batch: expected a multiple of the 2 devices" in done.stderr
    assert not (tmp_path / "run").exists()


def test_launcher_trains(tmp_path):
    arguments = ["--preset=tiny", "--shapes=3", "--families=stool", "--workers=0", "--steps=2", f"--output={tmp_path}"]
    done = launching.start("train_shape_prior", *arguments)
    assert done.returncode == 0, done.stderr
    assert "iou_stool" in done.stdout
    assert load_prior(tmp_path)[1].name == "tiny"
