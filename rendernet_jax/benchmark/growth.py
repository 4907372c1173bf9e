"""How time and memory grow with the size and the number of pictures; each point is measured in a fresh process."""

import json
import signal
import sys
from collections.abc import Iterator

from rendernet_jax.benchmark.processes import run_fresh
from rendernet_jax.errors import InputError


def measure_growth(preset: str, sizes, batches, repeats: int, limit_mib: float) -> Iterator[dict]:
    """Yield one row for each batch and size: ``batch``, ``size``, ``seconds`` (a warm call), ``peak_mib``, ``fits``.

    A process that outgrows ``limit_mib`` is ended: ``seconds`` is None, and ``peak_mib`` how far it had come. Larger
    pictures of the same batch are then passed over, with None for both.

    Raises:
        InputError: a process failed for another reason.
    """
    for batch in sorted(batches):
        fits = True
        for size in sorted(sizes):
            row = {"batch": batch, "size": size, "seconds": None, "peak_mib": None, "fits": False}
            if fits:
                row |= _measure(preset, size, batch, repeats, limit_mib)
                fits = row["fits"]
            yield row


def largest(rows: list[dict]) -> dict | None:
    """The row that fits with the most pixels; of equals, the one with the larger pictures; None if none fits."""
    return max((r for r in rows if r["fits"]), key=lambda r: (r["batch"] * r["size"] ** 2, r["size"]), default=None)


def _measure(preset, size, batch, repeats, limit_mib) -> dict:
    arguments = json.dumps({"preset": preset, "size": size, "batch": batch, "repeats": repeats})
    done = run_fresh([sys.executable, "-m", "rendernet_jax.benchmark.growth", arguments], limit_mib)
    if done["code"] in (None, -signal.SIGKILL):  # ended for its size by us, or by the system
        return {"peak_mib": done["peak_mib"]}
    if done["code"]:
        reason = (done["stderr"].strip().splitlines() or [f"exit status {done['code']}"])[-1]
        raise InputError(f"{batch} picture(s) of {size}: expected a process to draw them, got {reason}")
    seconds = json.loads(done["stdout"].splitlines()[-1])
    return {"seconds": seconds, "peak_mib": done["peak_mib"], "fits": done["peak_mib"] <= limit_mib}


def _draw(preset: str, size: int, batch: int, repeats: int) -> float:
    """Median seconds of one compiled call that draws ``batch`` Phong pictures."""
    from rendernet_jax.benchmark import stages, timing
    from rendernet_jax.config import preset as find

    config = find(preset)
    function, arguments = stages.picture(config, stages.random_params(config), size, batch)
    return timing.measure(function, arguments, repeats)["seconds"]


if __name__ == "__main__":
    print(_draw(**json.loads(sys.argv[1])))
