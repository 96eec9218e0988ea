"""Sana: a linear transformer on a 32 × autoencoder whose prompts are encoded by Gemma.
https://arxiv.org/abs/2410.10629
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.families.flow import FlowTransformer

#: Positions of a prompt in the embedding; diffusers' default.
MAX_TOKENS = 300


class Sana(FlowTransformer):
    """Latents `(B, C, H/32, W/32)`, in fp32 for every dtype; one latent is one token."""

    patch_size, fp32_latents, one_pass = 1, True, True

    def tokens(self, prompt: str) -> list[str]:
        """The first token, and the last ones of the instruction and the prompt behind it; padding included."""
        tokenizer, instruction = self.pipe.tokenizer, "\n".join(self._instruction)
        length = len(tokenizer.encode(instruction)) + MAX_TOKENS - 2
        text = instruction + prompt.lower().strip()
        ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
        return tokenizer.convert_ids_to_tokens([ids[0], *ids[1 - MAX_TOKENS :]])

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, MAX_TOKENS - 1

    def embed(self, texts: list[str]) -> Embedding:
        return self._embed(texts, self._instruction)

    def embed_negative(self, texts: list[str]) -> Embedding:
        return self._embed(texts, None)  # the instruction is for prompts alone

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        return self.pipe.transformer(
            latents, encoder_hidden_states=embedding.hidden, encoder_attention_mask=embedding.mask,
            timestep=step.timestep.expand(len(latents)) * self.pipe.transformer.config.timestep_scale,
            return_dict=False,
        )[0]  # fmt: skip

    def normalize(self, encoded: Tensor) -> Tensor:
        return encoded * self.pipe.vae.config.scaling_factor

    def denormalize(self, latents: Tensor) -> Tensor:
        return latents / self.pipe.vae.config.scaling_factor

    @classmethod
    def sigmas(cls, steps: int) -> None:
        """The scheduler lays out its own."""

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> None:
        """None: it is a constant of the scheduler."""

    @property
    def _instruction(self) -> list[str]:
        """Text before each prompt, which asks Gemma to describe the image; a default of diffusers' pipeline."""
        return inspect.signature(type(self.pipe).__call__).parameters["complex_human_instruction"].default

    def _embed(self, texts: list[str], instruction: list[str] | None) -> Embedding:
        hidden, mask, *_ = self.pipe.encode_prompt(
            texts, False, device=self.device, max_sequence_length=MAX_TOKENS, complex_human_instruction=instruction
        )
        return self.embedding(hidden, mask=mask)
