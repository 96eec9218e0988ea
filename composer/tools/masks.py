"""Tools about masks: `threshold`, `crop_to_mask`, `paste_to_mask` and `cut_out`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from composer.errors import ComposerError
from composer.images.masks import composite, feather_mask
from composer.images.reading import MASK_THRESHOLD
from composer.system.constraints import Fraction, Ge, Interval
from composer.tools.base import Tool
from composer.tools.resize import MAX_SIDE

#: Which region of a mask is meant: 1 is the largest, and None all that is marked.
Region = Annotated[int, Interval(ge=1, le=64)] | None
Side = Annotated[int, Interval(ge=8, le=MAX_SIDE)]


def softened(mask: Image.Image, grow: int, blur: float) -> Image.Image:
    """Grow what is white in a mask, then soften its edges.

    Args:
        mask: A mask of mode L.
        grow: Pixels by which white grows on all sides.
        blur: Standard deviation of a Gaussian blur, in pixels.

    Returns:
        The mask.
    """
    if grow:
        from scipy.ndimage import maximum_filter

        mask = Image.fromarray(maximum_filter(np.asarray(mask), 2 * grow + 1))
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def region_of(mask: Image.Image, region: int | None) -> Image.Image:
    """Keep one region of a mask; white pixels that touch, also by their corners, are of one region.

    Args:
        mask: A mask of mode L.
        region: 1 for the largest region, 2 for the next one; None for all of the mask.

    Returns:
        The mask, which is black where there are fewer regions.
    """
    if region is None:
        return mask
    from scipy.ndimage import label

    levels = np.asarray(mask)
    result: Any = label(levels >= MASK_THRESHOLD, np.ones((3, 3)))  # annotated as a number too
    labels, count = result
    if region > count:
        return Image.new("L", mask.size, 0)
    by_size = np.argsort(-np.bincount(labels.ravel())[1:], kind="stable")
    return Image.fromarray(levels * (labels == by_size[region - 1] + 1))


def box_around(mask: Image.Image, padding: float, aspect: float) -> tuple[int, int, int, int]:
    """Find the rectangle of a shape that holds what is white in a mask.

    Args:
        mask: A mask of mode L.
        padding: What is added on each side, as a fraction of the longer side of what is white.
        aspect: Width through height of the rectangle, kept as far as the image is large enough.

    Returns:
        Left, top, right and bottom in pixels, inside of the image; all of it if nothing is white.
    """
    left, top, right, bottom = mask.point([255 * (level >= MASK_THRESHOLD) for level in range(256)]).getbbox() or (
        0,
        0,
        *mask.size,
    )
    more = 2 * padding * max(right - left, bottom - top)
    width, height = right - left + more, bottom - top + more
    width, height = max(width, height * aspect), max(height, width / aspect)
    horizontal = _interval((left + right) / 2, width, mask.width)
    vertical = _interval((top + bottom) / 2, height, mask.height)
    return horizontal[0], vertical[0], horizontal[1], vertical[1]


def _interval(centre: float, length: float, limit: int) -> tuple[int, int]:
    """An interval around a centre, moved to be inside of the image."""
    pixels = min(max(round(length), 1), limit)
    begin = min(max(round(centre - pixels / 2), 0), limit - pixels)
    return begin, begin + pixels


class Threshold(Tool):
    """Make a mask that is white where an image is light, such as one of depth.

    Args:
        low: Least lightness of what is white, from 0 to 1.
        high: Largest lightness of what is white.
        grow: Pixels by which white grows on all sides.
        blur: Standard deviation of a Gaussian blur of the edges, in pixels.
    """

    makes = "mask"

    def __init__(
        self,
        low: Fraction = 0.5,
        high: Fraction = 1.0,
        grow: Annotated[int, Interval(ge=0, le=256)] = 0,
        blur: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self.low, self.high, self.grow, self.blur = low, high, grow, blur
        if low > high:
            raise ComposerError("tool.low", low, f"must be at most tool.high={high}")

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        low, high = self.low * 255, self.high * 255
        mask = images["image"].convert("L").point([255 * (low <= level <= high) for level in range(256)])
        return softened(mask, self.grow, self.blur)


class CropToMask(Tool):
    """Cut the part out of an image that a mask marks, and scale it to a size.

    Args:
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        padding: What is added on each side, as a fraction of the longer side of what is marked.
        region: Which region of the mask is cut out: 1 is the largest; None for all that is marked.
    """

    inputs = ("image", "mask")

    def __init__(
        self,
        width: Side = 512,
        height: Side = 512,
        padding: Annotated[float, Ge(0)] = 0.25,
        region: Region = None,
    ) -> None:
        self.width, self.height, self.padding, self.region = width, height, padding, region

    def size(self, width: int, height: int) -> tuple[int, int]:
        return self.width, self.height

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        mask = region_of(_fitting(images), self.region)
        box = box_around(mask, self.padding, self.width / self.height)
        return images["image"].resize((self.width, self.height), Image.Resampling.LANCZOS, box)


class PasteToMask(Tool):
    """Put what `crop_to_mask` has cut out back, where the mask is white.

    Args:
        padding: That of `crop_to_mask`.
        grow: Pixels by which the mask grows on all sides, within what was cut out.
        feather: Width over which the patch fades in, inside of the mask's edge, in pixels.
        region: That of `crop_to_mask`.
    """

    inputs = ("image", "patch", "mask")

    def __init__(
        self,
        padding: Annotated[float, Ge(0)] = 0.25,
        grow: Annotated[int, Interval(ge=0, le=256)] = 8,
        feather: Annotated[float, Interval(ge=0, le=256)] = 8.0,
        region: Region = None,
    ) -> None:
        self.padding, self.grow, self.feather, self.region = padding, grow, feather, region

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        mask, patch = region_of(_fitting(images), self.region), images["patch"]
        left, top, right, bottom = box = box_around(mask, self.padding, patch.width / patch.height)
        pasted = images["image"].copy()
        pasted.paste(patch.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
        inside = Image.new("L", mask.size, 0)
        inside.paste(softened(mask, self.grow, 0).crop(box), box)
        return composite(images["image"], pasted, feather_mask(inside, self.feather))


class CutOut(Tool):
    """Make what a mask does not mark transparent. The files must be PNG or WebP.

    Args:
        invert: Whether to make what it marks transparent.
    """

    inputs = ("image", "mask")

    def __init__(self, invert: bool = False) -> None:
        self.invert = invert

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        mask, result = _fitting(images), images["image"].copy()
        result.putalpha(ImageOps.invert(mask) if self.invert else mask)
        return result


def _fitting(images: Mapping[str, Image.Image]) -> Image.Image:
    """The mask in the size of the image."""
    mask, size = images["mask"].convert("L"), images["image"].size
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
