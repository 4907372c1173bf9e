"""Data sets on a Dask cluster: the same bytes as on one machine, though a worker dies on the way."""

import concurrent.futures
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from rendernet_jax.data import cluster, pool
from rendernet_jax.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent
SHAPES = ("--shapes=12", "--views=2", "--size=64", "--grid=16", "--families=table,vase,shelf", "--seed=3")


class Lost(Exception):
    """What Dask raises for a task that several workers died of."""


def answer(task):
    if task == 5:
        raise Lost("KilledWorker")
    return task * task


def test_tasks_of_an_executor_end_in_any_order_and_a_lost_one_is_a_crash():
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        handed_in = []
        executor.submit, submit = lambda f, task: handed_in.append(task) or submit(f, task), executor.submit
        results = cluster._run(executor, answer, range(9), 4, Lost)
        assert next(results)[0] in range(4) and len(handed_in) == 4, "no more than that many ahead"
        found = dict(results)
        assert len(handed_in) == 9
    assert found.pop(5) == pool.Crash("the processes reading it died")
    assert all(found[index] == index * index for index in found) and len(found) in (7, 8)


def test_work_is_done_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("here")
    monkeypatch.chdir(ROOT)
    assert cluster._call_in(str(tmp_path), lambda name: pathlib.Path(name).read_text(), "a") == "here"


def test_missing_dask_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--executor=dask: expected distributed.*install rendernet_jax\[cluster\]"):
        next(cluster.run_tasks(answer, [1], "tcp://127.0.0.1:1"))


def build(output, *flags):
    command = [sys.executable, "-m", "experiments.build_dataset", *SHAPES, f"--output={output}", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(tmp_path):
    """A scheduler and two workers on loopback, one of which is killed once there are shards."""
    pytest.importorskip("open3d", exc_type=ImportError)
    pytest.importorskip("distributed", exc_type=ImportError)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    run = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1", f"--port={port}"]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads=1",
        "--no-nanny",
        "--no-dashboard",
    ]
    processes = [subprocess.Popen([*scheduler, "--no-dashboard"], **run)]
    processes += [subprocess.Popen(worker, **run) for _ in range(2)]
    try:
        time.sleep(8)
        made = build(tmp_path / "dask", "--executor=dask", f"--scheduler={address}")
        while made.poll() is None and not list((tmp_path / "dask").glob("shards/*.npz")):
            time.sleep(0.1)
        assert made.poll() is None, made.communicate()
        processes[2].kill()
        out, error = made.communicate(timeout=600)
        assert made.returncode == 0 and "complete, 12 shapes" in out, error
    finally:
        for process in processes:
            process.kill()
            process.wait()
    local = build(tmp_path / "local", "--workers=1")
    out, error = local.communicate(timeout=600)
    assert local.returncode == 0, error
    assert read_files(tmp_path / "dask") == read_files(tmp_path / "local")
