"""Reference images of editing models, as further tokens of the denoiser's sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from composer.errors import ComposerError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class References:
    """References of each image of a batch.

    Attributes:
        tokens: Packed latents `(B, N, C)` of all references of each image, one after the other.
        positions: Positions of the tokens, as the family's transformer takes them.
    """

    tokens: Tensor
    positions: Tensor

    def append_to(self, latents: Tensor) -> Tensor:
        """Append the tokens to packed latents `(B or 2 B, M, C)`: `(…, M + N, C)`."""
        repeated = self.tokens.repeat(len(latents) // len(self.tokens), 1, 1)
        return torch.cat([latents, repeated.to(latents)], dim=1)


def encode_rows(
    encode: Callable[[Sequence[Image]], References], rows: Sequence[Sequence[Image]]
) -> References:  # fmt: skip
    """Encode the references of a batch, the same ones once.

    Args:
        encode: Encodes the references of one image.
        rows: References of each image of the batch.

    Returns:
        References of the batch.

    Raises:
        ComposerError: The references of two images have different sizes.
    """
    encoded = {id(row): encode(row) for row in rows}
    images = [encoded[id(row)] for row in rows]
    positions = images[0].positions
    if not all(image.positions.equal(positions) for image in images):
        raise ComposerError("batch", len(rows), "references of different sizes can't share a batch: say batch=1")
    return References(tokens=torch.cat([image.tokens for image in images]), positions=positions)
