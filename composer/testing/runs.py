"""One run of a tiny pipeline of any family with callbacks of one's own: what the conformance tests are made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.layouts import families
from composer.config.spec import Choice, SchedulerSpec
from composer.config.targets import resolve
from composer.pipelines.pipeline import Pipeline
from composer.records.result import Result
from composer.sampling.guidance import ClassifierFree, Guidance, Unguided
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.base import Task
from composer.testing import pipelines

#: Families with a tiny pipeline, and the side in pixels that it draws.
SIZES = {"sd": 64, "sdxl": 64, "sd3": 32, "flux": 32, "ddpm": 16}
#: A second-order scheduler for each kind of model.
HEUN = {"diffusion": "diffusers.HeunDiscreteScheduler", "flow": "diffusers.FlowMatchHeunDiscreteScheduler"}
TASKS = {"text2img": "Text2Img", "img2img": "Img2Img", "inpaint": "Inpaint", "unconditional": "Unconditional"}
PROMPTS = ("a cat, sitting", "two dogs", "")


def tasks_of(family: str) -> tuple[str, ...]:
    """The tasks that a family's tiny pipeline is run with."""
    return ("text2img", "img2img", "inpaint") if families()[family].takes_prompt else ("unconditional",)


def run(
    family: str, callbacks: Mapping[str, StepCallback], *, task: str = "text2img", batch: int = 1, heun: bool = False, steps: int = 4,
    folder: Path | None = None, skip_on_error: frozenset[str] = frozenset(), guidance: Guidance | None = None,
) -> Result:  # fmt: skip
    """A run with seeds 0, 1, …; img2img and inpaint start half-way and from one image.

    Args:
        folder: where callbacks may write. skipping: callbacks that are left out when they fail. guidance: another than
            classifier-free at scale 4, or for flux none.

    Raises:
        CallbackError: a callback failed.
    """
    info, side = families()[family], SIZES[family]
    pipe = tiny(family)
    spec = SchedulerSpec(target=Choice(path=HEUN[info.scheduler_type])) if heun else SchedulerSpec()
    cls, settings, of_step = scheduler_parts(spec, type(pipe.scheduler).__name__)
    original = {**pipe.scheduler.config, "use_dynamic_shifting": False}  # Heun for flow matching takes no shift
    usual = ClassifierFree(4.0) if info.takes_prompt and family != "flux" else Unguided()
    pipeline = Pipeline(
        family=resolve("family", Choice(path=info.family.replace(":", ".")))(pipe),
        task=resolve("task", Choice(path=f"composer.tasks.{task}.{TASKS[task]}"), Task)(),
        make_scheduler=lambda: make_scheduler(cls, original, settings),
        guidance=guidance or usual,
        step_settings=of_step,
        callbacks=callbacks,
        skip_on_error=skip_on_error,
    )
    strength = 0.5
    from_picture = task in ("img2img", "inpaint")
    request = Request(
        prompts=PROMPTS[:batch] if info.takes_prompt else ("",) * batch,
        negative_prompts=(None,) * batch,
        seeds=tuple(range(batch)),
        steps=steps,
        height=side,
        width=side,
        steps_skipped=info.steps_to_skip(steps, strength) if from_picture else 0,
        inputs=inputs(task, side, batch, strength) if from_picture else {},
    )
    return pipeline(request, folder)


def inputs(task: str, side: int, batch: int, strength: float) -> dict[str, Any]:
    """An image of smooth colours and, for inpainting, a mask over its middle."""
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


@cache
def tiny(family: str) -> Any:
    """A family's tiny pipeline, made once."""
    return pipelines.MAKERS[family]()
