"""Comparison of image files by their pixels: metadata holds the time of generation, so no two files are identical."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def pixels(path: str | Path) -> bytes:
    """Decode an image file.

    Args:
        path: The file.

    Returns:
        Bytes of its pixels, row by row.
    """
    with Image.open(path) as image:
        return bytes(image.tobytes())
