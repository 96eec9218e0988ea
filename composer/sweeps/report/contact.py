"""contact.png of a sweep: every image small, on one sheet with the axes written beside them."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from composer.errors import printable
from composer.sweeps.report.page import first_size
from composer.system.files import write_atomically
from composer.version import __version__

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Block, Cell
    from composer.sweeps.spec import SheetSpec

#: Pixels a side: what viewers still open.
LIMIT = 12_000
#: Longer side of a thumbnail; the first with which the sheet fits is taken.
SIDES = (128, 112, 96, 80, 64, 48, 32, 24, 16, 12, 8, 4, 2)
#: A higher sheet goes on in a strip to the right, a wider grid in rows below.
TALL, WIDE = 3_000, 5_000
GAP, MARGIN, LINE = 4, 24, 17
#: From an image to the next in a gallery, with less than which no caption could be read.
LEGIBLE = 60
#: The name under which the sheet bears the sum over what it was drawn from.
DIGEST = "composer:digest"
INK, SOFT, EMPTY = "#1b1d21", "#666c76", "#eeeeec"


@dataclass(frozen=True)
class SheetLine:
    """What stands across a strip: a heading, the heads of columns, or a row of places."""

    kind: str
    height: int
    text: str = ""
    heads: tuple[str, ...] = ()
    places: tuple[tuple[Cell, ...], ...] = ()


@dataclass(frozen=True)
class Plan:
    """Sizes in pixels, for thumbnails of one size."""

    box: tuple[int, int]  # of an image
    across: int  # images beside each other in a place
    label: int  # the column of row labels
    strips: tuple[tuple[SheetLine, ...], ...]

    @property
    def step(self) -> int:
        """From a column to the next."""
        return self.across * (self.box[0] + 2) - 2 + GAP

    @property
    def strip(self) -> int:
        """Width of a strip."""
        columns = max((max(len(line.heads), len(line.places)) for strip in self.strips for line in strip), default=0)
        return self.label + columns * self.step

    @property
    def size(self) -> tuple[int, int]:
        height = max((sum(line.height for line in strip) for strip in self.strips), default=0)
        return len(self.strips) * (self.strip + MARGIN) + MARGIN, height + 3 * MARGIN + LINE


def renew(folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec) -> None:
    """Write contact.png, unless the one that is there was drawn from the same: it bears a sum over that."""
    what = [__version__, title, repr(axes), [[cell.state, dict(cell.values), cell.images, cell.sums] for cell in cells]]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    file = folder / "contact.png"
    if digest_in(file) != digest:
        write_atomically(file, draw(folder, title, cells, blocks, axes, digest))


def digest_in(file: Path) -> str | None:
    """The sum that a contact sheet bears; None where there is no sheet, or a damaged one."""
    try:
        with Image.open(file) as image:
            found = image.info.get(DIGEST)
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return found


def draw(
    folder: Path, title: str, cells: Sequence[Cell], blocks: Sequence[Block], axes: SheetSpec, digest: str = ""
) -> bytes:
    """The sheet as a PNG. An image that can't be read leaves its place empty."""
    ratio = first_size(folder, cells)
    for side in SIDES:
        plan = lay(blocks, axes, side, ratio)
        if max(plan.size) <= LIMIT:
            break
    width, height = min(max(plan.size[0], 420), LIMIT), min(plan.size[1], LIMIT)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    done = sum(cell.state == "done" for cell in cells)
    pen.text((MARGIN, MARGIN - 8), fit(title, width - 2 * MARGIN, 18), INK, font(18))
    pen.text(
        (MARGIN, MARGIN + 16), f"{done} of {len(cells)} jobs" if done < len(cells) else f"{done} jobs", SOFT, font(12)
    )
    for i, strip in enumerate(plan.strips):
        left, top = MARGIN + i * (plan.strip + MARGIN), 2 * MARGIN + LINE
        for line in strip:
            draw_line(sheet, pen, folder, plan, line, left, top)
            top += line.height
    about, buffer = PngInfo(), io.BytesIO()
    about.add_text(DIGEST, digest)
    sheet.save(
        buffer, "PNG", compress_level=4, pnginfo=about
    )  # 6 takes twice as long (2,000 images: 8 s), and saves 3 %
    return buffer.getvalue()


def lay(blocks: Sequence[Block], axes: SheetSpec, side: int, ratio: tuple[int, int]) -> Plan:
    """Lines of all blocks, in strips."""
    scale = side / max(ratio)
    box = max(round(ratio[0] * scale), 1), max(round(ratio[1] * scale), 1)
    most = max((len(images(place)) for block in blocks for _, places in block.rows for place in places), default=1)
    across = max(math.ceil(math.sqrt(most)), 1)
    label = 0
    if axes.y is not None:
        label = min(
            168, max([width(axes.y, 12), *(width(value, 13) for block in blocks for value, _ in block.rows)]) + 12
        )
    plan = Plan(box, across, label, ())
    lines = [line for block in blocks for line in block_lines(block, axes, plan)]
    total = sum(line.height for line in lines)
    columns = max((len(line.places) for line in lines), default=1)
    strips = 1 if total <= TALL else max(1, round(math.sqrt(total / (label + columns * plan.step + MARGIN))))
    return replace(
        plan, strips=tuple(broken(lines, math.ceil(total / strips) + max((line.height for line in lines), default=0)))
    )


def images(place: Sequence[Cell]) -> list[tuple[Cell, str]]:
    """What is drawn in a place; a job without images takes the room of one."""
    return [(cell, name) for cell in place for name in ((cell.state == "done" and cell.images) or ("",))]


