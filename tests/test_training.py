"""The step's arithmetic, and a loop that survives kills, damage and bad numbers."""

import functools
import hashlib
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rendernet_jax import files, losses, network, weights
from rendernet_jax.config import preset
from rendernet_jax.errors import InputError, Interrupted
from rendernet_jax.training import task_loop
from rendernet_jax.training.checkpoints import Checkpoints
from rendernet_jax.training.loop import make_batch, train
from rendernet_jax.training.parallel import MODES, data_parallel
from rendernet_jax.training.replay import replay
from rendernet_jax.training.step import Recipe, accumulate, init_state, make_optimizer, make_step
from rendernet_jax.training.validation import Evaluation

pytestmark = pytest.mark.optax
CONFIG = preset("tiny")
RECIPE = Recipe(steps=6, batch=2, patch=16, rate=3e-3, ema=0.9)
SIZE, GRID = 32, 8


class Balls:
    """A source of one family: orthographic balls of random radius, seen from the front.

    ``stop_at``: batches of two examples before it gives up; ``poison``: the batch of which a number is none.
    """

    validation = (0, 1)

    def __init__(self, stop_at=None, poison=None, pause=0.0):
        self.stop_at, self.poison, self.pause, self.made = stop_at, poison, pause, 0
        self.seen = []

    def batch(self, rng, count, patch):
        time.sleep(self.pause)
        poisoned = np.random.default_rng([RECIPE.seed, self.poison or 0, 0]).bit_generator.state
        poisoned = self.poison is not None and rng.bit_generator.state == poisoned
        if self.stop_at is not None and self.made == 2 * self.stop_at:
            raise ConnectionError("the data is gone")
        corners = 2 * rng.integers(0, (SIZE - patch) // 2 + 1, (count, 2))
        views = [cut_ball(rng.uniform(0.2, 0.45), *corner, patch) for corner in corners]
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *views)
        if poisoned:
            batch["normal"][0, 0, 0, 0] = np.nan
        self.made += count
        return batch

    def views(self, indices, occupancy="coverage"):
        self.seen.append(occupancy)
        return jax.tree.map(lambda *leaves: np.stack(leaves), *[cut_ball(0.3 + 0.1 * i, 0, 0, SIZE) for i in indices])


