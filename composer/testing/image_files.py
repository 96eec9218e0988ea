"""Image files compared by what is seen: their metadata tells when they were generated, so that no two files are alike."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def pixels(path: str | Path) -> bytes:
    """The decoded pixels of an image file."""
    with Image.open(path) as image:
        return image.tobytes()
