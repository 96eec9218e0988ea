"""FLUX.1 Fill, which inpaints: its transformer takes the masked image, and every pixel of the mask, as channels.

https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.callbacks.base import Step
from composer.families.flow import FlowTransformer


class Fill(FlowTransformer):
    """A family whose inpainting models have channels for the pixels under each latent, f² of them."""

    samples_image_first = True

    @property
    def takes_mask(self) -> bool:
        return self.extra_channels == self.channels + self.vae_scale_factor**2

    def mask_channels(self, mask: Tensor) -> Tensor:
        return self.pack(F.pixel_unshuffle(mask, self.vae_scale_factor)).to(self.device, self.dtype)

    def model_input(self, step: Step) -> Tensor:
        """Return packed latents, those of the masked image and the mask: `(B, tokens, 4 · (2 · C + f²))`."""
        if not self.takes_mask:
            return step.model_input
        inputs = step.inputs
        return torch.cat(
            [step.model_input, inputs["masked_latents"], inputs["mask_channels"].to(step.model_input)], dim=2
        )
