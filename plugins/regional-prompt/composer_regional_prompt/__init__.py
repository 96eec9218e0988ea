"""Another prompt inside a region: two opinions of the model on the same latents, joined by a mask.
https://arxiv.org/abs/2302.08113
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageFilter, UnidentifiedImageError

from composer import ComposerError, Fraction, Run, Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor

KEY = "callbacks.regional_prompt"


class RegionalPrompt(StepCallback):
    """Follow another prompt inside a region of the image, as in MultiDiffusion (https://arxiv.org/abs/2302.08113).

    Args:
        prompt: Prompt of the region.
        negative_prompt: Negative prompt of the region; `None` keeps the run's own.
        box: Left, top, right and bottom of the region as fractions of the image, in `[0, 1]`.
        mask: Image file instead of a box, white inside the region.
        feather: Width of the blend as a fraction of the shorter edge, in `[0, 1]`.
        first: Fraction of the steps from which on the region has its prompt, in `[0, 1]`.
        last: Fraction of the steps up to which it has, in `[0, 1]`.
    """

    needs = frozenset({"encode", "predict", "latent_mask"})
    batch_safe = True

    def __init__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None,
        mask: str | None = None,
        feather: Fraction = 0.0,
        first: Fraction = 0.0,
        last: Fraction = 1.0,
    ) -> None:
        if (box is None) == (mask is None):
            raise ComposerError(KEY, None, "needs a region: box=[0.5,0,1,1] or mask=FILE, and not both")
        self.prompt, self.negative_prompt, self.mask = prompt, negative_prompt, mask
        self.box = None if box is None else _box(box)
        self.feather, self.first, self.last = float(feather), float(first), float(last)

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        request = run.request
        negatives = request.negative_prompts if self.negative_prompt is None else [self.negative_prompt] * request.batch
        self.run, self.conditioning = run, run.encode([self.prompt] * request.batch, negatives)
        self.region = run.latent_mask(self._region(request.width, request.height))
        yield
        self.run = self.conditioning = self.region = None

    def after_predict(self, step: Step, prediction: Tensor) -> Tensor | None:
        if not self.first <= step.index / max(step.total - 1, 1) <= self.last:
            return None
        conditioning = (
            self.conditioning if step.conditioning.negative is not None else replace(self.conditioning, negative=None)
        )
        inside = self.run.predict(replace(step, conditioning=conditioning))
        return torch.lerp(prediction, inside, self.region.expand_as(prediction))

    def _region(self, width: int, height: int) -> Tensor:
        """Mask of shape `(1, 1, H, W)`, 1 inside of the region and 0 outside."""
        mask = _box_mask(self.box, width, height) if self.mask is None else _read(self.mask).resize((width, height))
        if self.feather:
            mask = mask.filter(ImageFilter.GaussianBlur(self.feather * min(width, height) / 2))
        region = torch.from_numpy(np.asarray(mask, np.float32) / 255)[None, None]
        if not region.any():
            raise ComposerError(KEY, None, "the region is empty: no pixel of the image is inside")
        return region


def _box_mask(box: tuple[float, ...], width: int, height: int) -> Image.Image:
    left, top, right, bottom = (round(fraction * side) for fraction, side in zip(box, (width, height) * 2))
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (left, top, right, bottom))
    return mask


def _read(name: str) -> Image.Image:
    try:
        return Image.open(Path(name).expanduser()).convert("L")
    except (OSError, UnidentifiedImageError) as error:
        raise ComposerError(
            f"{KEY}.mask", name, f"can't be read: {getattr(error, 'strerror', None) or 'it is no image'}"
        ) from None


def _box(box: Sequence[float]) -> tuple[float, ...]:
    left, top, right, bottom = map(float, box)
    if left >= right or top >= bottom:
        raise ComposerError(f"{KEY}.box", box, "must be [left,top,right,bottom], with left < right and top < bottom")
    return left, top, right, bottom
