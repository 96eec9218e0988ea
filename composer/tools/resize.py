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
        result = self.width or max(round(width * factor), 1), self.height or max(round(height * factor), 1)
        if max(result) > MAX_SIDE:
            reason = f"makes {result[0]} x {result[1]} pixels, and {MAX_SIDE} are the most of a side"
            raise ComposerError("tool.factor", self.factor, reason)
        return result

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        image = images["image"]
        return image.resize(self.size(*image.size), Image.Resampling[self.filter.upper()])
