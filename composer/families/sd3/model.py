"""Stable Diffusion 3: a transformer on 16-channel latents, trained by flow matching. https://arxiv.org/abs/2403.03206"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import sd3_shift
from composer.families.base import token_strings
from composer.families.latent import LatentFamily
from composer.families.settings import Decoded
from composer.families.vae import decode_latents, encode_pixels
from composer.system.signatures import keywords_of

#: Latents along one side of a token.
PATCH_SIZE = 2
#: Positions of T5 in the embedding; diffusers' default.
MAX_T5_TOKENS = 256


class StableDiffusion3(LatentFamily):
    """Latents `(B, 16, H/8, W/8)`. Two CLIP encoders and T5, which can be omitted to save memory."""

    @property
    def takes_guidance_scale(self) -> bool:
        return False

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        hidden, negative, pooled, negative_pooled = self.pipe.encode_prompt(
            list(request.prompts), None, None, self.device, 1, do_classifier_free_guidance, negative_prompt=negatives
        )
        return Conditioning(
            positive=self.embedding(hidden, pooled),
            negative=self.embedding(negative, negative_pooled) if do_classifier_free_guidance else None,
        )

    def tokens(self, prompt: str) -> list[str]:
        """Those of CLIP, then those of T5, or as many empty ones where it is omitted."""
        clip = token_strings(self.pipe.tokenizer, prompt)
        if not self.pipe.text_encoder_3:
            return clip + [""] * MAX_T5_TOKENS
        return clip + token_strings(self.pipe.tokenizer_3, prompt, MAX_T5_TOKENS)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return (self.pipe.tokenizer_3, MAX_T5_TOKENS) if self.pipe.text_encoder_3 else super().prompt_tokenizer

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        config = self.pipe.vae.config
        latents = encode_pixels(self.pipe.vae, pixels, generators).to(self.dtype)
        return (latents - config.shift_factor) * config.scaling_factor

    @staticmethod
    def set_timesteps(
        scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        """Set timesteps with a shift that grows with the image, for the checkpoints and schedulers that take one."""
        config = scheduler.config
        settings: dict[str, float] = {}
        if config.get("use_dynamic_shifting") and "mu" in keywords_of(scheduler.set_timesteps):
            rows, columns = (side // vae_scale_factor // PATCH_SIZE for side in (request.height, request.width))
            settings["mu"] = sd3_shift(rows * columns, config)
        scheduler.set_timesteps(request.steps, device=device, **settings)

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        config = self.pipe.vae.config
        pixels, notes = decode_latents(
            self, latents, lambda latents: latents / config.scaling_factor + config.shift_factor
        )
        return Decoded(media=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        return self.pipe.transformer(
            hidden_states=latents, timestep=step.timestep.expand(len(latents)), encoder_hidden_states=embedding.hidden,
            pooled_projections=embedding.pooled, return_dict=False, **embedding.extra,
        )[0]  # fmt: skip
