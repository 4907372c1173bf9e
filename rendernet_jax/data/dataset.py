"""Build a data set: shapes in, ray-traced views and voxel grids out, one shard a shape (format: ``shards.py``).

The result is a function of the tasks and settings alone: neither the number of processes nor an interruption changes
a byte. While a build is under way its folder holds ``plan.json``; ``manifest.json`` is written last.
"""

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm

from rendernet_jax.camera import Pose, pose_to_degrees
from rendernet_jax.data import pool, references, shards, viewpoints
from rendernet_jax.data.families import FAMILIES, make_shape
from rendernet_jax.data.meshes import SUFFIXES, Mesh, load_mesh, normalise
from rendernet_jax.data.sheet import picture_sheet, save_png
from rendernet_jax.data.voxelise import sampled, voxelise
from rendernet_jax.errors import InputError

TIMEOUT = 900.0  # seconds for one shape
# How often a family comes in a round, 1 where it is not named: what is most varied, or most often rendered.
FAMILY_WEIGHTS = {"chair": 4, "table": 2, "csg": 3, "organic": 3, "hardware": 2, "soup": 2}
_SHEET_ROWS = 24
_SHEET_CELL = 128
_REPORT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Task:
    """One shape to be made: from a family and seed, or, where ``path`` is given, from a mesh file."""

    name: str
    seed: int
    family: str = ""
    path: str = ""
    up: str = "y"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is stored of every shape."""

    views: int = 3
    size: int = 512  # pixels on a side
    grid: int = 64  # cells on a side
    ao: bool = True  # ambient occlusion takes most of the time

    def __post_init__(self):
        for name, low, high in (("views", 1, 1000), ("size", 8, 4096), ("grid", 4, 512)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name}: expected {low} to {high}, got {value}")


# --- what to build --------------------------------------------------------------------------------------------------


def procedural_tasks(count: int, families: Sequence[str] = FAMILIES, seed: int = 0) -> list[Task]:
    """``count`` shapes, the families in turn, each as often as :data:`FAMILY_WEIGHTS` says.

    Raises:
        InputError: no shape asked for, a negative seed, or an unknown family.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown or not families:
        raise InputError(f"families: expected some of {', '.join(FAMILIES)}, got {', '.join(unknown) or 'none'}")
    if count < 1 or seed < 0:
        raise InputError(f"shapes, seed: expected at least 1 and 0, got {count} and {seed}")
    weights = {family: FAMILY_WEIGHTS.get(family, 1) for family in families}
    turns = [family for turn in range(max(weights.values())) for family in families if weights[family] > turn]
    tasks = []
    for index in range(count):
        family, number = turns[index % len(turns)], seed * 1_000_000 + index
        tasks.append(Task(name=f"{family}-{number:06d}", seed=number, family=family))
    return tasks


def folder_tasks(folder, up: str = "y", seed: int = 0) -> list[Task]:
    """Every mesh file in a folder and its sub-folders, sorted; a name is the path inside the folder.

    Each mesh's views depend on its name and the seed, so that adding a file changes no other.

    Raises:
        InputError: no such folder, or no mesh in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"source: expected 'procedural' or a folder of meshes, got {folder}, which is no folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"source: expected {', '.join(SUFFIXES)} files in {folder}, found none")
    tasks = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        number = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6], "big")
        tasks.append(Task(name=name, seed=number, path=str(file), up=up))
    return tasks


# --- one shape ------------------------------------------------------------------------------------------------------


def make_arrays(task: Task, settings: Settings, threads: int = 1) -> dict[str, np.ndarray]:
    """The arrays of a shape's shard.

    Procedural shapes are turned at times (:func:`viewpoints.random_turn`); a file's stay as they are.

    Raises:
        InputError: the mesh cannot be used, or no view shows anything of it.
    """
    rng = np.random.default_rng([task.seed, 1])  # a stream of its own, beside the family's
    mesh = _make_mesh(task, rng)
    scene = references.build_scene(mesh)
    channels = ("mask", "normal", "depth", "contour") + ("ao",) * settings.ao + ("albedo",) * (mesh.colors is not None)
    poses, views = [], {channel: [] for channel in channels}
    for _ in range(settings.views):
        pose = viewpoints.random_pose(rng, mesh.vertices)
        noise = int(rng.integers(1 << 31))
        buffers = references.trace(scene, pose, settings.size, channels, seed=noise, threads=threads)
        poses.append(shards.encode_pose(pose))
        for channel in channels:
            views[channel].append(shards.encode_view(channel, buffers[channel]))
    arrays = {channel: np.stack(pictures) for channel, pictures in views.items()}
    if not arrays["mask"].any():
        raise InputError("mesh: no view shows anything of it; it is thinner than a ray can hit")
    grids = {
        "coverage": shards.encode_coverage(voxelise(mesh, settings.grid, "coverage")),
        "binary": shards.encode_bits(voxelise(mesh, settings.grid, "binary")),
        "sampled": shards.encode_bits(sampled(mesh, settings.grid, task.seed)),
    }
    return {**arrays, **grids, "poses": np.stack(poses)}


def _make_mesh(task: Task, rng: np.random.Generator) -> Mesh:
    if task.path:
        return normalise(load_mesh(task.path, task.up))
    return viewpoints.random_turn(rng, make_shape(task.family, task.seed))


@dataclasses.dataclass(frozen=True)
class _Job:
    task: Task
    settings: Settings
    path: pathlib.Path


def _do_job(job: _Job) -> dict | pool.Crash:
    """Make and write one shard. Whatever a mesh brings about is told; only a failure to write ends the build."""
    try:
        arrays = make_arrays(job.task, job.settings)
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return pool.Crash(" ".join(f"{kind}{error}".split()))
    content = shards.pack_shard(arrays)
    shards.write_atomically(job.path, content)
    return _describe(job.task, job.path, content, arrays)


def _describe(task: Task, path: pathlib.Path, content: bytes, arrays: dict[str, np.ndarray]) -> dict:
    """A shard's entry in the manifest."""
    return {
        "name": task.name,
        "file": f"shards/{path.name}",
        "sha256": shards.sha256(content),
        "source": "file" if task.path else "procedural",
        "family": task.family or None,
        "seed": task.seed,
        "poses": [pose_to_degrees(Pose(**shards.decode_poses(row))) for row in arrays["poses"]],
    }


