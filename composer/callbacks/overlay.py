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
        match_tones: Whether the repainted part's tones are first shifted to meet the original's at the edge.
    """

    def __init__(
        self, originals: tuple[Image, ...], masks: tuple[Image, ...], blur: float, match_tones: bool = False
    ) -> None:
        self.originals, self.masks, self.blur, self.match_tones = originals, masks, blur, match_tones

    def after_decode(self, run: Run, images: list[Image]) -> list[Image]:
        """Composite each generated image with its original."""
        from composer.images.masks import composite, feather_mask
        from composer.images.tones import match_tones

        if self.match_tones:
            images = [match_tones(*parts) for parts in zip(self.originals, images, self.masks)]
        return [
            composite(original, image, feather_mask(mask, self.blur))
            for original, image, mask in zip(self.originals, images, self.masks)
        ]
