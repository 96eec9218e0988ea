"""Chroma: Flux's transformer with classifier-free guidance, whose prompts T5 alone encodes.

https://huggingface.co/lodestones/Chroma1-HD
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import flux_image_ids, pack_flux, unpack_flux
from composer.families.components import token_strings
from composer.families.flow import FlowTransformer, grid_of, scaled_timesteps

#: Most T5 tokens that the transformer was trained with.
MAX_T5_TOKENS = 512


class Chroma(FlowTransformer):
    """Latents packed from 2 × 2 patches: `(B, H/16 · W/16, 4 · channels)` on a VAE with 8 pixels per latent."""

    pack_factor = 4
    always_passes_sigmas = True
    shared_inputs = frozenset({"txt_ids"})  # positions, the same for all images

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer, prompt, self._max_tokens)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, self._max_tokens

    def embed(self, texts: list[str]) -> Embedding:
        hidden, text_ids, mask, *_ = self.pipe.encode_prompt(
            texts, device=self.device, do_classifier_free_guidance=False, max_sequence_length=self._max_tokens
        )
        return self.embedding(hidden, extra={"txt_ids": text_ids}, mask=mask)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        rows, columns = grid_of(step.canvas, self.vae_scale_factor * self.patch_size)
        mask = embedding.mask
        if mask is not None:  # of the text; all image tokens count
            mask = torch.cat([mask.to(latents.dtype), latents.new_ones(latents.shape[:2])], dim=1)
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents), encoder_hidden_states=embedding.hidden,
            img_ids=flux_image_ids(self.pipe, 1, rows, columns, self.device, self.dtype), attention_mask=mask,
            return_dict=False, **embedding.extra,
        )[0]  # fmt: skip

    def pack(self, latents: Tensor) -> Tensor:
        return pack_flux(self.pipe, latents)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        return unpack_flux(self.pipe, latents, *canvas)

    @property
    def takes_guidance_scale(self) -> bool:
        return False

    @property
    def _max_tokens(self) -> int:
        return min(MAX_T5_TOKENS, self.pipe.tokenizer.model_max_length)
