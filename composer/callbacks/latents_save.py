"""Keeps the latents as safetensors, to go on from or to look into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.constraints import Ge

if TYPE_CHECKING:
    from torch import Tensor


class LatentsSave(StepCallback):
    """Writes `latents-007.safetensors` with the tensors latents (B, …) and timestep after an iteration; nothing where a
    run has no folder.

    every: each so many iterations; 0 keeps the last ones only.
    """

    def __init__(self, every: Annotated[int, Ge(0)] = 0) -> None:
        self.every = every
        self.run: Run | None = None
        self.last: tuple[Step, Tensor] | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.run, self.last = run, None
        yield
        if self.last is not None and not (self.every and (self.last[0].index + 1) % self.every == 0):
            self.write(*self.last)
        self.last = None

    def after_step(self, step: Step, latents: Tensor) -> None:
        self.last = step, latents
        if self.every and (step.index + 1) % self.every == 0:
            self.write(step, latents)

    def write(self, step: Step, latents: Tensor) -> None:
        if self.run.folder is None:
            return
        from safetensors.torch import save

        from composer.system.files import write

        data = save({"latents": latents.contiguous().cpu(), "timestep": step.timestep.reshape(1).cpu()})
        write(self.run.folder / f"latents-{step.index:03d}.safetensors", data)
