"""``sweep.jobs=FILE``: a table or a list with one job per row.

Formats: CSV (separated by commas, semicolons or tabs), JSON Lines, and YAML, which includes JSON.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import OmegaConf

from composer.config import overrides
from composer.config.keys import TEXT_KEYS
from composer.config.python_values import overrides_of
from composer.config.yaml_limits import read_bounded_yaml
from composer.errors import ComposerError
from composer.system.paths import expand_user

KEY = "sweep.jobs"
#: Valid heads of a table's columns; an empty one is a column without a name.
_COLUMN_HEAD = re.compile(r"(?:\+{0,2}[\w./@-]+)?")
#: Overrides of one row, prepared as words of the command line are.
Row = list[str]


def read_rows(name: str) -> list[Row]:
    """Read the rows of a job file in the format of its suffix.

    Args:
        name: Path as typed; ``~`` is expanded. Unknown suffixes are read as YAML.

    Returns:
        Overrides of each row; at least one row.

    Raises:
        ComposerError: The file cannot be read, is invalid in its format, or holds no jobs.
    """
    path = expand_user(name)
    reader = READERS.get(path.suffix.lower(), _yaml)
    text = read_bounded_yaml(KEY, path)
    try:
        rows = list(reader(name, text))
    except ComposerError as error:
        raise error if error.key == KEY else ComposerError(KEY, name, str(error)) from None
    if not rows:
        raise ComposerError(KEY, name, "holds no jobs")
    return rows


def _csv(name: str, text: str) -> Iterator[Row]:
    """Read a table; an empty cell is an empty text, and an error where its key takes no text."""
    table, separator = _separated(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(table, newline=""), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise ComposerError(KEY, name, f"is no table: {error}; a quote that opens a cell must close it") from None
    keys = [key.strip() for key in rows[0]] if rows else []
    _check_heads(name, keys)
    for number, row in enumerate(rows[1:], 1):
        yield overrides.prepare([_cell(name, number, key, cell) for key, cell in _paired(name, number, keys, row)])


def _check_heads(name: str, keys: list[str]) -> None:
    for key in keys:
        if not _COLUMN_HEAD.fullmatch(key):
            reason = f"its first line must name keys between commas, semicolons or tabs, and {key!r} is none"
            raise ComposerError(KEY, name, reason)
        if key and keys.count(key) > 1:
            raise ComposerError(KEY, name, f"has two columns named {key}")


def _separated(text: str) -> tuple[str, str]:
    """A table without a spreadsheet's first line ``sep=;``, and its separator: a comma if the header has one."""
    first, _, rest = text.lstrip("\n").partition("\n")
    if first.startswith("sep=") and len(first) == 5:
        return rest, first[4]
    return text, next((separator for separator in ",;\t" if separator in first), ",")


def _paired(name: str, number: int, keys: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    """Cells of a row by key; a column without a name must be empty."""
    if len(row) != len(keys) and any(row[len(keys) :] or [True]):
        reason = f"row {number} has {len(row)} cells and the header {len(keys)}: "
        reason += "quote a text that holds the separator, fill in missing cells"
        raise ComposerError(KEY, name, reason)
    for key, cell in zip(keys, row):
        if not key and cell:
            raise ComposerError(KEY, name, f"row {number} has a cell in a column without a name: {cell}")
        if key:
            yield key, cell


def _cell(name: str, number: int, key: str, cell: str) -> str:
    if not cell.strip() and key.rpartition(".")[2] not in TEXT_KEYS:
        reason = f"row {number} leaves {key} empty: fill it in; "
        reason += "rows of JSON Lines or YAML need not all have the same keys"
        raise ComposerError(KEY, name, reason)
    return f"{key}={cell}"


def _json_lines(name: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            reason = f'line {number} is no JSON object: one job a line, such as {{"prompt": "a cat", "steps": 20}}'
            raise ComposerError(KEY, name, reason)
        yield _mapping(row)


def _yaml(name: str, text: str) -> Iterator[Row]:
    import yaml

    try:
        rows = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, ValueError) as error:
        raise ComposerError(KEY, name, f"is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        reason = "must be a list, one mapping a job: `- {prompt: a cat, steps: 20}`; "
        reason += "tables end in .csv or .tsv, JSON Lines in .jsonl"
        raise ComposerError(KEY, name, reason)
    yield from map(_mapping, rows)


def _mapping(row: dict[Any, Any]) -> Row:
    return overrides.prepare([*overrides_of(row)])


READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines,
}  # fmt: skip
