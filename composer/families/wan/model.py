"""Wan: clips by a transformer on a video VAE, with prompts encoded by UMT5. https://arxiv.org/abs/2503.20314"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from composer.callbacks.base import Embedding, Step, StepCallback
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import wan_hidden
from composer.families.components import token_strings
from composer.families.given_frames import GivenFrames
from composer.families.wan.given_frames import BeginsWithImage, timesteps_of_tokens
from composer.families.wan.low_noise_scale import LowNoiseScale

#: Positions of a prompt in the embedding; diffusers' default.
MAX_TOKENS = 512


class Wan(BeginsWithImage):
    """Latents `(B, C, 1 + (frames - 1) / 4, H/8, W/8)`, in fp32 for every dtype; two transformers in Wan 2.2."""

    @property
    def vae_scale_factor(self) -> int:
        return self.pipe.vae_scale_factor_spatial

    @property
    def temporal_factor(self) -> int:
        return self.pipe.vae_scale_factor_temporal

    @property
    def boundary(self) -> float | None:
        """Timestep below which the second transformer predicts; ``None`` where there is one alone."""
        ratio = self.pipe.config.boundary_ratio
        return None if ratio is None else ratio * self.pipe.scheduler.config.num_train_timesteps

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer, prompt, MAX_TOKENS)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer, MAX_TOKENS

    def embed(self, texts: list[str]) -> Embedding:
        return self.embedding(wan_hidden(self.pipe, texts, MAX_TOKENS, self.device))

    def callbacks(self, request: Request) -> Mapping[str, StepCallback]:
        scale = request.inputs.get("arguments", {}).get("guidance_scale_2")
        return {} if scale is None else {"wan.guidance_scale_2": LowNoiseScale(self.boundary or 0, scale)}

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        is_noisy = self.boundary is None or step.timestep >= self.boundary
        given = step.inputs.get("given_frames", GivenFrames())
        timestep = step.timestep
        if self.pipe.config.expand_timesteps:  # one for each token, in the 5B model of Wan 2.2
            timestep = timesteps_of_tokens(timestep, latents, given)
        return (self.pipe.transformer if is_noisy else self.pipe.transformer_2)(
            hidden_states=given.append_to(latents), timestep=timestep.expand(len(latents), *timestep.shape),
            encoder_hidden_states=embedding.hidden, encoder_hidden_states_image=given.hidden, return_dict=False,
        )[0]  # fmt: skip

    @classmethod
    def sigmas(cls, steps: int) -> None:
        """The scheduler lays out its own."""

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> None:
        """None: it is a constant of the scheduler."""
