"""A guidance scale that changes over the steps. https://arxiv.org/abs/2404.13040"""

from __future__ import annotations

from dataclasses import replace
from math import cos, isfinite, pi

from composer.callbacks.base import Step, StepCallback
from composer.errors import ComposerError

KINDS = ("linear", "cosine", "interval")


class GuidanceSchedule(StepCallback):
    """From one scale to another, or one scale inside an interval and none outside (https://arxiv.org/abs/2404.07724).

    start, end: scales at the first and last step (linear, cosine). scale: inside the interval; None keeps the run's
    own.
    first, last: shares of the steps, 0–1, between which the interval lies.
    """

    batch_safe = True

    def __init__(
        self,
        kind: str = "linear",
        start: float = 1.0,
        end: float = 7.5,
        scale: float | None = None,
        first: float = 0.2,
        last: float = 0.8,
    ) -> None:
        if kind not in KINDS:
            raise ComposerError("callbacks.guidance_schedule.kind", kind, "is not known", KINDS)
        for name, value in {
            "start": start,
            "end": end,
            "first": first,
            "last": last,
            "scale": 1.0 if scale is None else scale,
        }.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
                raise ComposerError(f"callbacks.guidance_schedule.{name}", value, "must be a finite number, 0 or more")
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
