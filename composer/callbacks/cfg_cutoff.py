"""No guidance in the last steps: nearly the same image, and the negative branch is not computed any more."""

from __future__ import annotations

from dataclasses import replace

from composer.callbacks.base import Step, StepCallback
from composer.errors import ComposerError


class CfgCutoff(StepCallback):
    """after: the share of the steps, 0–1, that are guided."""

    batch_safe = True

    def __init__(self, after: float = 0.5) -> None:
        if isinstance(after, bool) or not isinstance(after, (int, float)) or not 0 <= after <= 1:
            raise ComposerError(
                "callbacks.cfg_cutoff.after",
                after,
                "must be a number from 0 to 1: the share of the steps that are guided",
            )
        self.after = float(after)

    def before_step(self, step: Step) -> Step | None:
        if step.index < int(step.total * self.after) or step.conditioning.negative is None:
            return None
        return replace(step, guidance_scale=1.0, conditioning=replace(step.conditioning, negative=None))
