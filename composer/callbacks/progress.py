"""Progress bar with the noise level and the remaining time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from composer.callbacks.base import Run, Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class ProgressBar(Protocol):
    """A progress bar, entered for the time that it is shown."""

    def __enter__(self) -> ProgressBar: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, done: int, sigma: str) -> None:
        """Show how many iterations are done, and a noise level or an empty text."""


class Progress(StepCallback):
    """Show a progress bar on stderr if that is a terminal, or below the cell of a notebook.

    The bar is erased when the run ends.
    """

    batch_safe = True
    media = frozenset({"image", "clip", "sound"})

    def __init__(self) -> None:
        self.bar: ProgressBar | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Show the bar until the images are decoded."""
        total = len(run.timesteps)
        with _make_bar(total) or nullcontext() as self.bar:
            yield
        self.bar = None

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Advance the bar."""
        if self.bar is not None:
            self.bar.show(step.index + 1, f"sigma {step.sigma:.3f}" if isfinite(step.sigma) else "")


def _make_bar(total: int) -> ProgressBar | None:
    """Make the bar that fits where stderr goes; None for a file or pipe, which then do not import rich."""
    if in_notebook():
        return _NotebookBar(total)
    forced = any(name in os.environ for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))  # rich reads them
    return _TerminalBar(total) if forced or sys.stderr.isatty() else None


class _TerminalBar:
    def __init__(self, total: int) -> None:
        from rich.console import Console  # a sixth of a second
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        columns = (
            TextColumn("denoising"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[sigma]}"),
            TimeRemainingColumn(),
        )
        self.bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("denoising", total=total, sigma="")

    def __enter__(self) -> _TerminalBar:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def show(self, done: int, sigma: str) -> None:
        self.bar.update(self.task, completed=done, sigma=sigma)


class _NotebookBar:
    """The bar of tqdm: a widget with ipywidgets, else a line of text."""

    def __init__(self, total: int) -> None:
        if find_spec("ipywidgets") is None:
            from tqdm.std import tqdm
        else:
            from tqdm.notebook import tqdm
        self.bar = tqdm(total=total, desc="denoising", leave=False, file=sys.stderr)

    def __enter__(self) -> _NotebookBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def show(self, done: int, sigma: str) -> None:
        self.bar.set_postfix_str(sigma, refresh=False)
        self.bar.update(done - self.bar.n)


def in_notebook() -> bool:
    """Return whether a notebook kernel runs this process, whose output is a page and no terminal."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")
