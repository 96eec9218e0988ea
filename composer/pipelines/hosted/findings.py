"""What a run learns about a pipeline whose source it does not know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Findings:
    """What was learnt of a pipeline while it ran.

    Attributes:
        pipeline: Its class.
        stages: For each loop of its call the class with the loop, the component that stepped, the number of steps, the
            rule of guidance (None if it is not known), evaluations of models a step, and whether callbacks could change
            the first latents.
        skipped: Evaluations that were saved after `StopDenoising`.
    """

    pipeline: str
    stages: list[StageFindings] = field(default_factory=list)
    skipped: int = 0

    def as_record(self) -> dict[str, Any]:
        """Return plain data for the record."""
        return asdict(self)


@dataclass
class StageFindings:
    """What was learnt of one loop.

    Attributes:
        pipeline: Class with the loop.
        scheduler: Component that steps.
        steps: Steps that it took.
        rule: Rule of guidance; None if none of the known ones gives the same bits.
        evaluations: Evaluations of models at each step; one number if it is the same for all.
        first_latents: Whether callbacks could change the latents before the first step.
        after_step: ``callback`` if `after_step` had the last word on the latents, ``scheduler`` if the loop may have
            changed them afterwards.
    """

    pipeline: str
    scheduler: str = ""
    steps: int = 0
    rule: str | None = None
    evaluations: list[int] = field(default_factory=list)
    first_latents: bool = False
    after_step: str = "scheduler"
