"""Masks of inpainting and outpainting: margins, soft edges, and compositing."""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.images.reading import MASK_THRESHOLD


def pad_for_outpainting(
    image: Image.Image, left: int, top: int, right: int, bottom: int
) -> tuple[Image.Image, Image.Image]:
    """Add margins to an image, filled with its stretched edges.

    Args:
        image: RGB image.
        left: Width of the left margin, in pixels.
        top: Height of the upper margin, in pixels.
        right: Width of the right margin, in pixels.
        bottom: Height of the lower margin, in pixels.

    Returns:
        The RGB image, and a mask of mode L that is 255 on the margins and 0 elsewhere.
    """
    canvas = Image.fromarray(np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge"))
    mask = Image.new("L", canvas.size, 255)
    mask.paste(0, (left, top, left + image.width, top + image.height))
    return canvas, mask


def feather_mask(mask: Image.Image, width: float) -> Image.Image:
    """Soften a mask inside its edge.

    Args:
        mask: Mask of mode L, rounded to 0 and 255.
        width: Width over which it rises inside its edge, in pixels.

    Returns:
        A mask of mode L that is 0 everywhere outside.
    """
    inside = np.asarray(mask) >= MASK_THRESHOLD
    return Image.fromarray(np.rint(255 * np.minimum(_steps_inside(inside) / (width + 1), 1)).astype(np.uint8))


def composite(original: Image.Image, generated: Image.Image, mask: Image.Image) -> Image.Image:
    """Blend two images by a mask.

    Args:
        original: RGB image, returned byte for byte where the mask is 0.
        generated: RGB image of the same size, returned where the mask is 255.
        mask: Mask of mode L, of the same size.

    Returns:
        An RGB image.
    """
    return Image.composite(generated, original, mask)


def _steps_inside(inside: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one outside, in steps up, down, left and right; 0 outside."""
    steps = np.where(inside, sum(inside.shape) + 1, 0)
    for axis in (0, 1):
        at = np.arange(inside.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        before = np.minimum.accumulate(steps - at, axis) + at
        after = np.flip(np.minimum.accumulate(np.flip(steps + at, axis), axis), axis) - at
        steps = np.minimum(before, after)
    return steps
