"""Where repainted and kept pixels meet: margins, soft edges inside a mask, and the image put together."""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.images.reading import HALF


def pad_for_outpainting(
    image: Image.Image, left: int, top: int, right: int, bottom: int
) -> tuple[Image.Image, Image.Image]:
    """An RGB image with margins in pixels, filled with its stretched edges, and a mask (L) that is white on them."""
    canvas = Image.fromarray(np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge"))
    mask = Image.new("L", canvas.size, 255)
    mask.paste(0, (left, top, left + image.width, top + image.height))
    return canvas, mask


def feather_mask(mask: Image.Image, width: float) -> Image.Image:
    """A mask (L), rounded to 0 and 255, that rises over `width` pixels inside its edge and is 0 all over the outside."""
    inside = np.asarray(mask) >= HALF
    return Image.fromarray(np.rint(255 * np.minimum(_steps_inside(inside) / (width + 1), 1)).astype(np.uint8))


def composite(original: Image.Image, generated: Image.Image, mask: Image.Image) -> Image.Image:
    """RGB images of one size: `generated` where the mask (L) is 255, `original` to the byte where it is 0, a blend
    between.
    """
    return Image.composite(generated, original, mask)


def _steps_inside(inside: np.ndarray) -> np.ndarray:
    """How many steps up, down, left and right lead from each pixel to the nearest that is not inside, itself 0."""
    steps = np.where(inside, sum(inside.shape) + 1, 0)
    for axis in (0, 1):
        at = np.arange(inside.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        before = np.minimum.accumulate(steps - at, axis) + at
        after = np.flip(np.minimum.accumulate(np.flip(steps + at, axis), axis), axis) - at
        steps = np.minimum(before, after)
    return steps
