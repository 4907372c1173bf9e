"""Where a result came from: the command, the machine and the versions that made it."""

import importlib.metadata
import os
import platform
import sys

_PACKAGES = ("rendernet_jax", "jax", "jaxlib", "flax", "optax", "numpy")


def command() -> str:
    """The command line of this process as a user would type it; paths in flags stay as typed, absolute ones too."""
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return " ".join(["python -m", f"experiments.{name}", *sys.argv[1:]])


def machine() -> dict:
    """Processor architecture, core count, Python, and package versions."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": versions,
    }
