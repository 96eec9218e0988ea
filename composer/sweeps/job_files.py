"""`sweep.jobs=FILE`: a table or a list with one job a row. CSV (commas, semicolons or tabs), JSON Lines, and YAML,
which JSON is too.
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
from composer.system.paths import expanded

KEY = "sweep.jobs"
#: What can stand in a table's first line; nothing where a column has no name.
_A_KEY = re.compile(r"(?:\+{0,2}[\w./@-]+)?")
#: A row's overrides, each prepared as a word of the command line is.
Row = list[str]


def read_rows(name: str) -> list[Row]:
    """The rows of a file, by the format that its suffix says.

    Raises:
        ComposerError: it can't be read, is not of its format, or holds no jobs.
    """
    path = expanded(name)
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
    """Cells are read as words of the command line are. An empty one is an empty text; where a key takes no text it is
    refused.
    """
    table, mark = _separated(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(table, newline=""), delimiter=mark, strict=True) if any(row)]
    except csv.Error as error:
        raise ComposerError(KEY, name, f"is no table: {error}; a quote that opens a cell must close it") from None
    keys = [key.strip() for key in rows[0]] if rows else []
    for key in keys:
        if not _A_KEY.fullmatch(key):
            raise ComposerError(
                KEY, name, f"its first line must name keys between commas, semicolons or tabs, and {key!r} is none"
            )
        if key and keys.count(key) > 1:
            raise ComposerError(KEY, name, f"has two columns named {key}")
    for number, row in enumerate(rows[1:], 1):
        yield overrides.prepare([_cell(name, number, key, cell) for key, cell in _paired(name, number, keys, row)])


def _separated(text: str) -> tuple[str, str]:
    """A table without a spreadsheet's first line `sep=;`, and what separates its cells: a comma, unless the header has
    none.
    """
    first, _, rest = text.lstrip("\n").partition("\n")
    if first.startswith("sep=") and len(first) == 5:
        return rest, first[4]
    return text, next((mark for mark in ",;\t" if mark in first), ",")


def _paired(name: str, number: int, keys: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    """A row's cells by key; a column without a name must be empty."""
    if len(row) != len(keys) and any(row[len(keys) :] or [True]):
        reason = f"row {number} has {len(row)} cells and the header {len(keys)}: "
        reason += "quote a text that holds the separator, fill in what is missing"
        raise ComposerError(KEY, name, reason)
    for key, cell in zip(keys, row):
        if not key and cell:
            raise ComposerError(KEY, name, f"row {number} has a cell in a column without a name: {cell}")
        if key:
            yield key, cell


def _cell(name: str, number: int, key: str, cell: str) -> str:
    if not cell.strip() and key.rpartition(".")[2] not in TEXT_KEYS:
        reason = (
            f"row {number} leaves {key} empty: fill it in; rows of JSON Lines or YAML need not all have the same keys"
        )
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
            raise ComposerError(
                KEY,
                name,
                f'line {number} is no JSON object: one job a line, such as {{"prompt": "a cat", "steps": 20}}',
            )
        yield _mapping(row)


def _yaml(name: str, text: str) -> Iterator[Row]:
    import yaml

    try:
        rows = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, ValueError) as error:
        raise ComposerError(KEY, name, f"is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        reason = "must be a list, one mapping a job: `- {prompt: a cat, steps: 20}`; tables end in .csv or .tsv, JSON Lines in .jsonl"
        raise ComposerError(KEY, name, reason)
    yield from map(_mapping, rows)


def _mapping(row: dict[Any, Any]) -> Row:
    return overrides.prepare([*overrides_of(row)])


READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines,
}  # fmt: skip
