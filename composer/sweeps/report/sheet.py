"""Sheet of a sweep: all jobs in index.html, contact.png and results.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from composer.sweeps.ranking import rank
from composer.sweeps.report.cells import Cell
from composer.sweeps.report.contact import update_contact
from composer.sweeps.report.layout import AUTOMATIC, arrange, check_axes, distinct_values, resolve_axes
from composer.sweeps.report.page import render_page
from composer.sweeps.report.tables import results_table
from composer.sweeps.spec import SheetSpec
from composer.system.files import write_atomically


def write_sheet(
    folder: Path, title: str, cells: Sequence[Cell], spec: SheetSpec = AUTOMATIC, finished: bool = True
) -> None:
    """Write index.html, contact.png and results.csv, each atomically and only if its content changes.

    Jobs of earlier requests are in the tables alone.

    Args:
        folder: Folder of the sweep.
        title: Title of the page.
        cells: All jobs.
        spec: Requested axes.
        finished: Whether the sweep has ended. contact.png decodes every image and is written only then; the other
            files take milliseconds.

    Raises:
        ComposerError: A requested axis is not swept.
    """
    present = [cell for cell in cells if cell.number is not None]
    if present:
        check_axes(spec, tuple(distinct_values(present)))
    _update(folder / "results.csv", results_table(cells))
    if spec.sort is not None:
        cells = sorted(cells, key=lambda cell: (cell.number is None, _rank(spec.sort or "", cell)))
        present = [cell for cell in cells if cell.number is not None]
    axes = resolve_axes(present, spec)
    blocks = arrange(present, axes)
    if finished:
        update_contact(folder, title, present, blocks, axes)
    _update(folder / "index.html", render_page(folder, title, cells, blocks, replace(axes, sort=spec.sort), finished))


def _rank(name: str, cell: Cell) -> tuple[bool, float]:
    return rank(name, cell.metrics, cell.seconds, cell.peak_memory)


def _update(file: Path, data: bytes) -> None:
    """Write a file unless it has this content."""
    if not file.exists() or file.read_bytes() != data:
        write_atomically(file, data)
