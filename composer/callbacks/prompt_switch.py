"""Another prompt from some step on: the layout of one thing, the detail of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from composer.callbacks.base import Conditioning, Run, Step, StepCallback
from composer.system.constraints import Ge


class PromptSwitch(StepCallback):
    """prompt, negative_prompt: the new texts, for all images. step: the first iteration, from 0, that hears them."""

    batch_safe = True
    needs = frozenset({"encode"})

    def __init__(self, prompt: str, step: Annotated[int, Ge(0)], negative_prompt: str | None = None) -> None:
        self.prompt, self.negative_prompt, self.step = prompt, negative_prompt, step
        self.conditioning: Conditioning | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        images = len(run.generators)
        self.conditioning = run.encode([self.prompt] * images, [self.negative_prompt] * images)
        yield
        self.conditioning = None

    def before_step(self, step: Step) -> Step | None:
        return replace(step, conditioning=self.conditioning) if step.index >= self.step else None
