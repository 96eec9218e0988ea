"""What the tests of hosted pipelines share: tiny pipelines, editing callbacks, and runs without the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch

from composer import StepCallback, StopDenoising
from composer.callbacks.request import Request
from composer.config.compose import compose_config
from composer.config.read import read
from composer.families.settings import FamilySettings
from composer.pipelines.hosted.models import HostedModels
from composer.pipelines.hosted.pipeline import Hosted
from composer.sampling.guidance import ClassifierFree, Guidance
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.tasks.text2img import Text2Img

PROMPTS = ("a cat, sitting", "two dogs")
SEEDS = (7, 8)
STEPS = 4


@dataclass
class Recorder(StepCallback):
    """Records all moments, and changes each of them.

    Attributes:
        edits: Whether it changes anything.
        stop: Iteration at which it stops; -1 for none.
        seen: Moment and values, in their order.
    """

    edits: bool = True
    stop: int = -1
    seen: list[tuple[Any, ...]] = field(default_factory=list)

    def before_step(self, step):
        described = step.index, step.total, float(step.timestep), step.sigma, step.guidance_scale
        self.seen.append(("before_step", *described, step.latents.clone()))
        return replace(step, latents=step.latents * 1.01 + 0.003) if self.edits else None

    def after_predict(self, step, prediction):
        clean = self.run.denoised(step, prediction)
        again = self.run.denoised(step, self.run.predicted(step, clean))
        # the way there and back is exact but for the rounding of a few operations
        assert torch.allclose(again, clean, atol=1e-4)
        seen = ("after_predict", step.index, step.latents.clone(), step.model_input.clone(), prediction.clone(), clean)
        self.seen.append(seen)
        return prediction * 0.98 if self.edits else None

    def after_step(self, step, latents):
        self.seen.append(("after_step", step.index, latents.clone()))
        if step.index == self.stop:
            raise StopDenoising
        return latents * 0.995 if self.edits else None


def assert_same_moments(mine: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    assert [moment[:2] for moment in mine] == [moment[:2] for moment in other] and mine
    for a, b in zip(mine, other):
        for part, (x, y) in enumerate(zip(a, b, strict=True)):
            same = torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
            assert same, f"{a[:2]} differs in part {part}"


@cache
def scheduler_of(option: str) -> Any:
    return read(compose_config([f"scheduler={option}"])).scheduler


def scheduler_maker(pipe: Any, option: str = "default") -> tuple[Callable[[], Any], Any]:
    """A function that makes fresh schedulers of an option for a pipeline, and keywords of `step`."""
    original = dict(pipe.scheduler.config)
    cls, settings, of_step = scheduler_parts(scheduler_of(option), type(pipe.scheduler).__name__)
    return lambda: make_scheduler(cls, original, settings), of_step


def request(size: int, batch: int = 1, steps: int = STEPS, negative: str | None = "blurry", **inputs: Any) -> Request:
    return Request(
        prompts=PROMPTS[:batch], negative_prompts=(negative,) * batch, seeds=SEEDS[:batch], steps=steps, height=size,
        width=size,
        inputs=inputs,
    )  # fmt: skip


def hosted(
    pipe: Any, callbacks: Any = (), guidance: Guidance | None = None, option: str = "default",
    keywords: dict[str, Any] | None = None, **more: Any,
) -> Hosted:  # fmt: skip
    """A hosted pipeline around a diffusers pipeline; keywords: further ones of its call."""
    make, of_step = scheduler_maker(pipe, option)
    named = callbacks if isinstance(callbacks, dict) else {f"c{i}": callback for i, callback in enumerate(callbacks)}

    class WithKeywords(Hosted):
        def _keywords(self, request: Request) -> dict[str, Any]:
            return super()._keywords(request) | (keywords or {})

    return WithKeywords(
        family=HostedModels(pipe, FamilySettings()), task=Text2Img(), make_scheduler=make, step_settings=of_step,
        guidance=ClassifierFree(4.0) if guidance is None else guidance, callbacks=named, **more,
    )  # fmt: skip
