"""Worker processes: a crash or a hang costs one task, whatever is raised arrives, nothing is left running."""

import os
import time

import pytest

from rendernet_jax.data import pool
from rendernet_jax.errors import InputError


def test_a_crash_or_a_hang_costs_one_task_each():
    tasks = ["1 + 1", "__import__('os')._exit(3)", "2 + 2", "__import__('os').kill(__import__('os').getpid(), 11)"]
    tasks += ["__import__('time').sleep(60)", "3 + 3", "__import__('os').environ['OMP_NUM_THREADS']"]
    began = time.monotonic()
    results = dict(pool.run_tasks(eval, tasks, 2, timeout=1.0))
    assert results == {
        0: 2,
        1: pool.Crash("the process reading it died (exit code 3)"),
        2: 4,
        3: pool.Crash("the process reading it died (signal SIGSEGV)"),
        4: pool.Crash("took longer than 1 s"),
        5: 6,
        6: "1",
    }
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        ("open('/dev/null/x')", OSError, "/dev/null/x"),
        ("exec('from rendernet_jax.errors import InputError; raise InputError(1)')", InputError, "1"),
        ("[][0]", RuntimeError, "task 0 failed\n.*IndexError"),
    ],
)
def test_what_a_worker_raises_is_raised(task, kind, message):
    with pytest.raises(kind, match=f"(?s){message}"):
        list(pool.run_tasks(eval, [task], 1, timeout=30.0))


def test_no_process_outlives_an_iteration_that_is_given_up():
    results = pool.run_tasks(eval, ["__import__('os').getpid()", "__import__('time').sleep(60)"], 2, timeout=60.0)
    _, process = next(results)
    os.kill(process, 0)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
