"""Inpainting with a model that takes no mask: each step restores the unmasked part at that step's noise level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.callbacks.base import Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class Keep(StepCallback):
    """Restore the unmasked part of the latents after each step.

    Args:
        clean: Latents x₀ of the image, `(B, C, h, w)` or packed.
        noise: Noise that the run started with, in the same shape.
        mask: 1 where the model may paint and 0 elsewhere, in a shape that broadcasts with the latents.
    """

    def __init__(self, clean: Tensor, noise: Tensor, mask: Tensor) -> None:
        self.clean, self.noise, self.mask = clean, noise, mask

    def after_step(self, step: Step, latents: Tensor) -> Tensor:
        """Blend the new latents with the image's, noised to the level of the next step."""
        last = step.index + 1 == step.total
        known = self.clean if last else self.run.noised(self.clean, self.noise, step.index + 1)
        return (1 - self.mask) * known + self.mask * latents
