import importlib.util
import json
import sys
import time

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

from rendernet_jax import composite
from rendernet_jax.benchmark import growth, kernels, processes, report, rivals, stages, table, timing
from rendernet_jax.config import BUFFERS, Config, Stage, Volume, preset
from rendernet_jax.errors import InputError

# Every kind of layer that a preset may have: even kernels, strides, transposed convolutions, no analytic features.
MIXED = Config(
    name="mixed",
    heads=(*BUFFERS, ("albedo", 3)),
    channels=2,
    depth=16,
    upsample=4,
    volume=(Volume(3, 5, (2, 2, 2)), Volume(4, 3, (1, 1, 2))),
    volume_blocks=1,
    projection=(8,),
    analytic=False,
    stages=(Stage(8, 0, blocks=1), Stage(6, 4), Stage(4, 4, resample=1), Stage(4, 2, resample=1)),
    transposed=True,
    head_kernel=4,
)


def inputs_of(config, size=32, batch=2, patch=16, train_batch=2):
    params = stages.random_params(config)
    params["head"]["kernel"] *= 10.0  # or all pixels look much alike
    return stages.make_inputs(config, params, size, batch, patch, train_batch)


# --- timing ---------------------------------------------------------------------------------------------------------


class Clock:
    """Stands for ``time``: only what the functions that are timed take passes."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def takes(self, *durations):
        durations = iter(durations)

        def function():
            self.now += next(durations)

        return function


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_median_is_of_single_calls(clock):
    assert timing.median_seconds(clock.takes(1.0, 100.0, 2.0, 3.0, 0.5), 5) == pytest.approx(2.0)


def test_interleaved_rounds_leave_out_the_warm_up_and_the_pauses(clock):
    functions = {"a": clock.takes(50, 50, 1, 2, 3), "b": clock.takes(70, 70, 4, 5, 6)}
    seconds = timing.interleave(functions, 3)
    assert {name: pytest.approx(values) for name, values in seconds.items()} == {"a": [1, 2, 3], "b": [4, 5, 6]}


def test_interleaving_takes_turns():
    calls = []
    timing.interleave({name: (lambda name=name: calls.append(name)) for name in "abc"}, 2)
    assert "".join(calls[-6:]) == "abcabc"


def test_ratio_is_the_median_of_each_rounds_ratio():
    seconds = {"ours": [1.0, 10.0, 2.0], "nnx": [2.0, 10.0, 6.0]}
    assert timing.ratios(seconds, "ours") == {"nnx": 2.0}


def test_memory_is_at_least_that_of_arguments_and_results():
    measured = timing.measure(lambda x: (x + 1.0, x.sum()), (jnp.ones((512, 1024)),), 5)
    assert measured["memory_mib"] == pytest.approx(4.0, abs=0.1)
    assert measured["first_seconds"] > measured["seconds"] > 0


@pytest.mark.parametrize(
    "shape, kernel, strides, expected",
    [
        ((1, 8, 8, 3), (3, 3, 3, 5), (1, 1), 2 * 8 * 8 * 9 * 3 * 5),
        ((2, 8, 8, 8, 1), (5, 5, 5, 1, 4), (2, 2, 2), 2 * 2 * 4**3 * 125 * 4),
    ],
)
def test_work_of_a_convolution_and_of_its_gradients(shape, kernel, strides, expected):
    layout = {4: ("NHWC", "HWIO", "NHWC"), 5: ("NHWDC", "HWDIO", "NHWDC")}[len(shape)]
    x, k = jnp.zeros(shape), jnp.zeros(kernel)
    conv = lambda x, k: jax.lax.conv_general_dilated(x, k, strides, "SAME", dimension_numbers=layout)  # noqa: E731
    assert 1e9 * timing.count_gflop(conv, (x, k)) == pytest.approx(expected)
    both = lambda x, k: jax.grad(lambda x, k: jnp.sum(conv(x, k) ** 2), (0, 1))(x, k)  # noqa: E731
    # Strided, the input's gradient reads the zeros beyond the frame as well, and has one tap more or less at its edge.
    assert 1e9 * timing.count_gflop(both, (x, k)) == pytest.approx(3 * expected, rel=1e-9 if strides[0] == 1 else 0.1)


def test_work_of_transposed_convolution_and_of_products():
    x, k = jnp.zeros((1, 4, 4, 3)), jnp.zeros((4, 4, 3, 5))
    transposed = lambda x, k: jax.lax.conv_transpose(x, k, (2, 2), "SAME")  # noqa: E731
    assert 1e9 * timing.count_gflop(transposed, (x, k)) == pytest.approx(2 * 16 * 16 * 3 * 5)
    inside = jax.jit(lambda a, b: jax.lax.scan(lambda c, _: (c @ b, None), a, length=3)[0])
    assert 1e9 * timing.count_gflop(inside, (jnp.zeros((2, 4)), jnp.zeros((4, 4)))) == pytest.approx(3 * 2 * 2 * 4 * 4)


def test_work_of_one_platform_counts_once():
    """The analytic pictures: transmittance and moments and three weighted sums, products of a column's cells."""
    grid = jnp.zeros((2, 3, 4, 8))
    gflop = timing.count_gflop(composite.analytic_features, (grid, jnp.ones(2)))
    assert 1e9 * gflop == pytest.approx(2 * 2 * 3 * 4 * 8 * (8 + 3 + 3))


