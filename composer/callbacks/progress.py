"""A progress bar with the noise level and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from composer.callbacks.base import Run, Step, StepCallback


class Progress(StepCallback):
    """Draws on stderr while it is a terminal, and leaves nothing behind."""

    batch_safe = True

    def __init__(self) -> None:
        self.bar: Bar | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        console = Console(stderr=True)
        columns = (TextColumn("denoising"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[sigma]}"), TimeRemainingColumn())
        with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as self.bar:
            self.bar.add_task("denoising", total=len(run.timesteps), sigma="")
            yield
        self.bar = None

    def after_step(self, step: Step, latents: Tensor) -> None:
        if self.bar is not None:
            sigma = "" if step.sigma is None else f"sigma {step.sigma:.3f}"
            self.bar.update(self.bar.task_ids[0], completed=step.index + 1, sigma=sigma)
