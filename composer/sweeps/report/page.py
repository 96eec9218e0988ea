"""index.html of a sweep: one file, no script needed to read it, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image

from composer.errors import shorten
from composer.sweeps.ledger import DROPPED, STATES
from composer.system.memory import format_bytes

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec

#: Everything that a terminal or a spreadsheet may obey, and halves of characters; tabs and line breaks stay.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
COLOURS = 8
RIGHT = ' class="right"'

#: Both stand in the page itself, so that it is one file.
STYLE, SCRIPT = (Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"default-src 'none'; img-src 'self' data: file:; style-src 'unsafe-inline'; script-src 'sha256-{HASH}'"


def clean(text: str) -> str:
    """Without control characters; line breaks are \\n, as a browser makes them."""
    if text.isprintable():  # nearly always, and many times faster to tell
        return text
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=10_000)  # the same few values stand in every cell
def escaped(text: str) -> str:
    """Typed text, for between tags or quotes."""
    return html.escape(clean(text))


def address(cell: Cell, name: str = "") -> str:
    """Relative, percent-encoded: no character in it ends the attribute or starts a scheme."""
    return quote(f"{cell.folder}/{name}", errors="surrogateescape")


def duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "? s"
    if seconds < 99.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def render(
    folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec, finished: bool
) -> bytes:
    """The whole page."""
    columns = 1 if axes.x is axes.y is None else max((len(block.columns) for block in blocks), default=1)
    width, height = first_size(folder, cells)
    most = 192 if columns <= 4 else 144 if columns <= 8 else 112
    thumb = max(96, min(most, width))
    keys = tuple(dict.fromkeys(key for cell in cells for key in cell.values))
    shown, present = {axes.x, axes.y, axes.page}, [cell for cell in cells if cell.number is not None]
    same = {key: {cell.values.get(key, "") for cell in present} for key in keys if key not in shown}
    rest = [key for key in keys if key not in shown and len(same[key]) > 1]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
        "" if finished else '<meta http-equiv="refresh" content="5">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n",
        f'<body style="--thumb: {thumb}px; --ratio: {width} / {height}">\n',
        head(
            title,
            cells,
            {key: next(iter(found)) for key, found in same.items() if len(found) == 1},
            blocks,
            axes,
            finished,
        ),
    ]
    parts += [line for i, block in enumerate(blocks) for line in grid(block, axes, rest, i)]
    parts += [chart(cells), *table(cells, keys), f"<script>{SCRIPT}</script>\n</body>\n</html>\n"]
    return b"".join([part.encode() for part in parts])  # one by one: most are ASCII, and copied as they are


def first_size(folder: Path, cells: Sequence[Cell]) -> tuple[int, int]:
    """Width and height of the first image: places are laid out before images are loaded."""
    for cell in [cell for cell in cells if cell.images][:3]:
        try:
            with Image.open(folder / cell.folder / cell.images[0]) as image:
                return image.size
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return 128, 128


def kind(state: str) -> str:
    """A state as a class of elements."""
    return state.replace(" ", "-")


def head(
    title: str, cells: Sequence[Cell], same: dict[str, str], blocks: Sequence[Block], axes: SheetSpec, finished: bool
) -> str:
    """Title, how far it is, what all jobs share, where to go from here."""
    states, present = Counter(cell.state for cell in cells), [cell for cell in cells if cell.number is not None]
    here = [state for state in STATES if states[state]]
    counts = "".join(f'<span><i class="{kind(state)}"></i><b>{states[state]:,}</b> {state}</span>' for state in here)
    bar = "".join(f'<i class="{kind(state)}" style="flex: {states[state]}"></i>' for state in here if state != DROPPED)
    total = sum(cell.seconds or 0 for cell in present)
    shared = "".join(
        f'<dt class="text">{escaped(key)}</dt><dd class="text">{escaped(value)}</dd>' for key, value in same.items()
    )
    names = [shorten(" ".join((block.value or "").split()), 40) or "(empty)" for block in blocks]
    pages = "".join(f'<a class="text" href="#page{i}">{escaped(name)}</a>' for i, name in enumerate(names))
    files = ["results.csv", "contact.png"] if finished else ["results.csv"]
    links = "".join(f'<a href="{name}">{name}</a>' for name in files)
    return (
        f'<header>\n<h1 class="text">{escaped(title)}</h1>\n'
        f'<p class="summary"><span><b>{len(present):,}</b> {"job" if len(present) == 1 else "jobs"}</span>{counts}'
        f"<span><b>{duration(total)}</b> in total</span></p>\n"
        + (f'<div class="bar">{bar}</div>\n' if len(here) > 1 or not finished else "")
        + (f'<dl class="same">{shared}</dl>\n' if shared else "")
        + (f'<nav><div><span class="key">{escaped(axes.page)}</span>{pages}</div>' if axes.page else "<nav>")
        + f'<div><a href="#table">all jobs</a>{links}</div></nav>\n</header>\n'
    )


def grid(block: Block, axes: SheetSpec, rest: Sequence[str], index: int) -> Iterator[str]:
    """The lines of a grid; without y a row that wraps."""
    heading = ""
    if axes.page is not None:
        heading = f'<h2 id="page{index}" class="text"><span class="key">{escaped(axes.page)}</span> {escaped(block.value or "")}</h2>\n'
    if axes.y is None:
        own = [axes.x, *rest] if axes.x else rest
        cells = "".join(figure(cell, own) for _, places in block.rows for place in places for cell in place)
        yield f'{heading or "<h2></h2>"}<div class="flow">{cells}</div>\n'
        return
    across = math.ceil(math.sqrt(max(len(place) for _, places in block.rows for place in places)))
    yield f'{heading}<table class="grid" style="--across: {across}; --place: calc({across} * (var(--thumb) + 8px) - 8px)">\n'
    if axes.x is not None:
        corner = f'<div class="corner"><span>{escaped(axes.x)} →</span><span>{escaped(axes.y)} ↓</span></div>'
        names = "".join(
            f'<th scope="col" title="{text}"><div class="text clamp">{text}</div></th>'
            for text in map(escaped, block.columns)
        )
        yield f"<thead><tr><th>{corner}</th>{names}</tr></thead>\n"
    yield "<tbody>\n"
    for value, places in block.rows:
        text = escaped(value)
        found = "".join(
            [f'<td><div class="place">{"".join([figure(cell, rest) for cell in place])}</div></td>' for place in places]
        )
        yield f'<tr><th scope="row" title="{text}"><div class="text clamp" tabindex="-1">{text}</div></th>{found}</tr>\n'
    yield "</tbody></table>\n"


def figure(cell: Cell, captions: Sequence[str]) -> str:
    """A job's images, or what is there instead, and under them its number, its time and the values that no head shows."""
    values = [f"{escaped(key)} = {escaped(value)}" for key, value in cell.values.items()]
    facts = [f"job {cell.number}, {cell.state}"]
    if cell.seeds:
        facts.append(f"{'seed' if len(cell.seeds) == 1 else 'seeds'} {', '.join(map(str, cell.seeds))}")
    if cell.seconds is not None:
        facts.append(duration(cell.seconds))
    if cell.peak_memory is not None:
        facts.append(f"{format_bytes(cell.peak_memory)} of memory at most")
    if cell.error:
        facts.append(escaped(cell.error))
    said = "\n".join([*facts, *values])
    if cell.images:
        about = escaped(shorten(f"job {cell.number}: {', '.join(f'{k} = {v}' for k, v in cell.values.items())}", 160))
        n = math.ceil(math.sqrt(len(cell.images)))
        links = "".join([
            f'<a href="{url}"><img loading="lazy" src="{url}" alt="{about}"></a>' for url in [address(cell, name) for name in cell.images]
        ])  # fmt: skip
        inside = f'<div class="images"{f" style=--n:{n}" if n > 1 else ""}>{links}</div>'
    else:
        inside = ""
    if cell.state != "done" or not cell.images:
        reason = f'<div class="text clamp" tabindex="-1">{escaped(cell.error)}</div>' if cell.error else ""
        inside += f'<div class="none"><b>{cell.state if cell.state != "done" else "no picture"}</b>{reason}</div>'
    below = "".join([caption(key, cell.values[key]) for key in captions if key in cell.values])
    time = f"<span>{duration(cell.seconds)}</span>" if cell.seconds is not None else ""
    return (
        f'<figure class="{kind(cell.state)}" title="{said}">{inside}<figcaption>{below}'
        f'<div><a href="#job{cell.number}">#{cell.number}</a>{time}</div></figcaption></figure>'
    )