def cut_ball(radius, row, column, patch):
    """One sample: a ball of that radius in object units, by its closed form."""
    t = (2 * np.arange(SIZE) + 1) / SIZE - 1
    x, y = np.broadcast_arrays(t[None] / radius, -t[:, None] / radius)
    height = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    mask = (height > 0).astype(np.float32)
    picture = {"mask": mask, "normal": np.stack([x, y, height], -1) * mask[..., None], "ao": 1 - mask / 2}
    picture |= {"depth": radius * height * mask - (1 - mask), "contour": np.zeros_like(mask)}
    box = slice(row, row + patch), slice(column, column + patch)
    cells = np.stack(np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID - 0.5] * 3, indexing="ij"))
    sample = {name: leaf[box].reshape(patch, patch, -1).astype(np.float32) for name, leaf in picture.items()}
    names = ("azimuth", "elevation", "roll", "inverse_distance")
    return {
        **sample,
        "grid": (np.linalg.norm(cells, axis=0) < radius).astype(np.float32)[..., None],
        "pose": {**dict.fromkeys(names, np.float32(0)), "scale": np.float32(1), "translation": np.zeros(3, np.float32)},
        "left": np.float32(2 * column / SIZE - 1),
        "top": np.float32(1 - 2 * row / SIZE),
        "extent": np.float32(2 * patch / SIZE),
    }


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """Runs of one network by one recipe share their step, which each of them would trace for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        steps = {}

        def share(make_step, parallel):
            key = make_step.func, make_step.args, parallel
            if key not in steps:
                steps[key] = data_parallel(make_step, parallel)
            return steps[key]

        patch.setattr(task_loop, "data_parallel", share)
        yield


@pytest.fixture(scope="module")
def params():
    """Parameters by NumPy, which need no compilation."""
    rng = np.random.default_rng(0)
    scale = lambda shape: 0.5 / np.sqrt(np.prod(shape[:-1]))  # noqa: E731
    return jax.tree.map(
        lambda s: jnp.asarray(scale(s.shape) * rng.normal(size=s.shape), s.dtype), network.shapes(CONFIG)
    )


@pytest.fixture(scope="module")
def state(params):
    return init_state(CONFIG, RECIPE, params)


def leaves_of(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def digest(tree):
    sums = hashlib.sha256()
    for leaf in leaves_of(tree):
        sums.update(f"{leaf.shape}{leaf.dtype}".encode() + leaf.tobytes())
    return sums.hexdigest()


# --- step -------------------------------------------------------------------------------------------------------------


def test_loss_falls_on_a_fixed_batch(params):
    recipe = Recipe(steps=60, batch=2, patch=16, rate=5e-3, warmup=5)
    step, batch = jax.jit(make_step(CONFIG, recipe, axis=None)), make_batch(Balls(), recipe, 0)
    state, history = init_state(CONFIG, recipe, params), []
    for _ in range(recipe.steps):
        state, figures = step(state, batch)
        history.append(float(figures["loss"]))
    assert history[-1] < 0.5 * history[0]
    assert set(figures) == {"loss", "phong", "normal", "mask", "ao", "contour", "depth", "gradient_norm"}
    assert int(state["step"]) == recipe.steps


make_steps = functools.partial(make_step, CONFIG, RECIPE)


def test_pmap_equals_jit_and_the_mean_forgets_the_start(state):
    """EMA: decay min(ema, (1 + n) / (10 + n)) after n steps."""
    plain, mapped = jax.jit(make_steps(None)), data_parallel(make_steps, devices=1)
    first, second, ema = state, state, leaves_of(state["ema"])
    for n in range(2):
        batch = make_batch(Balls(), RECIPE, n)
        (first, figures), (second, other) = plain(first, batch), mapped(second, batch)
        decay = min(RECIPE.ema, (1 + n) / (10 + n))
        ema = [decay * mean + (1 - decay) * p for mean, p in zip(ema, leaves_of(first["params"]), strict=True)]
    assert float(figures["loss"]) == pytest.approx(float(other["loss"]), abs=1e-6)
    for a, b in zip(leaves_of(first), leaves_of(second), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for expected, found in zip(ema, leaves_of(first["ema"]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(ema, leaves_of(first["params"]), strict=True))


def fit_line(parts, axis):
    """A step that fits y = x w by one gradient step of size 1, a batch in parts; by hand, w + 2 mean(x (y - x w))."""

    def loss_fn(w, batch, keys):
        loss = jnp.mean((batch["y"] - batch["x"] * w) ** 2)
        return loss, {"loss": loss}

    def step(state, batch):
        figures, gradient = accumulate(loss_fn, state["w"], batch, jax.random.split(jax.random.key(0), 4), parts)
        gradient = gradient if axis is None else jax.lax.pmean(gradient, axis)
        return {"w": state["w"] - gradient}, figures

    return step


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("mode", MODES)
def test_modes_and_parts_of_a_batch_take_the_step_of_the_whole(mode, parts):
    x, y = np.asarray([1, 2, -1, 0.5], np.float32), np.asarray([2, 5, 1, 0], np.float32)
    step = data_parallel(functools.partial(fit_line, parts), mode)
    state, figures = step(step({"w": jnp.zeros(())}, {"x": x, "y": y})[0], {"x": x, "y": y})
    w = 0.0
    for _ in range(2):
        loss, w = np.mean((y - x * w) ** 2), w + 2 * np.mean(x * (y - x * w))
    assert float(state["w"]) == pytest.approx(w, abs=1e-5) and float(figures["loss"]) == pytest.approx(loss, abs=1e-5)


def test_batches_that_cannot_be_divided_are_refused(state):
    with pytest.raises(InputError, match="batch: expected a multiple of the 3 devices, got 2; change --batch"):
        data_parallel(make_steps, devices=3)(state, make_batch(Balls(), RECIPE, 0))
    with pytest.raises(InputError, match="accumulate: expected a divisor of the 4 examples on each device, got 3"):
        fit_line(3, None)({"w": 0.0}, {"x": np.zeros(4), "y": np.zeros(4)})


QUICK = "--xla_backend_optimization_level=0"  # each program runs a few times
DEVICES = """
import dataclasses, sys
sys.path.insert(0, {tests!r})
from test_training import *
count = int(sys.argv[1])
assert jax.device_count() == count
config = dataclasses.replace(CONFIG, dropout=0.25)
rng = np.random.default_rng(0)
params = jax.tree.map(lambda s: jnp.asarray(0.1 * rng.normal(size=s.shape), s.dtype), network.shapes(config))
found = []
for parts in (1, 2):
    recipe = dataclasses.replace(RECIPE, batch=8, accumulate=parts)
    for mode in MODES:
        state = init_state(config, recipe, params)
        step = data_parallel(functools.partial(make_step, config, recipe), mode)
        for n in range(3):
            state, figures = step(state, make_batch(Balls(), recipe, n))
        assert all(leaf.sharding.device_set == set(jax.devices()) for leaf in jax.tree.leaves(state))
        found.append(leaves_of(state))
    for rows in (count - 1, count + 1) if count > 1 else ():  # a device would be idle; a batch that can't be split
        try:
            step(state, jax.tree.map(lambda x: x[:rows], make_batch(Balls(), recipe, 0)))
        except InputError as error:
            assert f"multiple of the {{count}} devices, got {{rows}}" in str(error)
        else:
            raise AssertionError(rows)
