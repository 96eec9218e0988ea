"""Stable Diffusion XL and its refiner: a UNet conditioned on the image's size besides the text.

https://arxiv.org/abs/2307.01952
"""

from __future__ import annotations

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning
from composer.callbacks.request import Request
from composer.families.settings import Decoded
from composer.families.unet import LatentUNet
from composer.families.vae import decode_latents, encode_pixels, upcast_to_fp32

#: Aesthetic scores in [0, 10] that condition a refiner, for the prompt and the negative prompt; diffusers' defaults.
AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5


class StableDiffusionXL(LatentUNet):
    """Two CLIP text encoders, of which a refiner has only the second; their pooled output goes with the timestep."""

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        texts = request.negative_prompts
        negative_prompt = None if all(text is None for text in texts) else [text or "" for text in texts]
        hidden, negative, pooled, negative_pooled = self.pipe.encode_prompt(
            list(request.prompts), None, self.device, 1, do_classifier_free_guidance, negative_prompt=negative_prompt
        )
        ids = {"time_ids": self._time_ids(request, AESTHETIC_SCORE, hidden)}
        positive = self.embedding(hidden, pooled, ids)
        if not do_classifier_free_guidance:
            return Conditioning(positive=positive)
        if self.pipe.config.force_zeros_for_empty_prompt:  # None is zeros, "" is the empty text's embedding
            rows = [i for i, text in enumerate(texts) if text is None]
            negative[rows], negative_pooled[rows] = 0, 0
        ids = {"time_ids": self._time_ids(request, NEGATIVE_AESTHETIC_SCORE, hidden)}
        return Conditioning(positive=positive, negative=self.embedding(negative, negative_pooled, ids))

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        vae = self.pipe.vae
        with upcast_to_fp32(vae, vae.config.force_upcast):
            latents = encode_pixels(vae, pixels, generators).to(self.dtype)
        if self._statistics is None:
            return vae.config.scaling_factor * latents
        mean, std = (statistic.to(latents) for statistic in self._statistics)
        return (latents - mean) * vae.config.scaling_factor / std

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        vae = self.pipe.vae
        upcast = vae.config.force_upcast and vae.dtype == torch.float16
        pixels, notes = decode_latents(self, latents, self._unscale, upcast)
        if self.pipe.watermark is not None:
            pixels = self.pipe.watermark.apply_watermark(pixels)
        return Decoded(media=self.pipe.image_processor.postprocess(pixels), notes=notes)

    def _unscale(self, latents: Tensor) -> Tensor:
        """Latents in the scale of the VAE."""
        scale = self.pipe.vae.config.scaling_factor
        if self._statistics is None:
            return latents / scale
        mean, std = (statistic.to(latents) for statistic in self._statistics)
        return latents * std / scale + mean

    @property
    def _statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of the latents, `(1, C, 1, 1)` each, for a VAE whose config has them."""
        config = self.pipe.vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return None
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
        return mean, std

    def _time_ids(self, request: Request, score: float, like: Tensor) -> Tensor:
        """Size conditioning: original size, crop and target size `(B, 6)`, or with a score for the last `(B, 5)`."""
        size, uncropped = (request.height, request.width), (0, 0)
        ids = [*size, *uncropped, score] if self._takes_score else [*size, *uncropped, *size]
        return torch.tensor([ids], dtype=like.dtype).repeat(request.batch, 1).to(self.device)

    @property
    def _takes_score(self) -> bool:
        """Whether the UNet takes an aesthetic score, as a refiner does, instead of a target size."""
        config = self.pipe.unet.config
        width = config.projection_class_embeddings_input_dim - self.pipe.text_encoder_2.config.projection_dim
        return width == 5 * config.addition_time_embed_dim
