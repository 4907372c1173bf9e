"""The folder of a training run: what run it is of, and a log without what is about to be repeated."""

import json
import pathlib

from rendernet_jax.errors import InputError
from rendernet_jax.files import remove_leftovers, write_atomically, write_json
from rendernet_jax.training.checkpoints import Checkpoints

CARD, LOG, CHECKPOINTS, SHEETS, FAULT = "run.json", "log.jsonl", "checkpoints", "sheets", "not_finite.npz"
_WRITTEN = (LOG, CHECKPOINTS, SHEETS, FAULT, "weights.npz", "weights.json")


def open_run(folder: pathlib.Path, description: dict) -> Checkpoints:
    """Checkpoints of a run; the folder belongs to it from now on. Call it under the folder's lock.

    Args:
        folder: exists; empty, of the same run, or of one that saved no checkpoint yet.
        description: what the run is, JSON values by name in named groups; kept in run.json.

    Raises:
        InputError: the folder holds another run that got somewhere, or files of other origin that training would
            write.
    """
    description = json.loads(json.dumps(description))  # as it comes back: tuples are lists
    card = folder / CARD
    found = _read_card(card, description) if card.exists() else None
    if found is None:
        _refuse_foreign(folder)
    for part in (folder, folder / CHECKPOINTS, folder / SHEETS):
        remove_leftovers(part)
    if found != description:
        # Flags that failed before anything was saved may be corrected.
        if (folder / CHECKPOINTS).exists() and Checkpoints(folder / CHECKPOINTS).any_complete():
            _refuse_other(folder, found, description)
        write_json(card, description)
    return Checkpoints(folder / CHECKPOINTS)


def rewind_log(path: pathlib.Path, step: int) -> list[dict]:
    """Cut the log back to the records up to ``step``, which are returned: what came after is about to be repeated."""
    kept = [record for record in read_log(path) if record["step"] <= step]
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept).encode())
    return kept


def read_log(path: pathlib.Path) -> list[dict]:
    """Whole records of a log, each with a step; none where there is no file."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            record["step"] <= 0  # noqa: B015  (a number)
            records.append(record)
        except (ValueError, TypeError, KeyError):  # half a line, from the moment of a kill
            continue
    return records


def _read_card(card: pathlib.Path, description: dict) -> dict:
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"output {card.parent}: expected JSON in {CARD}, got {error}; choose another --output") from (
            error
        )
    if not isinstance(found, dict) or not all(isinstance(found.get(group), dict) for group in ("config", "recipe")):
        wanted = f"expected {CARD} of a training run with {', '.join(description)}"
        raise InputError(f"output {card.parent}: {wanted}, got another file; choose another --output")
    return found


def _refuse_foreign(folder: pathlib.Path) -> None:
    present = [name for name in _WRITTEN if (folder / name).exists()]
    if present:
        raise InputError(
            f"output {folder}: expected a folder without {', '.join(present)}, or with the {CARD} of the run that made "
            "them; choose another --output"
        )


def _refuse_other(folder: pathlib.Path, found: dict, description: dict) -> None:
    differing = []
    for group in sorted(found.keys() | description.keys(), key=[*description, *found].index):
        old, new = found.get(group) or {}, description.get(group) or {}
        differing += [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    what = ", ".join(differing) or "the version that made it"
    raise InputError(
        f"output {folder}: holds another run (differs in {what}); choose another --output, or give the "
        "same flags to continue it"
    )
