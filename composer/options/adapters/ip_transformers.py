"""IP-Adapters of transformers: those for Flux, which read CLIP, and those for Stable Diffusion 3, which read SigLIP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from composer.callbacks.base import Conditioning
from composer.callbacks.request import Request
from composer.checkpoints.fingerprints import image_fingerprint
from composer.compat.ip_adapter import load_into_flux, load_into_sd3
from composer.families.image_embeds import IMAGE_EMBEDS
from composer.options.adapters.ip_adapters import IpAdapters, with_images
from composer.sampling.embedding_cache import cached

if TYPE_CHECKING:
    from PIL.Image import Image


class TransformerIpAdapters(IpAdapters):
    """IP-Adapters in the attention of a transformer; each branch has its own embeddings of images."""

    denoiser = "transformer"

    @abstractmethod
    def embed(self, pipe: Any, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """Encode the images of one IP-Adapter, for the negative and the positive branch.

        Args:
            pipe: The pipeline, with the image encoder.
            images: RGB images.

        Returns:
            Embeddings of the negative and the positive branch, `(1, …)`.
        """

    def condition(self, pipe: Any, conditioning: Conditioning, request: Request) -> Conditioning:
        images = [list(of.images) for of in self.prompts.values()]

        def key() -> Any:
            return "ip_adapter", *(tuple(map(image_fingerprint, of)) for of in images)

        @torch.no_grad()
        def embed() -> list[tuple[Tensor, Tensor]]:
            return [self.embed(pipe, of) for of in images]

        pairs = cached(pipe.image_encoder, key, embed)
        negative, positive = (
            {f"{IMAGE_EMBEDS}.{index}": torch.cat([pair[half]] * request.batch) for index, pair in enumerate(pairs)}
            for half in (0, 1)
        )
        return replace(
            conditioning,
            positive=with_images(conditioning.require_positive(), positive),
            negative=conditioning.negative and with_images(conditioning.negative, negative),
        )


class FluxIpAdapters(TransformerIpAdapters):
    """The attention of images is added after each block of two streams; a negative prompt is beside a black image."""

    def add_layers(self, model: Any, files: list[dict[str, dict[str, Tensor]]]) -> None:
        load_into_flux(model, files)

    @contextmanager
    def active_for(self, pipe: Any, request: Request) -> Iterator[None]:
        layers = pipe.transformer.config.num_layers
        scales = [of.spec.scales.get("blocks", [of.spec.scale] * layers) for of in self.prompts.values()]
        for processor, *of_layer in zip(pipe.transformer.attn_processors.values(), *scales):
            processor.scale = of_layer  # the first processors are those of the blocks of two streams
        yield

    def embed(self, pipe: Any, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        size = pipe.image_encoder.config.image_size
        black = np.zeros((size, size, 3), dtype=np.uint8)
        negative, positive = (
            pipe.image_encoder(_pixels(pipe, shown)).image_embeds[None] for shown in ([black], list(images))
        )
        return negative, positive


class SD3IpAdapters(TransformerIpAdapters):
    """A transformer takes one IP-Adapter with one image; a negative prompt is beside an embedding of zeros."""

    def changed(self, model: Any) -> list[tuple[Any, str]]:
        return [(model, "image_proj")]

    def add_layers(self, model: Any, files: list[dict[str, dict[str, Tensor]]]) -> None:
        load_into_sd3(model, files)
        given, taken = len(files[0]["image_proj"]), len(model.image_proj.state_dict())
        if given != taken:
            raise ValueError(f"its projection has {given} tensors, and diffusers reads {taken}")

    def encoder(self, pipe: Any, model: Any) -> dict[str, Any]:
        from transformers import SiglipImageProcessor, SiglipVisionModel

        folder = next(iter(self.prompts.values())).encoder
        loaded: Any = SiglipVisionModel.from_pretrained(folder, dtype=model.dtype)
        loaded.to(model.device)
        if (folder / "preprocessor_config.json").is_file():
            processor: Any = SiglipImageProcessor.from_pretrained(folder)
        else:
            size = loaded.config.image_size
            processor = SiglipImageProcessor(size={"height": size, "width": size})
        return {"image_encoder": loaded.eval(), "feature_extractor": processor}

    @contextmanager
    def active_for(self, pipe: Any, request: Request) -> Iterator[None]:
        (prompt,) = self.prompts.values()
        for processor in pipe.transformer.attn_processors.values():
            processor.scale = prompt.spec.scale
        yield

    def embed(self, pipe: Any, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        hidden = pipe.image_encoder(_pixels(pipe, images), output_hidden_states=True).hidden_states[-2]
        return torch.zeros_like(hidden), hidden


def _pixels(pipe: Any, images: Sequence[Any]) -> Tensor:
    """Images as the encoder of a pipeline takes them."""
    pixels = pipe.feature_extractor(images=list(images), return_tensors="pt").pixel_values
    return pixels.to(pipe.image_encoder.device, pipe.image_encoder.dtype)
