"""Flux: a transformer on packed latents, trained by flow matching. https://github.com/black-forest-labs/flux"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import flux_image_ids, kontext_sizes, pack_flux, unpack_flux
from composer.errors import ComposerError
from composer.families.base import token_strings
from composer.families.flow import FlowTransformer, embedded_scale, grid_of, scaled_timesteps
from composer.families.references import References
from composer.families.vae import encode_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

#: Most T5 tokens that the transformer was trained with.
MAX_T5_TOKENS = 512


class Flux(FlowTransformer):
    """Latents packed from 2 × 2 patches: `(B, H/16 · W/16, 4 · channels)` on a VAE with 8 pixels per latent."""

    pack_factor = 4
    reads_weights = True
    shared_inputs = frozenset({"txt_ids"})  # positions, the same for all images

    @property
    def token_positions(self) -> tuple[tuple[Any, int], ...]:
        return ((self.pipe.tokenizer_2, self._max_tokens),)

    def tokens(self, prompt: str) -> list[str]:
        return token_strings(self.pipe.tokenizer_2, prompt, self._max_tokens)

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        return self.pipe.tokenizer_2, self._max_tokens

    def embed(self, texts: list[str]) -> Embedding:
        hidden, pooled, text_ids = self.pipe.encode_prompt(
            texts, device=self.device, max_sequence_length=self._max_tokens
        )
        return self.embedding(hidden, pooled, {"txt_ids": text_ids})

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        positions = self._positions(*grid_of(step.canvas, self.vae_scale_factor * self.patch_size))
        if "references" in step.inputs:
            positions = torch.cat([positions, step.inputs["references"].positions])
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents),
            guidance=embedded_scale(step, latents) if self.takes_guidance_scale else None,
            pooled_projections=embedding.pooled, encoder_hidden_states=embedding.hidden,
            img_ids=positions, return_dict=False, **embedding.extra,
        )[0]  # fmt: skip

    def encode_references(self, images: Sequence[Image]) -> References:
        """Encode the one reference of Kontext, scaled to the trained size whose shape is nearest."""
        if len(images) > 1:
            reason = "FLUX.1 Kontext looks at one image: name one, or use FLUX.2 or a Qwen-Image-Edit model"
            raise ComposerError("references", None, reason)
        processor, (height, width) = self.pipe.image_processor, self.reference_size(images[0])
        pixels = processor.preprocess(processor.resize(images[0], height, width), height, width)
        encoded = encode_pixels(self.pipe.vae, pixels, (torch.Generator(),), sample=False).to(self.dtype)
        positions = self._positions(*(side // self.patch_size for side in encoded.shape[2:]))
        positions[..., 0] = 1
        return References(tokens=self.pack(self.normalize(encoded)), positions=positions)

    def reference_size(self, image: Image) -> tuple[int, int]:
        """Height and width in pixels that a reference is scaled to."""
        shape, multiple = image.width / image.height, self.vae_scale_factor * self.patch_size
        width, height = min(kontext_sizes(), key=lambda size: abs(shape - size[0] / size[1]))
        return height // multiple * multiple, width // multiple * multiple

    def pack(self, latents: Tensor) -> Tensor:
        return pack_flux(self.pipe, latents)

    def unpack(self, latents: Tensor, canvas: tuple[int, ...]) -> Tensor:
        return unpack_flux(self.pipe, latents, *canvas)

    def _positions(self, rows: int, columns: int) -> Tensor:
        return flux_image_ids(self.pipe, 1, rows, columns, self.device, self.dtype)

    @property
    def _max_tokens(self) -> int:
        """Longest prompt in T5 tokens: 512, or the tokenizer's limit (FLUX.1 schnell: 256)."""
        return min(MAX_T5_TOKENS, self.pipe.tokenizer_2.model_max_length)