def caption(key: str, value: str) -> str:
    return f'<span class="text clamp"><span class="key">{escaped(key)}</span> {escaped(shorten(value, 120))}</span>'


def table(cells: Sequence[Cell], keys: Sequence[str]) -> Iterator[str]:
    """The lines of a table of all jobs; a column that would be empty, or that a swept key already is, is left out."""
    seeds = any(cell.seeds and cell.values.get("seed") != ", ".join(map(str, cell.seeds)) for cell in cells)
    seconds, memory, error = (
        any(getattr(cell, name) is not None for cell in cells) for name in ("seconds", "peak_memory", "error")
    )
    steps = "steps" not in keys and any(cell.steps is not None for cell in cells)
    scheduler = "scheduler" not in keys and any(cell.scheduler is not None for cell in cells)
    numeric = {key for key in keys if all(number(cell.values.get(key, "")) for cell in cells)}
    heads = [("job", True), ("state", False), *((key, key in numeric) for key in keys)]
    asked = (
        (seeds, "seeds", True),
        (steps, "steps", True),
        (scheduler, "scheduler", False),
        (seconds, "seconds", True),
    )
    heads += [
        (name, right) for show, name, right in (*asked, (memory, "memory", True), (error, "error", False)) if show
    ]
    named = "".join(
        f'<th scope="col" aria-sort="{order}"{RIGHT if right else ""}><button type="button">{escaped(name)}</button></th>'
        for (name, right), order in zip(heads, ["ascending"] + ["none"] * len(heads))
    )
    yield f'<h2 id="table">All jobs</h2>\n<table id="jobs"><thead><tr>{named}</tr></thead>\n<tbody>\n'
    for cell in cells:
        former, name = cell.number is None, cell.folder if cell.number is None else cell.number
        link = f'<a href="{address(cell)}">{name}</a>' if cell.folder else str(name)
        row = [
            "<tr" if former else f'<tr id="job{name}"',
            f' class="{kind(cell.state)}"><td{RIGHT} data-v="{"" if former else name}">{link}',
        ]
        row.append(f'<td class="state">{cell.state}')
        for key in keys:
            value = cell.values.get(key, "")
            if key in numeric or len(value) <= 40:
                row.append(f"<td{RIGHT if key in numeric else ''}>{escaped(value)}")
            else:
                row.append(f'<td><div class="text clamp" tabindex="-1">{escaped(value)}</div>')
        if seeds:
            row.append(f"<td{RIGHT}>{', '.join(map(str, cell.seeds))}")
        if steps:
            row.append(f"<td{RIGHT}>{'' if cell.steps is None else cell.steps}")
        if scheduler:
            row.append(f"<td>{escaped(cell.scheduler or '')}")
        if seconds:
            row.append(
                f"<td{RIGHT}>" if cell.seconds is None else f'<td{RIGHT} data-v="{cell.seconds}">{cell.seconds:.2f}'
            )
        if memory:
            row.append(
                f"<td{RIGHT}>"
                if cell.peak_memory is None
                else f'<td{RIGHT} data-v="{cell.peak_memory}">{format_bytes(cell.peak_memory)}'
            )
        if error:
            row.append(
                f'<td><div class="text clamp" tabindex="-1">{escaped(cell.error)}</div>' if cell.error else "<td>"
            )
        yield "".join(row) + "\n"
    yield "</tbody></table>\n"


