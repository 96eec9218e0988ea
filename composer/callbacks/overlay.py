"""Restore unmasked pixels after inpainting: they are the image's own, not the VAE's reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.callbacks.base import Run, StepCallback

if TYPE_CHECKING:
    from PIL.Image import Image


class Overlay(StepCallback):
    """Paste the unmasked part of the original images over the generated ones.

    Args:
        originals: Original RGB images, one for each generated image and of its size.
        masks: Masks of mode L, one for each image; 255 is repainted.
        blur: Width of the blend inside the mask's edge, in pixels.
    """

    def __init__(self, originals: tuple[Image, ...], masks: tuple[Image, ...], blur: float) -> None:
        self.originals, self.masks, self.blur = originals, masks, blur

    def after_decode(self, run: Run, images: list[Image]) -> list[Image]:
        """Composite each generated image with its original."""
        from composer.images.masks import composite, feather_mask

        return [
            composite(original, image, feather_mask(mask, self.blur))
            for original, image, mask in zip(self.originals, images, self.masks)
        ]