np.savez(sys.argv[2], *[leaf for leaves in found for leaf in leaves], runs=len(found))
"""


@pytest.mark.slow
def test_devices_modes_and_parts_of_a_batch_agree(tmp_path):
    """1, 2 and 4 devices, both modes, the batch whole or in two parts, with dropout: twelve times the same state."""
    runs = []
    for count in (1, 2, 4):
        flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count={count}", "JAX_PLATFORMS": "cpu"}
        code = DEVICES.format(tests=str(pathlib.Path(__file__).parent))
        command = [sys.executable, "-c", code, str(count), str(tmp_path / f"{count}.npz")]
        done = subprocess.run(command, env={**os.environ, **flags}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / f"{count}.npz") as file:
            leaves = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
            each = len(leaves) // int(file["runs"])
            runs += [leaves[i : i + each] for i in range(0, len(leaves), each)]
    assert len(runs) == 12
    for run_ in runs[1:]:
        for a, b in zip(runs[0], run_, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5)


def test_batches_depend_on_seed_and_index_alone():
    first, again = (make_batch(Balls(), RECIPE, 3) for _ in range(2))
    assert digest(first) == digest(again) != digest(make_batch(Balls(), RECIPE, 4))
    assert first["target"].keys() == {"mask", "normal", "depth", "ao", "contour"}
    assert first["light"]["azimuth"].shape == (2,)


def test_an_example_is_the_same_whichever_process_makes_it():
    """A batch of 6 by one process, by two and by three."""
    recipe = Recipe(**{**vars(RECIPE), "batch": 6})
    whole = make_batch(Balls(), recipe, 5)
    for processes in (2, 3):
        part = 6 // processes
        parts = [make_batch(Balls(), recipe, 5, range(i * part, (i + 1) * part)) for i in range(processes)]
        assert digest(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)) == digest(whole)
    lights = whole["light"]["azimuth"]
    assert len(set(lights.tolist())) == 6


# --- loop -------------------------------------------------------------------------------------------------------------


def run(folder, source=None, recipe=RECIPE, every=2, **options):
    return train(CONFIG, source or Balls(), recipe, folder, eval_every=every, **options)


def last_state(folder, state):
    return Checkpoints(folder / "checkpoints").restore(state)


def read_log(folder):
    """Whole records, without what a clock measured."""
    timed, path = ("patches_per_second", "data_wait"), folder / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value for name, value in record.items() if name not in timed} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, params, state):
    """An uninterrupted run: folder, scores, and the sum of its last train state."""
    folder = tmp_path_factory.mktemp("whole")
    scores = run(folder, warm_start=params, provenance={"command": "here"})
    return types.SimpleNamespace(folder=folder, scores=scores, digest=digest(last_state(folder, state)))


def assert_same_end(folder, whole, state):
    assert digest(last_state(folder, state)) == whole.digest
    assert read_log(folder) == read_log(whole.folder)
    assert (folder / "weights.npz").read_bytes() == (whole.folder / "weights.npz").read_bytes()


def test_run_leaves_what_it_says(whole, state):
    names = {"run.json", "log.jsonl", "checkpoints", "weights.npz", "weights.json", "sheets"}
    assert {path.name for path in whole.folder.iterdir()} == names
    assert sorted(path.name for path in (whole.folder / "sheets").iterdir()) == [f"000000{n}.png" for n in (2, 4, 6)]
    log = read_log(whole.folder)
    assert [record["step"] for record in log if "psnr" in record] == [2, 4, 6]
    best = max((record for record in log if "psnr" in record), key=lambda record: record["psnr"])
    assert best["psnr"] == pytest.approx((best["psnr_phong_coverage"] + best["psnr_phong_binary"]) / 2)
    assert best["psnr_phong_coverage"] != best["psnr_phong_binary"]
    assert weights.read_card(whole.folder)["provenance"] == {"command": "here", **best}
    assert whole.scores == {name: value for name, value in log[-1].items() if name != "step"}
    assert weights.load_weights(whole.folder)[1] == CONFIG
    final = last_state(whole.folder, state)
    assert int(final["step"]) == 6 and jax.tree.structure(final) == jax.tree.structure(state)


def test_finished_run_is_not_repeated(whole, state):
    before = (whole.folder / "log.jsonl").read_bytes()
    assert run(whole.folder, Balls(stop_at=0)) == whole.scores
    assert (whole.folder / "log.jsonl").read_bytes() == before


def test_stopped_run_goes_on_to_the_same_bits(tmp_path, whole, params, state):
    """Stopped after step 5: steps 5 and 6 are made anew from the checkpoint of step 4."""
    options = {"warm_start": params, "provenance": {"command": "here"}}
    with pytest.raises(ConnectionError):
        run(tmp_path, Balls(stop_at=5), **options)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"step": 5, "loss": 0.1}\n{"step": 5, "lo')  # what a kill may leave
    run(tmp_path, **options)
    assert_same_end(tmp_path, whole, state)


def test_interrupted_first_save_starts_anew(tmp_path, whole, params, state):
    with pytest.raises(ConnectionError):
        run(tmp_path, Balls(stop_at=2), warm_start=params)
    (tmp_path / "checkpoints" / "2.sha256.json").unlink()
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp-1").mkdir()
    (tmp_path / ".weights.npz.x.partial").write_bytes(b"half of it")
    run(tmp_path, warm_start=params)
    assert_same_end(tmp_path, whole, state)
    assert not [p for p in tmp_path.rglob("*") if "tmp" in p.name or "partial" in p.name]


def test_save_without_manifest_is_repeated(tmp_path, whole, params, state, caplog):
    """Killed after Orbax finished step 4, before it was marked complete."""
    with pytest.raises(ConnectionError):
        run(tmp_path, Balls(stop_at=4), warm_start=params)
    (tmp_path / "checkpoints" / "4.sha256.json").unlink()
    run(tmp_path, warm_start=params)
    assert "step 4" in caplog.text and "interrupted" in caplog.text
    assert_same_end(tmp_path, whole, state)


def damage(folder, step):
    """Flip one bit in the middle of a step's largest file."""
    path = max((folder / "checkpoints" / str(step)).rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else -1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damaged_checkpoint_falls_back_to_the_older_and_all_damaged_is_an_error(tmp_path, whole, params, state, caplog):
    with pytest.raises(ConnectionError):
        run(tmp_path, Balls(stop_at=4), warm_start=params)
    damage(tmp_path, 4)
    with caplog.at_level(logging.ERROR):
        assert int(last_state(tmp_path, state)["step"]) == 2
    assert "checkpoint of step 4" in caplog.text and "altered" in caplog.text
    run(tmp_path, warm_start=params)
    assert_same_end(tmp_path, whole, state)
    for step in (p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()):
        damage(tmp_path, step)
    with pytest.raises(InputError, match="none can be used .*step 6.*move the folder away"):
        run(tmp_path)


def test_checkpoints_keep_the_latest_two_and_the_best(tmp_path, state):
    checkpoints = Checkpoints(tmp_path)
    for step, psnr in ((1, 10.0), (2, 30.0), (3, 20.0), (4, 21.0), (5, 22.0)):
        checkpoints.save(step, {"step": jnp.asarray(step)}, psnr)
    kept = {"2", "4", "5"}
    assert {p.name for p in tmp_path.iterdir()} == kept | {f"{step}.sha256.json" for step in kept}
    assert int(checkpoints.restore({"step": jnp.asarray(0)})["step"]) == 5
    reopened = Checkpoints(tmp_path)
    for step, psnr in ((6, 29.0), (7, None)):
        reopened.save(step, {"step": jnp.asarray(step)}, psnr)
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"2", "6", "7"}
    assert Checkpoints(tmp_path / "new").restore(state) is None


