"""FLUX.2: a transformer on packed latents whose prompts are encoded by Qwen3 (klein) or Mistral (dev).

https://github.com/black-forest-labs/flux2
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import flux2_shift
from composer.families.chat import chat_limit, chat_tokens
from composer.families.flow import FlowTransformer, embedded_scale, grid_of, scaled_timesteps
from composer.families.noise import batch_noise

#: Most tokens of a prompt with its chat template; diffusers' default.
MAX_TOKENS = 512


class Flux2(FlowTransformer):
    """Latents of 2 × 2 patches, normalized by the VAE's batch norm: `(B, H/16 · W/16, 4 · channels)`."""

    pack_factor = 4
    samples_vae = False

    def tokens(self, prompt: str) -> list[str]:
        found = chat_tokens(self.pipe.tokenizer, prompt, MAX_TOKENS, enable_thinking=False)
        return found + [self.pipe.tokenizer.pad_token] * (MAX_TOKENS - len(found))

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, chat_limit(self.pipe.tokenizer, MAX_TOKENS, enable_thinking=False)

    def embed(self, texts: list[str]) -> Embedding:
        hidden, text_ids = self.pipe.encode_prompt(texts, self.device, max_sequence_length=MAX_TOKENS)
        return self.embedding(hidden, extra={"txt_ids": text_ids})

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        rows, columns = (torch.arange(n) for n in grid_of(step.canvas, self.vae_scale_factor * self.patch_size))
        image_ids = torch.cartesian_prod(torch.arange(1), rows, columns, torch.arange(1)).to(self.device)
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents),
            guidance=embedded_scale(step, latents) if self.takes_guidance_scale else None,
            encoder_hidden_states=embedding.hidden, img_ids=image_ids.expand(len(latents), -1, -1),
            return_dict=False, **embedding.extra,
        )[0]  # fmt: skip

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        rows, columns = grid_of(self.canvas(request), self.vae_scale_factor * self.patch_size)
        shape = (request.batch, self.channels * self.pack_factor, rows, columns)
        return batch_noise(shape, generators, self.latents_dtype, self.device).flatten(2).transpose(1, 2)

    def pack(self, latents: Tensor) -> Tensor:
        return F.pixel_unshuffle(latents, self.patch_size).flatten(2).transpose(1, 2)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        grid = grid_of(canvas, self.vae_scale_factor * self.patch_size)
        return F.pixel_shuffle(latents.transpose(1, 2).unflatten(2, grid), self.patch_size)

    def normalize(self, encoded: Tensor) -> Tensor:
        mean, deviation = self._statistics(encoded)
        patches = (F.pixel_unshuffle(encoded, self.patch_size) - mean) / deviation
        return F.pixel_shuffle(patches, self.patch_size)

    def denormalize(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        return F.pixel_shuffle(F.pixel_unshuffle(latents, self.patch_size) * deviation + mean, self.patch_size)

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> float:
        return flux2_shift(tokens, steps)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Running mean and standard deviation of the patches' channels, `(1, 4 · C, 1, 1)` each."""
        norm, epsilon = self.pipe.vae.bn, self.pipe.vae.config.batch_norm_eps
        deviation = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + epsilon)
        return norm.running_mean.view(1, -1, 1, 1).to(like), deviation.to(like)
