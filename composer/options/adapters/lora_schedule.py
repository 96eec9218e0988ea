"""Start and end of LoRA: the steps in which their changes of the denoiser apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from composer.callbacks.base import Run, Step, StepCallback
from composer.config.spec import LoraSpec


class LoraSchedule(StepCallback):
    """Switch LoRA on and off between steps, counted as diffusers counts the steps of a ControlNet.

    Args:
        specs: Name → settings of all LoRA of the run.
        switch: Receives the names of the LoRA that apply from now on.
    """

    batch_safe = True

    def __init__(self, specs: Mapping[str, LoraSpec], switch: Callable[[frozenset[str]], None]) -> None:
        self.specs, self.switch = specs, switch
        self.active: frozenset[str] | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self._enter(0, len(run.timesteps))
        try:
            yield
        finally:
            self.switch(frozenset(self.specs))

    def after_step(self, step: Step, latents: Tensor) -> None:
        self._enter(step.index + 1, step.total)

    def _enter(self, index: int, total: int) -> None:
        active = frozenset(
            name
            for name, spec in self.specs.items()
            if not (index / total < spec.start or (index + 1) / total > spec.end)
        )
        if active != self.active:
            self.active = active
            self.switch(active)
