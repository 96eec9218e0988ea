"""Lumina 2: a unified transformer whose prompts are encoded by Gemma. https://arxiv.org/abs/2503.21758"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import flux_shift
from composer.families.components import token_strings
from composer.families.flow import FlowTransformer
from composer.sampling.guidance import classifier_free

#: Positions of a prompt in the embedding; diffusers' default.
MAX_TOKENS = 256
#: Channels of the latents. diffusers' pipeline shifts its schedule by them in place of the number of tokens.
CHANNELS = 16


class Lumina2(FlowTransformer):
    """Latents `(B, 16, H/8, W/8)`. Time and prediction have the opposite sign in the model."""

    always_passes_sigmas = True

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer, self._instructed(prompt), MAX_TOKENS)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        tokenizer = self.pipe.tokenizer
        return tokenizer, MAX_TOKENS - len(tokenizer(self._instructed(""), add_special_tokens=False).input_ids)

    def embed(self, texts: list[str]) -> Embedding:
        hidden, mask, *_ = self.pipe.encode_prompt(texts, False, device=self.device, max_sequence_length=MAX_TOKENS)
        return self.embedding(hidden, mask=mask)

    def embed_negative(self, texts: list[str]) -> Embedding:
        _, _, hidden, mask = self.pipe.encode_prompt(
            texts, True, negative_prompt=texts, device=self.device, max_sequence_length=MAX_TOKENS
        )
        return self.embedding(hidden, mask=mask)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        return -self.pipe.transformer(
            hidden_states=latents, timestep=(1 - step.timestep / 1000).expand(len(latents)),
            encoder_hidden_states=embedding.hidden, encoder_attention_mask=embedding.mask, return_dict=False,
        )[0]  # fmt: skip

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> float:
        return flux_shift(CHANNELS, config)

    @staticmethod
    def combine(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance, after which each row of latents gets the norm of the prompt's prediction."""
        guided = classifier_free(positive, negative, scale)
        return guided * (torch.norm(positive, dim=-1, keepdim=True) / torch.norm(guided, dim=-1, keepdim=True))

    def _instructed(self, prompt: str) -> str:
        return f"{self.pipe.system_prompt} <Prompt Start> {prompt}"
