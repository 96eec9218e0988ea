"""Unconditional diffusion of pixels: a UNet2DModel and no text. https://arxiv.org/abs/2006.11239

diffusers' DDPMPipeline scales neither the first noise nor the model's input, so it is correct for DDPM only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Step
from composer.callbacks.request import Request
from composer.families.components import DiffusersFamily
from composer.families.noise import batch_noise
from composer.families.settings import Decoded
from composer.sampling.guidance import Branches


class Unconditional(DiffusersFamily):
    """Latents are the pixels: `(B, 3, H, W)` in `[-1, 1]`."""

    @property
    def vae_scale_factor(self) -> int:
        return 1

    @property
    def takes_guidance_scale(self) -> bool:
        return False

    def encode(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        return Conditioning(positive=None)

    def tokens(self, prompt: str) -> list[str]:
        return []

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        return pixels.to(self.device, self.dtype)

    def scale_mask(self, mask: Tensor) -> Tensor:
        return mask.to(self.device, self.dtype)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        shape = (request.batch, self.pipe.unet.config.in_channels, request.height, request.width)
        return batch_noise(shape, generators, self.dtype, self.device)

    @classmethod
    def set_timesteps(
        cls, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        scheduler.set_timesteps(request.steps, device=device)

    def predict(self, step: Step) -> Branches:
        return Branches(self.pipe.unet(step.model_input, step.timestep).sample)

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        pixels = (latents / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
        return Decoded(media=self.pipe.numpy_to_pil(pixels))
