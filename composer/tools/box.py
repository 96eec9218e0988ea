"""Tools about a rectangle of an image: `crop`, `box_mask` and `paste`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from PIL import Image, ImageDraw, ImageFilter

from composer.errors import ComposerError
from composer.system.constraints import Ge, Interval, Len
from composer.tools.base import Tool

#: Left, top, right and bottom edge of a rectangle, as fractions of the width and height.
Box = Annotated[Sequence[Annotated[float, Interval(ge=0, le=1)]], Len(4, 4)]
Boxes = Annotated[Sequence[Box], Len(1, 64)]


class BoxTool(Tool):
    """A tool about a rectangle.

    Args:
        box: Left, top, right and bottom edge, as fractions of the image's width and height.
    """

    def __init__(self, box: Box = (0.25, 0.25, 0.75, 0.75)) -> None:
        self.box = tuple(map(float, box))
        left, top, right, bottom = self.box
        if left >= right or top >= bottom:
            raise ComposerError(
                "tool.box", list(box), "must be [left,top,right,bottom], with left < right, top < bottom"
            )

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Compute the edges in pixels.

        Args:
            width: Width of the image.
            height: Height of the image.

        Returns:
            Left, top, right and bottom; at least one pixel between opposite ones.
        """
        left, top = round(self.box[0] * width), round(self.box[1] * height)
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(round(self.box[2] * width), left + 1), max(round(self.box[3] * height), top + 1)


class Crop(BoxTool):
    """Cut a rectangle out of an image."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        left, top, right, bottom = self.pixels(width, height)
        return right - left, bottom - top

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        image = images["image"]
        return image.crop(self.pixels(*image.size))


class BoxMask(Tool):
    """Make a mask of an image's size that is white inside a rectangle, or several.

    Args:
        box: As for `BoxTool`, or a list of them.
        blur: Standard deviation of a Gaussian blur of the edges, in pixels.
    """

    makes = "mask"

    def __init__(self, box: Box | Boxes = (0.25, 0.25, 0.75, 0.75), blur: Annotated[float, Ge(0)] = 0.0) -> None:
        several = [box] if isinstance(box[0], (int, float)) else box
        self.boxes, self.blur = [BoxTool(one) for one in cast(Boxes, several)], blur

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        size = images["image"].size
        mask = Image.new("L", size, 0)
        for left, top, right, bottom in (box.pixels(*size) for box in self.boxes):
            ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
        return mask.filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else mask


class Paste(BoxTool):
    """Put an image back into a rectangle of another one, scaled to its size."""

    inputs = ("image", "patch")

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        result, (left, top, right, bottom) = images["image"].copy(), self.pixels(*images["image"].size)
        result.paste(images["patch"].resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
        return result