# --- the same network elsewhere -------------------------------------------------------------------------------------


@pytest.mark.optax
@pytest.mark.parametrize("config", [preset("tiny"), MIXED], ids=lambda c: c.name)
def test_foundations_agree_in_pictures_and_in_training(config):
    inputs = inputs_of(config)
    with_torch = rivals.torch_is_installed()
    contenders = rivals.make_contenders(inputs, with_torch)
    differences = rivals.check_agreement(contenders, inputs.dtype)
    assert set(differences) == ({"nnx", "torch"} if with_torch else {"nnx"})
    assert max(differences.values()) < 1e-4
    losses = contenders["ours"].losses
    assert losses[-1] < losses[0]
    ours = contenders["ours"].forward()
    assert min(float(np.std(ours[head])) for head in ours) > 1e-2  # there is something to agree on


def test_plain_network_holds_no_convolution_of_ours(monkeypatch):
    def refuse(*_):
        raise AssertionError("called")

    monkeypatch.setattr("rendernet_jax.layers.conv", refuse)
    monkeypatch.setattr("rendernet_jax.layers.conv_transposed", refuse)
    for config in (preset("tiny"), MIXED):
        inputs = inputs_of(config)
        function, arguments = stages.whole(inputs, stages.PLAIN)
        jax.eval_shape(function, *arguments)
        with pytest.raises(AssertionError, match="called"):
            jax.eval_shape(stages.whole(inputs, stages.OURS)[0], *arguments)


class Fake:
    def __init__(self, picture, losses):
        self.picture, self.losses = picture, losses

    def forward(self):
        return {"mask": np.full((1, 2, 2, 1), self.picture, np.float32)}


@pytest.mark.parametrize(
    "other, said",
    [
        (Fake(0.51, [1.0, 0.9, 0.8]), "torch: expected the pictures .* got a difference of 0.01"),
        (Fake(np.nan, [1.0, 0.9, 0.8]), "torch: expected the pictures .* got a difference of nan"),
        (Fake(0.5, [1.0, 0.9, 0.85]), r"torch: expected the training losses .* got \[1.0, 0.9, 0.85\]"),
    ],
)
def test_disagreement_is_refused(other, said):
    contenders = {"ours": Fake(0.5, [1.0, 0.9, 0.8]), "torch": other}
    with pytest.raises(InputError, match=said):
        rivals.check_agreement(contenders, jnp.float32)


def test_stages_in_turn_draw_the_whole_picture():
    inputs = inputs_of(preset("tiny"))
    programs = stages.programs(inputs, stages.OURS)
    raw = jax.jit(programs["2D"][0])(*programs["2D"][1])
    whole = jax.jit(programs["whole"][0])(*programs["whole"][1])
    head = [name for name, _ in inputs.config.heads].index("ao")
    start = sum(count for _, count in inputs.config.heads[:head])
    np.testing.assert_allclose(jax.nn.sigmoid(raw[..., start : start + 1]), whole["ao"], atol=1e-5)


@pytest.mark.parametrize("sizes", [{"size": 18}, {"patch": 18}])
def test_sizes_the_network_cannot_make_are_refused(sizes):
    with pytest.raises(InputError, match="size: expected a multiple of 4"):
        report.measure(report.Plan("tiny", torch=False, **sizes))


# --- processes ------------------------------------------------------------------------------------------------------


def test_peak_is_of_the_process_and_not_of_its_parent():
    held = np.ones(2**26)  # 512 MiB
    small = processes.run_fresh([sys.executable, "-c", "print('drawn')"])
    large = processes.run_fresh([sys.executable, "-c", "x = bytearray(b'x') * (200 << 20)"])
    assert held.sum() == 2**26
    assert small["code"] == large["code"] == 0 and small["stdout"] == "drawn\n"
    assert small["peak_mib"] < 100 < 200 < large["peak_mib"] < 300


def test_process_that_outgrows_the_limit_is_ended():
    began = time.perf_counter()
    done = processes.run_fresh([sys.executable, "-c", "import time; x = b'x' * (200 << 20); time.sleep(60)"], 150.0)
    assert done["code"] is None and done["peak_mib"] > 150 and time.perf_counter() - began < 30


