"""Matching the tones of a generated region to the image around it, as gradient-domain compositing does.

What was generated keeps its gradients; what is added to it is smooth, meets the difference to the image at the region's
edge and fades with the distance from there (a screened membrane, https://doi.org/10.1145/882262.882269).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from composer.images.reading import MASK_THRESHOLD

#: Distance from the edge over which the shift falls to about a third, as a fraction of the shorter side.
REACH = 1 / 8
#: Largest difference in gray levels that is taken for one of tone; more is one of content and would bleed.
MOST = 24.0
#: Rounds of relaxation at each size, and the side of the smallest size.
ROUNDS, SMALLEST = 24, 8


def match_tones(original: Image.Image, generated: Image.Image, mask: Image.Image) -> Image.Image:
    """Shift the tones of a generated region towards those of the image at the region's edge.

    Args:
        original: RGB image.
        generated: RGB image of the same size.
        mask: Mask of mode L, of the same size; white is the region.

    Returns:
        The generated image with other tones inside the region.
    """
    kept = np.asarray(mask) < MASK_THRESHOLD
    if kept.all() or not kept.any():
        return generated
    pixels = np.asarray(generated, np.float32)
    difference = np.clip(np.asarray(original, np.float32) - pixels, -MOST, MOST) * kept[..., None]
    shift = _membrane(difference, kept, REACH * min(kept.shape))
    shifted = np.rint(np.clip(pixels + shift, 0, 255)).astype(np.uint8)
    return Image.fromarray(np.where(kept[..., None], np.asarray(generated), shifted))


def _membrane(values: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """Continue values (H, W, C) into what is not known: from half the size, then by relaxation."""
    guess = np.zeros_like(values)
    if min(known.shape) > SMALLEST:
        coarse_values, coarse_known = _halved(values, known)
        guess = _doubled(_membrane(coarse_values, coarse_known, reach / 2), known.shape)
    kept = known[..., None]
    guess, fade = np.where(kept, values, guess), 1 / (1 + 1 / (4 * max(reach, 0.5) ** 2))
    for _ in range(ROUNDS):
        padded = np.pad(guess, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        guess = np.where(kept, values, around * (fade / 4))
    return guess


def _halved(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the known values of each 2 × 2 pixels, and whether there are any."""
    height, width = (side + side % 2 for side in known.shape)
    pad = ((0, height - known.shape[0]), (0, width - known.shape[1]))
    weights = np.pad(known, pad).astype(np.float32)[..., None]
    blocks = (height // 2, 2, width // 2, 2, -1)
    total = (np.pad(values, (*pad, (0, 0))) * weights).reshape(blocks).sum((1, 3))
    count = weights.reshape(blocks).sum((1, 3))
    return total / np.maximum(count, 1), count[..., 0] > 0


def _doubled(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values at twice the size, cut to a shape."""
    return values.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]