def block_lines(block: Block, axes: SheetSpec, plan: Plan) -> Iterator[SheetLine]:
    """A heading; then heads and rows. Columns wrap where they are too many; without y into a rectangle."""
    if axes.page is not None:
        yield SheetLine("heading", LINE + 26, f"{axes.page}  {printable(block.value or '')}")
    columns = len(block.columns)
    gallery = axes.x is axes.y is None and any(block.columns) and plan.step >= LEGIBLE
    if axes.y is None:
        columns = math.ceil(math.sqrt(columns * 1.5 * plan.box[1] / plan.box[0]))
    columns = max(1, min(columns, (WIDE - plan.label) // plan.step))
    for at in range(0, len(block.columns), columns):
        heads = block.columns[at : at + columns] if axes.x is not None or gallery else ()
        if heads:
            deep = max(len(wrapped(head, plan.step - 10, 6 if gallery else 2)) for head in heads)
            yield SheetLine("heads", deep * LINE + 8, axes.y or "", heads)
        for value, places in block.rows:
            places = places[at : at + columns]
            most = max(len(images(place)) for place in places)
            height = max(math.ceil(most / plan.across), 1) * (plan.box[1] + 2) - 2 + GAP
            yield SheetLine("row", height + (8 if axes.y is None else 0), value, (), places)


def broken(lines: Sequence[SheetLine], height: int) -> Iterator[tuple[SheetLine, ...]]:
    """Lines cut into strips of about this height; a strip that begins with a row repeats what stands above it."""
    strip: list[SheetLine] = []
    above: dict[str, SheetLine] = {}
    filled = 0
    for i, line in enumerate(lines):
        follow = (
            next((after.height for after in lines[i + 1 : i + 3] if after.kind == "row"), 0)
            if line.kind != "row"
            else 0
        )
        if strip and strip[-1].kind == "row" and filled + line.height + follow > height:
            yield tuple(strip)
            strip = [before for before in above.values() if line.kind not in ("heading", before.kind)]
            filled = sum(before.height for before in strip)
        if line.kind == "heading":
            above = {}
        if line.kind != "row":
            above[line.kind] = line
        strip.append(line)
        filled += line.height
    if strip:
        yield tuple(strip)


def draw_line(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, folder: Path, plan: Plan, line: SheetLine, left: int, top: int
) -> None:
    if line.kind == "heading":
        pen.text((left, top + 16), fit(line.text, plan.strip, 14), INK, font(14))
    elif line.kind == "heads":
        pen.text((left, top + line.height - LINE - 4), fit(line.text, plan.label - 8, 12), SOFT, font(12))
        for i, head in enumerate(line.heads):
            texts = wrapped(head, plan.step - 10, line.height // LINE)
            for j, text in enumerate(texts):
                pen.text(
                    (left + plan.label + i * plan.step, top + line.height - 4 - (len(texts) - j) * LINE),
                    text,
                    INK,
                    font(13),
                )
    else:
        if plan.label and line.height >= LINE - 4:
            for j, text in enumerate(wrapped(line.text, plan.label - 10, max(line.height // LINE, 1))):
                pen.text((left, top + j * LINE), text, INK, font(13))
        for i, place in enumerate(line.places):
            draw_place(sheet, pen, folder, plan, place, left + plan.label + i * plan.step, top)


def draw_place(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, folder: Path, plan: Plan, place: Sequence[Cell], left: int, top: int
) -> None:
    for i, (cell, name) in enumerate(images(place)):
        x, y = left + i % plan.across * (plan.box[0] + 2), top + i // plan.across * (plan.box[1] + 2)
        small = thumbnail(folder / cell.folder / name, plan.box) if name else None
        if small is not None:
            sheet.paste(small, (x + (plan.box[0] - small.width) // 2, y + (plan.box[1] - small.height) // 2))
            continue
        pen.rectangle((x, y, x + plan.box[0] - 1, y + plan.box[1] - 1), fill=EMPTY)
        if plan.box[0] >= 48:
            pen.text((x + 6, y + 4), cell.state if cell.state != "done" else "no image", SOFT, font(12))


def thumbnail(path: Path, box: tuple[int, int]) -> Image.Image | None:
    """An image no larger than the box, transparency on white; None where it can't be read."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * box[0], 2 * box[1]))  # JPEG alone: decoded at a fraction of its size
            if image.mode != "RGB":
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            image.thumbnail(box, reducing_gap=3)
            return image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=10_000)
def width(text: str, size: int) -> int:
    """Pixels, of no more text than could ever matter."""
    return math.ceil(font(size).getlength(printable(text)[:200]))


def fit(text: str, most: int, size: int) -> str:
    """As much of a text as is `most` pixels wide."""
    text = printable(text)
    if width(text, size) <= most:
        return text
    low, high = 0, min(len(text), 200)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(text[:middle] + "…", size) <= most else (low, middle - 1)
    return text[:low].rstrip() + "…" if low else ""


def wrapped(text: str, most: int, lines: int) -> list[str]:
    """At most so many lines; what does not fit ends in `…`."""
    words, found = printable(text).split(), []
    while words and len(found) < lines - 1:
        count = next((n for n in range(len(words), 0, -1) if width(" ".join(words[:n]), 13) <= most), 0)
        if not count:
            break
        found.append(" ".join(words[:count]))
        words = words[count:]
    return [*found, fit(" ".join(words), most, 13)] if words else found
