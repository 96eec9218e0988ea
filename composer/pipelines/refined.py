"""Two models for one image: the base takes the first share of the schedule, a refiner the rest.
https://arxiv.org/abs/2307.01952

Each has a run of its own, which callbacks see one after the other: in the first `step.total` counts the whole schedule,
of which
the base takes its share; in the second it counts what is left. Images are decoded once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.callbacks.request import Request
from composer.errors import ComposerError
from composer.families.base import Family
from composer.families.settings import Decoded
from composer.pipelines.pipeline import Pipeline
from composer.sampling.sampler import Sampler
from composer.tasks.base import Start, Task


@dataclass(frozen=True, kw_only=True)
class Refined(Pipeline):
    """A pipeline around another, which ends what it began. share: 0–1, how much of the schedule is the base's."""

    refiner: Pipeline
    share: float

    def once(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> tuple[Decoded, int]:
        handover = Handover(self.share)
        base = replace(self, callbacks={**self.callbacks, "hand over to the refiner": handover})
        with base.denoised(task, request, folder, notes) as (hooks, run, latents):
            if handover.latents is None:  # another callback ended the run before
                return self.finished(hooks, run, latents, notes), len(run.timesteps)
        decoded, iterations = self.refiner.once(ContinueTask(task, handover), request, folder, notes)
        return decoded, handover.iterations + iterations


def iterations(scheduler: Any, timesteps: Any, share: float) -> int:
    """How many of a schedule's iterations are the base model's.

    Raises:
        ComposerError: all or none of them.
    """
    base = sum(float(t) >= cutoff(scheduler, share) for t in timesteps)
    if not 0 < base < len(timesteps):
        who = "the refiner" if base else "the base model"
        raise ComposerError(
            "model.refiner.start", share, f"leaves none of {len(timesteps)} iterations to {who}: take more steps"
        )
    return base


class Handover(StepCallback):
    """Ends the base's run after its share. latents: what it made until then, edited by all callbacks before this one."""

    def __init__(self, share: float) -> None:
        self.share, self.latents, self.iterations = share, None, 0

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.iterations = iterations(run.scheduler, run.timesteps, self.share)
        yield

    def after_step(self, step: Step, latents: Tensor) -> None:
        if step.index + 1 == self.iterations:
            self.latents = latents
            raise StopDenoising


class ContinueTask(Task):
    """Starts as a task does, with its masks and callbacks, but later in the schedule and from latents that were handed
    over.
    """

    def __init__(self, task: Task, handover: Handover) -> None:
        self.task, self.handover = task, handover

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        start = self.task.start(family, sampler, request)
        sampler.begin(len(sampler.scheduler.timesteps) - remaining(sampler.scheduler, self.handover.share))
        for mine, used in zip(sampler.generators, self.handover.run.generators):
            mine.set_state(used.get_state())  # the same noise twice in an image would show
        return replace(start, latents=self.handover.latents)


def cutoff(scheduler: Any, share: float) -> int:
    """The first training timestep that is no longer the base's, as SDXL's pipelines round it."""
    steps = scheduler.config.num_train_timesteps
    return round(steps - share * steps)


def remaining(scheduler: Any, share: float) -> int:
    """The refiner's iterations, counted as StableDiffusionXLImg2ImgPipeline does it with `denoising_start`.

    Second-order schedulers list every timestep but the first twice; an odd number of them begins with a first
    evaluation.
    """
    count = sum(float(t) < cutoff(scheduler, share) for t in scheduler.timesteps)
    return count + 1 if getattr(scheduler, "order", 1) == 2 and count % 2 == 0 else count
