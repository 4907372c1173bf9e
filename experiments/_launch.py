"""What every launcher shares: one-line errors, exit codes, and an output folder that nothing is lost in."""

import contextlib
import ctypes
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable

from absl import app, flags, logging

from rendernet_jax.errors import InputError, Interrupted

from ._help import show_help

_M_ARENA_MAX = -8  # of malloc.h
_created: list[pathlib.Path] = []  # folders that prepare_output made, the outermost first


def run(main: Callable[[], None]) -> None:
    """Parse the flags and call ``main()``, through ``absl.app.run``.

    Exit codes: 0; 1 after bad input or a failed file operation, told in one line ``error: ...`` on stderr without a
    traceback; 130 after Ctrl-C; 143 after SIGTERM, once what was done is saved. Any other exception is a bug and keeps
    its traceback.
    """

    def guarded(arguments):
        if len(arguments) > 1:
            _fail(f"arguments: expected only flags of the form --name=value, got {arguments[1]!r}")
        _share_arenas()
        logging.set_verbosity(logging.WARNING)  # Orbax tells every step of every save otherwise
        try:
            main()
        except InputError as error:
            _fail(str(error))
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        except Interrupted as signal:
            print(signal, file=sys.stderr)
            sys.exit(143)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        finally:
            for folder in reversed(_created):
                with contextlib.suppress(OSError):  # it holds something
                    folder.rmdir()

    app.run(guarded, flags_parser=_parse)


def prepare_output(path: str) -> pathlib.Path:
    """Create the output folder, parents included, and make sure that files can be written there.

    What is created here is removed at the end of :func:`run` if nothing was written there.

    Raises:
        InputError: not a folder, or not writable.
    """
    folder = pathlib.Path(path)
    _created.extend(p for p in (*reversed(folder.parents), folder) if not p.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"output: cannot write to {folder} ({error.strerror}); choose another folder") from error
    return folder


def require(**values) -> None:
    """Raise InputError for the first flag, by name, that was not given."""
    for name, value in values.items():
        if not value:
            raise InputError(f"--{name}: expected a value, got nothing; add --{name}=...")


def keep_compiled_programs() -> None:
    """Keep compiled programs between runs, in the user's cache folder, unless JAX is told of another place.

    Call it before JAX is first imported.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "rendernet_jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def refuse_existing(files: Iterable[pathlib.Path], overwrite: bool) -> None:
    """Raise InputError if one of the files is there already and ``overwrite`` is off."""
    present = [str(file) for file in files if file.exists()]
    if present and not overwrite:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise InputError(f"output: {present[0]}{more} exists; choose another place, or add --overwrite")


def _share_arenas() -> None:
    """Let all threads allocate from two arenas of glibc's; other C libraries stay as they are.

    With an arena for each thread, which is glibc's way, little of what batches free goes back, and hours of training
    take ever more memory (docs/cluster.md).
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _parse(arguments: list[str]) -> list[str]:
    if {"--help", "-help", "-h"} & set(arguments[1:]):
        print(show_help(sys.modules["__main__"]))
        sys.exit(0)
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _fail(f"{error}; --help lists the flags")
    except SystemExit:  # absl ends with 1 after --helpfull
        sys.exit(0)


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
