"""What the parity tests share: one run of ours, one of diffusers' classic pipelines, and the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from composer import StepCallback
from composer.callbacks.request import Request
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.pipeline import Pipeline
from composer.sampling.guidance import Guidance
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.base import Task

STEPS = 10
SEEDS = (7, 8, 9, 10)
PROMPTS = ("a cat, sitting", "two dogs")


@dataclass
class Recorder(StepCallback):
    """Keeps the latents after each step."""

    def __post_init__(self) -> None:
        self.latents = []

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


@cache
def scheduler_of(option: str):
    return read(compose_config([f"scheduler={option}"])).scheduler


def ours(
    family, option: str, guidance: Guidance, batch: int, size: int, task: Task, *, negative: str | None = None,
    skip: int = 0, steps: int = STEPS, eta: float | None = None, prompts: Sequence[str] = PROMPTS,
    options: Mapping[str, Any] | None = None, **inputs: Any,
):  # fmt: skip
    """Latents after each step, the images, and a fresh scheduler like the one that was used."""
    original = family.pipe.scheduler.config
    cls, settings, of_step = scheduler_parts(scheduler_of(option), type(family.pipe.scheduler).__name__)
    of_step = of_step if eta is None else {**of_step, "eta": eta}
    recorder = Recorder()
    pipeline = Pipeline(
        family=family, task=task, make_scheduler=lambda: make_scheduler(cls, original, settings), guidance=guidance,
        step_settings=of_step, callbacks={"recorder": recorder}, options=options or {},
    )  # fmt: skip
    request = Request(
        prompts=tuple(prompts[:batch]), negative_prompts=(negative,) * batch, seeds=SEEDS[:batch], steps=steps,
        height=size, width=size,
        steps_skipped=skip, inputs=inputs,
    )  # fmt: skip
    result = pipeline(request)
    return recorder.latents, result.images, make_scheduler(cls, original, settings)


def generators(batch: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS[:batch]]


def classic(pipe, scheduler, steps: int = STEPS, **arguments):
    """The same from a classic pipeline, whose own scheduler is left as it was."""
    original, pipe.scheduler, latents = pipe.scheduler, scheduler, []

    def keep(_pipe, _i, _t, tensors):
        latents.append(tensors["latents"].clone())
        return {}

    pipe.set_progress_bar_config(disable=True)
    try:
        images = pipe(num_inference_steps=steps, callback_on_step_end=keep, **arguments).images
    finally:
        pipe.scheduler = original
    return latents, images


def assert_same(mine, theirs, least: int = 1) -> None:
    assert len(mine[0]) == len(theirs[0]) >= least
    for index, (a, b) in enumerate(zip(mine[0], theirs[0])):
        assert torch.equal(a, b), f"latents differ at iteration {index} by {(a - b).abs().max():.2e}"
        assert a.isfinite().all()
    assert [image.tobytes() for image in mine[1]] == [image.tobytes() for image in theirs[1]]


def image(size: int, seed: int = 0) -> Image.Image:
    """Smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.BICUBIC)


def mask(size: int) -> Image.Image:
    """White in the middle."""
    array = np.zeros((size, size), np.uint8)
    array[size // 4 : size * 3 // 4, size // 4 : size * 5 // 8] = 255
    return Image.fromarray(array)
