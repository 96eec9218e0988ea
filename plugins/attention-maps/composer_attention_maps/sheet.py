"""A sheet of images: the image itself, then once for each word under that word's heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from torch import Tensor

EDGE, LABEL, GAP = 192, 22, 6


def sheet(image: Image.Image, maps: Mapping[str, Tensor]) -> Image.Image:
    """RGB, one cell of 192 pixels' width for the image and for each word."""
    size = EDGE, max(1, round(EDGE * image.height / image.width))
    plain = image.convert("RGB").resize(size)
    cells = [("", plain), *((word, heated(plain, heat)) for word, heat in maps.items())]
    columns = min(len(cells), max(4, math.ceil(len(cells) ** 0.5)))
    rows = math.ceil(len(cells) / columns)
    paper = Image.new("RGB", (columns * (size[0] + GAP) + GAP, rows * (size[1] + LABEL + GAP) + GAP), "white")
    canvas, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    for i, (word, cell) in enumerate(cells):
        left, top = GAP + i % columns * (size[0] + GAP), GAP + i // columns * (size[1] + LABEL + GAP)
        paper.paste(cell, (left, top))
        canvas.text((left + 2, top + size[1] + 2), word[:24], "black", font)
    return paper


def heated(image: Image.Image, heat: Tensor) -> Image.Image:
    """An image under a map (h, w), from its least (blue) to its most (yellow)."""
    spread = (heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12)
    grey = Image.fromarray((spread * 255).round().byte().numpy()).resize(image.size, Image.Resampling.BICUBIC)
    return Image.blend(image, ImageOps.colorize(grey, "#101060", "#ffee60", mid="#d1495b"), 0.6)
