"""Texts in image files, and which tool wrote them. They are only ever shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from composer.images import exif as comments
from composer.images import png
from composer.images.reading import open_image

#: Tags of Exif's directory and of UserComment in it.
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
#: Tags that tools write texts into, beside UserComment: ImageDescription, Make, Model, Software, Artist, Copyright.
_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298)
COMPOSER = "composer"
#: Tool → whether it wrote a file's texts; the first match counts.
TOOLS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    COMPOSER: lambda texts: _any(texts, r"(?m)^Steps: \d+, .*Version: composer "),
    "NovelAI": lambda texts: texts.get("Software") == "NovelAI",
    "InvokeAI": lambda texts: any(
        key in texts for key in ("invokeai_metadata", "invokeai_graph", "sd-metadata", "Dream")
    ),
    "Fooocus": lambda texts: "fooocus_scheme" in texts or _any(texts, r'^Fooocus|"version": "Fooocus'),
    "SwarmUI": lambda texts: _any(texts, r'"sui_image_params"'),
    "ComfyUI": lambda texts: _any(texts, r'"class_type"|"last_node_id"|"nodes"\s*:'),
    "AUTOMATIC1111's web UI, or one that writes as it does": lambda texts: _any(texts, r"(?m)^Steps: \d+, "),
}


@dataclass(frozen=True)
class FileTexts:
    """Texts of an image file.

    Attributes:
        texts: Texts by PNG keyword or Exif tag.
        damaged: Keywords of texts that cannot be read.
    """

    texts: Mapping[str, str]
    damaged: tuple[str, ...] = ()

    @property
    def tool(self) -> str | None:
        """Name of the tool that wrote the texts; `None` if it is unknown."""
        return next((name for name, knows in TOOLS.items() if knows(self.texts)), None)


def read_image_texts(path: Path) -> FileTexts:
    """Read all texts in an image file.

    Args:
        path: The file.

    Returns:
        The texts.

    Raises:
        ComposerError: The file is no image, or more than its texts is damaged.
    """
    image = open_image("image", str(path))
    texts, damaged = _of_png(path)
    return FileTexts({**_of_exif(image), **texts}, tuple(damaged))


def _of_png(path: Path) -> tuple[dict[str, str], list[str]]:
    with path.open("rb") as file:
        return png.read_texts(file) if png.is_png(file) else ({}, [])


def _of_exif(image: Image.Image) -> dict[str, str]:
    """Exif texts by tag name, and the comment of a JPEG or GIF."""
    values: dict[str, Any] = {"comment": image.info.get("comment")}
    try:
        exif = image.getexif()
        values |= {ExifTags.TAGS[tag]: exif[tag] for tag in _TAGS if tag in exif}
        values["UserComment"] = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    except Exception:  # unreadable tags are ignored
        pass
    plain = {
        key: comments.decode_comment(value) if isinstance(value, bytes) else value for key, value in values.items()
    }
    return {key: value.strip("\0 ") for key, value in plain.items() if isinstance(value, str) and value.strip("\0 ")}


def _any(texts: Mapping[str, str], pattern: str) -> bool:
    return any(re.search(pattern, text) for text in texts.values())
