"""Shared by families whose latents are images: `(B, C, H/f, W/f)` on a VAE with f pixels per latent."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.callbacks.request import Request
from composer.families.base import DiffusersFamily
from composer.families.noise import batch_noise
from composer.families.passes import predict_branches
from composer.families.vae import resize_mask
from composer.sampling.guidance import Branches


class LatentFamily(DiffusersFamily):
    """Latents `(B, C, H/f, W/f)`; mask, masked latents and depth are further input channels of the denoiser."""

    @property
    def extra_channels(self) -> int:
        """Input channels of the denoiser beside the noisy latents."""
        denoiser = getattr(self.pipe, self.denoiser_name)
        return denoiser.config.in_channels - self.pipe.vae.config.latent_channels

    @property
    def takes_mask(self) -> bool:
        return self.extra_channels == self.pipe.vae.config.latent_channels + 1

    def scale_mask(self, mask: Tensor) -> Tensor:
        return resize_mask(mask, self.vae_scale_factor, self.device, self.dtype)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        factor, channels = self.vae_scale_factor, self.pipe.vae.config.latent_channels
        shape = (request.batch, channels, request.height // factor, request.width // factor)
        return batch_noise(shape, generators, self.dtype, self.device)

    def predict(self, step: Step) -> Branches:
        return predict_branches(
            step, self.extra_channels, lambda latents, embedding: self.forward(step, latents, embedding)
        )

    @abstractmethod
    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        """Call the denoiser once.

        Args:
            step: Timestep and embedded guidance scale.
            latents: The denoiser's input `(B, C + extra, h, w)`.
            embedding: Conditioning of B texts.

        Returns:
            The prediction `(B, C, h, w)`.
        """