def number(text: str) -> bool:
    try:
        return math.isfinite(float(text or 0))
    except ValueError:
        return False


def chart(cells: Sequence[Cell]) -> str:
    """Seconds against steps, one line through the medians for each scheduler; nothing where there is a single number of
    steps.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        if cell.state == "done" and cell.steps is not None and cell.seconds is not None and math.isfinite(cell.seconds):
            found.setdefault(cell.scheduler or "", {}).setdefault(cell.steps, []).append(cell.seconds)
    steps = sorted({step for line in found.values() for step in line})
    if len(steps) < 2:
        return ""
    count = sum(len(times) for line in found.values() for times in line.values())
    width, height, left, right, top, bottom = 720, 260, 48, 16, 10, 40
    marks = ticks(max(seconds for line in found.values() for times in line.values() for seconds in times))

    def x(step: float) -> float:
        return round(left + (step - steps[0]) / (steps[-1] - steps[0]) * (width - left - right), 1)

    def y(seconds: float) -> float:
        return round(height - bottom - seconds / marks[-1] * (height - top - bottom), 1)

    drawn = []
    for mark in marks:
        drawn.append(f'<path class="frame" d="M{left} {y(mark)}H{width - right}"/>')
        drawn.append(f'<text x="{left - 8}" y="{y(mark) + 4}" text-anchor="end">{mark:g}</text>')
    for step in steps[:: math.ceil(len(steps) / 10)]:
        drawn.append(f'<text x="{x(step)}" y="{height - bottom + 18}" text-anchor="middle">{step}</text>')
    drawn.append(f'<text x="{width - right}" y="{height - 4}" text-anchor="end">steps</text>')
    legend = []
    for i, (name, line) in enumerate(found.items()):
        colour = f'style="color: var(--c{i % COLOURS})"'
        dash = f' stroke-dasharray="{2 + 4 * (i // COLOURS)} 4"' if i >= COLOURS else ""
        corners, dots = [], []
        for step, times in sorted(line.items()):
            middle = median(times)
            said = f"{name}, {step} steps: {duration(middle)}" + (
                f", median of {len(times)} jobs" if len(times) > 1 else ""
            )
            corners.append(f"{x(step)} {y(middle)}")
            if len(times) > 1 and count <= 500:
                dots += [f'<circle class="job" cx="{x(step)}" cy="{y(one)}" r="2"/>' for one in times]
            dots.append(f'<circle cx="{x(step)}" cy="{y(middle)}" r="3.5"><title>{escaped(said)}</title></circle>')
        drawn.append(f'<g {colour}><path class="curve" d="M{"L".join(corners)}"{dash}/>{"".join(dots)}</g>')
        sample = f'<svg {colour} width="22" height="10"><path class="curve" d="M0 5H22"{dash}/></svg>'
        legend.append(f'<li>{sample}<span class="text">{escaped(name) or "no name"}</span></li>')
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        f'<h2 id="plot">Seconds against steps</h2>\n<div class="plot"><ul class="legend">{"".join(legend)}</ul>\n'
        f'<svg {size} role="img" aria-label="seconds against steps">{"".join(drawn)}</svg></div>\n'
    )


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to `most` or a little more."""
    rough = (most or 1.0) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(most / step - 1e-9) + 1 if most else 2)]
