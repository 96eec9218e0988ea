"""Dynamic thresholding: the estimate of the clean latents can't grow without bound. https://arxiv.org/abs/2205.11487,
section 2.3
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.constraints import Gt, Interval

if TYPE_CHECKING:
    from torch import Tensor


class DynamicThreshold(StepCallback):
    """percentile: 0–1, of the estimate's magnitudes in each image. limit: what may pass unchanged; 1 in pixel space,
    where
    it comes from; latents of a unit variance reach 4 or so.
    """

    batch_safe = True

    def __init__(
        self, percentile: Annotated[float, Interval(gt=0, le=1)] = 0.995, limit: Annotated[float, Gt(0)] = 4.0
    ) -> None:
        self.percentile, self.limit = float(percentile), float(limit)
        self.run: Run | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run = run
        yield

    def after_predict(self, step: Step, prediction: Tensor) -> Tensor | None:
        clean = self.run.denoised(step, prediction)
        size = clean.abs().flatten(1).float().quantile(self.percentile, dim=1).to(clean.dtype)
        if not (size > self.limit).any():
            return None
        size = size.clamp(min=self.limit).view(-1, *[1] * (clean.ndim - 1))
        return self.run.predicted(step, clean.clamp(-size, size) / size * self.limit).to(prediction.dtype)
