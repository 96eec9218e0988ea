"""Stop when the predicted clean latents have converged, since the remaining steps would change next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.system.constraints import Ge, Gt

if TYPE_CHECKING:
    from torch import Tensor


class EarlyStop(StepCallback):
    """Stop denoising once the predicted clean latents have converged.

    The predicted clean latents become the result, so no residual noise remains.

    Args:
        tolerance: Largest relative L2 change of any image's prediction between two steps, > 0.
        patience: Number of consecutive steps below `tolerance` before stopping, >= 1.

    Raises:
        ComposerError: An argument is out of range.
    """

    media = frozenset({"image", "clip", "sound"})

    def __init__(self, tolerance: Annotated[float, Gt(0)] = 0.01, patience: Annotated[int, Ge(1)] = 2) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.clean: Tensor | None = None
        self.steps_below = 0
        self.stage = 0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Compare predictions of one run only."""
        self.clean, self.steps_below, self.stage = None, 0, 0
        yield
        self.clean = None

    def after_predict(self, step: Step, prediction: Tensor) -> None:
        """Count consecutive steps whose predicted clean latents changed less than the tolerance."""
        if step.stage != self.stage:  # the latents of another loop
            self.clean, self.steps_below, self.stage = None, 0, step.stage
        clean, before = self.run.denoised(step, prediction), self.clean
        if before is not None:
            change = ((clean - before).flatten(1).norm(dim=1) / clean.flatten(1).norm(dim=1)).max()
            self.steps_below = self.steps_below + 1 if change < self.tolerance else 0
        self.clean = clean

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Stop after enough such steps.

        Raises:
            StopDenoising: With the predicted clean latents.
        """
        if self.steps_below >= self.patience:
            raise StopDenoising(self.clean)
