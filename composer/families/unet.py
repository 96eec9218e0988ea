"""What Stable Diffusion and SDXL share: a UNet with cross-attention on a VAE's latents.
https://arxiv.org/abs/2112.10752
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.base import DiffusersFamily, spelled
from composer.families.chunks import in_windows, padded, windows
from composer.families.noise import noise
from composer.families.passes import branches
from composer.families.vae import scaled_mask
from composer.sampling.guidance import Branches


class LatentUNet(DiffusersFamily):
    """Latents (B, 4, H/f, W/f) with the VAE's factor f, 8 in most checkpoints."""

    chunks = True

    def encode(self, request: Request, contrast: bool) -> Conditioning:
        if not self.chunked:
            return super().encode(request, contrast)
        texts = [*request.prompts, *(text or "" for text in request.negative_prompts)]
        short = replace(self.settings, long_prompts="truncate")
        return in_windows(self.pipe, texts, lambda reading: type(self)(reading, short).encode(request, contrast))

    def tokens(self, prompt: str) -> list[str]:
        tokenizer = self.pipe.tokenizer or self.pipe.tokenizer_2
        if not self.chunked:
            return spelled(tokenizer, prompt)
        return [
            token
            for row in windows(tokenizer, prompt)
            for token in tokenizer.convert_ids_to_tokens(padded(tokenizer, row))
        ]

    @property
    def takes_guidance_scale(self) -> bool:
        """True for UNets distilled to take w, as LCM's are. https://arxiv.org/abs/2310.04378"""
        return self.pipe.unet.config.time_cond_proj_dim is not None

    @property
    def takes_mask(self) -> bool:
        return self._extra_channels == self.pipe.vae.config.latent_channels + 1

    def scale_mask(self, mask: Tensor) -> Tensor:
        return scaled_mask(mask, self.factor, self.device, self.dtype)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        shape = (
            request.batch,
            self.pipe.vae.config.latent_channels,
            request.height // self.factor,
            request.width // self.factor,
        )
        return noise(shape, generators, self.dtype, self.device)

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        scheduler.set_timesteps(request.steps, device=device)

    def predict(self, step: Step) -> Branches:
        return branches(step, self._extra_channels, lambda latents, embedding: self._unet(step, latents, embedding))

    @property
    def _extra_channels(self) -> int:
        """Input channels beside the noisy latents."""
        return self.pipe.unet.config.in_channels - self.pipe.vae.config.latent_channels

    def _unet(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        pooled = {} if embedding.pooled is None else {"text_embeds": embedding.pooled}
        return self.pipe.unet(
            latents, step.timestep, encoder_hidden_states=embedding.hidden, timestep_cond=self._told(step, latents),
            added_cond_kwargs={**pooled, **embedding.extra} or None, return_dict=False,
        )[0]  # fmt: skip

    def _told(self, step: Step, latents: Tensor) -> Tensor | None:
        """The guidance scale as an input, (B, width), for a model that takes it."""
        if not self.takes_guidance_scale:
            return None
        scale = torch.tensor(step.embedded_guidance - 1).repeat(len(latents))
        width = self.pipe.unet.config.time_cond_proj_dim
        return self.pipe.get_guidance_scale_embedding(scale, embedding_dim=width).to(latents)
