"""Stable Diffusion 1 and 2: a UNet with cross-attention on 4-channel latents. https://arxiv.org/abs/2112.10752"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL.Image import Image
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.families.base import Held
from composer.families.noise import noise
from composer.guidance import Branches
from composer.spec import Request


class StableDiffusion(Held):
    """Latents (B, 4, H/f, W/f) with the VAE's factor f, 8 in most checkpoints."""

    holder: StableDiffusionPipeline

    @property
    def embeds_scale(self) -> bool:
        """True for UNets distilled to take w, as LCM's are. https://arxiv.org/abs/2310.04378"""
        return self.holder.unet.config.time_cond_proj_dim is not None

    def encode(self, request: Request, contrast: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        positive, negative = self.holder.encode_prompt(list(request.prompts), self.device, 1, contrast, negatives)
        return Conditioning(positive=Embedding(hidden=positive), negative=Embedding(hidden=negative) if contrast else None)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        shape = (request.batch, self.holder.vae.config.latent_channels, request.height // self.factor, request.width // self.factor)
        return noise(shape, generators, self.holder.unet.dtype, self.device)

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        scheduler.set_timesteps(request.steps, device=device)

    def predict(self, step: Step) -> Branches:
        positive, negative = step.conditioning.positive, step.conditioning.negative
        if negative is None:
            return Branches(self._unet(step, step.model_input, positive.hidden))
        # both in one pass, as diffusers does it: one after the other differs by 3e-5
        both = self._unet(step, torch.cat([step.model_input] * 2), torch.cat([negative.hidden, positive.hidden]))
        negative_branch, positive_branch = both.chunk(2)
        return Branches(positive_branch, negative_branch)

    def decode(self, latents: Tensor, request: Request) -> list[Image]:
        vae = self.holder.vae
        pixels = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        pixels, flagged = self.holder.run_safety_checker(pixels, self.device, latents.dtype)
        show = [not each for each in flagged] if flagged is not None else None
        return self.holder.image_processor.postprocess(pixels, do_denormalize=show)

    def _unet(self, step: Step, latents: Tensor, hidden: Tensor) -> Tensor:
        return self.holder.unet(
            latents, step.timestep, encoder_hidden_states=hidden, timestep_cond=self._told(step, latents), return_dict=False
        )[0]

    def _told(self, step: Step, latents: Tensor) -> Tensor | None:
        """The guidance scale as an input, (B, width), for a model that takes it."""
        if not self.embeds_scale:
            return None
        scale = torch.tensor(step.embedded_guidance - 1).repeat(len(latents))
        width = self.holder.unet.config.time_cond_proj_dim
        return self.holder.get_guidance_scale_embedding(scale, embedding_dim=width).to(latents)
