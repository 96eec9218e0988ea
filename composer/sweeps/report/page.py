"""index.html of a sweep: one file that needs no script to be read and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from composer.errors import shorten
from composer.sweeps.ledger import DROPPED, STATES
from composer.sweeps.ranking import best_values
from composer.sweeps.report.chart import render_chart
from composer.sweeps.report.grid import render_grid
from composer.sweeps.report.html_text import css_class, escape, format_duration
from composer.sweeps.report.jobs_table import render_table
from composer.sweeps.report.thumbnails import first_size

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec

#: Style sheet and script, which are embedded in the page.
STYLE, SCRIPT = (Path(__file__).with_name(f"page.{suffix}").read_text("utf-8") for suffix in ("css", "js"))
SCRIPT_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
SOURCES = "default-src 'none'; img-src 'self' data: file:; media-src 'self' file:; style-src 'unsafe-inline'"
POLICY = f"{SOURCES}; script-src 'sha256-{SCRIPT_HASH}'"
#: Width of thumbnails in pixels for up to so many columns, and for more columns.
THUMB_WIDTHS, MIN_THUMB_WIDTH = ((4, 192), (8, 144)), 112


def render_page(
    folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec, finished: bool
) -> bytes:
    """Render the page.

    Args:
        folder: Folder of the sweep.
        title: Title of the page.
        cells: All jobs, those of earlier requests too.
        blocks: Grids of the jobs of the present request.
        axes: Axes of the grids, and the order of the jobs.
        finished: Whether the sweep has ended; until then the page reloads itself.

    Returns:
        HTML as UTF-8.
    """
    columns = 1 if axes.x is axes.y is None else max((len(block.columns) for block in blocks), default=1)
    width, height = first_size(folder, cells)
    max_width = next((pixels for most, pixels in THUMB_WIDTHS if columns <= most), MIN_THUMB_WIDTH)
    thumb = max(96, min(max_width, width))
    keys = tuple(dict.fromkeys(key for cell in cells for key in cell.values))
    present = [cell for cell in cells if cell.number is not None]
    values = {
        key: {cell.values.get(key, "") for cell in present} for key in keys if key not in (axes.x, axes.y, axes.page)
    }
    constant = {key: next(iter(distinct)) for key, distinct in values.items() if len(distinct) == 1}
    captions = [key for key, distinct in values.items() if len(distinct) > 1]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
        "" if finished else '<meta http-equiv="refresh" content="5">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n",
        f'<body style="--thumb: {thumb}px; --ratio: {width} / {height}">\n',
        _header(title, cells, constant, blocks, axes, finished),
    ]
    best = best_values(cell.metrics for cell in present)
    parts += [part for i, block in enumerate(blocks) for part in render_grid(block, axes, captions, i, best)]
    parts += [
        render_chart(cells),
        *render_table(cells, keys, axes.sort),
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
    ]
    return b"".join([part.encode() for part in parts])  # one by one: most are ASCII, which is copied as it is


def _header(
    title: str,
    cells: Sequence[Cell],
    constant: Mapping[str, str],
    blocks: Sequence[Block],
    axes: SheetSpec,
    finished: bool,
) -> str:
    """Title, progress, the values that all jobs have in common, and links."""
    states, present = Counter(cell.state for cell in cells), [cell for cell in cells if cell.number is not None]
    used = [state for state in STATES if states[state]]
    counts = "".join(
        f'<span><i class="{css_class(state)}"></i><b>{states[state]:,}</b> {state}</span>' for state in used
    )
    bar = "".join(
        f'<i class="{css_class(state)}" style="flex: {states[state]}"></i>' for state in used if state != DROPPED
    )
    total = sum(cell.seconds or 0 for cell in present)
    common = "".join(
        f'<dt class="text">{escape(key)}</dt><dd class="text">{escape(value)}</dd>' for key, value in constant.items()
    )
    return (
        f'<header>\n<h1 class="text">{escape(title)}</h1>\n'
        f'<p class="summary"><span><b>{len(present):,}</b> {"job" if len(present) == 1 else "jobs"}</span>{counts}'
        f"<span><b>{format_duration(total)}</b> in total</span></p>\n"
        + (f'<div class="bar">{bar}</div>\n' if len(used) > 1 or not finished else "")
        + (f'<dl class="same">{common}</dl>\n' if common else "")
        + _navigation(blocks, axes, finished)
        + "</header>\n"
    )


def _navigation(blocks: Sequence[Block], axes: SheetSpec, finished: bool) -> str:
    """Links to the grids, the table and the other files."""
    names = [shorten(" ".join((block.value or "").split()), 40) or "(empty)" for block in blocks]
    grids = "".join(f'<a class="text" href="#page{i}">{escape(name)}</a>' for i, name in enumerate(names))
    files = ["results.csv", "contact.png"] if finished else ["results.csv"]
    links = "".join(f'<a href="{name}">{name}</a>' for name in files)
    pages = f'<div><span class="key">{escape(axes.page)}</span>{grids}</div>' if axes.page else ""
    return f'<nav>{pages}<div><a href="#table">all jobs</a>{links}</div></nav>\n'
