"""Flux: a transformer on packed latents, trained by flow matching. https://github.com/black-forest-labs/flux"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Embedding, Step
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import flux_image_ids, flux_shift, pack_flux, unpack_flux
from composer.families.base import DiffusersFamily, token_strings
from composer.families.settings import Decoded
from composer.families.vae import decode_latents, encode_pixels, resize_mask
from composer.sampling.guidance import Branches
from composer.system.signatures import keywords_of

#: Latents along one side of a token.
PATCH_SIZE = 2
#: Most T5 tokens that the transformer was trained with.
MAX_T5_TOKENS = 512


class Flux(DiffusersFamily):
    """Latents packed from 2 × 2 patches: `(B, H/16 · W/16, 4 · channels)` on a VAE with 8 pixels per latent."""

    shared_inputs = frozenset({"txt_ids", "img_ids"})  # positions, the same for all images

    @property
    def takes_guidance_scale(self) -> bool:
        return bool(self.pipe.transformer.config.guidance_embeds)

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        return Conditioning(
            positive=self._embed(list(request.prompts), request),
            negative=self._embed(negatives, request) if do_classifier_free_guidance else None,
        )

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer_2, prompt, self._max_tokens)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer_2, self._max_tokens

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        config = self.pipe.vae.config
        latents = encode_pixels(self.pipe.vae, pixels, generators).to(self.dtype)
        return self._pack((latents - config.shift_factor) * config.scaling_factor)

    def scale_mask(self, mask: Tensor) -> Tensor:
        resized = resize_mask(mask, self.vae_scale_factor, self.device, self.dtype)
        return self._pack(resized.repeat(1, self._channels, 1, 1))

    def start_noise(self, request: Request, generators: tuple[torch.Generator, ...]) -> Tensor:
        latents, _ = self.pipe.prepare_latents(
            request.batch, self._channels, request.height, request.width, self.dtype, self.device, list(generators)
        )
        return latents

    @staticmethod
    def set_timesteps(
        scheduler: Any, request: Request, vae_scale_factor: int, device: torch.device | str
    ) -> None:  # fmt: skip
        """Set sigmas 1 … 1/steps and a shift that grows with the image, for the schedulers that take them."""
        config, keywords = scheduler.config, keywords_of(scheduler.set_timesteps)
        settings: dict[str, Any] = {}
        if "mu" in keywords and config.get("use_dynamic_shifting"):
            settings["mu"] = _shift(config, request, vae_scale_factor)
        if "sigmas" in keywords and not config.get("use_flow_sigmas"):
            settings["sigmas"] = np.linspace(1.0, 1 / request.steps, request.steps)
        else:
            settings["num_inference_steps"] = request.steps
        scheduler.set_timesteps(device=device, **settings)

    def predict(self, step: Step) -> Branches:
        positive, negative = step.conditioning.require_positive(), step.conditioning.negative
        prediction = self._forward(step, positive)
        return Branches(prediction, None if negative is None else self._forward(step, negative))

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        config = self.pipe.vae.config
        latents = unpack_flux(self.pipe, latents, request.height, request.width)
        pixels, notes = decode_latents(
            self, latents, lambda latents: latents / config.scaling_factor + config.shift_factor
        )
        return Decoded(media=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def _forward(self, step: Step, embedding: Embedding) -> Tensor:
        latents, guidance = step.model_input, None
        if self.takes_guidance_scale:
            guidance = torch.full([1], step.embedded_guidance, device=latents.device).expand(len(latents))
        return self.pipe.transformer(
            hidden_states=latents, timestep=step.timestep.expand(len(latents)).to(latents.dtype) / 1000,
            guidance=guidance, pooled_projections=embedding.pooled, encoder_hidden_states=embedding.hidden,
            return_dict=False, **embedding.extra,
        )[0]  # fmt: skip

    def _embed(self, prompts: list[str], request: Request) -> Embedding:
        hidden, pooled, text_ids = self.pipe.encode_prompt(
            prompts, device=self.device, max_sequence_length=self._max_tokens
        )
        rows, columns = _grid(request, self.vae_scale_factor)
        image_ids = flux_image_ids(self.pipe, request.batch, rows, columns, self.device, hidden.dtype)
        return self.embedding(hidden, pooled, {"txt_ids": text_ids, "img_ids": image_ids})

    def _pack(self, latents: Tensor) -> Tensor:
        return pack_flux(self.pipe, latents)

    @property
    def _channels(self) -> int:
        """Channels of latents before packing."""
        return self.pipe.transformer.config.in_channels // PATCH_SIZE**2

    @property
    def _max_tokens(self) -> int:
        """Longest prompt in T5 tokens: 512, or the tokenizer's limit (FLUX.1 schnell: 256)."""
        return min(MAX_T5_TOKENS, self.pipe.tokenizer_2.model_max_length)


def _grid(request: Request, vae_scale_factor: int) -> tuple[int, int]:
    """Rows and columns of tokens."""
    pixels = PATCH_SIZE * vae_scale_factor
    return request.height // pixels, request.width // pixels


def _shift(config: Any, request: Request, vae_scale_factor: int) -> float:
    rows, columns = _grid(request, vae_scale_factor)
    return flux_shift(rows * columns, config)
