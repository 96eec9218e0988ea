"""A progress bar with the noise level and the time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from composer.callbacks.base import Run, Step, StepCallback

if TYPE_CHECKING:
    from torch import Tensor


class Progress(StepCallback):
    """Generates on stderr while it is a terminal, or below a notebook's cell, and leaves nothing behind."""

    batch_safe = True

    def __init__(self) -> None:
        self.bar: Any = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        with (_InNotebook if in_notebook() else _OnTerminal)(len(run.timesteps)) as self.bar:
            yield
        self.bar = None

    def after_step(self, step: Step, latents: Tensor) -> None:
        if self.bar is not None:
            self.bar.show(step.index + 1, "" if step.sigma is None else f"sigma {step.sigma:.3f}")


class _OnTerminal:
    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("denoising"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[sigma]}"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("denoising", total=total, sigma="")

    def show(self, done: int, sigma: str) -> None:
        self.bar.update(self.task, completed=done, sigma=sigma)

    def __enter__(self) -> _OnTerminal:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()


class _InNotebook:
    """tqdm's, as a widget where there are widgets, else as a line of text."""

    def __init__(self, total: int) -> None:
        if find_spec("ipywidgets") is None:
            from tqdm.std import tqdm
        else:
            from tqdm.notebook import tqdm
        self.bar = tqdm(total=total, desc="denoising", leave=False, file=sys.stderr)

    def show(self, done: int, sigma: str) -> None:
        self.bar.set_postfix_str(sigma, refresh=False)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> _InNotebook:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()


def in_notebook() -> bool:
    """Whether a kernel runs this, whose output is a page and no terminal."""
    found = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return found is not None and hasattr(found(), "kernel")
