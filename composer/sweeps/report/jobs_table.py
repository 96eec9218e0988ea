"""Table of a sweep's page: all jobs, one per row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from composer.sweeps.ranking import format_value
from composer.sweeps.report.html_text import css_class, escape, relative_url
from composer.system.memory import format_bytes

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

RIGHT = ' class="right"'
#: Longer values are clamped to a few lines.
MAX_CELL_CHARACTERS = 40


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: Head of the column.
        right: Whether it is aligned to the right, as numbers are.
        render: Renders the cell of a job, without the end tag.
    """

    name: str
    right: bool
    render: Callable[[Cell], str]


def render_table(cells: Sequence[Cell], keys: Sequence[str], sort: str | None = None) -> Iterator[str]:
    """Render the table of all jobs. Empty columns, and those that repeat a swept key, are omitted.

    Args:
        cells: All jobs, those of earlier requests too.
        keys: Swept keys.
        sort: What the jobs are ordered by; None for their numbers.

    Yields:
        Parts of the HTML.
    """
    columns = [*(_value_column(key, cells) for key in keys), *_measured_columns(cells, keys)]
    heads = [("job", True), ("state", False), *((column.name, column.right) for column in columns)]
    by = {None: "job", "peak_memory": "memory"}.get(sort, sort)
    direction = "descending" if any(cell.metrics.get(sort or "", (None, False))[1] for cell in cells) else "ascending"
    orders = [direction if name == by else "none" for name, _ in heads]
    names = "".join(
        f'<th scope="col" aria-sort="{order}"{RIGHT if right else ""}><button '
        f'type="button">{escape(name)}</button></th>'
        for (name, right), order in zip(heads, orders)
    )
    yield f'<h2 id="table">All jobs</h2>\n<table id="jobs"><thead><tr>{names}</tr></thead>\n<tbody>\n'
    for cell in cells:
        yield "".join([_row_head(cell), *(column.render(cell) for column in columns)]) + "\n"
    yield "</tbody></table>\n"


def _row_head(cell: Cell) -> str:
    """Start of a row, with the number and the state of the job."""
    name = cell.folder if cell.number is None else str(cell.number)
    link = f'<a href="{relative_url(cell)}">{name}</a>' if cell.folder else name
    start = "<tr" if cell.number is None else f'<tr id="job{name}"'
    key = "" if cell.number is None else name
    state = css_class(cell.state)
    return f'{start} class="{state}"><td{RIGHT} data-v="{key}">{link}<td class="state">{cell.state}'


def _value_column(key: str, cells: Sequence[Cell]) -> Column:
    """Column of a swept key."""
    numeric = all(_is_number(cell.values.get(key, "")) for cell in cells)

    def render(cell: Cell) -> str:
        value = cell.values.get(key, "")
        if numeric or len(value) <= MAX_CELL_CHARACTERS:
            return f"<td{RIGHT if numeric else ''}>{escape(value)}"
        return f'<td><div class="text clamp" tabindex="-1">{escape(value)}</div>'

    return Column(key, numeric, render)


def _measured_columns(cells: Sequence[Cell], keys: Sequence[str]) -> Iterator[Column]:
    """Columns of what records hold, if they add anything."""
    for metric in dict.fromkeys(name for cell in cells for name in cell.metrics):
        yield _metric_column(metric)
    if any(cell.seeds and cell.values.get("seed") != _seeds(cell) for cell in cells):
        yield Column("seeds", True, lambda cell: f"<td{RIGHT}>{_seeds(cell)}")
    if "steps" not in keys and any(cell.steps is not None for cell in cells):
        yield Column("steps", True, lambda cell: f"<td{RIGHT}>{'' if cell.steps is None else cell.steps}")
    if "scheduler" not in keys and any(cell.scheduler is not None for cell in cells):
        yield Column("scheduler", False, lambda cell: f"<td>{escape(cell.scheduler or '')}")
    if any(cell.seconds is not None for cell in cells):
        yield Column("seconds", True, lambda cell: _number_cell(cell.seconds, lambda seconds: f"{seconds:.2f}"))
    if any(cell.peak_memory is not None for cell in cells):
        yield Column(
            "memory", True, lambda cell: _number_cell(cell.peak_memory, lambda count: format_bytes(int(count)))
        )
    if any(cell.error is not None for cell in cells):
        yield Column("error", False, _error_cell)


def _metric_column(name: str) -> Column:
    return Column(name, True, lambda cell: _number_cell(cell.metrics.get(name, (None, False))[0], format_value))


def _seeds(cell: Cell) -> str:
    return ", ".join(map(str, cell.seeds))


def _number_cell(value: float | None, text: Callable[[float], str]) -> str:
    """A number with the exact value for sorting."""
    return f"<td{RIGHT}>" if value is None else f'<td{RIGHT} data-v="{value}">{text(value)}'


def _error_cell(cell: Cell) -> str:
    return f'<td><div class="text clamp" tabindex="-1">{escape(cell.error)}</div>' if cell.error else "<td>"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text or 0))
    except ValueError:
        return False
