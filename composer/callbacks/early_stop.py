"""Stops when the estimate of the clean latents no longer changes: the steps that are left would change next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.system.constraints import Ge, Gt

if TYPE_CHECKING:
    from torch import Tensor


class EarlyStop(StepCallback):
    """tolerance: largest change of any image's estimate, relative to its norm. patience: for so many steps in a row.

    The estimate itself becomes the result, so that no noise is left in it.
    """

    def __init__(self, tolerance: Annotated[float, Gt(0)] = 0.01, patience: Annotated[int, Ge(1)] = 2) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.run: Run | None = None
        self.clean: Tensor | None = None
        self.quiet = 0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run, self.clean, self.quiet = run, None, 0
        yield
        self.clean = None

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        clean, before = self.run.denoised(step, prediction), self.clean
        if before is not None:
            change = ((clean - before).flatten(1).norm(dim=1) / clean.flatten(1).norm(dim=1)).max()
            self.quiet = self.quiet + 1 if change < self.tolerance else 0
        self.clean = clean

    def after_step(self, step: Step, latents: Tensor) -> Tensor | None:
        if self.quiet < self.patience:
            return None
        raise StopDenoising(self.clean)
