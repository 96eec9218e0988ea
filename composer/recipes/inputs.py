"""The inputs of a tool: images and texts, as many of each as it makes results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from composer.config.keys import PROMPTS
from composer.errors import ComposerError


def read_inputs(values: Mapping[str, Any]) -> dict[str, tuple[Image.Image | str, ...]]:
    """Read the inputs of a tool.

    Args:
        values: Key of an input → a file, `sample:NAME`, an image, a text, or a list of them.

    Returns:
        Key of an input → an RGB image or a text for each result.

    Raises:
        ComposerError: An input is missing or invalid, or the numbers of inputs differ.
    """
    inputs = {key: _read(key, value) for key, value in values.items()}
    count = max(map(len, inputs.values()), default=0)
    for key, several in inputs.items():
        if len(several) not in (1, count):
            kind = "texts" if key in PROMPTS else "images"
            raise ComposerError(
                key, len(several), f"{kind} are given, and {count} of another input: give one or {count}"
            )
    return {key: several * count if len(several) == 1 else several for key, several in inputs.items()}


def _read(key: str, value: Any) -> tuple[Image.Image | str, ...]:
    from composer.images.reading import read_image

    several = value if isinstance(value, (list, tuple)) else [value]
    if key in PROMPTS:
        if not several or not all(isinstance(one, str) for one in several):
            raise ComposerError(key, value, f"a text is needed: {key}=TEXT or step:NAME")
        return tuple(several)
    if value is None:
        raise ComposerError(key, None, f"an image is needed: {key}=step:NAME, a file or sample:NAME")
    return tuple(read_image(key, one) for one in several)
