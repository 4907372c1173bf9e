"""Checkpoints by Orbax, with what it leaves open closed: checksums, and a fall-back to an older good one."""

import hashlib
import json
import logging
import os
import pathlib

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from rendernet_jax.errors import InputError
from rendernet_jax.files import write_json

_log = logging.getLogger(__name__)


class Checkpoints:
    """The latest two and the best train states under one folder.

    Orbax writes each step atomically; a manifest of sha256 sums, written last beside the step, marks it complete, and
    is verified before anything is restored. A step without a manifest is an interrupted save.
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = pathlib.Path(folder).resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["psnr"], n=1),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        # Named here, or a new process can't read what an earlier one saved before it saves something itself.
        handler = ocp.StandardCheckpointHandler()
        self._manager = ocp.CheckpointManager(self._folder, options=options, item_handlers=handler)

    def any_complete(self) -> bool:
        """Whether a save was ever completed."""
        return any(self._folder.glob("*.sha256.json"))

    def _steps(self) -> list[int]:
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, step: int, state: dict, psnr: float) -> None:
        """Save a train state and its validation score; returns when it is on disk and marked by a manifest.

        Steps from here on are deleted first: what a run left there that went on from an older one was not usable.
        """
        for stale in self._steps():
            if stale >= step:
                self._manager.delete(stale)
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics={"psnr": float(psnr)}, force=True)
        self._manager.wait_until_finished()
        write_json(self._manifest(step), _checksums(self._folder / str(step)))
        kept = {self._manifest(s).name for s in self._steps()}
        for manifest in self._folder.glob("*.sha256.json"):
            if manifest.name not in kept:
                manifest.unlink()

    def restore(self, state: dict) -> dict | None:
        """The newest good train state with the structure of ``state``; None if no save was ever completed.

        Raises:
            InputError: checkpoints exist, but none is whole and fits.
        """
        problems = []
        for step in self._steps():
            try:
                self._verify(step, state)
                abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
                return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
            except Exception as error:  # whatever is wrong with one step, an older one may be good
                problems.append(f"step {step}: {error}")
                _log.error("checkpoint of step %d in %s is not usable: %s", step, self._folder, error)
        if len(problems) == 1 and not self.any_complete():  # the first save was interrupted
            return None
        if problems:
            raise InputError(
                f"checkpoints {self._folder}: none can be used ({'; '.join(problems)}); "
                "move the folder away to start anew"
            )
        return None

    def _manifest(self, step: int) -> pathlib.Path:
        return self._folder / f"{step}.sha256.json"

    def _verify(self, step: int, state: dict) -> None:
        if not self._manifest(step).is_file():
            raise ValueError("it has no manifest: the save was interrupted")
        expected, found = json.loads(self._manifest(step).read_text()), _checksums(self._folder / str(step))
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if wrong:
            raise ValueError(f"missing, added or altered files: {', '.join(wrong[:5])}")
        saved = self._manager.item_metadata(step)
        difference = _describe_difference(_leaves(state), _leaves(saved))
        if difference:
            raise ValueError(difference)


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _leaves(tree) -> dict[str, tuple]:
    """{"a.b.0": (shape, dtype)}; tuples and dicts alike, since Orbax gives sequences back in its own way."""
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = ".".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)
        flat[name] = (tuple(leaf.shape), str(leaf.dtype))
    return flat


def _describe_difference(expected: dict, found: dict) -> str:
    lines = []
    if missing := sorted(expected.keys() - found.keys()):
        lines.append(f"missing {missing[:5]}")
    if surplus := sorted(found.keys() - expected.keys()):
        lines.append(f"surplus {surplus[:5]}")
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            lines.append(f"{name}: expected {expected[name]}, got {found[name]}")
    return "; ".join(lines[:8])
