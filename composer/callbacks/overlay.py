"""Inpainting's last touch: every unmasked pixel is the image's own, not what the VAE makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.callbacks.base import Run, StepCallback

if TYPE_CHECKING:
    from PIL.Image import Image


class Overlay(StepCallback):
    """originals, masks: one of each an image. blur: width in pixels of the blend, inside the mask's edge."""

    def __init__(self, originals: tuple[Image, ...], masks: tuple[Image, ...], blur: float) -> None:
        self.originals, self.masks, self.blur = originals, masks, blur

    def after_decode(self, run: Run, images: list[Image]) -> list[Image]:
        from composer.images.masks import composite, feather_mask

        return [
            composite(old, new, feather_mask(mask, self.blur))
            for old, new, mask in zip(self.originals, images, self.masks)
        ]
