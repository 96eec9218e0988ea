"""Layout of a contact sheet: bands with headings, column heads and rows of images, in one or several strips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from composer.errors import printable
from composer.sweeps.report.contact_text import CAPTION, text_width, wrap

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec

#: Height in pixels beyond which a sheet continues in a strip to the right.
MAX_STRIP_HEIGHT = 3_000
#: Width in pixels beyond which the columns of a grid continue below.
MAX_GRID_WIDTH = 5_000
#: Pixels between images, around the sheet, and of a line of text.
GAP, MARGIN, LINE = 4, 24, 17
#: Distance of two columns of a gallery in pixels below which captions would be illegible.
MIN_CAPTION_WIDTH = 60
#: Maximum width in pixels of the column of row labels.
MAX_LABEL_WIDTH = 168
#: Ratio of width to height that a gallery aims at.
GALLERY_RATIO = 1.5


@dataclass(frozen=True)
class Band:
    """Part of a strip over its full width.

    Attributes:
        kind: ``"heading"``, ``"heads"`` or ``"row"``.
        height: Height in pixels.
        text: Text of a heading, name of the y axis, or value of a row.
        heads: Heads of the columns.
        columns: Jobs of each column of a row.
    """

    kind: str
    height: int
    text: str = ""
    heads: tuple[str, ...] = ()
    columns: tuple[tuple[Cell, ...], ...] = ()


@dataclass(frozen=True)
class SheetLayout:
    """Layout of a sheet for thumbnails of one size.

    Attributes:
        box: Width and height of an image in pixels.
        across: Number of images side by side in a column.
        label: Width of the column of row labels in pixels.
        strips: Bands of each strip.
    """

    box: tuple[int, int]
    across: int
    label: int
    strips: tuple[tuple[Band, ...], ...]

    @property
    def step(self) -> int:
        """Distance of two columns in pixels."""
        return self.across * (self.box[0] + 2) - 2 + GAP

    @property
    def strip_width(self) -> int:
        """Width of a strip in pixels."""
        columns = max((max(len(band.heads), len(band.columns)) for strip in self.strips for band in strip), default=0)
        return self.label + columns * self.step

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet in pixels."""
        height = max((sum(band.height for band in strip) for strip in self.strips), default=0)
        return len(self.strips) * (self.strip_width + MARGIN) + MARGIN, height + 3 * MARGIN + LINE


def layout_sheet(blocks: Sequence[Block], axes: SheetSpec, side: int, ratio: tuple[int, int]) -> SheetLayout:
    """Lay out all grids for one size of thumbnails.

    Args:
        blocks: Grids of the sheet.
        axes: Axes of the grids.
        side: Longer side of a thumbnail in pixels.
        ratio: Width and height of an image in any unit.

    Returns:
        The layout.
    """
    scale = side / max(ratio)
    box = max(round(ratio[0] * scale), 1), max(round(ratio[1] * scale), 1)
    most = max((len(image_slots(cells)) for block in blocks for _, row in block.rows for cells in row), default=1)
    across = max(math.ceil(math.sqrt(most)), 1)
    layout = SheetLayout(box, across, _label_width(blocks, axes), ())
    bands = [band for block in blocks for band in _bands(block, axes, layout)]
    total = sum(band.height for band in bands)
    columns = max((len(band.columns) for band in bands), default=1)
    strips = 1
    if total > MAX_STRIP_HEIGHT:
        strips = max(1, round(math.sqrt(total / (layout.label + columns * layout.step + MARGIN))))
    height = math.ceil(total / strips) + max((band.height for band in bands), default=0)
    return replace(layout, strips=tuple(_split_strips(bands, height)))


def _label_width(blocks: Sequence[Block], axes: SheetSpec) -> int:
    if axes.y is None:
        return 0
    widths = [text_width(value, CAPTION) for block in blocks for value, _ in block.rows]
    return min(MAX_LABEL_WIDTH, max([text_width(axes.y, 12), *widths]) + 12)


def image_slots(cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
    """List the images of some jobs.

    Args:
        cells: Jobs in one column of a row.

    Returns:
        Pairs of a job and a file name; the name is empty for a job without images, which takes the space of one.
    """
    return [(cell, name) for cell in cells for name in ((cell.state == "done" and cell.shown) or ("",))]


def _bands(block: Block, axes: SheetSpec, layout: SheetLayout) -> Iterator[Band]:
    """Bands of a grid; too many columns continue below, and without a y axis they form a rectangle."""
    if axes.page is not None:
        yield Band("heading", LINE + 26, f"{axes.page}  {printable(block.value or '')}")
    is_gallery = axes.x is axes.y is None and any(block.columns) and layout.step >= MIN_CAPTION_WIDTH
    columns = len(block.columns)
    if axes.y is None:
        columns = math.ceil(math.sqrt(columns * GALLERY_RATIO * layout.box[1] / layout.box[0]))
    columns = max(1, min(columns, (MAX_GRID_WIDTH - layout.label) // layout.step))
    for begin in range(0, len(block.columns), columns):
        heads = block.columns[begin : begin + columns] if axes.x is not None or is_gallery else ()
        if heads:
            lines = max(len(wrap(head, layout.step - 10, 6 if is_gallery else 2)) for head in heads)
            yield Band("heads", lines * LINE + 8, axes.y or "", heads)
        for value, row in block.rows:
            part = row[begin : begin + columns]
            most = max(len(image_slots(cells)) for cells in part)
            height = max(math.ceil(most / layout.across), 1) * (layout.box[1] + 2) - 2 + GAP
            yield Band("row", height + (8 if axes.y is None else 0), value, (), part)


def _split_strips(bands: Sequence[Band], height: int) -> Iterator[tuple[Band, ...]]:
    """Split bands into strips of about this height; a strip that begins with a row repeats the heads above it."""
    strip: list[Band] = []
    above: dict[str, Band] = {}
    filled = 0
    for i, band in enumerate(bands):
        following = 0  # height of the first row below heads, which must not be separated from them
        if band.kind != "row":
            following = next((after.height for after in bands[i + 1 : i + 3] if after.kind == "row"), 0)
        if strip and strip[-1].kind == "row" and filled + band.height + following > height:
            yield tuple(strip)
            strip = [before for before in above.values() if band.kind not in ("heading", before.kind)]
            filled = sum(before.height for before in strip)
        if band.kind == "heading":
            above = {}
        if band.kind != "row":
            above[band.kind] = band
        strip.append(band)
        filled += band.height
    if strip:
        yield tuple(strip)
