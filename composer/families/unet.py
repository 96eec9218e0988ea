"""Shared by Stable Diffusion and SDXL: a UNet with cross-attention on a VAE's latents.

https://arxiv.org/abs/2112.10752
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.chunks import encode_in_windows, pad_window, split_windows
from composer.families.components import token_strings
from composer.families.image_embeds import IMAGE_EMBEDS, split_image_embeds
from composer.families.latent import LatentFamily


class LatentUNet(LatentFamily):
    """Latents `(B, 4, H/f, W/f)` with f pixels per latent, 8 in most checkpoints; prompts are read by CLIP alone."""

    reads_long_prompts = True
    reads_weights = True

    @property
    def token_positions(self) -> tuple[tuple[Any, int], ...]:
        tokenizer = self.pipe.tokenizer or self.pipe.tokenizer_2  # SDXL's two split a text alike
        return ((tokenizer, tokenizer.model_max_length),)

    @property
    def _reads_in_windows(self) -> bool:
        return self.settings.long_prompts == "chunk"

    def encode(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        if not self._reads_in_windows:
            return super().encode(request, do_classifier_free_guidance)
        texts = [*request.prompts, *(text or "" for text in request.negative_prompts)]
        truncating = replace(self.settings, long_prompts="truncate")
        return encode_in_windows(
            self.pipe, texts, lambda pipe: type(self)(pipe, truncating).encode(request, do_classifier_free_guidance)
        )

    def tokens(self, prompt: str) -> list[str]:
        tokenizer = self.pipe.tokenizer or self.pipe.tokenizer_2
        if not self._reads_in_windows:
            return token_strings(tokenizer, prompt)
        ids = [token for window in split_windows(tokenizer, prompt) for token in pad_window(tokenizer, window)]
        return tokenizer.convert_ids_to_tokens(ids)

    @property
    def takes_guidance_scale(self) -> bool:
        """True for UNets distilled to take w, such as LCM's. https://arxiv.org/abs/2310.04378"""
        return self.pipe.unet.config.time_cond_proj_dim is not None

    @classmethod
    def set_timesteps(
        cls, scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        scheduler.set_timesteps(request.steps, device=device)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        added = {} if embedding.pooled is None else {"text_embeds": embedding.pooled}
        return self.pipe.unet(
            latents, step.timestep, encoder_hidden_states=embedding.hidden,
            timestep_cond=self._guidance_embedding(step, latents),
            added_cond_kwargs=add_image_embeds({**added, **embedding.extra}) or None, return_dict=False,
        )[0]  # fmt: skip

    def _guidance_embedding(self, step: Step, latents: Tensor) -> Tensor | None:
        """The guidance scale as an input `(B, width)`, for a model that takes it."""
        if not self.takes_guidance_scale:
            return None
        scale = torch.tensor(step.embedded_guidance - 1).repeat(len(latents))
        width = self.pipe.unet.config.time_cond_proj_dim
        return self.pipe.get_guidance_scale_embedding(scale, embedding_dim=width).to(latents)


def add_image_embeds(added: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the embeddings of images, which are one tensor for each IP-Adapter, in the list that a UNet takes.

    Args:
        added: Further inputs of the UNet, with the embeddings under ``image_embeds.0``, ``image_embeds.1``, ….

    Returns:
        The inputs, with ``image_embeds`` if there are any.
    """
    others, images = split_image_embeds(added)
    return {**others, IMAGE_EMBEDS: images} if images else others
