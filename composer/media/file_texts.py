"""Texts in files of any medium. Nothing but images is decoded: files may come from untrusted sources."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from composer.images.embedded_texts import FileTexts, read_image_texts
from composer.media import flac, mp4, riff


def read_file_texts(path: Path) -> FileTexts:
    """Read all texts in an image, a video or a sound.

    Args:
        path: The file.

    Returns:
        The texts.

    Raises:
        ComposerError: The file is no image, MP4, WAV or FLAC, or can't be read.
    """
    try:
        with path.open("rb") as file:
            texts = _texts(file)
    except OSError:  # which the reader of images describes
        texts = None
    return read_image_texts(path) if texts is None else FileTexts(texts)


def _texts(file: BinaryIO) -> dict[str, str] | None:
    """The texts of a video or a sound; `None` for anything else."""
    head = file.read(12)
    if mp4.is_mp4(head):
        return mp4.read_texts(file)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return riff.read_texts(file)
    if head[:4] == flac.SIGNATURE:
        return flac.read_texts(file)
    return None
