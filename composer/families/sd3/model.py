"""Stable Diffusion 3: a transformer on 16-channel latents, trained by flow matching. https://arxiv.org/abs/2403.03206"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.base import DiffusersFamily, spelled
from composer.families.noise import noise
from composer.families.passes import branches
from composer.families.settings import Decoded
from composer.families.vae import decoded, encoded, scaled_mask
from composer.sampling.guidance import Branches
from composer.system.signatures import keywords_of

if TYPE_CHECKING:
    from diffusers import StableDiffusion3Pipeline

#: Latents along a side of what one token covers.
PATCH = 2
#: Positions of T5 in the embedding; diffusers' default.
T5_TOKENS = 256


class StableDiffusion3(DiffusersFamily):
    """Latents (B, 16, H/f, W/f) with the VAE's factor f = 8. Two CLIP encoders and T5, which may be left out to save
    memory.
    """

    pipe: StableDiffusion3Pipeline
    takes_guidance_scale = False

    @property
    def takes_mask(self) -> bool:
        return self._extra_channels == self.pipe.vae.config.latent_channels + 1

    def encoded(self, request: Request, contrast: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        hidden, negative, pooled, negative_pooled = self.pipe.encode_prompt(
            list(request.prompts), None, None, self.device, 1, contrast, negative_prompt=negatives
        )
        return Conditioning(
            positive=self.embedding(hidden, pooled),
            negative=self.embedding(negative, negative_pooled) if contrast else None,
        )

    def tokens(self, prompt: str) -> list[str]:
        """Those of CLIP, then those of T5, or as many empty ones where it was left out."""
        ours, theirs = self.pipe.tokenizer, self.pipe.tokenizer_3
        return spelled(ours, prompt) + (
            spelled(theirs, prompt, T5_TOKENS) if self.pipe.text_encoder_3 else [""] * T5_TOKENS
        )

    @property
    def reader(self) -> tuple[Any, int] | None:
        return (self.pipe.tokenizer_3, T5_TOKENS) if self.pipe.text_encoder_3 else super().reader

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        config = self.pipe.vae.config
        latents = encoded(self.pipe.vae, pixels, generators).to(self.dtype)
        return (latents - config.shift_factor) * config.scaling_factor

    def scale_mask(self, mask: Tensor) -> Tensor:
        return scaled_mask(mask, self.factor, self.device, self.dtype)

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        shape = (
            request.batch,
            self.pipe.vae.config.latent_channels,
            request.height // self.factor,
            request.width // self.factor,
        )
        return noise(shape, generators, self.dtype, self.device)

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        """A shift that grows with the image, for checkpoints that want one and schedulers that take it."""
        config, settings = scheduler.config, {}
        if config.get("use_dynamic_shifting") and "mu" in keywords_of(scheduler.set_timesteps):
            tokens = (request.height // factor // PATCH) * (request.width // factor // PATCH)
            from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

            settings["mu"] = calculate_shift(
                tokens, config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
                config.get("base_shift", 0.5), config.get("max_shift", 1.16),
            )  # fmt: skip
        scheduler.set_timesteps(request.steps, device=device, **settings)

    def predict(self, step: Step) -> Branches:
        return branches(
            step, self._extra_channels, lambda latents, embedding: self._transformer(step, latents, embedding)
        )

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        vae = self.pipe.vae
        pixels, notes = decoded(
            self, latents, lambda latents: latents / vae.config.scaling_factor + vae.config.shift_factor
        )
        return Decoded(images=self.pipe.image_processor.postprocess(pixels), notes=notes)

    @property
    def _extra_channels(self) -> int:
        """Input channels beside the noisy latents."""
        return self.pipe.transformer.config.in_channels - self.pipe.vae.config.latent_channels

    def _transformer(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        return self.pipe.transformer(
            hidden_states=latents,
            timestep=step.timestep.expand(len(latents)),
            encoder_hidden_states=embedding.hidden,
            pooled_projections=embedding.pooled,
            return_dict=False,
            **embedding.extra,
        )[0]
