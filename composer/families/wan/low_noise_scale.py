"""The second guidance scale of Wan 2.2, for the transformer that predicts at low noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from composer.callbacks.base import Step, StepCallback


@dataclass
class LowNoiseScale(StepCallback):
    """Guide with another scale below a timestep.

    Args:
        boundary: The timestep, below which the second transformer predicts.
        scale: Guidance scale there, >= 0.
    """

    boundary: float
    scale: float

    def before_step(self, step: Step) -> Step:
        """Set the scale of a step with low noise."""
        return step if step.timestep >= self.boundary else replace(step, guidance_scale=self.scale)
