"""The first guess: what it looks at, what it says, and that it learns."""

import dataclasses
import json
import math
import types

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

from rendernet_jax import first_guess, shape_prior
from rendernet_jax.camera import Light, Pose, to_camera
from rendernet_jax.data import guess_views, shards
from rendernet_jax.data.families import make_shape
from rendernet_jax.data.meshes import Mesh, normalise
from rendernet_jax.data.procedural.parts import box, join
from rendernet_jax.data.raycast import build_scene
from rendernet_jax.data.references import reference_pictures, trace
from rendernet_jax.data.shape_grids import GridSet, Shape
from rendernet_jax.data.tasks import FIRST_TEST_SEED, procedural_tasks
from rendernet_jax.data.voxelise import voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.first_guess import SIZE, GuessConfig
from rendernet_jax.inverse import unknowns
from rendernet_jax.shape_prior import PRESETS
from rendernet_jax.training.first_guess_loop import GuessRecipe, Samples, losses, train_guess
from rendernet_jax.weights import load_guess, load_prior, read_card, save_weights

pytestmark = pytest.mark.optax
PRIOR = PRESETS["tiny"]
CONFIG = GuessConfig(latent=PRIOR.latent, patch=8, widths=(8, 16, 16), blocks=(0, 1, 0), hidden=32, sectors=8)
SIDE = PRIOR.grid


def chair(seat: int, back: int) -> Mesh:
    """A block with a back, by cells of a grid of 16."""
    low, high = np.asarray([3, 2, 3]) / 16 - 0.5, np.asarray([13, 2 + seat, 13]) / 16 - 0.5
    above = np.asarray([13, 2 + seat + back, 6]) / 16 - 0.5
    vertices, faces = join([box(low, high), box([low[0], high[1], low[2]], above)])
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), None)


def test_views_are_what_a_fit_sees_of_its_photo():
    """Wherever the thing stands in the photo, and however large it is; under the same light."""
    mesh = make_shape("sofa", FIRST_TEST_SEED)
    pose, light = Pose(0.7, 0.4, 0.1, 1.0, (0.0, 0.0, 0.0), 0.3), Light(0.3, 0.5, 0.2, 0.8)
    (view,) = guess_views.trace(mesh, [pose])
    drawn = guess_views.light(view, (0.3, 0.5), 0.2)
    elsewhere = dataclasses.replace(pose, scale=0.8, translation=(0.1, -0.05, 0.0), inverse_distance=0.3 / 0.8)
    photo = reference_pictures(build_scene(mesh), elsewhere, light, 256, ("phong", "mask"))
    seen = first_guess.crop(photo["phong"], photo["mask"])
    assert drawn.shape == seen.shape == (SIZE, SIZE, 2)
    both, either = np.minimum(drawn, seen)[..., 0].sum(), np.maximum(drawn, seen)[..., 0].sum()
    assert both / either > 0.97
    inside = (seen[..., 0] > 0.9999) & (drawn[..., 0] > 0.9999)
    assert np.median(np.abs(drawn - seen)[inside][:, 1]) < 0.01 < np.ptp(seen[inside][:, 1])
    brighter = first_guess.crop(0.5 * photo["phong"].repeat(3, -1), photo["mask"])
    np.testing.assert_allclose(brighter, seen, atol=1e-5)  # neither albedo nor colour leaves a trace


def test_a_mirrored_view_is_one_of_the_mirrored_shape():
    mesh = make_shape("chair", FIRST_TEST_SEED + 5)
    sheared = mesh.vertices + np.float32([0.2, 0, 0]) * mesh.vertices[:, 1:2]  # no mirror image of itself
    mesh = normalise(dataclasses.replace(mesh, vertices=sheared))
    pose = Pose(0.7, 0.4, 0.1, inverse_distance=0.3)
    views = guess_views.trace(mesh, [pose])
    view, mirrored = guess_views.mirror(views[0], views.poses[0])
    other = dataclasses.replace(pose, azimuth=-0.7, roll=-0.1)
    expected = guess_views.trace(dataclasses.replace(mesh, vertices=mesh.vertices * np.float32([-1, 1, 1])), [other])
    np.testing.assert_allclose(mirrored, expected.poses[0], atol=1e-5)
    assert np.abs(views.poses[0] - expected.poses[0]).max() > 0.1
    assert np.mean(np.abs(view - expected[0]) > 0.02) < 0.002 < np.mean(np.abs(view[:, ::-1] - expected[0]) > 0.02)


