"""Whole files or none, JSON without words of its own, and folders that one process at a time holds."""

import os
import signal
import subprocess
import sys

import pytest

from rendernet_jax import files
from rendernet_jax.errors import InputError

HOLD = """
import sys, time
from rendernet_jax import files
with files.lock_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_replaced_whole_and_failed_writes_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": [2]})
    assert path.read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_json(path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and '"b": 1' in path.read_text()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"psnr": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(files.fcntl is None, reason="no locks on this system")
def test_a_folder_is_held_by_one_and_left_clean(tmp_path):
    with files.lock_folder(tmp_path):
        with pytest.raises(InputError, match="another process is using it; .*--output"), files.lock_folder(tmp_path):
            pass
        with pytest.raises(InputError), files.lock_folder(tmp_path):
            pass
    with pytest.raises(KeyError), files.lock_folder(tmp_path):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with files.lock_folder(tmp_path):
        pass


@pytest.mark.skipif(files.fcntl is None, reason="no locks on this system")
def test_a_killed_process_lets_its_folder_go(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another process"), files.lock_folder(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
    with files.lock_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
