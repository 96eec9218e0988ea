"""Dynamic thresholding of the predicted clean latents (Imagen, https://arxiv.org/abs/2205.11487, section 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Step, StepCallback
from composer.system.constraints import Gt, Interval

if TYPE_CHECKING:
    from torch import Tensor


class DynamicThreshold(StepCallback):
    """Clamp the predicted clean latents to a percentile of their magnitudes, and rescale them to a limit.

    Args:
        percentile: Percentile of the magnitudes of each image's prediction that is clamped to, in `(0, 1]`.
        limit: Magnitude that passes unchanged, > 0. It is 1 in pixel space, where the method comes from; latents of
            unit variance reach about 4.

    Raises:
        ComposerError: An argument is out of range.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def __init__(
        self, percentile: Annotated[float, Interval(gt=0, le=1)] = 0.995, limit: Annotated[float, Gt(0)] = 4.0
    ) -> None:
        self.percentile, self.limit = float(percentile), float(limit)

    def after_predict(self, step: Step, prediction: Tensor) -> Tensor | None:
        """Return the prediction of the clamped latents, or `None` if none of them exceeds the limit."""
        clean = self.run.denoised(step, prediction)
        size = clean.abs().flatten(1).float().quantile(self.percentile, dim=1).to(clean.dtype)
        if not (size > self.limit).any():
            return None
        size = size.clamp(min=self.limit).view(-1, *[1] * (clean.ndim - 1))
        return self.run.predicted(step, clean.clamp(-size, size) / size * self.limit).to(prediction.dtype)