def test_state_of_another_structure_is_refused_by_name(tmp_path):
    saved = {"a": jnp.zeros((2, 3)), "b": (jnp.asarray(1), {})}
    Checkpoints(tmp_path).save(1, saved, 1.0)
    checkpoints = Checkpoints(tmp_path)
    for other, message in (
        ({"a": saved["a"]}, r"surplus \['b.0'\]"),
        ({**saved, "c": saved["a"]}, r"missing \['c'\]"),
        ({**saved, "a": jnp.zeros((3, 2))}, r"a: expected \(\(3, 2\), 'float32'\), got \(\(2, 3\), 'float32'\)"),
        ({**saved, "a": jnp.zeros((2, 3), jnp.bfloat16)}, "a: expected .*bfloat16.*float32"),
    ):
        with pytest.raises(InputError, match=message):
            checkpoints.restore(other)
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(saved), saved)


def test_another_run_is_not_continued(whole):
    with pytest.raises(InputError, match=r"holds another run \(differs in rate, seed\)"):
        run(whole.folder, recipe=Recipe(**{**vars(RECIPE), "rate": 1e-3, "seed": 1}))
    other = preset("tiny", heads=(("normal", 3), ("mask", 1)))
    with pytest.raises(InputError, match=r"holds another run \(differs in heads\)"):
        train(other, Balls(), RECIPE, whole.folder, eval_every=2)
    with pytest.raises(InputError, match=r"holds another run \(differs in data, weights, eval_every\)"):
        run(whole.folder, every=3, inputs={"data": {"names_sha256": "0"}, "weights": "1"})


