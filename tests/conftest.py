"""One strict JAX for every test: CPU, no silent rank or dtype promotion, warnings are errors (setup.cfg)."""

import importlib.metadata
import os
import pathlib

# Both are read when JAX is first imported, also by launchers that tests start. Most programs here run a few times, on
# little: optimising them would take longer than it saves, and XLA's older emitters, which JAX 0.12 does not have, take
# half as long to compile. `XLA_FLAGS= make test` compiles as users do.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    if importlib.metadata.version("jaxlib").startswith("0.10.")
    else "--xla_backend_optimization_level=0",
)

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Keep compiled programs between runs; JAX names them by content, so that parallel runs may share them.

    The smallest, too, of which a test makes dozens: reading one takes a tenth of the time of compiling it. Launchers
    that tests start share them as well.
    """
    if hasattr(config, "cache"):  # absent with `-p no:cacheprovider`
        folder = str(config.cache.mkdir("jax"))
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Strict dtypes, fixtures included, but for tests that run optax: it raises floats to integer powers."""
    with jax.numpy_dtype_promotion("standard" if item.get_closest_marker("optax") else "strict"):
        return (yield)


@pytest.fixture(scope="session")
def reference_dir() -> pathlib.Path:
    """Folder of independently ray-traced references, named by RENDERNET_REFERENCE; skips without it."""
    folder = os.environ.get("RENDERNET_REFERENCE")
    if not folder:
        pytest.skip("RENDERNET_REFERENCE is not set")
    return pathlib.Path(folder)
