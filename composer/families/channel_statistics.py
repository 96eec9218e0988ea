"""Latents normalized by mean and standard deviation of each channel, on the VAE of a video model.

The config of the VAEs of Qwen-Image and Wan has these statistics. An image is a video of one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.families.flow import FlowTransformer

if TYPE_CHECKING:
    from composer.media.medium import Medium


class ChannelStatistics(FlowTransformer):
    """Latents `(B, C, frames, H/f, W/f)` before packing."""

    @property
    def channels(self) -> int:
        return self.pipe.vae.config.z_dim

    def encode_clean(self, pixels: Tensor, generators: tuple[torch.Generator, ...], sample: bool) -> Tensor:
        return super().encode_clean(pixels.unsqueeze(2), generators, sample)

    def normalize(self, encoded: Tensor) -> Tensor:
        mean, reciprocal = self._statistics(encoded)
        return (encoded - mean) * reciprocal

    def denormalize(self, latents: Tensor) -> Tensor:
        mean, reciprocal = self._statistics(latents)
        return latents / reciprocal + mean  # as diffusers does: multiplying by the deviation rounds otherwise

    def postprocess(self, pixels: Tensor) -> Sequence[Medium]:
        return super().postprocess(pixels[:, :, 0])

    def mean_and_deviation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, `(1, C, 1, 1, 1)` each, in dtype and device of a tensor."""
        config = self.pipe.vae.config
        mean, deviation = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(like) for values in (config.latents_mean, config.latents_std)
        )
        return mean, deviation

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = self.mean_and_deviation(like)
        return mean, 1.0 / deviation
