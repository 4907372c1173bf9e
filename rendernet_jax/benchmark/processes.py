"""Wall time and peak memory of a fresh process. Needs nothing but Python, and runs as a script of its own.

A process counts what its parent held when it was forked into its own peak. So :func:`run_fresh` puts a small process
(this file) between the caller, which may hold gigabytes, and the command.
"""

import json
import os
import subprocess
import sys
import tempfile
import time


def run_fresh(command: list[str], limit_mib: float | None = None) -> dict:
    """Run a command in a fresh process and wait for its end.

    Args:
        command: program and arguments.
        limit_mib: end it when its resident set grows beyond this; seen where there is ``/proc``.

    Returns:
        ``seconds``, ``peak_mib`` (largest resident set), ``code`` (exit status; None if it was ended for its size),
        ``stdout`` and ``stderr``.
    """
    watcher = [sys.executable, "-P", __file__, json.dumps({"command": command, "limit_mib": limit_mib})]
    done = subprocess.run(watcher, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _watch(command: list[str], limit_mib: float | None) -> dict:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        ended_for_size, resident = False, 0.0
        try:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            while not done:
                time.sleep(0.01)
                if limit_mib is not None and not ended_for_size:
                    resident = max(resident, _resident_mib(process.pid))
                    if ended_for_size := resident > limit_mib:
                        process.kill()
                done, status, usage = os.wait4(process.pid, os.WNOHANG)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # or it would be waited for again
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "seconds": seconds,
        "peak_mib": max(resident, usage.ru_maxrss / unit),  # the system counts the latter a little late
        "code": None if ended_for_size else process.returncode,
        "stdout": texts[0],
        "stderr": texts[1],
    }


def _resident_mib(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    print(json.dumps(_watch(**json.loads(sys.argv[1]))))
