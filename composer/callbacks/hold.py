"""Clips whose first frame is given: models that look for it among the noisy latents find it there at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from composer.callbacks.base import Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class Hold(StepCallback):
    """Put given frames back into the latents after each step.

    Args:
        restore: Returns latents with the given frames in their places.
    """

    def __init__(self, restore: Callable[[Tensor], Tensor]) -> None:
        self.restore = restore

    def after_step(self, step: Step, latents: Tensor) -> Tensor:
        """Restore the frames."""
        return self.restore(latents)
