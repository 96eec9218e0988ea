"""A guidance scale that changes over the steps. https://arxiv.org/abs/2404.13040"""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Annotated, Literal

from composer.callbacks.base import Step, StepCallback
from composer.system.constraints import Ge

#: A guidance scale.
Scale = Annotated[float, Ge(0)]


class GuidanceSchedule(StepCallback):
    """From one scale to another, or one scale inside an interval and none outside (https://arxiv.org/abs/2404.07724).

    start, end: scales at the first and last step (linear, cosine). scale: inside the interval; None keeps the run's
    own.
    first, last: shares of the steps, 0–1, between which the interval lies.
    """

    batch_safe = True

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
        return replace(step, guidance_scale=self.at(step.index / max(step.total - 1, 1), step.guidance_scale))

    def at(self, share: float, own: float) -> float:
        """The scale at a share, 0–1, of the way; `own` is the run's."""
        if self.kind == "interval":
            inside = self.first <= share <= self.last
            return (own if self.scale is None else self.scale) if inside else 1.0
        way = share if self.kind == "linear" else (1 - cos(pi * share)) / 2
        return self.start + (self.end - self.start) * way
