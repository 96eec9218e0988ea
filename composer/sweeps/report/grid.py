"""Grids of a sweep's page: the images, clips and sounds of the jobs in rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from composer.errors import shorten
from composer.media.formats import FORMATS
from composer.sweeps.ranking import format_value
from composer.sweeps.report.html_text import css_class, escape, format_duration, relative_url
from composer.system.memory import format_bytes

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec


#: Suffixes of files that play on a page: in a video element, as an image, and in an audio element.
VIDEOS = {form.suffix for form in FORMATS.values() if form.mime.startswith("video/")}
ANIMATIONS = {form.suffix for form in FORMATS.values() if "clip" in form.kinds and form.mime == f"image/{form.suffix}"}
SOUNDS = {form.suffix for form in FORMATS.values() if form.mime.startswith("audio/")}


def render_grid(
    block: Block, axes: SheetSpec, captions: Sequence[str], index: int, best: Mapping[str, float] = MappingProxyType({})
) -> Iterator[str]:
    """Render one grid; without a y axis as a row that wraps.

    Args:
        block: The grid.
        axes: Axes of the sheet.
        captions: Keys whose values are written below each image.
        index: Number of the grid, for links to it.
        best: Metric → its best value of all jobs.

    Yields:
        Parts of the HTML.
    """
    heading = ""
    if axes.page is not None:
        key, value = escape(axes.page), escape(block.value or "")
        heading = f'<h2 id="page{index}" class="text"><span class="key">{key}</span> {value}</h2>\n'
    if axes.y is None:
        keys = [axes.x, *captions] if axes.x else captions
        figures = "".join(render_figure(cell, keys, best) for _, row in block.rows for cells in row for cell in cells)
        yield f'{heading or "<h2></h2>"}<div class="flow">{figures}</div>\n'
        return
    across = math.ceil(math.sqrt(max(len(cells) for _, row in block.rows for cells in row)))
    style = f"--across: {across}; --slot: calc({across} * (var(--thumb) + 8px) - 8px)"
    yield f'{heading}<table class="grid" style="{style}">\n'
    if axes.x is not None:
        corner = f'<div class="corner"><span>{escape(axes.x)} →</span><span>{escape(axes.y)} ↓</span></div>'
        names = "".join(
            f'<th scope="col" title="{text}"><div class="text clamp">{text}</div></th>'
            for text in map(escape, block.columns)
        )
        yield f"<thead><tr><th>{corner}</th>{names}</tr></thead>\n"
    yield "<tbody>\n"
    for value, row in block.rows:
        text = escape(value)
        columns = "".join([_column(cells, captions, best) for cells in row])
        head = f'<th scope="row" title="{text}"><div class="text clamp" tabindex="-1">{text}</div></th>'
        yield f"<tr>{head}{columns}</tr>\n"
    yield "</tbody></table>\n"


def _column(cells: Sequence[Cell], captions: Sequence[str], best: Mapping[str, float]) -> str:
    return f'<td><div class="slot">{"".join([render_figure(cell, captions, best) for cell in cells])}</div></td>'


def render_figure(cell: Cell, captions: Sequence[str], best: Mapping[str, float] = MappingProxyType({})) -> str:
    """Render the images of a job, or its state, with a caption.

    Args:
        cell: The job.
        captions: Keys whose values are written below.
        best: Metric → its best value of all jobs.

    Returns:
        HTML of a figure.
    """
    images = _images(cell) if cell.images else ""
    if cell.state != "done" or not cell.images:
        reason = f'<div class="text clamp" tabindex="-1">{escape(cell.error)}</div>' if cell.error else ""
        images += f'<div class="none"><b>{cell.state if cell.state != "done" else "no image"}</b>{reason}</div>'
    caption = "".join([_caption(key, cell.values[key]) for key in captions if key in cell.values])
    caption += "".join([_badge(name, value, best) for name, (value, _) in cell.metrics.items() if value is not None])
    time = f"<span>{format_duration(cell.seconds)}</span>" if cell.seconds is not None else ""
    return (
        f'<figure class="{css_class(cell.state)}" title="{_title(cell)}">{images}<figcaption>{caption}'
        f'<div><a href="#job{cell.number}">#{cell.number}</a>{time}</div></figcaption></figure>'
    )


def _images(cell: Cell) -> str:
    """Images, clips or sounds of a job, in a square if there are several."""
    values = ", ".join(f"{key} = {value}" for key, value in cell.values.items())
    description = escape(shorten(f"job {cell.number}: {values}", 160))
    across = math.ceil(math.sqrt(len(cell.images)))
    files = zip(cell.images, cell.shown)
    media = "".join(
        [_medium(relative_url(cell, name), relative_url(cell, shown), description) for name, shown in files]
    )
    return f'<div class="images"{f" style=--n:{across}" if across > 1 else ""}>{media}</div>'


def _medium(url: str, poster: str, description: str) -> str:
    """An image with a link to itself; a clip or a sound that plays on the page, and loads when it does."""
    suffix = url.rpartition(".")[2]
    if suffix in VIDEOS:
        return f'<video controls loop muted preload="none" poster="{poster}" src="{url}" title="{description}"></video>'
    shown = url if suffix in ANIMATIONS else poster
    image = f'<a href="{url}"><img loading="lazy" src="{shown}" alt="{description}"></a>'
    return f'<div>{image}<audio controls preload="none" src="{url}"></audio></div>' if suffix in SOUNDS else image


def _title(cell: Cell) -> str:
    """Tooltip of a job, one fact per line."""
    facts = [f"job {cell.number}, {cell.state}"]
    if cell.seeds:
        facts.append(f"{'seed' if len(cell.seeds) == 1 else 'seeds'} {', '.join(map(str, cell.seeds))}")
    if cell.seconds is not None:
        facts.append(format_duration(cell.seconds))
    if cell.peak_memory is not None:
        facts.append(f"{format_bytes(cell.peak_memory)} of memory at most")
    if cell.error:
        facts.append(escape(cell.error))
    return "\n".join([*facts, *(f"{escape(key)} = {escape(value)}" for key, value in cell.values.items())])


def _badge(name: str, value: float, best: Mapping[str, float]) -> str:
    """The value of a metric; that of the best job is bold."""
    kind = "metric best" if value == best.get(name) else "metric"
    return f'<span class="{kind}"><span class="key">{escape(name)}</span> {format_value(value)}</span>'


def _caption(key: str, value: str) -> str:
    return f'<span class="text clamp"><span class="key">{escape(key)}</span> {escape(shorten(value, 120))}</span>'