# --- the whole set --------------------------------------------------------------------------------------------------


def build(
    tasks: Sequence[Task], output, settings: Settings, workers: int, arguments: dict | None = None, overwrite=False
) -> dict:
    """Build a data set, or what is missing of one; progress goes to stderr.

    Args:
        tasks: one for each shape, with different names.
        output: folder that exists; the set's files go there.
        settings: what is stored.
        workers: processes, see :func:`pool.run_tasks`.
        arguments: what the manifest says about the command; a set is only continued with the same ones.
        overwrite: replace a finished data set, or one of other tasks, settings or arguments.

    Returns:
        The manifest.

    Raises:
        InputError: the folder holds another data set and ``overwrite`` is off; or every mesh was bad.
        OSError: a file cannot be written.
    """
    output = pathlib.Path(output)
    (output / "shards").mkdir(exist_ok=True)
    plan = _make_plan(tasks, settings, arguments or {})
    made, bad = _find_finished(output, plan, tasks, overwrite)
    left = [index for index in range(len(tasks)) if index not in made and index not in bad]
    if left or not (output / "manifest.json").exists():
        shards.write_json(output / "plan.json", plan)
        (output / "manifest.json").unlink(missing_ok=True)
        jobs = [_Job(tasks[index], settings, shards.shard_path(output, index)) for index in left]
        for position, result in _follow(pool.run_tasks(_do_job, jobs, workers, TIMEOUT), len(made), len(tasks)):
            (bad if isinstance(result, pool.Crash) else made)[left[position]] = result
        if not made:
            raise InputError(f"source: none of {len(tasks)} meshes could be used; the first: {bad[0].reason}")
        manifest = _make_manifest(plan, tasks, made, bad)
        save_png(output / "contact_sheet.png", _contact_sheet(output, manifest))
        shards.write_json(output / "manifest.json", manifest)
    (output / "plan.json").unlink(missing_ok=True)
    return shards.read_description(output / "manifest.json")


def _make_plan(tasks: Sequence[Task], settings: Settings, arguments: dict) -> dict:
    names = "\n".join(f"{task.name} {task.seed}" for task in tasks)
    return {
        "schema": shards.SCHEMA,
        "arguments": arguments,
        "settings": dataclasses.asdict(settings),
        "names_sha256": shards.sha256(names.encode()),
    }


