"""Runs that are stopped in every way: signals, a full disk, lost permission; nothing is lost beyond the last save."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_task import fit_line, train_line

from rendernet_jax.training.checkpoints import Checkpoints

pytestmark = [pytest.mark.optax, pytest.mark.skipif(os.name != "posix", reason="signals")]
SCRIPT = pathlib.Path(__file__).parent / "small_run.py"
QUICK = "--xla_backend_optimization_level=0"


def start(folder, *flags, devices=1, prefix=(), **options):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count={devices}",
        "XDG_CACHE_HOME": str(pathlib.Path(folder).parent / "cache"),
    }
    command = [*prefix, sys.executable, str(SCRIPT), f"--output={folder}", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **options)


def finish(process, code=0, seconds=600):
    out, error = process.communicate(timeout=seconds)
    assert process.returncode == code, f"{process.returncode}\n{out}\n{error}"
    return error


def log_of(folder):
    """Whole records of the log, without what a clock measured."""
    timed, path = ("examples_per_second", "data_wait"), pathlib.Path(folder) / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value for name, value in record.items() if name not in timed} for record in records]


def wait_for_step(process, folder, step, seconds=600):
    end = time.monotonic() + seconds
    while process.poll() is None and not any(record["step"] >= step for record in log_of(folder)):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


def state_of(folder, steps=40, size=64):
    state = Checkpoints(pathlib.Path(folder) / "checkpoints").restore(fit_line(folder, steps, size=size).state())
    return jax.tree.map(np.asarray, state)


def assert_same_run(folder, whole, exact=True):
    for a, b in zip(jax.tree.leaves(state_of(folder)), jax.tree.leaves(state_of(whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if exact else 1e-5)
    if exact:
        assert log_of(folder) == log_of(whole)
        assert (folder / "weights.npz").read_bytes() == (whole / "weights.npz").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 40 steps that nothing interrupted, in a process of its own like the others."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(start(folder))
    return folder


@pytest.mark.slow
def test_two_runs_of_one_seed_are_the_same_bits(whole, tmp_path):
    finish(start(tmp_path / "run"))
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(whole, tmp_path):
    """SIGKILL within saves, evaluations and steps; a start is killed before it saves anything, too."""
    rng, folder, killed, furthest = np.random.default_rng(0), tmp_path / "run", 0, 0
    while killed < 10:
        process = start(folder, "--pause=0.02")
        if killed:
            wait_for_step(process, folder, min(furthest + 1, 36))
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        furthest = max([record["step"] for record in log_of(folder)], default=0)
        if furthest >= 36:
            break
    finish(start(folder))
    print(f"{killed} kills")
    assert killed >= 8
    assert_same_run(folder, whole)


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_143(whole, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--pause=0.02")
    wait_for_step(process, folder, 4)
    process.send_signal(signal.SIGTERM)
    error = finish(process, 143)
    assert "is saved; the same command goes on" in error
    saved = int(state_of(folder)["step"])
    assert f"SIGTERM: step {saved} of 40" in error and 4 <= saved < 40
    finish(start(folder))
    assert_same_run(folder, whole)


# --- processes that make batches --------------------------------------------------------------------------------------


def members(group):
    """Processes of a group that are alive."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, _, number = (path / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(number) == group and state != "Z":
            found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_runs_with_workers_are_stopped_and_go_on_with_another_number_of_them(whole, tmp_path):
    """SIGTERM to all, as srun sends it, saves; SIGKILL leaves none behind; three, two and no workers, the same bits."""
    pytest.importorskip("grain", exc_type=ImportError)
    folder = tmp_path / "run"
    process = start(folder, "--pause=0.02", "--workers=2", start_new_session=True)
    wait_for_step(process, folder, 4)
    assert len(members(process.pid)) >= 3
    os.killpg(process.pid, signal.SIGTERM)
    assert "is saved; the same command goes on" in finish(process, 143)
    saved = int(state_of(folder)["step"])
    process = start(folder, "--pause=0.02", "--workers=3", start_new_session=True)
    wait_for_step(process, folder, saved + 4)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while members(process.pid):
        assert time.monotonic() < end, members(process.pid)
        time.sleep(0.1)
    finish(start(folder))
    assert_same_run(folder, whole)


# --- several processes ------------------------------------------------------------------------------------------------


def start_two(folder, *flags, devices=2):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    shared = (*flags, f"--coordinator={address}", "--processes=2")
    # The second has no folder of its own to write to, and must not miss it.
    folders = (folder, folder.parent / "nowhere")
    return [start(where, *shared, f"--process={i}", devices=devices) for i, where in enumerate(folders)]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["pmap", "sharding"])
def test_two_processes_train_save_and_one_goes_on(whole, tmp_path, mode):
    """Two processes of two devices each; SIGTERM to one of them stops both after the same step; one goes on alone."""
    folder = tmp_path / "run"
    processes = start_two(folder, "--pause=0.02", f"--parallel={mode}")
    wait_for_step(processes[0], folder, 8)
    processes[1].send_signal(signal.SIGTERM)
    errors = [finish(process, 143) for process in processes]
    saved = int(state_of(folder)["step"])
    assert 8 <= saved < 40 and all(f"SIGTERM: step {saved} of 40 is saved" in error for error in errors)
    assert not (tmp_path / "nowhere").exists()
    finish(start(folder))
    assert_same_run(folder, whole, exact=False)
    for process in start_two(tmp_path / "other", f"--parallel={mode}"):
        finish(process)
    assert_same_run(tmp_path / "other", whole, exact=False)


