"""A guidance scale that changes over the steps (https://arxiv.org/abs/2404.13040)."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Annotated, Literal

from composer.callbacks.base import Step, StepCallback
from composer.system.constraints import Ge

#: A guidance scale.
Scale = Annotated[float, Ge(0)]


class GuidanceSchedule(StepCallback):
    """Change the guidance scale over the steps, or guide inside an interval only.

    Linear and cosine schedules follow https://arxiv.org/abs/2404.13040, intervals https://arxiv.org/abs/2404.07724.

    Args:
        kind: `linear`, `cosine` or `interval`.
        start: Scale at the first step, for `linear` and `cosine`; >= 0.
        end: Scale at the last step, for `linear` and `cosine`; >= 0.
        scale: Scale inside the interval, >= 0; `None` keeps the run's. Outside of it the scale is 1.
        first: Begin of the interval as a fraction of the steps, in `[0, 1]`.
        last: End of the interval as a fraction of the steps, in `[0, 1]`.

    Raises:
        ComposerError: An unknown kind, or a number that is negative or not finite.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def __init__(
        self,
        kind: Literal["linear", "cosine", "interval"] = "linear",
        start: Scale = 1.0,
        end: Scale = 7.5,
        scale: Scale | None = None,
        first: Annotated[float, Ge(0)] = 0.2,
        last: Annotated[float, Ge(0)] = 0.8,
    ) -> None:
        self.kind, self.start, self.end, self.scale, self.first, self.last = kind, start, end, scale, first, last

    def before_step(self, step: Step) -> Step:
        """Set the scale of a step."""
        return replace(step, guidance_scale=self.scale_at(step.index / max(step.total - 1, 1), step.guidance_scale))

    def scale_at(self, progress: float, run_scale: float) -> float:
        """Compute the scale at a point of the schedule.

        Args:
            progress: Position between the first step and the last, in `[0, 1]`.
            run_scale: The run's own guidance scale.

        Returns:
            The guidance scale.
        """
        if self.kind == "interval":
            inside = self.first <= progress <= self.last
            return (run_scale if self.scale is None else self.scale) if inside else 1.0
        weight = progress if self.kind == "linear" else (1 - cos(pi * progress)) / 2
        return self.start + (self.end - self.start) * weight
