"""Build a data set: shapes in, ray-traced views and voxel grids out, one shard a shape (format: ``shards.py``).

The result is a function of the tasks and settings alone: neither the number of processes nor an interruption changes
a byte. While a build is under way its folder holds ``plan.json``; ``manifest.json`` is written last.
"""

import contextlib
import dataclasses
import importlib.metadata
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm

from rendernet_jax.camera import Pose, pose_to_degrees
from rendernet_jax.data import cluster, pool, references, shards, viewpoints
from rendernet_jax.data.colour_voxels import colour_voxels
from rendernet_jax.data.contact_sheet import contact_sheet
from rendernet_jax.data.families import make_shape, vectors
from rendernet_jax.data.meshes import Mesh, load_mesh, normalise
from rendernet_jax.data.optional import import_numba, import_open3d
from rendernet_jax.data.procedural import morphable
from rendernet_jax.data.sheet import save_png
from rendernet_jax.data.tasks import Task
from rendernet_jax.data.voxelise import sampled, voxelise
from rendernet_jax.errors import InputError
from rendernet_jax.files import lock_folder, remove_leftovers, seal, write_atomically, write_json

MODEL = "morphable.npz"  # mean and bases, beside a data set of shapes that have vectors
TIMEOUT = 900.0  # seconds for one shape
_GENERATOR = 2  # another number whenever the same tasks and settings come to mean other bytes
_REPORT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is stored of every shape."""

    views: int = 3
    size: int = 512  # pixels on a side
    grid: int = 64  # cells on a side

    def __post_init__(self):
        for name, low, high in (("views", 1, 1000), ("size", 8, 4096), ("grid", 4, 512)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name}: expected {low} to {high}, got {value}")


# --- one shape ------------------------------------------------------------------------------------------------------


def make_arrays(task: Task, settings: Settings) -> dict[str, np.ndarray]:
    """The arrays of a shape's shard.

    Procedural shapes are opened and turned at times (:mod:`viewpoints`); a file's stay as they are.

    Raises:
        InputError: the mesh cannot be used, or no view shows anything of it.
    """
    rng = np.random.default_rng([task.seed, 1])  # a stream of its own, beside the family's
    mesh = _make_mesh(task, rng)
    scene = references.build_scene(mesh)
    channels = shards.CHANNELS + ("albedo",) * mesh.colored
    poses, views = [], {channel: [] for channel in channels}
    for _ in range(settings.views):
        pose = viewpoints.random_pose(rng, mesh.vertices)
        noise = int(rng.integers(1 << 31))
        buffers = references.trace(scene, pose, settings.size, channels, seed=noise, threads=1)
        poses.append(shards.encode_pose(pose))
        for channel in channels:
            views[channel].append(shards.encode_view(channel, buffers[channel]))
    arrays = {channel: np.stack(pictures) for channel, pictures in views.items()}
    if not arrays["mask"].any():
        raise InputError("mesh: no view shows anything of it; it is thinner than a ray can hit")
    coverage = voxelise(mesh, settings.grid, "coverage")
    grids = {
        "coverage": shards.encode_coverage(coverage),
        "binary": shards.encode_bits(voxelise(mesh, settings.grid, "binary")),
        "sampled": shards.encode_bits(sampled(mesh, settings.grid, task.seed)),
    }
    if "albedo" in channels:
        grids["colours"] = shards.encode_view("albedo", colour_voxels(mesh, coverage))
    if not task.path and (pair := vectors(task.family, task.seed)):
        grids |= dict(zip(("shape", "texture"), (x.astype(np.float32) for x in pair), strict=True))
    return {**arrays, **grids, "poses": np.stack(poses)}


def _make_mesh(task: Task, rng: np.random.Generator) -> Mesh:
    if task.path:
        return normalise(load_mesh(task.path, task.up))
    if vectors(task.family, task.seed):  # they mean colours at places of the upright object
        return make_shape(task.family, task.seed)
    return viewpoints.random_turn(rng, viewpoints.random_opening(rng, make_shape(task.family, task.seed)))


@dataclasses.dataclass(frozen=True)
class _Job:
    task: Task
    settings: Settings
    path: pathlib.Path


def _do_job(job: _Job) -> dict | pool.Crash:
    """Make and write one shard. Whatever a mesh brings about is told; only a failure to write ends the build."""
    quiet = _quiet_open3d()  # a missing package is no mesh's fault
    import_numba()
    try:
        with quiet:
            arrays = make_arrays(job.task, job.settings)
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return pool.Crash(" ".join(f"{kind}{error}".split()))
    content = shards.pack_shard(arrays)
    write_atomically(job.path, content)
    return _describe(job.task, job.path, content, arrays)


def _quiet_open3d() -> contextlib.AbstractContextManager:
    """Open3D warns of attributes that its operations drop; what matters of a mesh is checked and raised here."""
    open3d = import_open3d()
    return open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error)


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
    tasks: Sequence[Task],
    output,
    settings: Settings,
    workers: int,
    arguments: dict | None = None,
    overwrite: bool = False,
    scheduler: str | None = None,
) -> dict:
    """Build a data set, or what is missing of one; progress goes to stderr.

    Args:
        tasks: one for each shape, with different names.
        output: folder that exists; the set's files go there.
        settings: what is stored.
        workers: processes, see :func:`pool.run_tasks`.
        arguments: what the manifest says about the command; a set is only continued with the same ones.
        overwrite: replace a finished data set, or one of other tasks, settings or arguments.
        scheduler: of a Dask cluster that works in place of this machine's processes, see :func:`cluster.run_tasks`.

    Returns:
        The manifest.

    Raises:
        InputError: the folder holds something else and ``overwrite`` is off; every mesh was bad; another process
            builds there; or no Open3D or Numba.
        OSError: a file cannot be written.
    """
    output = pathlib.Path(output)
    with lock_folder(output):
        if scheduler is None:
            run_jobs = lambda jobs: pool.run_tasks(_do_job, jobs, workers, TIMEOUT)  # noqa: E731
        else:
            run_jobs = lambda jobs: cluster.run_tasks(_do_job, jobs, scheduler)  # noqa: E731
        return _build(tasks, output, settings, run_jobs, arguments or {}, overwrite)


def _build(tasks, output: pathlib.Path, settings: Settings, run_jobs, arguments: dict, overwrite: bool) -> dict:
    plan = _make_plan(tasks, settings, arguments)
    made, bad = _find_finished(output, plan, tasks, overwrite)
    left = [index for index in range(len(tasks)) if index not in made and index not in bad]
    if left or not (output / "manifest.json").exists():
        write_json(output / "plan.json", plan)
        (output / "manifest.json").unlink(missing_ok=True)
        (output / "shards").mkdir(exist_ok=True)
        jobs = [_Job(tasks[index], settings, shards.shard_path(output, index)) for index in left]
        for position, result in _follow(run_jobs(jobs), len(tasks), len(left)) if jobs else ():
            (bad if isinstance(result, pool.Crash) else made)[left[position]] = result
        remove_leftovers(output / "shards")  # of a process that died while its task went to another
        if not made:
            _clear(output)
            raise InputError(f"source: none of {len(tasks)} shapes could be made; the first: {bad[0].reason}")
        if any(vectors(task.family, task.seed) for task in tasks if not task.path):
            morphable.save_model(output / MODEL)  # what the vectors of its shards mean
        manifest = _make_manifest(plan, tasks, made, bad)
        save_png(output / "contact_sheet.png", contact_sheet(output, manifest))
        write_json(output / "manifest.json", manifest)
    (output / "plan.json").unlink(missing_ok=True)
    return shards.read_description(output / "manifest.json")


def _make_plan(tasks: Sequence[Task], settings: Settings, arguments: dict) -> dict:
    names = "\n".join(f"{task.name} {task.seed}" for task in tasks)
    return {
        "schema": shards.SCHEMA,
        "generator": _GENERATOR,
        "arguments": arguments,
        "settings": dataclasses.asdict(settings),
        "names_sha256": shards.sha256(names.encode()),
    }


def _make_manifest(plan: dict, tasks: Sequence[Task], made: dict, bad: dict) -> dict:
    packages = ("rendernet_jax", "numpy", "numba", "open3d", "open3d-cpu")
    manifest = {
        **plan,
        "counts": {"shapes": len(made), "views": len(made) * plan["settings"]["views"], "skipped": len(bad)},
        "packages": {name: version for name in packages if (version := _version(name))},
        "shards": [made[index] for index in sorted(made)],
        "skipped": [{"name": tasks[index].name, "reason": bad[index].reason} for index in sorted(bad)],
    }
    return seal(manifest)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- what is there already ------------------------------------------------------------------------------------------


def _find_finished(output: pathlib.Path, plan: dict, tasks: Sequence[Task], overwrite: bool) -> tuple[dict, dict]:
    """Shards that need not be made again, and meshes known to be bad, by index; removes what is of no use."""
    description = next((p for p in (output / "manifest.json", output / "plan.json") if p.exists()), None)
    before = shards.read_description(description) if description else {}
    finished = description == output / "manifest.json"
    differences = _differences(before, plan) if before else []
    if not overwrite:
        _refuse_other(output, before, finished, differences)
    for folder in (output, output / "shards"):
        remove_leftovers(folder)
    if not before or differences or (finished and overwrite):
        _clear(output)
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


def _refuse_other(output: pathlib.Path, before: dict, finished: bool, differences: list[str]) -> None:
    remedy = "choose another folder, or add --overwrite"
    if differences:
        what = "a data set" if finished else "an unfinished data set"
        raise InputError(f"output: {output} holds {what} of {'; '.join(differences)}; repeat its flags, {remedy}")
    visible = [p for p in output.iterdir() if not p.name.startswith(".") and p.name != "shards"]
    visible += (output / "shards").glob("*.npz")
    if visible and not before:
        raise InputError(f"output: expected an empty folder or a data set, got {visible[0]} there; {remedy}")


def _clear(output: pathlib.Path) -> None:
    """Remove a data set's files, and no others."""
    for name in ("manifest.json", "plan.json", "contact_sheet.png", MODEL, "shards/*.npz"):
        for file in output.glob(name):
            file.unlink()
    with contextlib.suppress(OSError):
        (output / "shards").rmdir()


