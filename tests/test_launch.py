"""Launchers: quick --help, exit codes, one-line errors, and no folder left behind by bad input."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import _launch as launch
from experiments._help import OTHER
from rendernet_jax import __main__ as entry
from rendernet_jax.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Runs a launcher's --help as __main__ and tells what it imported.
HELP = """
import runpy, sys
sys.argv = [{name!r}, *{arguments!r}]
try:
    runpy.run_module({name!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    heavy = {{"jax", "open3d", "numpy"}} & set(sys.modules)
    sys.exit(end.code or (f"imported {{heavy}}" if heavy else 0))
"""


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def run_main(body: str, *arguments: str) -> subprocess.CompletedProcess:
    """A launcher with the flags --output and --size, whose main() is ``body``."""
    code = f"""
import pathlib
from absl import flags
from experiments import _launch as launch
from experiments._help import OTHER
from rendernet_jax.errors import InputError
OUTPUT, SIZE = flags.DEFINE_string("output", None, "Folder."), flags.DEFINE_integer("size", 1, "Side.")
def main():
    {body}
launch.run(main)
"""
    return run_code(code, *arguments)


def assert_one_error(done, *words):
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("way", ["experiments", "rendernet_jax"])
@pytest.mark.parametrize("name", sorted(entry.launchers()))
def test_help_shows_docstring_and_own_flags_and_imports_nothing_heavy(way, name):
    module, arguments = (f"experiments.{name}", []) if way == "experiments" else ("rendernet_jax", [name])
    done = run_code(HELP.format(name=module, arguments=[*arguments, "--help"]))
    assert done.returncode == 0, done.stderr
    docstring = ast.get_docstring(ast.parse((ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")))
    assert done.stdout.lstrip().startswith(docstring.splitlines()[0])
    assert f"python -m experiments.{name} --" in done.stdout, "an example command"
    flags = [line for line in done.stdout.splitlines() if line.startswith("  --")]
    assert any(line.startswith("  --output=") for line in flags) or name == "viewer"
    assert "alsologtostderr" not in done.stdout, "flags of other modules"
    assert f"{OTHER}:" not in done.stdout, "give each flag a group in experiments/_help.py"
    assert len(flags) == (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8").count("flags.DEFINE_")


@pytest.mark.parametrize("name", sorted(entry.launchers()))
def test_every_launcher_says_what_it_wrote(name):
    assert "wrote " in (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")


def test_help_shows_values_ranges_and_defaults():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.render", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    text = " ".join(done.stdout.split())
    assert "--up=y|z Upward axis of mesh files; never guessed. (default: y)" in text
    assert "--size=N Side of the pictures, pixels. [8 to 1024] (default: 512)" in text
    assert "--[no]reference Also ray trace the mesh, and report PSNR against it. (default: off)" in text
    assert re.search("Input: --input=.* View and light: --azimuth_deg=X .* Output: --output=", text)


def test_helpers_are_not_listed_as_launchers():
    assert "build_dataset" in entry.launchers()
    assert not [name for name in entry.launchers() if "launch" in name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sise=3"], ["sise", "--help"]),
        (["--size=big"], ["size", "big", "--help"]),
        (["output"], ["'output'", "--name=value"]),
    ],
)
def test_bad_flags_are_one_error(arguments, words):
    assert_one_error(run_main("print('ran')", *arguments), *words)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_numpy_refuses_or_jax_folds_are_one_error(seed):
    command = [sys.executable, "-m", "experiments.train", f"--seed={seed}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert_one_error(done, "--seed", str(seed))


def test_flags_reach_main():
    done = run_main("print(SIZE.value + 1)", "--size=7")
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n", "")


def test_bad_input_is_one_line_without_traceback():
    assert_one_error(run_main("raise InputError('grid: expected\\n 5 axes')"), "grid: expected 5 axes")


def test_failed_file_operation_names_the_file():
    assert_one_error(run_main("open('/dev/null/x')"), "/dev/null/x: Not a directory")


def test_a_bug_keeps_its_traceback():
    done = run_main("[][1]")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "IndexError" in done.stderr


def test_interruption_exits_with_130():
    done = run_main("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


PREPARE = "folder = launch.prepare_output(OUTPUT.value); "


def test_bad_input_leaves_no_folder(tmp_path):
    assert_one_error(run_main(PREPARE + "raise InputError('bad mesh')", f"--output={tmp_path}/a/b"), "bad mesh")
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_or_there_before_stays(tmp_path):
    (tmp_path / "old").mkdir()
    for name, body in (("new/deep", "(folder / 'x').touch(); raise InputError('later')"), ("old", "raise OSError")):
        assert run_main(PREPARE + body, f"--output={tmp_path}/{name}").returncode == 1
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "new",
        "new/deep",
        "new/deep/x",
        "old",
    ]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_output_that_is_no_folder_is_refused(tmp_path, path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"output: cannot write to .*choose another"):
        launch.prepare_output(str(tmp_path / path))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="output: cannot write"):
        launch.prepare_output(str(tmp_path / "x"))


def test_missing_flags_and_existing_results_are_refused(tmp_path):
    with pytest.raises(InputError, match="--output: expected a value.*--output="):
        launch.require(input="x", output=None)
    present, absent = tmp_path / "a", tmp_path / "b"
    present.touch()
    launch.refuse_existing([absent], overwrite=False)
    launch.refuse_existing([present], overwrite=True)
    with pytest.raises(InputError, match=r"/a exists.*--overwrite"):
        launch.refuse_existing([absent, present], overwrite=False)


def test_compiled_programs_are_kept_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    launch.keep_compiled_programs()
    assert pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) == tmp_path / "rendernet_jax"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    launch.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
