"""Memory over time, as JSON and as a figure: of thousands of renders and hundreds of fits, or of a command.

    make soak                                                     # 2,000 renders, then 200 fits, in one process
    python tests/soak.py --output=out/soak --name=training -- python -m experiments.train --data=... --output=...

Writes OUTPUT/NAME.json and OUTPUT/NAME.svg, and fails if memory grows: if the mean of the last quarter lies more than
--percent above that of the second quarter. The first one is for compiling, and for filling caches. Linux.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

_PAGE = 4096


def resident(pid="self") -> float:
    """Resident memory of a process, MB."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def follow(work, name: str, every: float) -> list:
    """Samples [seconds, done, MB] of an iterator's work, at most one in ``every`` seconds."""
    samples, began = [], time.monotonic()
    for done, pid in enumerate(work, 1):
        seconds = time.monotonic() - began
        if not samples or seconds - samples[-1][0] >= every:
            samples.append([round(seconds, 1), done, round(resident(pid), 1)])
            print(f"{name} {done}: {samples[-1][2]:.0f} MB after {seconds:.0f} s", flush=True)
    return samples


def growth(samples: list) -> float:
    """How much more the last quarter of the samples holds than the second, as a share."""
    quarter = len(samples) // 4
    if not quarter:
        raise SystemExit(f"error: {len(samples)} samples, expected four or more; take more work, or a smaller --every")
    mean = lambda part: sum(sample[2] for sample in part) / len(part)  # noqa: E731
    return mean(samples[-quarter:]) / mean(samples[quarter : 2 * quarter]) - 1


def renders(count: int, size: int):
    """Pictures of changing grids, poses and lights, by the weights that ship."""
    import jax
    import numpy as np

    from rendernet_jax import Light, Pose, load_weights, render

    params, config = load_weights("compact")
    draw = jax.jit(lambda grid, pose, light: render(params, config, grid, pose, size=size, light=light))
    rng = np.random.default_rng(0)
    for _ in range(count):
        grid = np.zeros((1, 64, 64, 64, 1), np.float32)
        low, high = np.sort(rng.integers(8, 56, (2, 3)), axis=0)
        grid[0, low[0] : high[0] + 4, low[1] : high[1] + 4, low[2] : high[2] + 4] = 1
        pose, light = (kind(*np.float32(rng.uniform(-1, 1, (2, 1)))) for kind in (Pose, Light))
        assert np.isfinite(draw(grid, pose, light)).all()
        yield "self"


def fits(count: int, size: int):
    """Short fits of a box's silhouettes from changing sides, through a network that learnt nothing and is small."""
    import jax
    import numpy as np

    from rendernet_jax import Pose, network
    from rendernet_jax.config import preset
    from rendernet_jax.inverse import Settings, fit
    from rendernet_jax.inverse.silhouette import silhouette

    config = preset("tiny")
    params = network.init(jax.random.key(0), config)
    grid = np.zeros((1, 16, 16, 16, 1), np.float32)
    grid[:, 4:12, 2:14, 6:10] = 1
    rng, draw = np.random.default_rng(0), jax.jit(silhouette, static_argnums=2)
    settings = Settings(starts=8, sizes=(size,), steps=(2,), candidates=(1,))
    for _ in range(count):
        mask = np.asarray(draw(grid, Pose(*np.float32(rng.uniform(-1, 1, (2, 1)))), size))[0, ..., None]
        assert np.isfinite(fit(params, config, 0.5 * mask, mask, grid, settings).losses[0])
        yield "self"


def command(words: list[str], minutes: float, every: float):
    """A command, looked at now and then, until it ends or its time is over."""
    end, process = time.monotonic() + 60 * minutes, subprocess.Popen(words)
    try:
        while process.poll() is None and time.monotonic() < end:
            yield process.pid
            time.sleep(every)
        if process.poll():
            raise SystemExit(f"error: {words[0]} ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait()


def draw_figure(parts: dict[str, list]) -> str:
    """SVG of memory over the share of the work that is done, a line for each part."""
    most = 1.25 * max(sample[2] for samples in parts.values() for sample in samples)
    colours, lines = ("#1f6feb", "#d1242f", "#1a7f37"), []
    for number, (name, samples) in enumerate(parts.items()):
        points = [
            f"{60 + 560 * seconds / samples[-1][0]:.1f},{220 - 200 * mb / most:.1f}" for seconds, _, mb in samples
        ]
        colour, label = colours[number % 3], f"{name}: {samples[-1][1]} in {samples[-1][0] / 60:.0f} minutes"
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(points)}"/>')
        lines.append(f'<text x="70" y="{36 + 18 * number}" fill="{colour}">{label}</text>')
    for share in (0, 0.5, 1):
        y = 220 - 200 * share
        lines.append(f'<path d="M60 {y}H620" stroke="#ccc"/><text x="4" y="{y + 4}">{most * share:.0f} MB</text>')
    lines.append('<text x="60" y="240">start</text><text x="596" y="240">end</text>')
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 250" font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="640" height="250" fill="white"/>', *lines, "</svg>\n"])


def main():
    """Flags to one soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="out/soak", help="folder")
    parser.add_argument("--name", default="soak", help="of the two files")
    parser.add_argument("--renders", type=int, default=2000)
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30, help="of a command")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--percent", type=float, default=5, help="by which memory may grow")
    parser.add_argument("command", nargs="*", help="a command to look at, in place of renders and fits")
    given = parser.parse_args()
    if given.command:
        work = {"samples": command(given.command, given.minutes, given.every)}
    else:
        work = {"renders": renders(given.renders, 256), "fits": fits(given.fits, 32)}
        work = {name: steps for name, steps in work.items() if getattr(given, name)}
    folder = pathlib.Path(given.output)
    folder.mkdir(parents=True, exist_ok=True)
    parts, growths = {}, {}
    for name, steps in work.items():
        parts[name] = follow(steps, name, given.every)
        growths[name] = growth(parts[name])
        report = {"growth": growths, "columns": ["seconds", "done", "resident_mb"], "samples": parts}
        (folder / f"{given.name}.json").write_text(json.dumps(report) + "\n")
        (folder / f"{given.name}.svg").write_text(draw_figure(parts))
        print(f"{name}: memory grew by {100 * growths[name]:.1f} per cent", flush=True)
    if worst := [name for name, share in growths.items() if 100 * share > given.percent]:
        raise SystemExit(f"error: memory of {', '.join(worst)} grows")


if __name__ == "__main__":
    main()