def _differences(before: dict, plan: dict) -> list[str]:
    differences = []
    for group in ("settings", "arguments"):
        old, new = before.get(group, {}), plan[group]
        names = sorted({n for n in (*old, *new) if old.get(n) != new.get(n)})
        differences += [f"{n} {old.get(n)!r} (now {new.get(n)!r})" for n in names]
    if before.get("generator", 1) != plan["generator"]:
        differences.append("an earlier version's shapes and views")
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


# --- progress ------------------------------------------------------------------------------------------------------


def _follow(results: Iterator[tuple[int, dict | pool.Crash]], total: int, left: int) -> Iterator:
    """Pass results on and show progress: a bar on a terminal, else a line every half minute."""
    terminal = sys.stderr.isatty()
    begin = last = time.monotonic()
    skipped = 0
    with tqdm.tqdm(total=total, initial=total - left, unit="shape", disable=not terminal) as bar:
        for ended, (position, result) in enumerate(results, start=1):
            bar.update()
            if isinstance(result, pool.Crash):
                skipped += 1
                bar.set_postfix(skipped=skipped)
            now = time.monotonic()
            if not terminal and (now - last > _REPORT_SECONDS or ended == left):
                seconds = (now - begin) / ended
                rest = f"{seconds:.2f} s a shape, {seconds * (left - ended) / 60:.1f} min left"
                print(f"{total - left + ended}/{total} shapes, {skipped} skipped, {rest}", file=sys.stderr, flush=True)
                last = now
            yield position, result
