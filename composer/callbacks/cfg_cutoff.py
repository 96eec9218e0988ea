"""Guidance only in the first steps: the image stays nearly the same, and the negative branch is no longer computed."""

from __future__ import annotations

from dataclasses import replace

from composer.callbacks.base import Step, StepCallback
from composer.system.constraints import Fraction


class CfgCutoff(StepCallback):
    """Turn classifier-free guidance off for the last steps.

    Args:
        after: Fraction of the steps that are guided, in `[0, 1]`.

    Raises:
        ComposerError: `after` is out of range.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def __init__(self, after: Fraction = 0.5) -> None:
        self.after = float(after)

    def before_step(self, step: Step) -> Step | None:
        """Drop the negative embeddings and set the scale to 1 once enough steps were guided."""
        guided = step.conditioning.negative is not None or step.guidance_scale != 1
        if step.index < int(step.total * self.after) or not guided:
            return None
        return replace(step, guidance_scale=1.0, conditioning=replace(step.conditioning, negative=None))
