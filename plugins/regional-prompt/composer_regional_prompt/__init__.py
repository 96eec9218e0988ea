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
    """Inside the region the model is asked for `prompt`, outside for the run's own; the seam is one image's.

    prompt, negative_prompt: of the region; None keeps the run's own negative prompts. box: left, top, right and bottom
    as
    shares, 0–1, of the image. mask: an image file instead, white where the region is. feather: width of the blend, as a
    share of the shorter edge. first, last: shares of the steps, 0–1, between which the region has its own prompt.
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
        """(1, 1, H, W), 1 inside and 0 outside."""
        mask = _drawn(self.box, width, height) if self.mask is None else _read(self.mask).resize((width, height))
        if self.feather:
            mask = mask.filter(ImageFilter.GaussianBlur(self.feather * min(width, height) / 2))
        region = torch.from_numpy(np.asarray(mask, np.float32) / 255)[None, None]
        if not region.any():
            raise ComposerError(KEY, None, "the region is empty: nothing of the image lies in it")
        return region


def _drawn(box: tuple[float, ...], width: int, height: int) -> Image.Image:
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (width, height) * 2))
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (left, top, right, bottom))
    return mask


def _read(name: str) -> Image.Image:
    try:
        return Image.open(Path(name).expanduser()).convert("L")
    except (OSError, UnidentifiedImageError) as error:
        raise ComposerError(
            f"{KEY}.mask", name, f"can't be read: {getattr(error, 'strerror', None) or 'it is no picture'}"
        ) from None


def _box(box: Sequence[float]) -> tuple[float, ...]:
    left, top, right, bottom = map(float, box)
    if left >= right or top >= bottom:
        raise ComposerError(f"{KEY}.box", box, "must be [left,top,right,bottom], with left < right and top < bottom")
    return left, top, right, bottom
