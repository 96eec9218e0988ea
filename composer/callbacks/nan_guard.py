"""Stop a run whose values are no longer finite, instead of decoding them into a black image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.callbacks.base import Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class NanGuard(StepCallback):
    """Check every prediction, and the latents after every step, for NaN and infinity.

    Each check costs one reduction over the tensor.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        """Check the model's prediction.

        Raises:
            ValueError: It is not finite.
        """
        check_finite("the model's prediction", prediction)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Check the scheduler's result.

        Raises:
            ValueError: It is not finite.
        """
        check_finite("the latents after the scheduler's step", latents)


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse a tensor with values that are NaN or infinite.

    Args:
        name: Name of the tensor, for the message.
        tensor: `(B, …)`, one row an image.

    Raises:
        ValueError: Such values exist; the message counts them and lists their images.
    """
    if tensor.isfinite().all():
        return
    non_finite = ~tensor.isfinite().flatten(1)
    images = ", ".join(str(i) for i, affected in enumerate(non_finite.any(1).tolist()) if affected)
    count = f"{int(non_finite.sum())} of {non_finite.numel()} numbers in {name}"
    raise ValueError(f"{count} are not finite (image {images}): try precision=fp32")
