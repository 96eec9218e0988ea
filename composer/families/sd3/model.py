"""Stable Diffusion 3: a transformer on 16-channel latents, trained by flow matching.
https://arxiv.org/abs/2403.03206
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import sd3_shift
from composer.families.components import token_strings
from composer.families.flow import FlowTransformer
from composer.families.image_embeds import joint_attention, split_image_embeds

#: Positions of T5 in the embedding; diffusers' default.
MAX_T5_TOKENS = 256


class StableDiffusion3(FlowTransformer):
    """Latents `(B, 16, H/8, W/8)`. Two CLIP encoders and T5, which can be omitted to save memory."""

    one_pass = True
    reads_weights = True

    @property
    def token_positions(self) -> tuple[tuple[Any, int], ...]:
        clip, t5 = self.pipe.tokenizer, self.pipe.tokenizer_3 if self.pipe.text_encoder_3 else None
        return (clip, clip.model_max_length), (t5, MAX_T5_TOKENS)

    @property
    def takes_guidance_scale(self) -> bool:
        return False

    def embed(self, texts: list[str]) -> Embedding:
        hidden, _, pooled, _ = self.pipe.encode_prompt(texts, None, None, self.device, 1, False)
        return self.embedding(hidden, pooled)

    def tokens(self, prompt: str) -> list[str]:
        """Those of CLIP, then those of T5, or as many empty ones where it is omitted."""
        clip = token_strings(self.pipe.tokenizer, prompt)
        if not self.pipe.text_encoder_3:
            return clip + [""] * MAX_T5_TOKENS
        return clip + token_strings(self.pipe.tokenizer_3, prompt, MAX_T5_TOKENS)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return (self.pipe.tokenizer_3, MAX_T5_TOKENS) if self.pipe.text_encoder_3 else super().prompt_tokenizer

    @classmethod
    def sigmas(cls, steps: int) -> None:
        """The scheduler lays out its own."""

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> float:
        return sd3_shift(tokens, config)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        extra, images = split_image_embeds(embedding.extra)
        joint = joint_attention(images[0] if images else None)
        return self.pipe.transformer(
            hidden_states=latents, timestep=step.timestep.expand(len(latents)), encoder_hidden_states=embedding.hidden,
            pooled_projections=embedding.pooled, return_dict=False, **extra, **joint,
        )[0]  # fmt: skip