# --- what a machine may lack ------------------------------------------------------------------------------------------


def assert_one_error(error):
    """The last line, and the only one of its kind; Orbax's threads may have told of theirs before."""
    lines = error.splitlines()
    assert lines[-1].startswith("error: ") and sum(line.startswith("error: ") for line in lines) == 1, error


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_one_error_and_the_last_state_stands(tmp_path):
    """The limit is above all that is written until the train state becomes larger than it."""
    folder = tmp_path / "run"
    process = start(folder, "--size=200000", "--every=2", "--pause=0.01")
    wait_for_step(process, folder, 4)
    process.send_signal(signal.SIGTERM)
    finish(process, 143)
    before = int(state_of(folder, size=200000)["step"])
    assert_one_error(finish(start(folder, "--size=200000", "--every=2", "--largest_file=200000"), 1))
    assert int(state_of(folder, size=200000)["step"]) == before
    finish(start(folder, "--size=200000", "--every=2"))
    assert int(state_of(folder, size=200000)["step"]) == 40


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small disk, as root")
def test_a_full_disk_is_one_error_and_the_last_state_stands(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        folder, flags = disk / "run", ("--size=150000", "--every=2")
        process = start(folder, *flags, "--pause=0.01")
        wait_for_step(process, folder, 4)
        end = time.monotonic() + 600
        with open(disk / "filler", "ab", buffering=0) as filler:  # what the run frees meanwhile, too
            while process.poll() is None and time.monotonic() < end:
                spare = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 100_000
                with contextlib.suppress(OSError):  # the run has written since
                    filler.write(b"\0" * max(0, spare))
                time.sleep(0.001)
        assert_one_error(finish(process, 1))
        before = int(state_of(folder, size=150000)["step"])
        assert before >= 2
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        error = finish(start(folder, *flags), 1)  # a folder that became read-only
        assert error.startswith("error: output: cannot write to") and error.count("\n") == 1, error
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        finish(start(folder, *flags))
        assert int(state_of(folder, size=150000)["step"]) == 40
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.slow
def test_permission_lost_midway_is_one_error_and_the_last_state_stands(whole, tmp_path):
    """Root may write anywhere, but for this capability; any other user is who they are."""
    prefix = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv, and so with every permission")
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    folder = tmp_path / "run"
    process = start(folder, "--pause=0.01", prefix=prefix)
    wait_for_step(process, folder, 8)  # step 4 is saved then
    (folder / "checkpoints").chmod(0o500)
    try:
        error = finish(process, 1)
    finally:
        (folder / "checkpoints").chmod(0o755)
    assert_one_error(error)
    assert "cannot save step" in error and "ermission denied" in error and "the last one stands" in error
    assert 4 <= int(state_of(folder)["step"]) < 40
    finish(start(folder))
    assert_same_run(folder, whole)


def test_a_failed_save_names_the_step_and_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"step": jnp.asarray(1)}, 1.0)

    def fail(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(OSError, match="cannot save step 2 .*No space left on device.*the last one stands"):
        checkpoints.save(2, {"step": jnp.asarray(2)}, 2.0)
    assert int(Checkpoints(tmp_path).restore({"step": jnp.asarray(0)})["step"]) == 1


def test_the_small_run_is_a_run_like_any_other(tmp_path):
    scores = train_line(tmp_path, 8)
    assert [record["step"] for record in log_of(tmp_path) if "psnr" in record] == [4, 8]
    assert scores["psnr"] > log_of(tmp_path)[1]["psnr"]
    assert int(state_of(tmp_path, 8)["step"]) == 8


# --- SLURM ------------------------------------------------------------------------------------------------------------

# Two tasks on this machine, told what srun tells them, in place of the command that they are given.
SRUN = """#!/bin/sh
while [ "$1" != "experiments.train" ]; do shift; done
shift
export SLURM_JOB_ID={job} SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
SLURM_PROCID=0 SLURM_LOCALID=0 {python} {script} "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 {python} {script} "$@" & echo $! > {folder}/second.pid
wait $!; code=$?
wait $first || code=$?
exit $code
"""


@pytest.mark.slow
def test_the_job_script_trains_and_hands_itself_in_again(whole, tmp_path):
    """docs/slurm.sh with a srun of our own: tasks find each other, SIGTERM saves, the job is requeued, and goes on."""
    script, folder = SCRIPT.parent.parent / "docs" / "slurm.sh", tmp_path / "run"
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    job = 4096 * 3 + os.getpid() % 4096  # the coordinator's port is made of it
    texts = {
        "srun": SRUN.format(job=job, python=sys.executable, script=SCRIPT, folder=tmp_path),
        "scontrol": f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(job),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": QUICK,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = ["sh", str(script), f"--output={folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    process = subprocess.Popen([*command, "--pause=0.02"], **pipes)
    wait_for_step(process, folder, 4)
    os.kill(int((tmp_path / "second.pid").read_text()), signal.SIGTERM)
    finish(process, 143)
    assert (tmp_path / "scontrol.log").read_text() == f"requeue {job}\n"
    assert int(state_of(folder)["step"]) < 40
    finish(subprocess.Popen(command, **pipes))
    assert (tmp_path / "scontrol.log").read_text() == f"requeue {job}\n"
    assert_same_run(folder, whole, exact=False)
