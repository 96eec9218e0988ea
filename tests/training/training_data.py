"""Small folders of images with captions."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

CAPTIONS = ("a red zorb", "a blue cube")


def write_images(folder: Path, size: tuple[int, int] = (64, 64), captions: tuple[str, ...] = CAPTIONS) -> Path:
    """Write one image of one colour for each caption, named by its number."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = ("#c02020", "#2040c0", "#20a040", "#e0c020")
    for index, caption in enumerate(captions):
        Image.new("RGB", size, colours[index % 4]).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(caption)
    return folder
