"""MatchColours: the colours of one image for another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from composer import Fraction, Tool


class MatchColours(Tool):
    """Give an image the mean and the spread of another one's channels. https://doi.org/10.1109/38.946629

    Args:
        strength: How much of the change is made; 0 makes none.
    """

    inputs = ("image", "reference")

    def __init__(self, strength: Fraction = 1.0) -> None:
        self.strength = strength

    def run(self, images: Mapping[str, Image.Image], device: str) -> Image.Image:
        image, reference = (np.asarray(images[key].convert("YCbCr"), np.float64) for key in self.inputs)
        spread = image.std((0, 1))
        scale = np.divide(reference.std((0, 1)), spread, out=np.ones(3), where=spread > 0)
        matched = (image - image.mean((0, 1))) * scale + reference.mean((0, 1))
        mixed = image + self.strength * (matched - image)
        changed = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8), "YCbCr").convert("RGB")
        return changed if self.strength else images["image"].copy()
