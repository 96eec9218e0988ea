"""Conversion of PIL images to tensors, equal to that of diffusers' `VaeImageProcessor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def to_pixels(images: Sequence[Image]) -> Tensor:
    """Convert RGB images to pixel values.

    Args:
        images: RGB images of one size.

    Returns:
        `(B, 3, H, W)` of float32 in `[-1, 1]`.
    """
    return 2.0 * to_unit_pixels(images) - 1.0


def to_unit_pixels(images: Sequence[Image]) -> Tensor:
    """Convert RGB or gray images to pixel values that are not negative.

    Args:
        images: Images of one mode and size.

    Returns:
        `(B, 3 or 1, H, W)` of float32 in `[0, 1]`.
    """
    pixels = _zero_to_one(images)
    return (pixels if pixels.ndim == 4 else pixels[..., None]).permute(0, 3, 1, 2)


def to_mask(masks: Sequence[Image]) -> Tensor:
    """Convert masks to zeros and ones.

    Args:
        masks: Masks of mode L, of one size.

    Returns:
        `(B, 1, H, W)` of float32; 1 is repainted, from half-way gray on.
    """
    return (_zero_to_one(masks)[:, None] >= 0.5).float()


def _zero_to_one(images: Sequence[Image]) -> Tensor:
    import torch  # takes seconds, and what a refusal passes through imports this module

    return torch.from_numpy(np.stack([np.array(image).astype(np.float32) / 255.0 for image in images]))