def read_all(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["log.jsonl", "weights.npz", "weights.json", "checkpoints/x", "sheets/0000002.png"])
def test_files_of_other_origin_are_not_overwritten(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"loss": 1}\n')
    with pytest.raises(InputError, match=f"without {name.split('/')[0]}.*choose another --output"):
        run(tmp_path)
    assert read_all(tmp_path) == {name: b'{"loss": 1}\n'}


@pytest.mark.parametrize("text", ['{"name": "jog"}', "[]", '{"config": 1, "recipe": 2}'])
def test_run_card_of_another_program_is_kept(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match="got another file; choose another --output"):
        run(tmp_path)
    assert read_all(tmp_path) == {"run.json": text.encode()}


def test_flags_that_failed_at_once_may_be_corrected(tmp_path, whole, params, state):
    with pytest.raises(ConnectionError):
        run(tmp_path, Balls(stop_at=1), Recipe(**{**vars(RECIPE), "rate": 1.0}), warm_start=params)
    run(tmp_path, warm_start=params)
    assert_same_end(tmp_path, whole, state)
    assert (tmp_path / "run.json").read_bytes() == (whole.folder / "run.json").read_bytes()


@pytest.mark.skipif(files.fcntl is None, reason="no locks on this system")
def test_two_runs_do_not_share_a_folder(whole):
    before = read_all(whole.folder)
    with files.lock_folder(whole.folder), pytest.raises(InputError, match="another process is using it"):
        run(whole.folder)
    assert read_all(whole.folder) == before


def test_progress_is_told_where_there_is_no_terminal(tmp_path, params, capsys, monkeypatch):
    monkeypatch.setattr("rendernet_jax.training.task_loop._LOG_EVERY", 1)
    run(tmp_path, warm_start=params, recipe=Recipe(**{**vars(RECIPE), "steps": 2}))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 1/2", "step 2/2"] and "min left: loss " in lines[0]
    assert "step 2/2" in captured.out and "psnr_phong_binary" in captured.out


def test_broken_run_card_and_empty_validation_are_named(tmp_path):
    (tmp_path / "run.json").write_text('{"config"')
    with pytest.raises(InputError, match="expected JSON in run.json"):
        run(tmp_path)
    source = Balls()
    source.validation = ()
    with pytest.raises(InputError, match="at least one validation view"):
        run(tmp_path / "new", source)


def test_loss_that_is_not_finite_stops_keeps_the_last_good_checkpoint_and_can_be_replayed(tmp_path, params, state):
    wanted = "step 4: expected finite figures of batch 3, got .*loss.*replay .*lower --rate and choose a new"
    with pytest.raises(InputError, match=wanted):
        run(tmp_path, Balls(poison=3), warm_start=params)
    good = last_state(tmp_path, state)
    assert int(good["step"]) == 2 and all(np.isfinite(leaf).all() for leaf in leaves_of(good))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()] == ["2"]
    assert read_log(tmp_path)[-1]["not_finite"] == ["gradient_norm", "loss", "normal", "phong"]
    first, second = replay(tmp_path)
    assert np.isnan(first["loss"]) and first["given"] == ["target.normal"] and first["gradient"]
    assert np.isfinite(second["loss"]) and second["given"] == second["gradient"] == []
    (tmp_path / "not_finite.npz").unlink()
    with pytest.raises(InputError, match="expected not_finite.npz, got none"):
        replay(tmp_path)


