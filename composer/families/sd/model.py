"""Stable Diffusion 1 and 2: a UNet with cross-attention on 4-channel latents. https://arxiv.org/abs/2112.10752"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from composer.callbacks.base import Conditioning
from composer.callbacks.request import Request
from composer.families.distinct import places
from composer.families.settings import Decoded
from composer.families.unet import LatentUNet
from composer.families.vae import decoded, encoded
from composer.sampling.embedding_cache import remember

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


class StableDiffusion(LatentUNet):
    """One CLIP text encoder; some checkpoints bring a safety checker, some a depth estimator."""

    pipe: StableDiffusionPipeline

    def encoded(self, request: Request, contrast: bool) -> Conditioning:
        negatives = [text or "" for text in request.negative_prompts]
        positive, negative = self.pipe.encode_prompt(list(request.prompts), self.device, 1, contrast, negatives)
        return Conditioning(positive=self.embedding(positive), negative=self.embedding(negative) if contrast else None)

    def encode_image(self, pixels: Tensor, generators: tuple[torch.Generator, ...]) -> Tensor:
        return self.pipe.vae.config.scaling_factor * encoded(self.pipe.vae, pixels, generators).to(self.dtype)

    def depth(self, images: Sequence[Image], maps: Sequence[np.ndarray] | None) -> Tensor:
        settings = {"batch_size": 1, "do_classifier_free_guidance": False, "dtype": self.dtype, "device": self.device}
        if maps is None:
            with warnings.catch_warnings():  # it opens an autocast, which is not for fp32
                warnings.filterwarnings("ignore", "In CPU autocast")
                content = [(image.mode, image.size, image.tobytes()) for image in images]
                first, row = places(content)  # each distinct image is looked at once
                make = partial(self.pipe.prepare_depth_map, [images[i] for i in first], None, **settings)
                return remember(self.pipe.depth_estimator, lambda: ("depth", *(content[i] for i in first)), make)[row]
        rows = [self.pipe.prepare_depth_map([i], torch.from_numpy(m)[None], **settings) for i, m in zip(images, maps)]
        return torch.cat(rows)

    def decode(self, latents: Tensor, request: Request) -> Decoded:
        pixels, notes = decoded(self, latents, lambda latents: latents / self.pipe.vae.config.scaling_factor)
        if getattr(self.pipe, "safety_checker", None) is None:
            return Decoded(images=self.pipe.image_processor.postprocess(pixels), notes=notes)
        pixels, found = self.pipe.run_safety_checker(pixels, self.device, latents.dtype)
        flagged = tuple(bool(each) for each in found)
        images = self.pipe.image_processor.postprocess(pixels, do_denormalize=[not each for each in flagged])
        return Decoded(images=images, flagged=flagged, notes=notes)