def test_kept_views_do_not_depend_on_who_makes_them(tmp_path):
    tasks = procedural_tasks(3, ("chair", "stool"))
    made = guess_views.make_procedural(tasks, tmp_path / "one", workers=0)
    again = guess_views.make_procedural(tasks, tmp_path / "one", workers=0)
    elsewhere = guess_views.make_procedural(tasks, tmp_path / "two", workers=2)
    for some in (again, elsewhere):
        assert [views.packed for views in some] == [views.packed for views in made]
        np.testing.assert_array_equal([views.poses for views in some], [views.poses for views in made])
    for task, views in zip(tasks, made, strict=True):
        assert len(views) == guess_views.COUNT
        rng = np.random.default_rng([task.seed, 1])
        pose = [guess_views.random_view(rng) for _ in range(3)][2]
        traced = guess_views.trace(make_shape(task.family, task.seed), [pose])
        np.testing.assert_array_equal(views[2], traced[0])
        np.testing.assert_array_equal(views.poses[2], traced.poses[0])
    with pytest.raises(InputError, match="expected views of the shapes asked for, got those of other shapes"):
        guess_views.make_procedural(tasks[:2], tmp_path / "one", workers=0)


def test_views_of_data_sets_are_those_that_photos_might_show(tmp_path):
    """Of one shape a usual view, the same upside down, one that shows nothing, and one that shows a part."""
    mesh = make_shape("stool", 3)
    pose = Pose(0.4, 0.5, 0.0, 0.9, (0.05, 0.0, 0.0), 0.2)
    beside, cut = (dataclasses.replace(pose, translation=(x, 0.0, 0.0)) for x in (5.0, 0.6))
    poses = [pose, dataclasses.replace(pose, roll=3.0), beside, cut]
    traced = [trace(build_scene(mesh), each, 128, ("mask", "normal")) for each in poses]
    arrays = {name: np.stack([shards.encode_view(name, view[name]) for view in traced]) for name in traced[0]}
    views = guess_views._choose({**arrays, "poses": np.stack([shards.encode_pose(each) for each in poses])})
    assert len(views) == 1
    straight = Pose(0.4, 0.5, 0.0, inverse_distance=0.18)
    expected = guess_views.trace(mesh, [straight])
    np.testing.assert_allclose(views.poses, expected.poses, atol=0.015)
    np.testing.assert_allclose(first_guess.to_frame(views.poses[0], first_guess.square(traced[0]["mask"])), [
        0.4, 0.5, 0.0, math.log(0.9), 0.05, 0.0, 0.2], atol=2e-3)  # fmt: skip
    assert np.abs(views[0] - expected[0]).mean() < 0.03


