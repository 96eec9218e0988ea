"""The tool `resize`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from PIL import Image

from composer.errors import ComposerError
from composer.system.constraints import Gt, Interval
from composer.tools.base import Tool

#: Longest side of a result, in pixels.
MAX_SIDE = 16384


def within(size: tuple[int, int], factor: float | None) -> tuple[int, int]:
    """Refuse the size of a result that is too large.

    Args:
        size: Width and height in pixels.
        factor: The factor that leads to it, for the error.

    Returns:
        The size; at least 1.

    Raises:
        ComposerError: A side is longer than `MAX_SIDE`.
    """
    if max(size) > MAX_SIDE:
        reason = f"makes {size[0]} x {size[1]} pixels, and {MAX_SIDE} are the most of a side"
        raise ComposerError("tool.factor", factor, reason)
    return max(size[0], 1), max(size[1], 1)


class Resize(Tool):
    """Scale an image. https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.resize

    Args:
        factor: Factor of both sides; None with a width or height.
        width: Width in pixels; None follows from the height.
        height: Height in pixels; None follows from the width.
        filter: Filter of PIL.
    """

    def __init__(
        self,
        factor: Annotated[float, Gt(0)] | None = 2.0,
        width: Annotated[int, Interval(ge=1, le=MAX_SIDE)] | None = None,
        height: Annotated[int, Interval(ge=1, le=MAX_SIDE)] | None = None,
        filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "lanczos",
    ) -> None:
        self.factor, self.width, self.height, self.filter = factor, width, height, filter
        if factor is None and width is None and height is None:
            raise ComposerError("tool.factor", None, "a factor, a width or a height is needed")

    def size(self, width: int, height: int) -> tuple[int, int]:
        factor = self.factor or 1.0
        if self.width is not None or self.height is not None:
            factor = self.width / width if self.width is not None else (self.height or height) / height
        return within((self.width or round(width * factor), self.height or round(height * factor)), self.factor)

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        image = images["image"]
        return image.resize(self.size(*image.size), Image.Resampling[self.filter.upper()])