def _make_manifest(plan: dict, tasks: Sequence[Task], made: dict, bad: dict) -> dict:
    packages = ("rendernet_jax", "numpy", "open3d", "open3d-cpu")
    return {
        **plan,
        "counts": {"shapes": len(made), "views": len(made) * plan["settings"]["views"], "skipped": len(bad)},
        "packages": {name: version for name in packages if (version := _version(name))},
        "shards": [made[index] for index in sorted(made)],
        "skipped": [{"name": tasks[index].name, "reason": bad[index].reason} for index in sorted(bad)],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- what is there already ------------------------------------------------------------------------------------------


def _find_finished(output: pathlib.Path, plan: dict, tasks: Sequence[Task], overwrite: bool) -> tuple[dict, dict]:
    """Shards that need not be made again, and meshes known to be bad, by index; removes what is of no use."""
    state = next((p for p in (output / "manifest.json", output / "plan.json") if p.exists()), None)
    before = shards.read_description(state) if state else {}
    finished = state is not None and state.name == "manifest.json"
    differences = _differences(before, plan) if before else []
    if differences and not overwrite:
        raise InputError(
            f"output: {output} holds {'a' if finished else 'an unfinished'} data set of {'; '.join(differences)}; "
            f"choose another folder, repeat its flags, or add --overwrite"
        )
    for leftover in output.glob("shards/.*.npz.*"):  # of a process that was killed while it wrote
        leftover.unlink()
    if not before or differences or (finished and overwrite):
        for file in (output / "manifest.json", output / "contact_sheet.png", *output.glob("shards/*.npz")):
            file.unlink(missing_ok=True)
        return {}, {}
    entries = {entry["name"]: entry for entry in before.get("shards", ())}
    reasons = {entry["name"]: entry["reason"] for entry in before.get("skipped", ())}
    made, bad = {}, {}
    for index, task in enumerate(tasks):
        path = shards.shard_path(output, index)
        if task.name in reasons:
            bad[index] = pool.Crash(reasons[task.name])
        elif path.exists() and (entry := _verified(task, path, entries.get(task.name))):
            made[index] = entry
    return made, bad


def _differences(before: dict, plan: dict) -> list[str]:
    differences = []
    for group in ("settings", "arguments"):
        old, new = before.get(group, {}), plan[group]
        names = sorted({n for n in (*old, *new) if old.get(n) != new.get(n)})
        differences += [f"{n} {old.get(n)!r} (now {new.get(n)!r})" for n in names]
    if not differences and before.get("names_sha256") != plan["names_sha256"]:
        differences.append("other shapes")
    return differences


def _verified(task: Task, path: pathlib.Path, entry: dict | None) -> dict | None:
    """The shard's entry, or None if it must be made again: damaged, or not the file that the manifest names."""
    content = path.read_bytes()
    if entry is not None:
        return entry if entry["sha256"] == shards.sha256(content) else None
    try:
        return _describe(task, path, content, shards.read_shard(path))
    except InputError:
        return None


# --- what one sees --------------------------------------------------------------------------------------------------


def _follow(results: Iterator[tuple[int, dict | pool.Crash]], done: int, total: int) -> Iterator:
    """Pass results on and show progress: a bar on a terminal, else a line every half minute."""
    terminal = sys.stderr.isatty()
    begin = last = time.monotonic()
    made = 0
    with tqdm.tqdm(total=total, initial=done, unit="shape", disable=not terminal) as bar:
        for position, result in results:
            made += 1
            bar.update()
            if isinstance(result, pool.Crash):
                tqdm.tqdm.write(f"skipped: {result.reason}", file=sys.stderr)
            now = time.monotonic()
            if not terminal and (now - last > _REPORT_SECONDS or done + made == total):
                seconds = (now - begin) / made
                minutes = seconds * (total - done - made) / 60
                line = f"{done + made}/{total} shapes, {seconds:.2f} s a shape, {minutes:.1f} min left"
                print(line, file=sys.stderr, flush=True)
                last = now
            yield position, result


def _contact_sheet(output: pathlib.Path, manifest: dict) -> np.ndarray:
    """Some shapes, evenly spread over the set: the first view's channels, the other views' normals, the voxels."""
    entries = manifest["shards"]
    chosen = [entries[i * len(entries) // _SHEET_ROWS] for i in range(_SHEET_ROWS)]
    chosen = chosen if len(entries) > _SHEET_ROWS else entries
    rows, labels = [], []
    others = min(manifest["settings"]["views"] - 1, 2)
    names = ["normal", "light", "depth", "contour", "ao"] + [f"view {i + 2}" for i in range(others)] + ["voxels"]
    for entry in chosen:
        arrays = shards.read_shard(output / entry["file"])
        normals = [_normal_picture(arrays, view) for view in range(others + 1)]
        mask, light = arrays["mask"][0] / 255.0, np.maximum(arrays["normal"][0, ..., 2] / 127.0, 0.0)
        depth = arrays["depth"][0] / 65535.0
        ao = arrays["ao"][0] / 255.0 if "ao" in arrays else None
        first = [normals[0], 1 - mask + mask * (0.1 + 0.9 * light), depth, 1 - arrays["contour"][0] / 255.0, ao]
        rows.append([*first, *normals[1:], _grid_picture(arrays["coverage"])])
        labels.append(entry["name"][-40:])
    return picture_sheet(rows, labels, names, _SHEET_CELL)


def _normal_picture(arrays: dict, view: int) -> np.ndarray:
    mask = arrays["mask"][view][..., None] / 255.0
    return 1 - mask + mask * (arrays["normal"][view] / 254.0 + 0.5)


def _grid_picture(coverage: np.ndarray) -> np.ndarray:
    """Voxels seen from +z, nearer ones darker."""
    nearness = np.linspace(0.4, 1.0, coverage.shape[2])
    return 1 - (coverage / 64.0 * nearness).max(2).T[::-1]
