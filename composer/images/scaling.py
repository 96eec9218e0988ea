"""Scaling of images to a number of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def scale_down(image: Image, most: int) -> Image:
    """Scale an image down to a number of pixels, by the filter that diffusers uses; smaller ones stay as they are.

    Args:
        image: An image of any size.
        most: Most pixels.
    """
    from PIL.Image import Resampling

    scale = (most / (image.width * image.height)) ** 0.5
    if scale >= 1:
        return image
    return image.resize((int(image.width * scale), int(image.height * scale)), Resampling.LANCZOS)
