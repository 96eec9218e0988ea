"""Flux: a transformer on packed latents, trained by flow matching. https://github.com/black-forest-labs/flux"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.families.base import DiffusersFamily, spelled
from composer.families.settings import Decoded
from composer.families.vae import decoded, encoded, scaled_mask
from composer.sampling.guidance import Branches
from composer.system.signatures import keywords_of

if TYPE_CHECKING:
    from diffusers import FluxPipeline

#: Latents along a side of what one token packs.
PATCH = 2


class Flux(DiffusersFamily):
    """Latents packed from 2 × 2 patches: (B, H/2f · W/2f, 4 · channels) with the VAE's factor f = 8."""

    pipe: FluxPipeline
    #: Positions, the same for all images.
    shared = frozenset({"txt_ids", "img_ids"})

    @property
    def takes_guidance_scale(self) -> bool:
        return bool(self.pipe.transformer.config.guidance_embeds)

    def encoded(self, request: Request, contrast: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        return Conditioning(
            positive=self._embed(list(request.prompts), request),
            negative=self._embed(negatives, request) if contrast else None,
        )

    def tokens(self, prompt: str) -> list[str]:
        return spelled(self.pipe.tokenizer_2, prompt, self._tokens)

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        config = self.pipe.vae.config
        latents = encoded(self.pipe.vae, pixels, generators).to(self.dtype)
        return self._pack((latents - config.shift_factor) * config.scaling_factor)

    def scale_mask(self, mask: Tensor) -> Tensor:
        scaled = scaled_mask(mask, self.factor, self.device, self.dtype)
        return self._pack(scaled.repeat(1, self.pipe.transformer.config.in_channels // 4, 1, 1))

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        latents, _ = self._prepare(request, list(generators))
        return latents

    @staticmethod
    def set_timesteps(scheduler: Any, request: Request, factor: int, device: torch.device | str) -> None:
        """Sigmas 1 … 1/steps, and a shift that grows with the image, for the schedulers that take them."""
        config, taken = scheduler.config, keywords_of(scheduler.set_timesteps)
        tokens = (request.height // (PATCH * factor)) * (request.width // (PATCH * factor))
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        shift = calculate_shift(
            tokens, config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5), config.get("max_shift", 1.15),
        )  # fmt: skip
        settings = {"mu": shift} if "mu" in taken and config.get("use_dynamic_shifting") else {}
        if "sigmas" in taken and not config.get("use_flow_sigmas"):
            scheduler.set_timesteps(
                sigmas=np.linspace(1.0, 1 / request.steps, request.steps), device=device, **settings
            )
        else:
            scheduler.set_timesteps(request.steps, device=device, **settings)

    def predict(self, step: Step) -> Branches:
        conditioning = step.conditioning
        positive = self._transformer(step, conditioning.positive)
        negative = None if conditioning.negative is None else self._transformer(step, conditioning.negative)
        return Branches(positive, negative)

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        vae = self.pipe.vae
        latents = self.pipe._unpack_latents(latents, request.height, request.width, self.pipe.vae_scale_factor)
        pixels, notes = decoded(
            self, latents, lambda latents: latents / vae.config.scaling_factor + vae.config.shift_factor
        )
        return Decoded(images=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def _transformer(self, step: Step, embedding: Embedding) -> Tensor:
        latents = step.model_input
        scale = (
            torch.full([1], step.embedded_guidance, device=latents.device).expand(len(latents))
            if self.takes_guidance_scale
            else None
        )
        return self.pipe.transformer(
            hidden_states=latents,
            timestep=step.timestep.expand(len(latents)).to(latents.dtype) / 1000,
            guidance=scale,
            pooled_projections=embedding.pooled,
            encoder_hidden_states=embedding.hidden,
            return_dict=False,
            **embedding.extra,
        )[0]

    def _embed(self, prompts: list[str], request: Request) -> Embedding:
        hidden, pooled, text_ids = self.pipe.encode_prompt(
            prompts, device=self.device, max_sequence_length=self._tokens
        )
        image_ids = self.pipe._prepare_latent_image_ids(
            request.batch,
            request.height // (PATCH * self.factor),
            request.width // (PATCH * self.factor),
            self.device,
            hidden.dtype,
        )
        return self.embedding(hidden, pooled, {"txt_ids": text_ids, "img_ids": image_ids})

    def _pack(self, latents: Tensor) -> Tensor:
        return self.pipe._pack_latents(latents, *latents.shape)

    def _prepare(self, request: Request, generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        channels = self.pipe.transformer.config.in_channels // 4
        return self.pipe.prepare_latents(
            request.batch, channels, request.height, request.width, self.dtype, self.device, generators
        )

    @property
    def reader(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer_2, self._tokens

    @property
    def _tokens(self) -> int:
        """Longest prompt in T5 tokens: 512, or what the tokenizer says (FLUX.1 schnell: 256)."""
        return min(512, self.pipe.tokenizer_2.model_max_length)
