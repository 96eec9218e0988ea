"""All jobs of a sweep on one sheet: index.html, contact.png and results.csv."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from composer.errors import ComposerError, suggest
from composer.files import write
from composer.spec import SheetSpec
from composer.sweep import contact, page

#: More columns than this do not fit a screen.
WIDE = 12
#: More grids than this are a long way to scroll.
FEW = 12
#: A longer value is read as a sentence: no column's head.
LONG = 32

COLUMNS = ("seeds", "seconds", "peak_memory", "steps", "scheduler", "images", "error")
#: What a formula begins with; spreadsheets strip blanks, and some take the wide forms.
FORMULA = frozenset("=+-@\t\n＝＋－＠")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


#: All axes chosen by the number of their values.
AUTOMATIC = SheetSpec()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job.

    Attributes:
        number: of the job, from 0.
        folder: relative to the sweep's folder.
        state: "done", "failed", "running" or "waiting".
        values: swept key → value as text, in the order of the axes.
        images: file names in `folder`.
        peak_memory: bytes.
    """

    number: int
    folder: str
    state: str
    values: Mapping[str, str]
    images: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    peak_memory: int | None = None
    steps: int | None = None
    scheduler: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Block:
    """One grid: `rows` are (value of y, for each column the cells that belong there)."""

    value: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]


def write_sheet(folder: Path, title: str, cells: Sequence[Cell], spec: SheetSpec = AUTOMATIC, finished: bool = True) -> None:
    """Writes index.html, contact.png and results.csv into folder, each whole or not at all.

    contact.png decodes every picture, so it is made only once the sweep is `finished`; the others take milliseconds.
    """
    values = counted(cells)
    if cells:
        check_axes(spec, tuple(values))
    axes = choose(values, spec)
    blocks = arrange(cells, axes)
    write(folder / "results.csv", results(cells, tuple(values)))
    if finished:
        write(folder / "contact.png", contact.draw(folder, title, cells, blocks, axes))
    write(folder / "index.html", page.render(folder, title, cells, blocks, axes, finished))


def check_axes(spec: SheetSpec, axes: Sequence[str]) -> None:
    """Refuses a key that is not swept, and a key that is asked for twice."""
    taken: dict[str, str] = {}
    for name, key in (("x", spec.x), ("y", spec.y), ("page", spec.page)):
        if key is None:
            continue
        if key not in axes:
            reason = f"is no swept key.{suggest(key, axes)}" if axes else "is no swept key: nothing is swept"
            raise ComposerError(f"sheet.{name}", key, reason, axes)
        if key in taken:
            raise ComposerError(f"sheet.{name}", key, f"is sheet.{taken[key]} already", [axis for axis in axes if axis not in taken])
        taken[key] = name


def counted(cells: Sequence[Cell]) -> dict[str, tuple[str, ...]]:
    """Swept key → its distinct values, both in the order in which the jobs bring them."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for key, value in cell.values.items():
            found.setdefault(key, {})[value] = None
    return {key: tuple(values) for key, values in found.items()}


def choose(values: Mapping[str, Sequence[str]], spec: SheetSpec) -> SheetSpec:
    """The axes, where the spec leaves them open, out of the keys that take two values or more:

    - x: the key with the most values that still fit across (`WIDE`), one with short values before one with prompts;
    - y: the key with the most values of those left; a prompt only where nothing else is left, or where it has more than
      `FEW` values (down is where there is room);
    - page: of those left with `FEW` values or less a prompt first (it reads well as a heading), then the one with the most.

    What is still left shares a place of the grid. A single axis is x: a row that wraps.
    """
    left = [key for key, found in values.items() if len(found) > 1 and key not in (spec.x, spec.y, spec.page)]
    prompt = {key: sentence(key, values[key]) for key in left}
    count = {key: len(values[key]) for key in left}

    def take(asked: str | None, keys: Iterable[str], rank: Callable[[str], tuple]) -> str | None:
        best = asked or min(keys, key=rank, default=None)
        if best in left:
            left.remove(best)
        return best

    x = take(spec.x, left, lambda key: (prompt[key], count[key] > WIDE, abs(count[key] - WIDE)))
    y = take(spec.y, left, lambda key: (count[key] <= FEW, prompt[key], -count[key]))
    few = [key for key in left if count[key] <= FEW]
    return SheetSpec(x=x, y=y, page=take(spec.page, few, lambda key: (not prompt[key], -count[key])))


def sentence(key: str, values: Iterable[str]) -> bool:
    return key.rsplit(".", 1)[-1].endswith("prompt") or any(len(value) > LONG for value in values)


def arrange(cells: Sequence[Cell], axes: SheetSpec) -> list[Block]:
    """A block for each value of the page axis; its rows and columns are those that its cells have."""
    places: dict[str | None, dict[tuple[str, str], list[Cell]]] = {}
    for cell in cells:
        value, x, y = (None if key is None else cell.values.get(key, "") for key in (axes.page, axes.x, axes.y))
        places.setdefault(value, {}).setdefault((y or "", x or ""), []).append(cell)
    blocks = []
    for value, grid in places.items():
        columns, rows = tuple(dict.fromkeys(x for _, x in grid)), tuple(dict.fromkeys(y for y, _ in grid))
        blocks.append(Block(value, columns, tuple((y, tuple(tuple(grid.get((y, x), ())) for x in columns)) for y in rows)))
    return blocks


def results(cells: Sequence[Cell], axes: Sequence[str]) -> bytes:
    """A row a job; beside a swept key of the same name, what was measured is called `job.steps`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"job.{name}" if name in axes else name for name in ("number", "state", *COLUMNS)]
    writer.writerow([*names[:2], *map(guarded, axes), *names[2:]])
    for cell in cells:
        own = {"seeds": " ".join(map(str, cell.seeds)), "images": " ".join(f"{cell.folder}/{name}" for name in cell.images)}
        rest = [own[name] if name in own else getattr(cell, name) for name in COLUMNS]
        values = [cell.values.get(axis, "") for axis in axes]
        writer.writerow([cell.number, cell.state, *(guarded(value) if isinstance(value, str) else value for value in (*values, *rest))])
    return text.getvalue().encode()


@lru_cache(maxsize=10_000)
def guarded(text: str) -> str:
    """Text that a spreadsheet would compute gets an apostrophe before it."""
    text = page.clean(text)
    return f"'{text}" if text.lstrip(" ")[:1] in FORMULA and not NUMBER.fullmatch(text) else text
