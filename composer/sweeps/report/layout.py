"""Axes and grids of a sweep's sheet: which swept key is x, y or page, and which jobs are in which column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from composer.errors import ComposerError, suggest
from composer.sweeps.report.cells import Block, Cell
from composer.sweeps.spec import SheetSpec

#: More columns than this do not fit a screen.
MAX_COLUMNS = 12
#: More grids than this are a long way to scroll.
MAX_GRIDS = 12
#: Values with more characters are read as sentences, and are no heads of columns.
MAX_HEAD_CHARACTERS = 32

#: All axes are chosen by the number of their values.
AUTOMATIC = SheetSpec()


def check_axes(spec: SheetSpec, axes: Sequence[str]) -> None:
    """Check the requested axes.

    Args:
        spec: Requested axes.
        axes: Swept keys.

    Raises:
        ComposerError: A key is not swept, is requested for two axes, or beside an order.
    """
    if spec.sort is not None and (named := next((name for name in ("x", "y", "page") if getattr(spec, name)), None)):
        raise ComposerError(
            "sheet.sort", spec.sort, f"orders jobs in a gallery, which has no axes: leave out sheet.{named}"
        )
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


def distinct_values(cells: Sequence[Cell]) -> dict[str, tuple[str, ...]]:
    """Collect the distinct values of each swept key.

    Args:
        cells: Jobs of the sheet.

    Returns:
        Values by key, both in the order of the jobs.
    """
    values: dict[str, dict[str, None]] = {}
    for cell in cells:
        for key, value in cell.values.items():
            values.setdefault(key, {})[value] = None
    return {key: tuple(distinct) for key, distinct in values.items()}


def choose_axes(values: Mapping[str, Sequence[str]], spec: SheetSpec) -> SheetSpec:
    """Choose the axes that the spec leaves open, among the keys with two values or more.

    - x: the key with the most values up to `MAX_COLUMNS`; short values before prompts.
    - y: the key with the most values of those that remain; a prompt only if it has more than `MAX_GRIDS` values or no
      other key remains.
    - page: of those that remain with up to `MAX_GRIDS` values a prompt first, which reads well as a heading, then the
      one with the most values.

    Jobs that differ in further keys are in the same column of a row. A single axis is x, as a row that wraps.

    Args:
        values: Distinct values of each key.
        spec: Requested axes.

    Returns:
        All axes; ``None`` for those that no key remains for.
    """
    open_keys = [
        key for key, distinct in values.items() if len(distinct) > 1 and key not in (spec.x, spec.y, spec.page)
    ]
    is_prompt = {key: are_sentences(key, values[key]) for key in open_keys}
    count = {key: len(values[key]) for key in open_keys}

    def take(requested: str | None, keys: Iterable[str], rank: Callable[[str], tuple[Any, ...]]) -> str | None:
        best = requested or min(keys, key=rank, default=None)
        if best in open_keys:
            open_keys.remove(best)
        return best

    x = take(spec.x, open_keys, lambda key: (is_prompt[key], count[key] > MAX_COLUMNS, abs(count[key] - MAX_COLUMNS)))
    y = take(spec.y, open_keys, lambda key: (count[key] <= MAX_GRIDS, is_prompt[key], -count[key]))
    pages = [key for key in open_keys if count[key] <= MAX_GRIDS]
    return SheetSpec(x=x, y=y, page=take(spec.page, pages, lambda key: (not is_prompt[key], -count[key])))


def resolve_axes(cells: Sequence[Cell], spec: SheetSpec) -> SheetSpec:
    """Choose the axes of a sheet, or a gallery without axes.

    Args:
        cells: Jobs of the sheet.
        spec: Requested axes.

    Returns:
        The axes. None is set for a list of jobs that would leave most of a grid empty.
    """
    if spec.sort is not None:
        return SheetSpec()
    values = distinct_values(cells)
    independent = independent_keys(cells, values)
    requested = (spec.x, spec.y, spec.page)
    candidates = {key: distinct for key, distinct in values.items() if key in independent or key in requested}
    axes = choose_axes(candidates, spec)
    if any(requested) or axes.x is None:
        return axes
    if axes.y is None:
        several = [key for key, distinct in values.items() if len(distinct) > 1]
        return SheetSpec() if len(several) > 1 or are_sentences(axes.x, values[axes.x]) else axes
    slots = sum(len(block.rows) * len(block.columns) for block in arrange(cells, axes))
    return SheetSpec() if 2 * len({tuple(cell.values.items()) for cell in cells}) < slots else axes


def independent_keys(cells: Sequence[Cell], values: Mapping[str, Sequence[str]]) -> list[str]:
    """Select the keys that no other key determines, unlike the seed in a list of prompts with a seed each.

    Args:
        cells: Jobs of the sheet.
        values: Distinct values of each key.

    Returns:
        Keys with several values, most values first.
    """
    independent: list[str] = []
    for key in sorted((key for key in values if len(values[key]) > 1), key=lambda key: -len(values[key])):
        pairs = ({(cell.values.get(other), cell.values.get(key)) for cell in cells} for other in independent)
        if not any(len(pair) == len(values[other]) for pair, other in zip(pairs, independent)):
            independent.append(key)
    return independent


def are_sentences(key: str, values: Iterable[str]) -> bool:
    """Test whether the values of a key are texts to be read.

    Args:
        key: A swept key.
        values: Its values.

    Returns:
        Whether it is a prompt, or some value is longer than `MAX_HEAD_CHARACTERS`.
    """
    return key.rsplit(".", 1)[-1].endswith("prompt") or any(len(value) > MAX_HEAD_CHARACTERS for value in values)


def arrange(cells: Sequence[Cell], axes: SheetSpec) -> list[Block]:
    """Arrange jobs in grids.

    Args:
        cells: Jobs of the sheet.
        axes: Axes of the sheet.

    Returns:
        A grid for each value of the page axis, with the rows and columns that its jobs have. A gallery is one row with
        a column for each job.
    """
    if axes == SheetSpec() and len(cells) > 1:
        return [Block(None, captions(cells), (("", tuple((cell,) for cell in cells)),))]
    grids: dict[str | None, dict[tuple[str, str], list[Cell]]] = {}
    for cell in cells:
        value, x, y = (None if key is None else cell.values.get(key, "") for key in (axes.page, axes.x, axes.y))
        grids.setdefault(value, {}).setdefault((y or "", x or ""), []).append(cell)
    return [_block(value, grid) for value, grid in grids.items()]


def _block(value: str | None, grid: Mapping[tuple[str, str], Sequence[Cell]]) -> Block:
    columns, rows = tuple(dict.fromkeys(x for _, x in grid)), tuple(dict.fromkeys(y for y, _ in grid))
    return Block(value, columns, tuple((y, tuple(tuple(grid.get((y, x), ())) for x in columns)) for y in rows))


def captions(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Caption the jobs of a gallery by the values in which they differ.

    Args:
        cells: Jobs of the gallery.

    Returns:
        One line for each job.
    """
    several = {key: values for key, values in distinct_values(cells).items() if len(values) > 1}
    names = {key: "" if are_sentences(key, values) else f"{key} " for key, values in several.items()}
    return tuple(
        " · ".join(f"{names[key]}{cell.values[key]}" for key in several if key in cell.values) for cell in cells
    )
