"""Shared by families whose latents are images: `(B, C, H/f, W/f)` on a VAE with f pixels per latent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.callbacks.request import Request
from composer.families.components import DiffusersFamily
from composer.families.noise import batch_noise
from composer.families.passes import concat_inputs, predict_branches
from composer.families.vae import decode_latents, encode_pixels, resize_mask
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
            step, self.model_input(step), lambda latents, embedding: self.forward(step, latents, embedding)
        )

    def model_input(self, step: Step) -> Tensor:
        """Return the denoiser's input with all of its channels, for one branch."""
        return concat_inputs(step) if self.extra_channels else step.model_input

    def encode_pixels(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        """Encode pixels by the VAE, and sample its distribution.

        Args:
            pixels: `(B, 3, H, W)`, float, in `[-1, 1]`.
            generators: One CPU generator an image.

        Returns:
            Latents in the scale of the VAE and the dtype of the denoiser.
        """
        return encode_pixels(self.pipe.vae, pixels, generators).to(self.dtype)

    def decode_latents(self, latents: Tensor, unscale: Callable[[Tensor], Tensor]) -> tuple[Tensor, tuple[str, ...]]:
        """Decode latents to pixels, in fp32 where the settings or an overflow in 16 bits require it.

        Args:
            latents: `(B, C, H/f, W/f)` in the scale of the denoiser.
            unscale: Maps latents from the scale of the denoiser to that of the VAE.

        Returns:
            Pixels `(B, 3, H, W)`, about `[-1, 1]`, and notes for the user.

        Raises:
            NonFinite: The pixels are not finite.
        """
        return decode_latents(self, latents, unscale)

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
