"""Inpainting with a model that takes no mask: after each step the unmasked part is put back at that step's noise level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from composer.callbacks.base import Run, Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class Keep(StepCallback):
    """clean, noise: latents x₀ of the image and the noise it started with. mask: 1 where the model may paint."""

    def __init__(self, clean: Tensor, noise: Tensor, mask: Tensor) -> None:
        self.clean, self.noise, self.mask = clean, noise, mask
        self.run: Run | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run = run
        yield

    def after_step(self, step: Step, latents: Tensor) -> Tensor:
        last = step.index + 1 == step.total
        known = self.clean if last else self.run.noised(self.clean, self.noise, step.index + 1)
        return (1 - self.mask) * known + self.mask * latents
