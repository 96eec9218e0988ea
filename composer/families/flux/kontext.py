"""The reference image of FLUX.1 Kontext. https://arxiv.org/abs/2506.15742"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.compat.pipeline_functions import kontext_sizes
from composer.families.flow import FlowTransformer
from composer.families.references import References
from composer.families.vae import encode_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


class Kontext(FlowTransformer):
    """A family whose editing models look at one image, placed beside the result."""

    @abstractmethod
    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions of an image's tokens, `(rows · columns, 3)`."""

    def encode_references(self, images: Sequence[Image]) -> References:
        """Encode the one reference of Kontext, scaled to the trained size whose shape is nearest."""
        (image,) = images  # the task refuses others
        processor, (height, width) = self.pipe.image_processor, self.reference_size(image)
        pixels = processor.preprocess(processor.resize(image, height, width), height, width)
        encoded = encode_pixels(self.pipe.vae, pixels, (torch.Generator(),), sample=False).to(self.dtype)
        positions = self.positions(*(side // self.patch_size for side in encoded.shape[2:]))
        positions[..., 0] = 1
        return References(tokens=self.pack(self.normalize(encoded)), positions=positions)

    def reference_size(self, image: Image) -> tuple[int, int]:
        """Height and width in pixels that a reference is scaled to."""
        shape, multiple = image.width / image.height, self.vae_scale_factor * self.patch_size
        width, height = min(kontext_sizes(), key=lambda size: abs(shape - size[0] / size[1]))
        return height // multiple * multiple, width // multiple * multiple
