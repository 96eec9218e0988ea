"""Qwen-Image: a transformer on packed latents whose prompts are encoded by Qwen2.5-VL.
https://arxiv.org/abs/2508.02324
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import pack_flux, unpack_flux
from composer.families.flow import embedded_scale, grid_of, scaled_timesteps
from composer.families.noise import batch_noise
from composer.families.qwen_image.references import ReadReferences
from composer.sampling.guidance import classifier_free

#: Most tokens of a prompt without its template; diffusers' default.
MAX_TOKENS = 512


class QwenImage(ReadReferences):
    """Latents packed from 2 × 2 patches of the one frame of a video VAE: `(B, H/16 · W/16, 4 · channels)`."""

    pack_factor = 4
    always_passes_sigmas = True

    def tokens(self, prompt: str) -> list[str]:
        text = self.pipe.prompt_template_encode.format(prompt)
        ids = self.pipe.tokenizer(text).input_ids[self.pipe.prompt_template_encode_start_idx :]
        return self.pipe.tokenizer.convert_ids_to_tokens(ids[:MAX_TOKENS])

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, MAX_TOKENS

    def embed(self, texts: list[str]) -> Embedding:
        hidden, mask = self.pipe.encode_prompt(texts, device=self.device, max_sequence_length=MAX_TOKENS)
        return self.embedding(hidden, mask=mask)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        grids = [(1, *grid_of(step.canvas, self.vae_scale_factor * self.patch_size))]
        if "references" in step.inputs:
            grids += map(tuple, step.inputs["references"].positions.tolist())
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents),
            guidance=embedded_scale(step, latents) if self.takes_guidance_scale else None,
            encoder_hidden_states=embedding.hidden, encoder_hidden_states_mask=embedding.mask,
            img_shapes=[grids] * len(latents), return_dict=False,
        )[0]  # fmt: skip

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        rows, columns = (side // self.vae_scale_factor for side in (request.height, request.width))
        shape = (request.batch, 1, self.channels, rows, columns)
        return self.pack(batch_noise(shape, generators, self.latents_dtype, self.device)[:, 0])

    def pack(self, latents: Tensor) -> Tensor:
        return pack_flux(self.pipe, latents.flatten(2, 3) if latents.ndim == 5 else latents)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        return unpack_flux(self.pipe, latents, *canvas)

    @staticmethod
    def combine(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance, after which each token gets the norm of the prompt's prediction."""
        guided = classifier_free(positive, negative, scale)
        return guided * (torch.norm(positive, dim=-1, keepdim=True) / torch.norm(guided, dim=-1, keepdim=True))
