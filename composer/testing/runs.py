"""One run of a tiny pipeline with callbacks of one's own, of which the conformance tests consist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.layouts import FamilyInfo, families
from composer.config.spec import Choice, SchedulerSpec
from composer.config.targets import resolve
from composer.pipelines.pipeline import Pipeline
from composer.records.result import Result
from composer.sampling.guidance import ClassifierFree, Guidance, Unguided
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.base import Task
from composer.testing import pipelines

#: Families with a tiny pipeline, and the side in pixels that it generates.
SIZES = {"sd": 64, "sdxl": 64, "sd3": 32, "flux": 32, "ddpm": 16}
#: A second-order scheduler for each kind of model.
HEUN = {"diffusion": "diffusers.HeunDiscreteScheduler", "flow": "diffusers.FlowMatchHeunDiscreteScheduler"}
TASKS = {"text2img": "Text2Img", "img2img": "Img2Img", "inpaint": "Inpaint", "unconditional": "Unconditional"}
PROMPTS = ("a cat, sitting", "two dogs", "")
#: Of runs that start from an image.
STRENGTH = 0.5


def same(one: Result, other: Result) -> bool:
    """Check whether two results have the same images, bit for bit."""
    return [image.tobytes() for image in one.images] == [image.tobytes() for image in other.images]


def nearly_same(one: Result, other: Result) -> bool:
    """Check whether two results have the same images, up to one gray level."""
    pairs = [[np.asarray(image, np.int16) for image in pair] for pair in zip(one.images, other.images, strict=True)]
    return all(first.shape == second.shape and abs(first - second).max() <= 1 for first, second in pairs)


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """A family's tiny pipeline.

    Attributes:
        info: The family.
        pipe: A diffusers pipeline with tiny random models.
        side: Height and width of its images in pixels.
    """

    info: FamilyInfo
    pipe: Any
    side: int

    def family(self) -> Any:
        """Create the family around the pipeline."""
        module, _, name = self.info.family.partition(":")
        return getattr(import_module(module), name)(self.pipe)

    def guidance(self) -> Guidance:
        """Create what guides it by default: classifier-free at scale 4, where it takes a prompt and no scale."""
        return ClassifierFree(4.0) if self.info.takes_prompt and not self.info.distilled_scale else Unguided()

    def pipeline(
        self, task: Task, callbacks: Mapping[str, StepCallback], *, heun: bool = False,
        guidance: Guidance | None = None,
        skip_on_error: frozenset[str] = frozenset(),
    ) -> Pipeline:  # fmt: skip
        """Assemble a pipeline of it.

        Args:
            task: What it generates from what.
            callbacks: Callbacks by name.
            heun: Whether to use a second-order scheduler in place of its own.
            guidance: Another guidance than `guidance()`.
            skip_on_error: Callbacks that are omitted when they fail.

        Returns:
            The pipeline, to be called with requests.
        """
        spec = SchedulerSpec(target=Choice(path=HEUN[self.info.scheduler_type])) if heun else SchedulerSpec()
        cls, settings, of_step = scheduler_parts(spec, type(self.pipe.scheduler).__name__)
        original = {
            **self.pipe.scheduler.config,
            "use_dynamic_shifting": False,
        }  # Heun for flow matching takes no shift
        return Pipeline(
            family=self.family(),
            task=task,
            make_scheduler=lambda: make_scheduler(cls, original, settings),
            guidance=guidance or self.guidance(),
            step_settings=of_step,
            callbacks=callbacks,
            skip_on_error=skip_on_error,
        )

    def request(self, task: str, *, batch: int = 1, steps: int = 4) -> Request:
        """Request images with seeds 0, 1, …; img2img and inpaint start half-way and from one image.

        Args:
            task: One of `TASKS`.
            batch: Number of images, at most as many as `PROMPTS`.
            steps: Number of steps.

        Returns:
            The request.
        """
        from_image = task in ("img2img", "inpaint")
        return Request(
            prompts=PROMPTS[:batch] if self.info.takes_prompt else ("",) * batch,
            negative_prompts=(None,) * batch,
            seeds=tuple(range(batch)),
            steps=steps,
            height=self.side,
            width=self.side,
            steps_skipped=self.info.steps_to_skip(steps, STRENGTH) if from_image else 0,
            inputs=inputs(task, self.side, batch, STRENGTH) if from_image else {},
        )


def tasks_of(family: str) -> tuple[str, ...]:
    """List the tasks that a family's tiny pipeline is run with."""
    return tasks_with(families()[family])


def tasks_with(info: FamilyInfo) -> tuple[str, ...]:
    """List composer's tasks that a family's models are run with."""
    of = {"text": ("text2img", "img2img", "inpaint"), None: ("unconditional",)}
    return of.get(info.conditioned_on, ())


def task_named(name: str) -> Task:
    """Create one of `TASKS`."""
    return resolve("task", Choice(path=f"composer.tasks.{name}.{TASKS[name]}"), Task)()


def run(
    family: str, callbacks: Mapping[str, StepCallback], *, task: str = "text2img", batch: int = 1, heun: bool = False,
    steps: int = 4,
    folder: Path | None = None, skip_on_error: frozenset[str] = frozenset(), guidance: Guidance | None = None,
) -> Result:  # fmt: skip
    """Run a tiny pipeline of one of composer's families; the seeds are 0, 1, …

    Args:
        family: One of `SIZES`.
        callbacks: Callbacks by name.
        task: One of `TASKS`; img2img and inpaint start half-way and from one image.
        batch: Number of images.
        heun: Whether to use a second-order scheduler.
        steps: Number of steps.
        folder: Where callbacks may write.
        skip_on_error: Callbacks that are omitted when they fail.
        guidance: Another than classifier-free at scale 4, or for flux none.

    Returns:
        What the run generated.

    Raises:
        CallbackError: A callback failed.
    """
    model = tiny_model(family)
    pipeline = model.pipeline(task_named(task), callbacks, heun=heun, guidance=guidance, skip_on_error=skip_on_error)
    return pipeline(model.request(task, batch=batch, steps=steps), folder)


def inputs(task: str, side: int, batch: int, strength: float) -> dict[str, Any]:
    """Create an image of smooth colours and, for inpainting, a mask over its middle.

    Args:
        task: `img2img` or `inpaint`.
        side: Height and width in pixels.
        batch: Number of images.
        strength: How much of the schedule is run, [0, 1].

    Returns:
        `Request.inputs`.
    """
    small = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    given: dict[str, Any] = {
        "image": (Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC),) * batch,
        "strength": strength,
    }
    if task == "inpaint":
        mask = np.zeros((side, side), np.uint8)
        mask[side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 255
        given |= {"mask": (Image.fromarray(mask),) * batch, "blur": 0, "keep_unmasked": True}
    return given


def tiny_model(family: str) -> TinyModel:
    """Return the tiny pipeline of one of composer's families, with what is known of it."""
    return TinyModel(info=families()[family], pipe=tiny(family), side=SIZES[family])


@cache
def tiny(family: str) -> Any:
    """Return a family's tiny pipeline, created once."""
    return pipelines.MAKERS[family]()
