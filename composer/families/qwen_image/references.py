"""Reference images of Qwen-Image-Edit, which its text encoder reads too. https://github.com/QwenLM/Qwen-Image"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from composer.callbacks.base import Conditioning, Embedding
from composer.callbacks.request import Request
from composer.compat.pipeline_functions import qwen_sizes
from composer.families.channel_statistics import ChannelStatistics
from composer.families.flow import grid_of
from composer.families.references import References
from composer.families.vae import encode_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


class ReadReferences(ChannelStatistics):
    """A family whose text encoder reads the references beside the prompt, and whose denoiser reads their latents."""

    def encode_batch(self, request: Request, do_classifier_free_guidance: bool) -> Conditioning:
        rows = request.inputs.get("references")
        if not rows:
            return super().encode_batch(request, do_classifier_free_guidance)
        negatives = [text or "" for text in request.negative_prompts]
        return Conditioning(
            positive=self._embed_rows(request.prompts, rows),
            negative=self._embed_rows(negatives, rows) if do_classifier_free_guidance else None,
        )

    def conditioned_by(self, request: Request) -> Hashable:
        images = [image for row in request.inputs.get("references") or () for image in row]
        return tuple((image.size, hashlib.sha256(image.tobytes()).hexdigest()) for image in images)

    def encode_references(self, images: Sequence[Image]) -> References:
        """Encode references, scaled to the model's area; the positions are frames, rows and columns of each."""
        tokens, grids = [], []
        for image in images:
            _, (width, height) = qwen_sizes(self.pipe, image.width, image.height)
            pixels = self.pipe.image_processor.preprocess(image, height, width).unsqueeze(2)
            encoded = encode_pixels(self.pipe.vae, pixels, (torch.Generator(),), sample=False).to(self.dtype)
            mean, deviation = self.mean_and_deviation(encoded)
            tokens.append(self.pack((encoded - mean) / deviation))  # text2img multiplies by the reciprocal
            grids.append((1, *grid_of((height, width), self.vae_scale_factor * self.patch_size)))
        return References(tokens=torch.cat(tokens, dim=1), positions=torch.tensor(grids))

    def _embed_rows(self, texts: Sequence[str], rows: Sequence[Sequence[Image]]) -> Embedding:
        """Encode each text alone with the references of its row, as diffusers' pipeline does."""
        hidden = [self._embed_row(text, images) for text, images in zip(texts, rows)]
        ones = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in hidden]
        mask = pad_sequence(ones, batch_first=True)
        return self.embedding(pad_sequence(hidden, batch_first=True), mask=None if mask.all() else mask)

    def _embed_row(self, text: str, images: Sequence[Image]) -> Tensor:
        sizes = [qwen_sizes(self.pipe, image.width, image.height)[0] for image in images]
        resize = self.pipe.image_processor.resize
        scaled = [resize(image, height, width) for image, (width, height) in zip(images, sizes)]
        return self.pipe.encode_prompt([text], scaled, self.device)[0][0]