def test_a_pose_in_a_square_shows_in_the_frame_what_the_square_shows():
    """A camera that looks straight at the object, and one beside whose middle it lies."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    place = np.float32([0.12, -0.08, 0.62])
    for _ in range(5):
        angles, spot = rng.uniform([-3, -0.3, -0.2], [3, 0.9, 0.2]), rng.uniform(-0.1, 0.1, 2)
        pose = jnp.asarray([*angles, 0.5, *spot, rng.uniform(0.1, 0.2)], jnp.float32)
        straight = unknowns.to_pose(pose.at[4:6].set(0.0))
        seen = place[:2] + place[2] * (np.asarray(to_camera(points, straight))[:, :2] + spot)
        framed = first_guess.to_frame(pose, place)
        aside = framed.at[:3].set(pose[:3])  # as if the angles stayed
        found, apart = (np.asarray(to_camera(points, unknowns.to_pose(each)))[:, :2] for each in (framed, aside))
        assert np.abs(found - seen).max() < 0.01 and np.abs(found - seen).mean() < 0.25 * np.abs(apart - seen).mean()
        np.testing.assert_allclose(first_guess.to_square(framed, place), pose, atol=2e-3)


def test_sectors_wrap_around():
    centres = np.arange(8) * (math.pi / 4)
    np.testing.assert_array_equal(first_guess.sector(CONFIG, jnp.asarray(centres)), np.arange(8))
    np.testing.assert_array_equal(first_guess.sector(CONFIG, jnp.asarray(centres - 2 * math.pi)), np.arange(8))
    found = first_guess.Guess(jnp.zeros((1, 12)), jnp.zeros((1, 8)), jnp.zeros((1, 8, 7)).at[0, 4, 0].set(math.pi))
    batch = {
        "latent": np.zeros((1, 12)),
        "pose": np.float32([[-math.pi + 0.1, 0.0, 0.2, 0.0, 0.0, 0.0, 0.3]]),
        "cells": np.packbits(np.zeros((1, SIDE**3), bool), axis=1),
    }
    prior = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    parts = jax.jit(lambda found: losses(found, CONFIG, batch, (prior, PRIOR)))(found)
    assert parts["pose"] == pytest.approx(20 * (0.1**2 + 0.2**2 + 0.3**2), rel=1e-3)
    assert parts["sector"] == pytest.approx(math.log(8)) and parts["latent"] == 0


def test_guessed_cells_are_compared_with_the_true_ones():
    """Of one picture in three: one minus the soft overlap, whichever numbers of the latent make the cells."""
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    params = {**params, "gallery": jax.random.normal(jax.random.key(1), params["gallery"].shape)}
    mean, spread = shape_prior.usual(params)
    latent = 3.0 * jax.random.normal(jax.random.key(2), (3, PRIOR.latent))
    logits = jax.jit(shape_prior.decode_logits, static_argnums=1)(params, PRIOR, mean[None] + spread[None] * latent)
    cells = np.asarray(logits > np.quantile(logits, 0.8))
    found = first_guess.Guess(latent, jnp.zeros((3, 8)), jnp.zeros((3, 8, 7)))
    batch = {
        "latent": np.asarray(latent),
        "pose": np.zeros((3, 7), np.float32),
        "cells": np.packbits(cells.reshape(3, -1), axis=1),
    }
    parts = jax.jit(lambda found: losses(found, CONFIG, batch, (params, PRIOR)))(found)
    chance = 1.0 / (1.0 + np.exp(-np.asarray(logits[0], np.float64)))
    both = (chance * cells[0]).sum()
    assert parts["cells"] == pytest.approx(1.0 - (both + 1) / (chance.sum() + cells[0].sum() - both + 1), rel=1e-4)
    assert parts["latent"] == 0
    moved = found.replace(latent=latent.at[1:].add(1.0))
    parts = jax.jit(lambda found: losses(found, CONFIG, batch, (params, PRIOR)))(moved)
    assert parts["latent"] == pytest.approx(2 / 3 * float(jnp.mean(shape_prior.importance(params))), rel=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A guess that saw nine chairs for a few seconds, by the latents of an untrained prior."""
    folder = tmp_path_factory.mktemp("guess")
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    meshes = [chair(3 + i % 3, 3 + i // 3) for i in range(9)]
    grids = [voxelise(mesh, SIDE, "binary") for mesh in meshes]
    known = jnp.asarray(np.stack(grids[::2]))
    prior = {**params, "gallery": jax.jit(shape_prior.encode, static_argnums=1)(params, PRIOR, known)}, PRIOR
    shapes = [Shape(f"chair-{i}", "chair", shards.encode_bits(grid)) for i, grid in enumerate(grids)]
    rng = np.random.default_rng(0)
    views = [guess_views.trace(mesh, [guess_views.random_view(rng) for _ in range(30)]) for mesh in meshes]
    recipe = GuessRecipe(steps=250, batch=16, rate=3e-3, ema=0.9)
    scores = train_guess(CONFIG, prior, lambda: (GridSet(shapes, SIDE, 0.2), views), recipe, folder, eval_every=250)
    return folder, scores, meshes


def test_views_of_unseen_shapes_are_guessed(trained):
    folder, scores, meshes = trained
    assert scores["first"] > 0.4 and scores["first_four"] > 0.75  # by chance 0.125 and 0.5
    params, config = load_guess(folder)
    assert config == CONFIG
    (view,) = guess_views.trace(meshes[4], [Pose(0.75, 0.3)])
    look = guess_views.light(view, (0.2, 0.6), 0.1)
    found = jax.jit(first_guess.guess, static_argnums=1)(params, config, look[None])
    best = int(found.log_odds[0].argmax())
    turned = np.mod(np.asarray(found.poses[0, best, 0]) - 0.75 + math.pi, 2 * math.pi) - math.pi
    assert abs(turned) < 0.8
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [record["loss"] for record in records if "loss" in record]
    assert np.mean(told[-2:]) < 0.7 * told[0]


def test_shapes_without_views_are_left_out(tmp_path, monkeypatch):
    """All of a shape's views in a data set may look up from below; and it may be the only one that is held back."""
    grids = [voxelise(chair(3 + i, 4), SIDE, "binary") for i in range(4)]
    shapes = [Shape(f"chair-{i}", "chair", shards.encode_bits(grid)) for i, grid in enumerate(grids)]
    nothing = guess_views.Views((), np.zeros((0, 7), np.float32))
    something = guess_views.trace(chair(3, 4), [Pose()])
    with launching.own_flags(), monkeypatch.context() as patch:
        from experiments import _shapes

        patch.setattr(_shapes, "_DATA", types.SimpleNamespace(value=["a data set"]))
        for blind in range(4):
            views = [nothing if i == blind else something for i in range(4)]
            monkeypatch.setattr(guess_views, "read_data_sets", lambda folders, views=views: views)
            seen, kept = _shapes.Shapes([], shapes, {}).collect_seen(tmp_path, SIDE, "binary")
            assert len(seen) == len(kept) == 3 and len(seen.training) and len(seen.validation)
            np.testing.assert_array_equal(seen.grids(range(3)), np.delete(grids, blind, 0))


def test_mirrored_pictures_are_told_with_what_the_mirrored_shape_is():
    mesh = chair(4, 6)
    one_sided = dataclasses.replace(mesh, vertices=np.where(mesh.vertices[:, :1] < 0, 0.5, 1.0) * mesh.vertices)
    mesh = normalise(one_sided)
    grid = voxelise(mesh, SIDE, "binary")
    params = jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(0), PRIOR)
    latents = jax.jit(shape_prior.encode, static_argnums=1)(params, PRIOR, np.stack([grid, grid[::-1]]))
    mean, spread = shape_prior.usual(params)
    assert np.abs(latents[0] - latents[1]).max() > 1e-3
    pose = Pose(0.75, 0.3, 0.1)
    samples = Samples(
        GridSet([Shape("chair", "chair", shards.encode_bits(grid))], SIDE),
        [guess_views.trace(mesh, [pose])],
        (params, PRIOR),
    )
    batch = samples.batch(np.random.default_rng(3), [0] * 40)
    again = samples.batch(np.random.default_rng(3), [0] * 40)
    for name, value in batch.items():
        np.testing.assert_array_equal(value, again[name])
    mirrored = batch["pose"][:, 0] < 0
    assert 8 < mirrored.sum() < 32
    np.testing.assert_allclose(batch["pose"][:, :3], np.where(mirrored[:, None], [-0.75, 0.3, -0.1], [0.75, 0.3, 0.1]))
    cells = np.unpackbits(batch["cells"], axis=1).reshape(-1, SIDE, SIDE, SIDE)
    np.testing.assert_array_equal(
        cells, np.where(mirrored.reshape(-1, 1, 1, 1), grid[None, ::-1, ..., 0], grid[None, ..., 0])
    )
    found = np.asarray(mean) + np.asarray(spread) * batch["latent"]
    np.testing.assert_allclose(found, np.asarray(latents)[mirrored.astype(int)], atol=1e-4)
    shadeless = (np.ptp(batch["picture"][..., 1] - 0.5 * batch["picture"][..., 0], axis=(1, 2)) == 0).mean()
    assert 0.0 < shadeless < 0.4
    assert len({picture.tobytes() for picture in batch["picture"]}) > 30  # each is under a light of its own
    plain = samples.batch(np.random.default_rng(3), [0] * 40, mirroring=False)
    assert (plain["pose"][:, 0] > 0).all()


def test_a_mirrored_picture_is_guessed_as_the_same_shape_from_the_other_side():
    params = jax.jit(first_guess.init, static_argnums=1)(jax.random.key(1), CONFIG)
    picture = jax.random.uniform(jax.random.key(2), (1, SIZE, SIZE, 2))
    see = jax.jit(first_guess.guess_symmetric, static_argnums=1)
    one, other = see(params, CONFIG, picture), see(params, CONFIG, picture[:, :, ::-1])
    plain = jax.jit(first_guess.guess, static_argnums=1)(params, CONFIG, picture)
    assert np.abs(one.latent - plain.latent).max() > 1e-3  # the network alone is not symmetric
    np.testing.assert_allclose(one.latent, other.latent, atol=1e-5)
    back = -np.arange(CONFIG.sectors) % CONFIG.sectors
    np.testing.assert_allclose(one.log_odds, other.log_odds[:, back], atol=1e-5)
    opposite = np.asarray(other.poses)[:, back] * [-1, 1, -1, 1, -1, 1, 1]
    turned = np.asarray(one.poses) - opposite
    turned[..., 0] = np.mod(turned[..., 0] + 1.0, 2 * np.pi) - 1.0
    np.testing.assert_allclose(turned, 0, atol=1e-4)
    np.testing.assert_allclose(first_guess.sector(CONFIG, one.poses[..., 0]), [np.arange(CONFIG.sectors)])


def test_a_config_that_does_not_fit_itself_is_refused():
    for wrong in ({"blocks": (0,)}, {"widths": ()}, {"patch": 5}):
        with pytest.raises(InputError, match="guess config: expected as many blocks as widths"):
            GuessConfig(**wrong)


def test_weights_of_another_network_are_refused(trained, tmp_path):
    with pytest.raises(InputError, match="expected those of a first guess"):
        load_guess("compact")
    with pytest.raises(InputError, match="expected those of a shape prior"):
        load_prior(trained[0])
    params, config = load_guess(trained[0])
    save_weights(tmp_path, params, dataclasses.replace(config, sectors=9), {})
    with pytest.raises(InputError, match="do not fit network"):
        load_guess(tmp_path)


def test_a_guess_of_another_prior_is_refused(trained, tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for seed, folder in enumerate((own, other)):
        folder.mkdir()
        save_weights(folder, jax.jit(shape_prior.init, static_argnums=1)(jax.random.key(seed), PRIOR), PRIOR, {})
    guess, config = load_guess(trained[0])
    save_weights(tmp_path, guess, config, {"data": {"prior": read_card(own)["sha256"]}})
    load_guess(tmp_path, own)
    with pytest.raises(InputError, match="guess: expected one that was trained with the prior"):
        load_guess(tmp_path, other)
    load_guess("first_guess", "shape_prior")


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        (launching.start, ["--shapes=9"], "--output: expected a value"),
        (launching.call, ["--shapes=9", "--output=x", "--prior=compact"], "expected those of a shape prior"),
    ],
)
def test_bad_flags_give_one_line(tmp_path, run, arguments, message):
    done = run("train_first_guess", *arguments)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
