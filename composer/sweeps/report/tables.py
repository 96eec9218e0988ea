"""results.csv of a sweep: one row per job, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from composer.sweeps.report.html_text import strip_control

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

#: Columns of every sweep. Swept keys of these names are in them; the columns of others are in between.
FIRST = ("number", "state", "path", "prompt")
LAST = ("seed", "steps", "scheduler_class", "seconds", "peak_memory", "composer", "reason")
#: First characters of a formula; spreadsheets strip blanks, and some accept the wide forms.
FORMULA_STARTS = frozenset("=+-@\t\n＝＋－＠")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def results_table(cells: Sequence[Cell]) -> bytes:
    """Render results.csv. Paths of images are relative to the sweep's folder, and separated by spaces.

    Args:
        cells: All jobs.

    Returns:
        CSV as UTF-8 with a header line.
    """
    keys = dict.fromkeys(key for cell in cells for key in cell.values)
    axes = [key for key in keys if key not in ("prompt", "seed", "steps")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = [*dict.fromkeys(name for cell in cells for name in cell.metrics)]
    heads = [f"job.{key}" if key in (*FIRST, *LAST) else key for key in axes]
    writer.writerow([*FIRST, *map(guard, heads), *(guard(f"metric.{name}") for name in metrics), *LAST])
    for cell in cells:
        columns = _columns(cell)
        values = [
            *(columns[name] for name in FIRST),
            *(cell.values.get(axis, "") for axis in axes),
            *(cell.metrics.get(name, (None, False))[0] for name in metrics),
            *(columns[name] for name in LAST),
        ]
        writer.writerow([guard(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().encode()


def _columns(cell: Cell) -> Mapping[str, Any]:
    """Columns of a job: from its record, or from the request if there is no record yet."""
    return {
        "number": cell.number,
        "state": cell.state,
        "path": " ".join(f"{cell.folder}/{name}" for name in cell.images),
        "prompt": cell.values.get("prompt", cell.prompt) if cell.prompt is None else cell.prompt,
        "seed": " ".join(map(str, cell.seeds)) or cell.values.get("seed"),
        "steps": cell.values.get("steps") if cell.steps is None else cell.steps,
        "scheduler_class": cell.scheduler,
        "seconds": cell.seconds,
        "peak_memory": cell.peak_memory,
        "composer": cell.composer,
        "reason": cell.error,
    }


@lru_cache(maxsize=10_000)
def guard(text: str) -> str:
    """Protect a text from being computed by a spreadsheet.

    Args:
        text: Any text.

    Returns:
        The text without control characters, and with an apostrophe before a formula.
    """
    text = strip_control(text)
    return f"'{text}" if text.lstrip(" ")[:1] in FORMULA_STARTS and not NUMBER.fullmatch(text) else text
