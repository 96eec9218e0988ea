"""Save latents as safetensors, for analysis or for continuing from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from composer.callbacks.base import Run, Step, StepCallback
from composer.system.constraints import Ge

if TYPE_CHECKING:
    from torch import Tensor


class LatentsSave(StepCallback):
    """Write the latents after an iteration to `latents-007.safetensors`.

    A file holds the tensors `latents`, `(B, …)`, and `timestep`, `(1,)`. Nothing is written if the run has no
    directory.

    Args:
        every: Iterations between two files, >= 0; 0 saves the last latents only.

    Raises:
        ComposerError: `every` is out of range.
    """

    media = frozenset({"image", "clip", "sound"})

    def __init__(self, every: Annotated[int, Ge(0)] = 0) -> None:
        self.every = every
        self.last: tuple[Step, Tensor] | None = None

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Save the last latents when the run ends."""
        self.last = None
        yield
        self.save_last(run.folder)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Save the latents of every n-th iteration."""
        self.last = step, latents
        if self.is_due(step):
            save_latents(self.run.folder, step, latents)

    def save_last(self, folder: Path | None) -> None:
        """Save the latents of the last iteration, unless they are saved already.

        Args:
            folder: Directory of the run; `None` writes nothing.
        """
        if self.last is not None and not self.is_due(self.last[0]):
            save_latents(folder, *self.last)
        self.last = None

    def is_due(self, step: Step) -> bool:
        """Return whether an iteration is one of those that `every` selects."""
        return self.every > 0 and (step.index + 1) % self.every == 0


def save_latents(folder: Path | None, step: Step, latents: Tensor) -> None:
    """Write latents to `latents-007.safetensors`, those of a second loop to `latents-1-007.safetensors`.

    Args:
        folder: Directory of the run; `None` writes nothing.
        step: The iteration that they follow.
        latents: `(B, …)`.
    """
    if folder is None:
        return
    from safetensors.torch import save

    from composer.system.files import write_atomically

    data = save({"latents": latents.contiguous().cpu(), "timestep": step.timestep.reshape(1).cpu()})
    stage = f"{step.stage}-" if step.stage else ""
    write_atomically(folder / f"latents-{stage}{step.index:03d}.safetensors", data)
