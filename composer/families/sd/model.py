"""Stable Diffusion 1 and 2: a UNet with cross-attention on 4-channel latents. https://arxiv.org/abs/2112.10752"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from composer.callbacks.base import Conditioning
from composer.callbacks.request import Request
from composer.families.distinct import index_distinct
from composer.families.settings import Decoded
from composer.families.unet import LatentUNet
from composer.families.vae import decode_latents, encode_pixels
from composer.sampling.embedding_cache import cached


class StableDiffusion(LatentUNet):
    """One CLIP text encoder; some checkpoints have a safety checker, some a depth estimator."""

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        positive, negative = self.pipe.encode_prompt(
            list(request.prompts), self.device, 1, do_classifier_free_guidance, negatives
        )
        return Conditioning(
            positive=self.embedding(positive),
            negative=self.embedding(negative) if do_classifier_free_guidance else None,
        )

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        return self.pipe.vae.config.scaling_factor * encode_pixels(self.pipe.vae, pixels, generators).to(self.dtype)

    def depth(self, images: Sequence[Image], maps: Sequence[np.ndarray] | None) -> Tensor:
        if maps is None:
            return self._estimate_depth(images)
        rows = [self._prepare_depth([image], torch.from_numpy(depth)[None]) for image, depth in zip(images, maps)]
        return torch.cat(rows)

    def _estimate_depth(self, images: Sequence[Image]) -> Tensor:
        """Depth from the checkpoint's estimator, which sees each distinct image once."""
        content = [(image.mode, image.size, image.tobytes()) for image in images]
        first, rows = index_distinct(content)
        estimate = partial(self._prepare_depth, [images[i] for i in first], None)
        with warnings.catch_warnings():  # it opens an autocast, which is not for fp32
            warnings.filterwarnings("ignore", "In CPU autocast")
            return cached(self.pipe.depth_estimator, lambda: ("depth", *(content[i] for i in first)), estimate)[rows]

    def _prepare_depth(self, images: Sequence[Image], depth: Tensor | None) -> Tensor:
        return self.pipe.prepare_depth_map(
            images, depth, batch_size=1, do_classifier_free_guidance=False, dtype=self.dtype, device=self.device
        )

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        pixels, notes = decode_latents(self, latents, lambda latents: latents / self.pipe.vae.config.scaling_factor)
        processor: Any = self.pipe.image_processor
        if getattr(self.pipe, "safety_checker", None) is None:
            return Decoded(media=processor.postprocess(pixels), notes=notes)
        pixels, nsfw = self.pipe.run_safety_checker(pixels, self.device, latents.dtype)
        flagged = tuple(bool(flag) for flag in nsfw)
        images = processor.postprocess(pixels, do_denormalize=[not flag for flag in flagged])
        return Decoded(media=images, flagged=flagged, notes=notes)
