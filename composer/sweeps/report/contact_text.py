"""Text on a contact sheet: widths in pixels, truncation and wrapping."""

from __future__ import annotations

import math
from functools import cache, lru_cache

from PIL import ImageFont

from composer.errors import printable

#: Further characters of a text are never visible.
MAX_CHARACTERS = 200
#: Font size of captions and heads, in pixels.
CAPTION = 13


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's font.

    Args:
        size: Size in pixels.

    Returns:
        The font.
    """
    return ImageFont.load_default(size)


@lru_cache(maxsize=10_000)
def text_width(text: str, size: int) -> int:
    """Measure a text.

    Args:
        text: One line.
        size: Font size in pixels.

    Returns:
        Width of its first `MAX_CHARACTERS` characters in pixels.
    """
    return math.ceil(font(size).getlength(printable(text)[:MAX_CHARACTERS]))


def truncate(text: str, max_width: int, size: int) -> str:
    """Cut a text to a width.

    Args:
        text: One line.
        max_width: Width in pixels.
        size: Font size in pixels.

    Returns:
        The text, or as much of it as fits with ``…``; empty if not even one character does.
    """
    text = printable(text)
    if text_width(text, size) <= max_width:
        return text
    low, high = 0, min(len(text), MAX_CHARACTERS)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle] + "…", size) <= max_width else (low, middle - 1)
    return text[:low].rstrip() + "…" if low else ""


def wrap(text: str, max_width: int, max_lines: int) -> list[str]:
    """Break a caption into lines.

    Args:
        text: The caption.
        max_width: Width in pixels.
        max_lines: Number of lines, >= 1.

    Returns:
        Lines of captions; the last one ends in ``…`` if the text is longer.
    """
    words, lines = printable(text).split(), list[str]()
    while words and len(lines) < max_lines - 1:
        counts = range(len(words), 0, -1)
        count = next((n for n in counts if text_width(" ".join(words[:n]), CAPTION) <= max_width), 0)
        if not count:
            break
        lines.append(" ".join(words[:count]))
        words = words[count:]
    return [*lines, truncate(" ".join(words), max_width, CAPTION)] if words else lines
