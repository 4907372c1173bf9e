"""Launchers' commands: as a process of its own, and within the tests' own where what is tested is not the process."""

import contextlib
import io
import logging
import pathlib
import runpy
import subprocess
import sys
from unittest import mock

import jax
from absl import app, flags

from experiments import _launch

ROOT = pathlib.Path(__file__).resolve().parent.parent
app.define_help_flags()  # absl does it once, and not for each launcher that is called here


def start(name: str, *arguments) -> subprocess.CompletedProcess:
    """Run ``python -m experiments.NAME ARGUMENTS`` and wait for it."""
    command = [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@contextlib.contextmanager
def own_flags():
    """Forget the flags that are defined within, and the modules that did so, which are to do it again when asked."""
    others, modules = set(flags.FLAGS), set(sys.modules)
    try:
        yield
    finally:
        for flag in set(flags.FLAGS) - others:
            delattr(flags.FLAGS, flag)
        for module in set(sys.modules) - modules:
            if module.startswith("experiments."):
                del sys.modules[module]
                delattr(sys.modules["experiments"], module.rpartition(".")[2])
        flags.FLAGS.unparse_flags()


def call(name: str, *arguments) -> subprocess.CompletedProcess:
    """What :func:`start` does and prints, without the seconds in which a process starts.

    Flags are defined anew, and JAX promotes as it does for users; warnings are errors, as everywhere in tests.
    """
    handlers = list(logging.root.handlers)
    command, output, errors, code = [name, *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    with (
        own_flags(),
        mock.patch.object(sys, "argv", command),
        mock.patch.object(_launch, "_created", []),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
        finally:
            logging.root.handlers[:] = handlers
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())
