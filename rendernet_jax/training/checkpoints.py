"""Checkpoints by Orbax, with what it leaves open closed: checksums, and a fall-back to an older good one."""

import hashlib
import json
import logging
import math
import os
import pathlib

import jax
import orbax.checkpoint as ocp

from rendernet_jax.errors import InputError
from rendernet_jax.files import seal, unseal, write_json

_log = logging.getLogger(__name__)


class Checkpoints:
    """The latest two and the best train states under one folder.

    Orbax writes each step atomically; a manifest of sha256 sums and the score, written last beside the step, marks it
    complete, and is verified before anything is restored. A step without a manifest is an interrupted save, or an
    interrupted deletion.
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = pathlib.Path(folder).resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        # What is kept is decided here: Orbax forgets scores when it is opened again, and then keeps what has none.
        # Of several processes only one comes here: it must not wait for the others.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}, barrier_sync_key_prefix="leader"
        )
        options = ocp.CheckpointManagerOptions(
            create=False,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            multiprocessing_options=alone if jax.process_count() > 1 else ocp.options.MultiprocessingOptions(),
        )
        # Named here, or a new process can't read what an earlier one saved before it saves something itself.
        handler = ocp.StandardCheckpointHandler()
        self._manager = ocp.CheckpointManager(self._folder, options=options, item_handlers=handler)

    def any_complete(self) -> bool:
        """Whether a save was ever completed."""
        return any(self._folder.glob("*.sha256.json"))

    def _steps(self) -> list[int]:
        """Steps of which there is anything, the newest first."""
        names = [path.name.split(".")[0] for path in self._folder.glob("*.sha256.json")]
        named = {int(name) for name in names if name.isdigit()}
        return sorted(named.union(self._manager.all_steps()), reverse=True)

    def save(self, step: int, state: dict, score: float | None = None) -> None:
        """Save a train state and its score; returns when it is on disk and marked by a manifest.

        Steps from here on are deleted first: what a run left there that went on from an older one was not usable.
        """
        for stale in self._steps():
            if stale >= step:
                self._delete(stale)
        if jax.process_count() > 1:  # Orbax takes no arrays of one process's own
            state = jax.device_get(state)
        try:
            self._manager.save(step, args=ocp.args.StandardSave(state), force=True)
            self._manager.wait_until_finished()
        except Exception as error:  # a full disk comes as a dozen kinds
            reason = " ".join(str(error).split())
            raise OSError(
                f"checkpoints {self._folder}: cannot save step {step} ({reason}); the last one stands"
            ) from error
        manifest = {"files": _checksums(self._folder / str(step)), "score": None if score is None else float(score)}
        write_json(self._manifest(step), seal(manifest))
        steps = self._steps()
        kept = {*steps[:2], max(steps, key=self._score)}
        for old in set(steps) - kept:
            self._delete(old)

    def restore(self, state: dict) -> dict | None:
        """The newest good train state with the structure of ``state``; None if no save was ever completed.

        Raises:
            InputError: checkpoints exist, but none is whole and fits.
        """
        problems, saved_before = [], self.any_complete()
        for step in self._steps():
            try:
                self._verify(step, state)
                abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
                return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
            except Exception as error:  # whatever is wrong with one step, an older one may be good
                problems.append(f"step {step}: {error}")
                _log.error("checkpoint of step %d in %s is not usable: %s", step, self._folder, error)
        if len(problems) == 1 and not saved_before:  # the first save was interrupted
            return None
        if problems:
            raise InputError(
                f"checkpoints {self._folder}: none can be used ({'; '.join(problems)}); "
                "move the folder away to start anew"
            )
        return None

    def _manifest(self, step: int) -> pathlib.Path:
        return self._folder / f"{step}.sha256.json"

    def _read_manifest(self, step: int) -> dict:
        """Sums by file, and the score. Raises ValueError for a damaged one."""
        path = self._manifest(step)
        try:
            content = unseal(json.loads(path.read_text(encoding="utf-8")))
            content = content if "files" in content else {"files": content, "score": None}  # before scores were kept
            content["score"], content["files"].items()
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"its manifest {path.name} is damaged ({error})") from error
        return content

    def _score(self, step: int) -> float:
        try:
            score = self._read_manifest(step)["score"]
        except (OSError, ValueError):
            score = None
        return -math.inf if score is None else score

    def _delete(self, step: int) -> None:
        self._manifest(step).unlink(missing_ok=True)  # first, so that what is half deleted is not taken for whole
        if step in self._manager.all_steps():
            self._manager.delete(step)

    def _verify(self, step: int, state: dict) -> None:
        if not self._manifest(step).is_file():
            raise ValueError(f"it has no manifest {self._manifest(step).name}: the save was interrupted")
        expected, found = self._read_manifest(step)["files"], _checksums(self._folder / str(step))
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
