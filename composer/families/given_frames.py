"""Frames of a clip that are given: the image that it begins with, and the one that it ends with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GivenFrames:
    """What a denoiser gets of the given frames of each clip of a batch.

    Attributes:
        channels: Further input channels `(B, C, F, h, w)` with the frames' latents and where they are; ``None`` for
            models that find them in the noisy latents.
        hidden: Hidden states `(B, tokens, width)` of an image encoder that reads them too; ``None`` without one.
        clean: Latents of the clip with these frames in their places, for models whose latents hold them at every step.
        mask: 1 at the frames that `clean` holds, and 0 elsewhere; broadcasts with the latents.
    """

    channels: Tensor | None = None
    hidden: Tensor | None = None
    clean: Tensor | None = None
    mask: Tensor | None = None

    def hold(self, latents: Tensor) -> Tensor:
        """Put the given frames in their places in latents, if the model finds them there."""
        if self.clean is None or self.mask is None:
            return latents
        return torch.where(self.mask == 1, self.clean.to(latents), latents)

    def append_to(self, latents: Tensor) -> Tensor:
        """Append the further input channels to latents `(B, C, F, h, w)`, if the model has any."""
        return latents if self.channels is None else torch.cat([latents, self.channels.to(latents)], dim=1)
