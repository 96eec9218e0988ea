"""Reading of a sweep's images for its sheet; damaged files are tolerated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

#: Size that is assumed if no image can be read.
DEFAULT_SIZE = (128, 128)
#: Number of jobs whose first image is tried for the size of all.
MAX_TRIED = 3


def first_size(folder: Path, cells: Sequence[Cell]) -> tuple[int, int]:
    """Find the size of the first image, which the layout assumes for all.

    Args:
        folder: Folder of the sweep.
        cells: Jobs of the sheet.

    Returns:
        Width and height in pixels.
    """
    for cell in [cell for cell in cells if cell.shown][:MAX_TRIED]:
        try:
            with Image.open(folder / cell.folder / cell.shown[0]) as image:
                return image.size
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return DEFAULT_SIZE


def thumbnail(path: Path, box: tuple[int, int]) -> Image.Image | None:
    """Read an image at a small size.

    Args:
        path: Image file.
        box: Maximum width and height in pixels.

    Returns:
        An RGB image with transparency on white; ``None`` if the file cannot be read.
    """
    try:
        with Image.open(path) as file:
            file.draft("RGB", (2 * box[0], 2 * box[1]))  # JPEG only: decodes at a fraction of the size
            image: Image.Image = file
            if image.mode != "RGB":
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            image.thumbnail(box, reducing_gap=3)
            return image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