def test_gradients_are_clipped():
    """A gradient of norm 5 or 50 gives the same first step; one of norm 1/2 is left as it is, but for Adam's."""
    optimizer = make_optimizer(Recipe(clip=1.0, weight_decay=0.0))
    clipped = []
    for scale in (1.0, 10.0):
        gradient = {"w": jnp.asarray([3.0, 4.0]) * scale}
        _, (_, (moments, *_)) = optimizer.update(gradient, optimizer.init(gradient), gradient)
        clipped.append(moments.mu["w"])
    np.testing.assert_allclose(clipped[0], clipped[1], rtol=1e-6)
    np.testing.assert_allclose(clipped[0], 0.1 * np.asarray([0.6, 0.8]), rtol=1e-6)  # 1 - b1, of a unit vector


def test_sigterm_saves_and_the_same_command_goes_on_to_the_same_bits(tmp_path, whole, params, state):
    """The signal comes while a batch of step 4 is made; steps up to 3 or 5 are saved, whatever is on its way."""

    class Terminated(Balls):
        def batch(self, *arguments):
            if self.made == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(*arguments)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM: step [1-5] of 6 is saved"):
        run(tmp_path, Terminated(), warm_start=params, provenance={"command": "here"}, every=5)
    assert signal.getsignal(signal.SIGTERM) == before
    assert 1 <= int(last_state(tmp_path, state)["step"]) <= 5
    run(tmp_path, warm_start=params, provenance={"command": "here"}, every=5)
    assert digest(last_state(tmp_path, state)) == whole.digest


# --- what is judged ---------------------------------------------------------------------------------------------------


def test_views_take_coverage_and_binary_voxels_in_turn(tmp_path):
    for validation, kinds in (((0, 1, 2), ["coverage", "binary", "coverage"]), ((0,), ["coverage", "binary"])):
        source = Balls()
        source.validation = validation
        Evaluation(CONFIG, source, tmp_path)
        assert source.seen == kinds


def test_best_is_by_phong_of_both_kinds_or_by_what_there_is(tmp_path, params):
    heads = (("mask", 1),)
    rng = np.random.default_rng(0)
    shapes = network.shapes(preset("tiny", heads=heads))
    mask_params = jax.tree.map(lambda s: jnp.asarray(0.1 * rng.normal(size=s.shape), s.dtype), shapes)
    figures = Evaluation(preset("tiny", heads=heads), Balls(), tmp_path)(mask_params, 1)
    assert figures.keys() == {"psnr", "psnr_mask", "mask_iou"} and figures["psnr"] == figures["psnr_mask"]


def test_heads_that_the_data_cannot_judge_are_refused(tmp_path):
    config = preset("tiny", heads=(("image", 1),))
    with pytest.raises(InputError, match="heads: expected some of what the data holds .*mask.*, got image"):
        train(config, Balls(), RECIPE, tmp_path, eval_every=2)
    light = types.SimpleNamespace()
    with pytest.raises(InputError, match="heads"):
        losses.buffer_losses({"image": jnp.zeros((1, 2, 2, 1))}, {"mask": jnp.zeros((1, 2, 2, 1))}, light)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_training import *
rng = np.random.default_rng(0)
params = jax.tree.map(lambda s: jnp.asarray(0.1 * rng.normal(size=s.shape), s.dtype), network.shapes(CONFIG))
recipe = Recipe(**{{**vars(RECIPE), "steps": 16}})
run(pathlib.Path({folder!r}), Balls(pause={pause}), recipe, every=1, warm_start=params)
"""


@pytest.mark.slow
def test_killed_runs_go_on_to_the_same_bits(tmp_path, state):
    """SIGKILL at arbitrary moments, evaluations and saves included, again and again."""
    tests = str(pathlib.Path(__file__).parent)

    def start(folder, pause):
        code = KILLED.format(tests=tests, folder=str(folder), pause=pause)
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole", 0.0).wait() == 0
    rng, killed = np.random.default_rng(0), tmp_path / "killed"
    for goal in (3, 7, 11):
        process = start(killed, 0.05)
        while process.poll() is None and not any(record["step"] >= goal for record in read_log(killed)):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(killed, 0.0).wait() == 0
    assert digest(last_state(killed, state)) == digest(last_state(tmp_path / "whole", state))
    assert read_log(killed) == read_log(tmp_path / "whole")
    assert (killed / "weights.npz").read_bytes() == (tmp_path / "whole" / "weights.npz").read_bytes()
