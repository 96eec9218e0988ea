"""No guidance in the last steps: nearly the same image, and the negative branch is not computed any more."""

from __future__ import annotations

from dataclasses import replace

from composer.callbacks.base import Step, StepCallback
from composer.system.constraints import Fraction


class CfgCutoff(StepCallback):
    """after: the share of the steps, 0–1, that are guided."""

    batch_safe = True

    def __init__(self, after: Fraction = 0.5) -> None:
        self.after = float(after)

    def before_step(self, step: Step) -> Step | None:
        if step.index < int(step.total * self.after) or step.conditioning.negative is None:
            return None
        return replace(step, guidance_scale=1.0, conditioning=replace(step.conditioning, negative=None))
