"""All jobs of a sweep on one sheet: index.html, contact.png and results.csv."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from composer.errors import ComposerError, suggest
from composer.sweeps.report import contact, page, tables
from composer.sweeps.report.cells import Block, Cell
from composer.sweeps.spec import SheetSpec
from composer.system.files import write_atomically

#: More columns than this do not fit a screen.
WIDE = 12
#: More grids than this are a long way to scroll.
FEW = 12
#: A longer value is read as a sentence: no column's head.
LONG = 32

#: All axes chosen by the number of their values.
AUTOMATIC = SheetSpec()


def write_sheet(
    folder: Path, title: str, cells: Sequence[Cell], spec: SheetSpec = AUTOMATIC, finished: bool = True
) -> None:
    """Writes index.html, contact.png and results.csv into folder, each whole or not at all, and only where it would
    hold something else.

    Jobs of earlier requests are in the tables alone. contact.png decodes every image, so it is made only once the sweep
    is
    `finished`; the others take milliseconds.
    """
    present = [cell for cell in cells if cell.number is not None]
    if present:
        check_axes(spec, tuple(counted(present)))
    axes = laid_out(present, spec)
    blocks = arrange(present, axes)
    renew(folder / "results.csv", tables.results(cells))
    if finished:
        contact.renew(folder, title, present, blocks, axes)
    renew(folder / "index.html", page.render(folder, title, cells, blocks, axes, finished))


def renew(file: Path, data: bytes) -> None:
    """Write a file unless that is what it holds."""
    if not file.exists() or file.read_bytes() != data:
        write_atomically(file, data)


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
            raise ComposerError(
                f"sheet.{name}", key, f"is sheet.{taken[key]} already", [axis for axis in axes if axis not in taken]
            )
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
    - page: of those left with `FEW` values or less a prompt first (it reads well as a heading), then the one with the
    most.

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


def laid_out(cells: Sequence[Cell], spec: SheetSpec) -> SheetSpec:
    """The axes of a page. None at all is a gallery: where what was asked for is a list of jobs and no grid, a grid
    would stay empty.
    """
    values = counted(cells)
    free = independent(cells, values)
    named = (spec.x, spec.y, spec.page)
    axes = choose({key: found for key, found in values.items() if key in free or key in named}, spec)
    if any(named) or axes.x is None:
        return axes
    if axes.y is None:
        several = [key for key, found in values.items() if len(found) > 1]
        return SheetSpec() if len(several) > 1 or sentence(axes.x, values[axes.x]) else axes
    places = sum(len(block.rows) * len(block.columns) for block in arrange(cells, axes))
    return SheetSpec() if 2 * len({tuple(cell.values.items()) for cell in cells}) < places else axes


def independent(cells: Sequence[Cell], values: Mapping[str, Sequence[str]]) -> list[str]:
    """Keys that take several values, without those that another decides, as the seed of a list's row goes with its
    prompt.
    """
    found: list[str] = []
    for key in sorted((key for key in values if len(values[key]) > 1), key=lambda key: -len(values[key])):
        if not any(
            len({(cell.values.get(other), cell.values.get(key)) for cell in cells}) == len(values[other])
            for other in found
        ):
            found.append(key)
    return found


def sentence(key: str, values: Iterable[str]) -> bool:
    return key.rsplit(".", 1)[-1].endswith("prompt") or any(len(value) > LONG for value in values)


def arrange(cells: Sequence[Cell], axes: SheetSpec) -> list[Block]:
    """A block for each value of the page axis; its rows and columns are those that its cells have. In a gallery each
    cell has a column.
    """
    if axes == SheetSpec() and len(cells) > 1:
        return [Block(None, captions(cells), (("", tuple((cell,) for cell in cells)),))]
    places: dict[str | None, dict[tuple[str, str], list[Cell]]] = {}
    for cell in cells:
        value, x, y = (None if key is None else cell.values.get(key, "") for key in (axes.page, axes.x, axes.y))
        places.setdefault(value, {}).setdefault((y or "", x or ""), []).append(cell)
    blocks = []
    for value, grid in places.items():
        columns, rows = tuple(dict.fromkeys(x for _, x in grid)), tuple(dict.fromkeys(y for y, _ in grid))
        blocks.append(
            Block(value, columns, tuple((y, tuple(tuple(grid.get((y, x), ())) for x in columns)) for y in rows))
        )
    return blocks


def captions(cells: Sequence[Cell]) -> tuple[str, ...]:
    """What distinguishes each job of a gallery, in a line."""
    several = {key: values for key, values in counted(cells).items() if len(values) > 1}
    names = {key: "" if sentence(key, values) else f"{key} " for key, values in several.items()}
    return tuple(
        " · ".join(f"{names[key]}{cell.values[key]}" for key in several if key in cell.values) for cell in cells
    )
