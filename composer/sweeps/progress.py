"""Progress of a sweep: one bar for the sweep and one for the running job, or plain lines without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from composer.callbacks.base import Run, Step, StepCallback
from composer.errors import printable
from composer.system import console as output
from composer.system import loading_line

if TYPE_CHECKING:
    from torch import Tensor


class SweepProgress:
    """Both bars on a terminal; elsewhere one printed line per finished job.

    Args:
        total: Number of jobs.
        done: Number of jobs that are finished already.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        from rich.console import Console  # here: a plan imports this file, and shows no progress
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self.bar = Progress(
            *columns, console=console, transient=True, disable=output.output_mode.quiet or not console.is_terminal
        )
        self.total, self.done = total, done
        self.sweep = self.bar.add_task("sweep", total=total, completed=done)
        self.job = self.bar.add_task("job", total=None, visible=False)

    @contextmanager
    def shown(self) -> Iterator[SweepProgress]:
        """Show the bars inside of a block.

        Yields:
            This object.
        """
        loading_line.stop()
        with self.bar:
            yield self

    def advance(self, jobs: int, line: str) -> None:
        """Count finished jobs and print a line about them.

        Args:
            jobs: Number of jobs that finished.
            line: Text after the count.
        """
        self.done += jobs
        self.bar.update(self.sweep, completed=self.done)
        self.print(f"{self.done}/{self.total}  {line}")

    def print(self, line: str) -> None:
        """Print a line that stays, above the bars if there are any.

        Args:
            line: Text to print.
        """
        if self.bar.disable:
            output.print_progress(line)
        else:
            self.bar.console.print(printable(line), markup=False, highlight=False)


class JobProgress(StepCallback):
    """Callback that advances the bar of the running job.

    Args:
        progress: Bars of the sweep.
        label: Text before the bar.
    """

    batch_safe = True

    def __init__(self, progress: SweepProgress, label: str) -> None:
        self.progress, self.label = progress, label

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Show the bar during a run.

        Args:
            run: The run.
        """
        bar, task = self.progress.bar, self.progress.job
        bar.reset(task, total=len(run.timesteps), visible=True, description=printable(self.label))
        yield
        bar.update(task, visible=False)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Advance the bar by one step.

        Args:
            step: The step that ended.
            latents: Latents after the step, ``(B, C, H, W)``; unused.
        """
        self.progress.bar.update(self.progress.job, completed=step.index + 1)
