"""Model cards: ``NAME.md`` beside shipped weights, whose facts are made from ``NAME.json``.

``python -m rendernet_jax.weights.cards`` (``make cards``) writes the facts anew. What a network is for and where it is
weak is written by hand above them, and kept.
"""

import pathlib

import jax

from rendernet_jax.files import write_atomically
from rendernet_jax.weights import find_weights, read_card, read_params, shipped

MARK = "## Facts"
_UNITS = "Scores are PSNR in decibels, but for IoU and SSIM."
_NEW = "# {name}\n\n## Use\n\nTo be written.\n\n## Limits\n\nTo be written.\n\n"


def card_path(name: str) -> pathlib.Path:
    """Where the model card of shipped weights lies."""
    return find_weights(name).with_suffix(".md")


def facts(name: str) -> str:
    """The part of a model card that its provenance tells, as Markdown that begins with :data:`MARK`."""
    card, path = read_card(name), find_weights(name)
    provenance = dict(card["provenance"])
    scores = provenance.pop("scores", {})
    parameters = sum(leaf.size for leaf in jax.tree.leaves(read_params(name)[0]))
    size = f"{parameters:,} parameters, {path.stat().st_size / 2**20:.1f} MiB in bfloat16"
    rows = [("file", path.name), ("size", size), ("sha256", card["sha256"]), *_rows(provenance)]
    lines = [MARK, "", f"Made from `{path.stem}.json` by `make cards`. {_UNITS}", ""]
    lines += _table(("fact", "value"), rows)
    for title, values in scores.items():
        lines += ["", f"### {title[0].upper()}{title[1:]}", "", *_score_table(values)]
    lines += ["", "### Network", "", *_table(("setting", "value"), _rows(card["config"]))]
    return "\n".join(lines) + "\n"


def write_card(name: str) -> pathlib.Path:
    """Write the facts of a model card anew, below what was written by hand."""
    path = card_path(name)
    text = path.read_text(encoding="utf-8") if path.is_file() else _NEW.format(name=name)
    write_atomically(path, (text.partition(MARK)[0] + facts(name)).encode())
    return path


def _rows(tree: dict, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dict as rows ``("a, b", value)``; empty values are left out."""
    rows = []
    for key, value in tree.items():
        title = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, dict):
            rows += _rows(value, f"{title}, ")
        elif value not in (None, "", []):
            rows.append((title, _words(value)))
    return rows


def _words(value) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        separator = "; " if any(isinstance(item, dict) for item in value) else ", "
        return separator.join(_words(item) for item in value)
    text = str(value)
    return f"`{text}`" if " -m " in text else text


def _score_table(values: dict) -> list[str]:
    """One row for each method, or one row alone; figures that share names share columns."""
    if not all(isinstance(value, dict) for value in values.values()):
        return _table(("figure", "value"), _rows(values))
    columns = list(dict.fromkeys(name for figures in values.values() for name in figures))
    rows = [(method, *(_words(figures.get(c, "")) for c in columns)) for method, figures in values.items()]
    return _table(("method", *(c.replace("_", " ") for c in columns)), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    line = lambda cells: "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"  # noqa: E731
    return [line(head), line(("---",) * len(head)), *map(line, rows)]


if __name__ == "__main__":
    for shipped_name in shipped():
        print(write_card(shipped_name))