def test_growth_stops_at_the_limit_and_names_the_largest(monkeypatch):
    asked = []

    def fake(command, limit):
        job = json.loads(command[-1])
        asked.append((job["batch"], job["size"]))
        peak = job["batch"] * job["size"] ** 2 / 1000.0
        code = 0 if peak < limit else None
        return {"code": code, "peak_mib": peak, "stdout": "0.5\n", "stderr": ""}

    monkeypatch.setattr(growth, "run_fresh", fake)
    rows = list(growth.measure_growth("tiny", (8, 16, 32), (1, 4), 5, 1.0))
    assert asked == [(1, 8), (1, 16), (1, 32), (4, 8), (4, 16)]
    assert [row["fits"] for row in rows] == [True, True, False, True, False, False]
    assert growth.largest(rows)["size"] == 16
    assert growth.largest([rows[2]]) is None
    assert "does not fit" in table.growth_line(rows[-1])


def test_growth_tells_why_a_process_failed(monkeypatch):
    failed = {"code": 1, "peak_mib": 9.0, "stdout": "", "stderr": "Traceback ...\nMemoryError: no room\n"}
    monkeypatch.setattr(growth, "run_fresh", lambda command, limit: failed)
    with pytest.raises(InputError, match="1 picture.* of 16: .*got MemoryError: no room"):
        list(growth.measure_growth("tiny", [16], [1], 5, 4096.0))


@pytest.mark.slow
def test_growth_draws_in_a_process_of_its_own():
    (row,) = growth.measure_growth("tiny", [16], [2], 5, 4096.0)
    assert row["fits"] and row["seconds"] > 0 and 100 < row["peak_mib"] < 4096


def test_command_that_fails_is_refused():
    with pytest.raises(InputError, match="expected it to draw a picture, got no such luck"):
        report.measure_command((sys.executable, "-c", "import sys; sys.exit('no such luck')"))


# --- reports --------------------------------------------------------------------------------------------------------


def test_kernels_have_a_ratio_for_each_pass():
    cases = {"2D": ((1, 8, 8, 3), (3, 3, 3, 4), (2, 2)), "transposed": ((1, 4, 4, 3), (4, 4, 3, 4), None)}
    rows = list(kernels.compare_kernels(5, cases))
    assert [row["name"] for row in rows] == ["2D", "transposed"]
    assert all(row[part]["ratio"] > 0 for row in rows for part in ("forward", "input", "kernel"))
    assert "x" in table.kernel_line(rows[0])
    row = kernels.compare_resampling(5, grid_side=4, side=6)
    assert row["name"] == "resample 4^3 to 6^3" and row.keys() == {"name", "forward", "grid", "pose", "both"}


@pytest.mark.optax
def test_report_of_a_small_network(monkeypatch):
    small = Config(name="small", depth=8, projection=(4,), stages=(Stage(4, 3),), analytic=False)
    monkeypatch.setattr(report, "preset", lambda name: small)
    monkeypatch.setattr(timing, "matmul_gflops", lambda dtype: 100.0)
    command = (sys.executable, "-c", "import sys; open(sys.argv[1] + '/picture', 'w')")
    plan = report.Plan("small", size=32, batch=2, patch=16, train_batch=2, repeats=5, torch=False, render=command)
    found = json.loads(json.dumps(report.measure(plan), allow_nan=False))
    assert all(found[f"ratio_vs_nnx_{what}"] > 0 for what in ("forward", "train"))
    assert found["ratio_vs_torch_forward"] is None and found["ratio_vs_torch_train"] is None
    assert all(found[name] > 0 for name in ("seconds_per_picture", "peak_mib", "cold_start_seconds", "matmul_gflops"))
    assert set(found["stages"]) >= {"resample", "3D", "projection", "2D", "whole", "gradient by pose", "training step"}
    whole = found["stages"]["whole"]
    parts = sum(found["stages"][name]["gflop"] for name in ("resample", "3D", "projection", "2D"))
    assert whole["gflop"] == pytest.approx(parts)
    assert whole["share"] == pytest.approx(whole["gflop"] / whole["seconds"] / 100.0)
    assert found["versions"]["jax"] == jax.__version__ and found["arguments"]["size"] == 32
    assert any(line.startswith("ratio_vs_nnx_train") for line in table.stage_lines(found))


@pytest.mark.parametrize(
    "run, arguments, said",
    [
        (launching.start, ["--preset=huge"], "preset: expected one of"),
        (launching.call, ["--growth", "--sizes=128,big"], "--sizes: expected whole numbers above 0, got 128,big"),
        (launching.call, ["--preset=tiny", "--growth", "--sizes=64,66"], "size: expected a multiple of 4"),
        (launching.call, ["--growth", "--kernels"], "--growth: expected alone"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, run, arguments, said):
    done = run("benchmark", "--notorch", f"--output={tmp_path}/new/x.json", *arguments)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_torch_that_is_not_there_is_missed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="torch: expected PyTorch to be installed"):
        report.measure(report.Plan("tiny", size=32, patch=16))
