"""results.csv of a sweep: a row a job, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from composer.sweeps.report.page import clean

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

#: Of every sweep. A swept key of one of these names has its values here; the others stand between.
FIRST = ("number", "state", "path", "prompt")
LAST = ("seed", "steps", "scheduler_class", "seconds", "peak_memory", "composer", "reason")
#: What a formula begins with; spreadsheets strip blanks, and some take the wide forms.
FORMULA = frozenset("=+-@\t\n＝＋－＠")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def results(cells: Sequence[Cell]) -> bytes:
    """The whole table. path: of the images, from the sweep's folder; several of one job are separated by spaces."""
    keys = dict.fromkeys(key for cell in cells for key in cell.values)
    axes = [key for key in keys if key not in ("prompt", "seed", "steps")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"job.{key}" if key in (*FIRST, *LAST) else key for key in axes]
    writer.writerow([*FIRST, *map(guarded, heads), *LAST])
    for cell in cells:
        own = measured(cell)
        values = [
            *(own[name] for name in FIRST),
            *(cell.values.get(axis, "") for axis in axes),
            *(own[name] for name in LAST),
        ]
        writer.writerow([guarded(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().encode()


def measured(cell: Cell) -> Mapping[str, Any]:
    """What a record tells, or as long as there is none, what was asked for."""
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
def guarded(text: str) -> str:
    """Text that a spreadsheet would compute gets an apostrophe before it."""
    text = clean(text)
    return f"'{text}" if text.lstrip(" ")[:1] in FORMULA and not NUMBER.fullmatch(text) else text
