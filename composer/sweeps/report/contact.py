"""contact.png of a sweep: every image or poster as a thumbnail, on one sheet with the values of the axes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from composer.sweeps.report.contact_layout import LINE, MARGIN, Band, SheetLayout, image_slots, layout_sheet
from composer.sweeps.report.contact_text import CAPTION, font, truncate, wrap
from composer.sweeps.report.thumbnails import first_size, thumbnail
from composer.system.files import write_atomically
from composer.version import __version__

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec

#: Maximum side of a sheet in pixels, which viewers still open.
MAX_SIDE = 12_000
#: Minimum width of a sheet in pixels, so that the title fits.
MIN_WIDTH = 420
#: Longer sides of a thumbnail in pixels; the first with which the sheet fits is used.
THUMBNAIL_SIDES = (128, 112, 96, 80, 64, 48, 32, 24, 16, 12, 8, 4, 2)
#: Thumbnails below this width have no text in them.
MIN_STATE_WIDTH = 48
#: Key of the PNG text with the hash of the sheet's sources.
DIGEST_KEY = "composer:digest"
#: The lowest: 4 takes twice as long, a millisecond an image, and saves 15 %.
COMPRESS_LEVEL = 1
TEXT, MUTED, EMPTY = "#1b1d21", "#666c76", "#eeeeec"


def update_contact(folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec) -> None:
    """Write contact.png, unless the present file was rendered from the same data.

    Args:
        folder: Folder of the sweep.
        title: Title of the sheet.
        cells: Jobs of the sheet.
        blocks: The same jobs as grids.
        axes: Axes of the grids.
    """
    states = [[cell.state, dict(cell.values), cell.images, cell.hashes] for cell in cells]
    digest = hashlib.sha256(json.dumps([__version__, title, repr(axes), states]).encode()).hexdigest()
    file = folder / "contact.png"
    if read_digest(file) != digest:
        write_atomically(file, render_contact(folder, title, cells, blocks, axes, digest))


def read_digest(file: Path) -> str | None:
    """Read the hash of a contact sheet's sources.

    Args:
        file: A contact sheet; it need not exist.

    Returns:
        The hash; ``None`` if there is no sheet or it is damaged.
    """
    try:
        with Image.open(file) as image:
            digest = image.info.get(DIGEST_KEY)
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return digest


def render_contact(
    folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec, digest: str = ""
) -> bytes:
    """Render a contact sheet. Images that cannot be read are left empty.

    Args:
        folder: Folder of the sweep.
        title: Title of the sheet.
        cells: Jobs of the sheet.
        blocks: The same jobs as grids.
        axes: Axes of the grids.
        digest: Hash of the sources, which is stored in the file.

    Returns:
        A PNG file.
    """
    layout = choose_layout(folder, cells, blocks, axes)
    width, height = min(max(layout.size[0], MIN_WIDTH), MAX_SIDE), min(layout.size[1], MAX_SIDE)
    renderer = Renderer(folder, layout, Image.new("RGB", (width, height), "white"))
    done = sum(cell.state == "done" for cell in cells)
    count = f"{done} of {len(cells)} jobs" if done < len(cells) else f"{done} jobs"
    renderer.text((MARGIN, MARGIN - 8), truncate(title, width - 2 * MARGIN, 18), TEXT, 18)
    renderer.text((MARGIN, MARGIN + 16), count, MUTED, 12)
    for i, strip in enumerate(layout.strips):
        left, top = MARGIN + i * (layout.strip_width + MARGIN), 2 * MARGIN + LINE
        for band in strip:
            renderer.band(band, left, top)
            top += band.height
    texts, buffer = PngInfo(), io.BytesIO()
    texts.add_text(DIGEST_KEY, digest)
    renderer.sheet.save(buffer, "PNG", compress_level=COMPRESS_LEVEL, pnginfo=texts)
    return buffer.getvalue()


def choose_layout(folder: Path, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec) -> SheetLayout:
    """Lay out a sheet with the largest thumbnails that fit.

    Args:
        folder: Folder of the sweep.
        cells: Jobs of the sheet.
        blocks: The same jobs as grids.
        axes: Axes of the grids.

    Returns:
        The layout; with the smallest thumbnails it may exceed `MAX_SIDE`.
    """
    ratio = first_size(folder, cells)
    *larger, smallest = THUMBNAIL_SIDES
    for side in larger:
        layout = layout_sheet(blocks, axes, side, ratio)
        if max(layout.size) <= MAX_SIDE:
            return layout
    return layout_sheet(blocks, axes, smallest, ratio)


class Renderer:
    """Renderer of a sheet's bands with Pillow.

    Args:
        folder: Folder of the sweep.
        layout: Layout of the sheet.
        sheet: Image to paint on.
    """

    def __init__(self, folder: Path, layout: SheetLayout, sheet: Image.Image) -> None:
        self.folder, self.layout, self.sheet = folder, layout, sheet
        self.pen = ImageDraw.Draw(sheet)

    def text(self, position: tuple[int, int], text: str, colour: str, size: int) -> None:
        """Write one line.

        Args:
            position: Left and top in pixels.
            text: The line.
            colour: Colour of the text.
            size: Font size in pixels.
        """
        self.pen.text(position, text, colour, font(size))

    def band(self, band: Band, left: int, top: int) -> None:
        """Render a heading, column heads, or a row of images.

        Args:
            band: The band.
            left: Pixels from the left of the sheet.
            top: Pixels from the top of the sheet.
        """
        if band.kind == "heading":
            self.text((left, top + 16), truncate(band.text, self.layout.strip_width, 14), TEXT, 14)
        elif band.kind == "heads":
            self._heads(band, left, top)
        else:
            self._row(band, left, top)

    def _heads(self, band: Band, left: int, top: int) -> None:
        axis = truncate(band.text, self.layout.label - 8, 12)
        self.text((left, top + band.height - LINE - 4), axis, MUTED, 12)
        for i, head in enumerate(band.heads):
            lines = wrap(head, self.layout.step - 10, band.height // LINE)
            x = left + self.layout.label + i * self.layout.step
            for j, line in enumerate(lines):
                self.text((x, top + band.height - 4 - (len(lines) - j) * LINE), line, TEXT, CAPTION)

    def _row(self, band: Band, left: int, top: int) -> None:
        label = self.layout.label
        if label and band.height >= LINE - 4:
            for j, line in enumerate(wrap(band.text, label - 10, max(band.height // LINE, 1))):
                self.text((left, top + j * LINE), line, TEXT, CAPTION)
        for i, cells in enumerate(band.columns):
            self._images(cells, left + label + i * self.layout.step, top)

    def _images(self, cells: Sequence[Cell], left: int, top: int) -> None:
        """Thumbnails of one column, or the states of its jobs."""
        (width, height), across = self.layout.box, self.layout.across
        for i, (cell, name) in enumerate(image_slots(cells)):
            x, y = left + i % across * (width + 2), top + i // across * (height + 2)
            image = thumbnail(self.folder / cell.folder / name, (width, height)) if name else None
            if image is not None:
                self.sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
                continue
            self.pen.rectangle((x, y, x + width - 1, y + height - 1), fill=EMPTY)
            if width >= MIN_STATE_WIDTH:
                self.text((x + 6, y + 4), cell.state if cell.state != "done" else "no image", MUTED, 12)
