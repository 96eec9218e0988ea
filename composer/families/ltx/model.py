"""LTX-Video: clips by a transformer on strongly compressed latents, with prompts encoded by T5.

https://arxiv.org/abs/2501.00103
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.callbacks.request import Request
from composer.families.components import token_strings
from composer.families.given_frames import GivenFrames
from composer.families.ltx.decoding import DenoisingVAE
from composer.families.vae import encode_pixels

#: Positions of a prompt in the embedding; diffusers' default.
MAX_TOKENS = 128


class LTXVideo(DenoisingVAE):
    """An image that a clip begins with is held in the first latent frame at every step, whose tokens have timestep
    0.
    """

    one_pass, always_passes_sigmas = True, True

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer, prompt, MAX_TOKENS)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, MAX_TOKENS

    def embed(self, texts: list[str]) -> Embedding:
        hidden, mask, *_ = self.pipe.encode_prompt(
            texts, None, False, max_sequence_length=MAX_TOKENS, device=self.device
        )
        return self.embedding(hidden, mask=mask)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        frames, rows, columns = self.grid(step.canvas)
        given = step.inputs.get("given_frames", GivenFrames())
        timestep = step.timestep.expand(len(latents))
        if given.mask is not None:  # one for each token
            timestep = timestep.unsqueeze(-1) * (1 - given.mask[..., 0])
        factors = self.temporal_factor / step.inputs["fps"], self.vae_scale_factor, self.vae_scale_factor
        return self.pipe.transformer(
            hidden_states=latents, encoder_hidden_states=embedding.hidden, timestep=timestep,
            encoder_attention_mask=embedding.mask, num_frames=frames, height=rows, width=columns,
            rope_interpolation_scale=factors, return_dict=False,
        )[0]  # fmt: skip

    def given_frames(self, request: Request, generators: tuple[torch.Generator, ...]) -> GivenFrames:
        pixels = self.pixels(request.inputs["image"], request).to(self.dtype)
        clean = self.normalize(encode_pixels(self.pipe.vae, pixels, generators).to(self.latents_dtype))
        repeated = clean.repeat(1, 1, self.latent_frames(request), 1, 1)
        return GivenFrames(clean=self.pack(repeated), mask=self.pack(self.first_frame(request)))
