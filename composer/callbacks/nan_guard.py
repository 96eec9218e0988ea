"""Ends a run whose numbers have left the range of floats, instead of decoding them into a black image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.callbacks.base import Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class NanGuard(StepCallback):
    """Looks at every prediction and at the latents after every step; one reduction each."""

    batch_safe = True

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        check("the model's prediction", prediction)

    def after_step(self, step: Step, latents: Tensor) -> None:
        check("the latents after the scheduler's step", latents)


def check(name: str, tensor: Tensor) -> None:
    """Raises: ValueError that counts what is NaN or infinite, and in which images."""
    if tensor.isfinite().all():
        return
    odd = ~tensor.isfinite().flatten(1)
    images = [i for i, each in enumerate(odd.any(1).tolist()) if each]
    raise ValueError(
        f"{int(odd.sum())} of {odd.numel()} numbers in {name} are not finite (image {', '.join(map(str, images))}): try precision=fp32"
    )
