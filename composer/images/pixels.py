"""PIL images → tensors, as diffusers' VaeImageProcessor makes them (its own tests' oracle), one row an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def to_pixels(images: Sequence[Image]) -> Tensor:
    """RGB images of one size → (B, 3, H, W) in −1 … 1."""
    return 2.0 * _zero_to_one(images).permute(0, 3, 1, 2) - 1.0


def to_mask(masks: Sequence[Image]) -> Tensor:
    """Masks of mode L → (B, 1, H, W) of 0 and 1: half-way gray and lighter is repainted."""
    return (_zero_to_one(masks)[:, None] >= 0.5).float()


def _zero_to_one(images: Sequence[Image]) -> Tensor:
    import torch  # takes seconds, and what a refusal passes through imports this module

    return torch.from_numpy(np.stack([np.array(image).astype(np.float32) / 255.0 for image in images]))
