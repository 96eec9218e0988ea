"""Two models for one image: the base takes the first part of the schedule, a refiner the rest.

https://arxiv.org/abs/2307.01952

Each has a run of its own, which callbacks see one after the other. In the first, `step.total` counts the complete
schedule, of which the base takes its part; in the second it counts the rest. Images are decoded once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Run, Step, StepCallback, StopDenoising
from composer.callbacks.request import Request
from composer.errors import ComposerError
from composer.families.base import Family
from composer.pipelines.pipeline import PassOutcome, Pipeline
from composer.sampling.sampler import Sampler
from composer.tasks.base import Start, Task


@dataclass(frozen=True, kw_only=True)
class Refined(Pipeline):
    """A base pipeline whose images a refiner finishes.

    Attributes:
        refiner: Pipeline of the refiner.
        start_fraction: In `(0, 1)`, the fraction of the schedule at which the refiner starts.
    """

    refiner: Pipeline
    start_fraction: float

    def run_pass(self, task: Task, request: Request, folder: Path | None, notes: list[str]) -> PassOutcome:
        handover = Handover(self.start_fraction)
        base = replace(self, callbacks={**self.callbacks, "hand over to the refiner": handover})
        with base.denoise_to_latents(task, request, folder, notes) as denoised:
            if handover.latents is None:  # another callback ended the run before
                return self.decode_images(denoised, notes)
        outcome = self.refiner.run_pass(ContinueTask(task, handover), request, folder, notes)
        return outcome._replace(iterations=handover.iterations + outcome.iterations)


class Handover(StepCallback):
    """Ends the base's run at its part of the schedule.

    Args:
        start_fraction: In `(0, 1)`, the fraction of the schedule at which the refiner starts.

    Attributes:
        latents: Latents at that point, edited by all callbacks before this one; ``None`` until then.
        iterations: Iterations of the base.
        generators: Generators of the base, one for each image.
    """

    def __init__(self, start_fraction: float) -> None:
        self.start_fraction, self.iterations = start_fraction, 0
        self.latents: Tensor | None = None
        self.generators: tuple[torch.Generator, ...] = ()

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.generators = run.generators
        self.iterations = count_base_iterations(run.scheduler, run.timesteps, self.start_fraction)
        yield

    def after_step(self, step: Step, latents: Tensor) -> None:
        if step.index + 1 == self.iterations:
            self.latents = latents
            raise StopDenoising


class ContinueTask(Task):
    """A task that starts later in the schedule, from latents that were handed over.

    Args:
        task: Task of the base, whose masks and callbacks are kept.
        handover: Latents and generators of the base's run.
    """

    def __init__(self, task: Task, handover: Handover) -> None:
        self.task, self.handover = task, handover

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        latents = self.handover.latents
        if latents is None:
            raise TypeError("the base model has not handed over yet")
        start = self.task.start(family, sampler, request)
        remaining = count_refiner_iterations(sampler.scheduler, self.handover.start_fraction)
        sampler.begin(len(sampler.scheduler.timesteps) - remaining)
        for generator, used in zip(sampler.generators, self.handover.generators):
            generator.set_state(used.get_state())  # the same noise twice in an image would show
        return replace(start, latents=latents)


def count_base_iterations(scheduler: Any, timesteps: Tensor, start_fraction: float) -> int:
    """Count the iterations of the base model.

    Args:
        scheduler: A diffusers scheduler, with timesteps set.
        timesteps: Timesteps of the run, `(iterations,)`.
        start_fraction: In `(0, 1)`, the fraction of the schedule at which the refiner starts.

    Returns:
        Number of iterations, at least 1 and less than all.

    Raises:
        ComposerError: One of the models is left without an iteration.
    """
    base = sum(float(timestep) >= cutoff(scheduler, start_fraction) for timestep in timesteps)
    if not 0 < base < len(timesteps):
        idle = "the refiner" if base else "the base model"
        reason = f"leaves none of {len(timesteps)} iterations to {idle}: take more steps"
        raise ComposerError("model.refiner.start", start_fraction, reason)
    return base


def cutoff(scheduler: Any, start_fraction: float) -> int:
    """Get the timestep at which the refiner starts, rounded as in SDXL's pipelines.

    Args:
        scheduler: A diffusers scheduler.
        start_fraction: In `(0, 1)`.

    Returns:
        A training timestep; those below it are the refiner's.
    """
    steps = scheduler.config.num_train_timesteps
    return round(steps - start_fraction * steps)


def count_refiner_iterations(scheduler: Any, start_fraction: float) -> int:
    """Count the iterations of the refiner as StableDiffusionXLImg2ImgPipeline does with `denoising_start`.

    Second-order schedulers list every timestep but the first twice; an odd number of them begins with a first
    evaluation.

    Args:
        scheduler: A diffusers scheduler, with timesteps set.
        start_fraction: In `(0, 1)`, the fraction of the schedule at which the refiner starts.

    Returns:
        Number of iterations.
    """
    count = sum(float(timestep) < cutoff(scheduler, start_fraction) for timestep in scheduler.timesteps)
    return count + 1 if getattr(scheduler, "order", 1) == 2 and count % 2 == 0 else count
