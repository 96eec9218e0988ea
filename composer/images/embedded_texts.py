"""Texts in image files, and which tool's they are: only ever data to show."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from composer.images import exif as comments
from composer.images import png
from composer.images.reading import open_picture

#: Exif's own folder, and in it UserComment.
EXIF, COMMENT = 0x8769, 0x9286
#: Tags that tools write texts into, beside UserComment: ImageDescription, Make, Model, Software, Artist, Copyright.
_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298)
OURS = "composer"
#: Tool → whether a file's texts are its own; the first that says so.
TOOLS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    OURS: lambda texts: _any(texts, r"(?m)^Steps: \d+, .*Version: composer "),
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
class ImageTexts:
    """texts: by PNG keyword or Exif tag. damaged: keywords of those that can't be read. tool: whose they are, None
    where unknown.
    """

    texts: Mapping[str, str]
    damaged: tuple[str, ...] = ()

    @property
    def tool(self) -> str | None:
        return next((name for name, knows in TOOLS.items() if knows(self.texts)), None)


def read(path: Path) -> ImageTexts:
    """All texts in an image file.

    Raises:
        ComposerError: it is no image, or damaged beyond its texts.
    """
    image = open_picture("image", str(path))
    found, damaged = _of_png(path)
    return ImageTexts({**_of_exif(image), **found}, tuple(damaged))


def _of_png(path: Path) -> tuple[dict[str, str], list[str]]:
    with path.open("rb") as file:
        return png.texts(file) if png.is_png(file) else ({}, [])


def _of_exif(image: Image.Image) -> dict[str, str]:
    """Exif's texts by the names of their tags; and a JPEG's or GIF's own comment."""
    found: dict[str, Any] = {"comment": image.info.get("comment")}
    try:
        exif = image.getexif()
        found |= {ExifTags.TAGS[tag]: exif[tag] for tag in _TAGS if tag in exif}
        found["UserComment"] = exif.get_ifd(EXIF).get(COMMENT)
    except Exception:  # tags that can't be read say nothing
        pass
    plain = {key: comments.decoded(value) if isinstance(value, bytes) else value for key, value in found.items()}
    return {key: value.strip("\0 ") for key, value in plain.items() if isinstance(value, str) and value.strip("\0 ")}


def _any(texts: Mapping[str, str], pattern: str) -> bool:
    return any(re.search(pattern, text) for text in texts.values())
