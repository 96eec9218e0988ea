"""One line for the sweep and one for the job at hand, with the time left; plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from composer.callbacks.base import Run, Step, StepCallback
from composer.errors import printable
from composer.system import console, loading_line

if TYPE_CHECKING:
    from torch import Tensor


class Lines:
    """Both lines on a terminal; elsewhere `say` prints one for each job that is done."""

    def __init__(self, total: int, done: int = 0) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        terminal = Console(stderr=True)
        self.bar = Progress(
            *columns, console=terminal, transient=True, disable=console.output_mode.quiet or not terminal.is_terminal
        )
        self.total, self.done = total, done
        self.sweep = self.bar.add_task("sweep", total=total, completed=done)
        self.job = self.bar.add_task("job", total=None, visible=False)

    @contextmanager
    def shown(self) -> Iterator[Lines]:
        loading_line.stop()
        with self.bar:
            yield self

    def ended(self, jobs: int, line: str) -> None:
        """So many jobs more are through."""
        self.done += jobs
        self.bar.update(self.sweep, completed=self.done)
        self.say(f"{self.done}/{self.total}  {line}")

    def say(self, line: str) -> None:
        """A line that stays, above the bars where there are any."""
        if self.bar.disable:
            console.print_progress(line)
        else:
            self.bar.console.print(printable(line), markup=False, highlight=False)


class JobLine(StepCallback):
    """The second line, filled from within the run."""

    batch_safe = True

    def __init__(self, lines: Lines, label: str) -> None:
        self.lines, self.label = lines, label

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        bar, task = self.lines.bar, self.lines.job
        bar.reset(task, total=len(run.timesteps), visible=True, description=printable(self.label))
        yield
        bar.update(task, visible=False)

    def after_step(self, step: Step, latents: Tensor) -> None:
        self.lines.bar.update(self.lines.job, completed=step.index + 1)
