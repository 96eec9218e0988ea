"""Flux: a transformer on packed latents, trained by flow matching. https://github.com/black-forest-labs/flux"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import flux_image_ids, pack_flux, unpack_flux
from composer.families.components import token_strings
from composer.families.flow import embedded_scale, grid_of, scaled_timesteps
from composer.families.flux.fill import Fill
from composer.families.flux.kontext import Kontext
from composer.families.image_embeds import joint_attention, split_image_embeds

#: Most T5 tokens that the transformer was trained with.
MAX_T5_TOKENS = 512


class Flux(Kontext, Fill):
    """Latents packed from 2 × 2 patches: `(B, H/16 · W/16, 4 · channels)` on a VAE with 8 pixels per latent."""

    pack_factor = 4
    reads_weights = True
    shared_inputs = frozenset({"txt_ids"})  # positions, the same for all images

    @property
    def token_positions(self) -> tuple[tuple[Any, int], ...]:
        return ((self.pipe.tokenizer_2, self._max_tokens),)

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer_2, prompt, self._max_tokens)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer_2, self._max_tokens

    def embed(self, texts: list[str]) -> Embedding:
        hidden, pooled, text_ids = self.pipe.encode_prompt(
            texts, device=self.device, max_sequence_length=self._max_tokens
        )
        return self.embedding(hidden, pooled, {"txt_ids": text_ids})

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        positions = self.positions(*grid_of(step.canvas, self.vae_scale_factor * self.patch_size))
        if "references" in step.inputs:
            positions = torch.cat([positions, step.inputs["references"].positions])
        extra, images = split_image_embeds(embedding.extra)
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents),
            guidance=embedded_scale(step, latents) if self.takes_guidance_scale else None,
            pooled_projections=embedding.pooled, encoder_hidden_states=embedding.hidden,
            img_ids=positions, return_dict=False, **extra, **joint_attention(images or None),
        )[0]  # fmt: skip

    def pack(self, latents: Tensor) -> Tensor:
        return pack_flux(self.pipe, latents)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        return unpack_flux(self.pipe, latents, *canvas)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions of an image's tokens, `(rows · columns, 3)`."""
        return flux_image_ids(self.pipe, 1, rows, columns, self.device, self.dtype)

    @property
    def _max_tokens(self) -> int:
        """Longest prompt in T5 tokens: 512, or the tokenizer's limit (FLUX.1 schnell: 256)."""
        return min(MAX_T5_TOKENS, self.pipe.tokenizer_2.model_max_length)
