"""Stable Diffusion XL and its refiner: a UNet told the image's size besides the text. https://arxiv.org/abs/2307.01952"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning
from composer.callbacks.request import Request
from composer.families.settings import Decoded
from composer.families.unet import LatentUNet
from composer.families.vae import decoded, encoded, in_fp32

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

#: Aesthetic scores (0–10) that a refiner is told of the prompt's and the negative prompt's image; diffusers' defaults.
SCORE, NEGATIVE_SCORE = 6.0, 2.5


class StableDiffusionXL(LatentUNet):
    """Two CLIP text encoders, of which a refiner has the second alone; their pooled output goes with the timestep."""

    pipe: StableDiffusionXLPipeline

    def encoded(self, request: Request, contrast: bool) -> Conditioning:
        texts = request.negative_prompts
        given = None if all(text is None for text in texts) else [text or "" for text in texts]
        hidden, negative, pooled, negative_pooled = self.pipe.encode_prompt(
            list(request.prompts), None, self.device, 1, contrast, negative_prompt=given
        )
        positive = self.embedding(hidden, pooled, {"time_ids": self._time_ids(request, SCORE, hidden)})
        if not contrast:
            return Conditioning(positive=positive)
        if self.pipe.config.force_zeros_for_empty_prompt:  # "none given" is zeros, "" is the empty text's embedding
            rows = [i for i, text in enumerate(texts) if text is None]
            negative[rows], negative_pooled[rows] = 0, 0
        ids = {"time_ids": self._time_ids(request, NEGATIVE_SCORE, hidden)}
        return Conditioning(positive=positive, negative=self.embedding(negative, negative_pooled, ids))

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        vae = self.pipe.vae
        with in_fp32(vae, vae.config.force_upcast):
            latents = encoded(vae, pixels, generators).to(self.dtype)
        if self._statistics is None:
            return vae.config.scaling_factor * latents
        mean, std = (each.to(latents) for each in self._statistics)
        return (latents - mean) * vae.config.scaling_factor / std

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        vae = self.pipe.vae
        pixels, notes = decoded(self, latents, self._unscaled, vae.config.force_upcast and vae.dtype == torch.float16)
        if self.pipe.watermark is not None:
            pixels = self.pipe.watermark.apply_watermark(pixels)
        return Decoded(images=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def _unscaled(self, latents: Tensor) -> Tensor:
        """Latents as the VAE knows them."""
        scale = self.pipe.vae.config.scaling_factor
        if self._statistics is None:
            return latents / scale
        mean, std = (each.to(latents) for each in self._statistics)
        return latents * std / scale + mean

    @property
    def _statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation of the latents, (1, C, 1, 1) each, for a VAE that tells them."""
        config = self.pipe.vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return None
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std))
        return mean, std

    def _time_ids(self, request: Request, score: float, like: Tensor) -> Tensor:
        """What the UNet is told of the image, (B, 6): original size, crop and target size; (B, 5) with a score for the
        last.
        """
        size, uncropped = (request.height, request.width), (0, 0)
        told = [*size, *uncropped, score] if self._asks_score else [*size, *uncropped, *size]
        return torch.tensor([told], dtype=like.dtype).repeat(request.batch, 1).to(self.device)

    @property
    def _asks_score(self) -> bool:
        """Whether the UNet's input has room for an aesthetic score, as a refiner's has, instead of a target size."""
        config = self.pipe.unet.config
        room = config.projection_class_embeddings_input_dim - self.pipe.text_encoder_2.config.projection_dim
        return room == 5 * config.addition_time_embed_dim
