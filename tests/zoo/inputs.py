"""Images and clips that the pipelines take, made anew at each call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

#: Arguments of a small clip or image, and of its prompt.
SMALL = {"height": 32, "width": 32}
TEXT = {"prompt": "a cat", "output_type": "np", "max_sequence_length": 16}


def photo(width: int = 64, height: int | None = None, seed: int = 0) -> Callable[[], Image.Image]:
    """An image of smooth random colours."""

    def make() -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
        return Image.fromarray(coarse).resize((width, height or width), Image.Resampling.BICUBIC)

    return make


def mask(width: int = 64) -> Callable[[], Image.Image]:
    """White, to be generated, in the right half."""
    return lambda: Image.fromarray((np.indices((width, width))[1] >= width // 2).astype(np.uint8) * 255)


def translucent() -> Image.Image:
    image = photo()()
    image.putalpha(128)
    return image


def several(*makers: Callable[[], Image.Image]) -> Callable[[], list[Image.Image]]:
    return lambda: [make() for make in makers]


def clip(frames: int, width: int = 32) -> Callable[[], list[Image.Image]]:
    """Frames of which each is an image of its own."""
    return several(*(photo(width, seed=i) for i in range(frames)))


def masks(frames: int, width: int = 32) -> Callable[[], list[Image.Image]]:
    return several(*(mask(width) for _ in range(frames)))
