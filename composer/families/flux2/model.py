"""FLUX.2: a transformer on packed latents whose prompts are encoded by Qwen3 (klein) or Mistral (dev).

https://github.com/black-forest-labs/flux2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.callbacks.base import Embedding, Step
from composer.compat.pipeline_functions import flux2_shift
from composer.families.chat import chat_limit, chat_tokens, plain_tokenizer
from composer.families.flow import embedded_scale, grid_of, scaled_timesteps
from composer.families.patch_norm import PatchNorm
from composer.families.references import References
from composer.families.vae import encode_pixels
from composer.images.scaling import scale_down

if TYPE_CHECKING:
    from PIL.Image import Image

#: Most tokens of a prompt with its chat template, unless the tokenizer allows fewer; diffusers' default.
MAX_TOKENS = 512
#: Most pixels of a reference.
MAX_AREA = 1024 * 1024


class Flux2(PatchNorm):
    """Latents of 2 × 2 patches, normalized by the VAE's batch norm: `(B, H/16 · W/16, 4 · channels)`."""

    samples_vae = False

    def tokens(self, prompt: str) -> list[str]:
        tokens = chat_tokens(self.pipe.tokenizer, prompt, self._max_tokens, **self._template)
        return tokens + [plain_tokenizer(self.pipe.tokenizer).pad_token] * (self._max_tokens - len(tokens))

    @property
    def prompt_tokenizer(self) -> tuple[Any, int] | None:
        limit = chat_limit(self.pipe.tokenizer, self._max_tokens, **self._template)
        return plain_tokenizer(self.pipe.tokenizer), limit

    def embed(self, texts: list[str]) -> Embedding:
        hidden, text_ids = self.pipe.encode_prompt(texts, self.device, max_sequence_length=self._max_tokens)
        return self.embedding(hidden, extra={"txt_ids": text_ids})

    def forward(self, step: Step, latents: Tensor, embedding: Embedding) -> Tensor:
        positions = self._positions(0, *grid_of(step.canvas, self.vae_scale_factor * self.patch_size))
        if "references" in step.inputs:
            positions = torch.cat([positions, step.inputs["references"].positions])
        return self.pipe.transformer(
            hidden_states=latents, timestep=scaled_timesteps(step, latents),
            guidance=embedded_scale(step, latents) if self.takes_guidance_scale else None,
            encoder_hidden_states=embedding.hidden, img_ids=positions.expand(len(latents), -1, -1),
            return_dict=False, **embedding.extra,
        )[0]  # fmt: skip

    def encode_references(self, images: Sequence[Image]) -> References:
        """Encode references, those above a megapixel scaled down; the n-th of them is placed at time 10 n."""
        tokens, positions = [], []
        multiple, processor = self.vae_scale_factor * self.patch_size, self.pipe.image_processor
        for index, image in enumerate((scale_down(image, MAX_AREA) for image in images), 1):
            height, width = (side // multiple * multiple for side in (image.height, image.width))
            pixels = processor.preprocess(image, height=height, width=width, resize_mode="crop")
            encoded = encode_pixels(self.pipe.vae, pixels, (torch.Generator(),), sample=False)
            positions.append(self._positions(10 * index, *(side // self.patch_size for side in encoded.shape[2:])))
            tokens.append(self.pack(self.normalize(encoded)))
        return References(tokens=torch.cat(tokens, dim=1), positions=torch.cat(positions))

    @classmethod
    def shift(cls, tokens: int, steps: int, config: Any) -> float:
        return flux2_shift(tokens, steps)

    @property
    def _max_tokens(self) -> int:
        """Length that prompts are padded to: 512, or the tokenizer's limit."""
        return min(MAX_TOKENS, plain_tokenizer(self.pipe.tokenizer).model_max_length)

    @property
    def _template(self) -> dict[str, Any]:
        """Arguments of the chat template: FLUX.2 dev has a system message, klein's encoder must not think."""
        system = getattr(self.pipe, "system_message", None)
        return {"enable_thinking": False} if system is None else {"system": system}

    def _positions(self, time: int, rows: int, columns: int) -> Tensor:
        """Time, row, column and layer of each token, `(rows · columns, 4)`."""
        grid = torch.cartesian_prod(torch.tensor([time]), torch.arange(rows), torch.arange(columns), torch.arange(1))
        return grid.to(self.device)
