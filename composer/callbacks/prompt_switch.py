"""Another prompt from some step on: the layout follows the first one, the details follow the second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from composer.callbacks.base import Conditioning, Run, Step, StepCallback
from composer.system.constraints import Ge


class PromptSwitch(StepCallback):
    """Switch to another prompt at a step.

    Args:
        prompt: New prompt, for all images.
        step: First iteration that is conditioned on it, from 0.
        negative_prompt: New negative prompt, for all images; `None` for none.

    Raises:
        ComposerError: An argument has another type or is out of range.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})
    needs = frozenset({"encode"})

    def __init__(self, prompt: str, step: Annotated[int, Ge(0)], negative_prompt: str | None = None) -> None:
        self.prompt, self.negative_prompt, self.step = prompt, negative_prompt, step
        self.conditioning: Conditioning | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Encode the new prompts once a run."""
        images = len(run.generators)
        self.conditioning = run.encode([self.prompt] * images, [self.negative_prompt] * images)
        yield
        self.conditioning = None

    def before_step(self, step: Step) -> Step | None:
        """Replace the conditioning from the chosen iteration on."""
        if self.conditioning is None or step.index < self.step:
            return None
        return replace(step, conditioning=self.conditioning)
