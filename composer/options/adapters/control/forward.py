"""The denoiser's forward with control models: each call gets what the models add for its inputs.

Control models read what the denoiser reads, whoever calls it: a family, a guider's further evaluation, or a callback
that predicts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from composer.callbacks.base import Run, Step, StepCallback
from composer.options.adapters.control.network import ControlNetwork, total
from composer.system.files import encode_png, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image


class ControlSchedule(StepCallback):
    """Knows the present step, for control models that apply in a part of the steps.

    Attributes:
        index: Index of the step.
        count: Number of steps.
        guided: Whether the step has a negative branch.
        preprocessed: Name → preprocessed images of the run, which are saved beside its results.
    """

    batch_safe = True

    def __init__(self) -> None:
        self.index, self.count, self.guided = 0, 1, False
        self.preprocessed: dict[str, Sequence[Image]] = {}

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        self.index, self.count = 0, len(run.timesteps)
        if run.folder is not None:
            for name, images in self.preprocessed.items():
                for number, image in enumerate(images):
                    write_atomically(run.folder / f"{name}-{number:03d}.png", encode_png(image))
        yield

    def before_step(self, step: Step) -> None:
        self.index, self.count, self.guided = step.index, step.total, step.conditioning.negative is not None

    def within(self, start: float, end: float) -> bool:
        """Whether the step is in a part of the steps, as diffusers' pipelines count it.

        Args:
            start: Fraction of the steps after which the part begins.
            end: Fraction of the steps at which it ends.
        """
        return not (self.index / self.count < start or (self.index + 1) / self.count > end)


@dataclass
class ActiveControl:
    """A control model in a run.

    Attributes:
        network: The model.
        encoded: What it read of the images.
        scale: Factor of what it adds.
        start: Fraction of the steps after which it applies.
        end: Fraction of the steps up to which it applies.
    """

    network: ControlNetwork
    encoded: Any
    scale: float
    start: float
    end: float
    _last: tuple[Tensor, dict[str, Any]] | None = field(default=None, init=False)

    def residuals(self, given: Mapping[str, Any], guided: bool) -> dict[str, Any]:
        """Evaluate the model; of a second branch with the same latents, return what the first one got, if it reuses it.

        Args:
            given: Inputs of the denoiser by name.
            guided: Whether the step has a negative branch.
        """
        last, self._last = self._last, None
        if not (guided and self.network.reuses_residuals):
            return self.network.residuals(given, self.encoded, self.scale)
        latents = given["hidden_states"]
        if last is not None and torch.equal(last[0], latents):
            return last[1]
        added = self.network.residuals(given, self.encoded, self.scale)
        self._last = latents, added
        return added


def controlled(
    denoiser: nn.Module, forward: Callable[..., Any], controls: Sequence[ActiveControl], schedule: ControlSchedule
) -> Callable[..., Any]:
    """Wrap the forward of a denoiser.

    Args:
        denoiser: The UNet or transformer.
        forward: Its present forward.
        controls: Control models of the run.
        schedule: Knows the present step.

    Returns:
        The forward with further inputs.
    """
    names = [name for name in inspect.signature(type(denoiser).forward).parameters if name != "self"]

    def run(*args: Any, **given: Any) -> Any:
        every, added = {**dict(zip(names, args)), **given}, dict[str, Any]()
        for control in controls:
            if schedule.within(control.start, control.end):  # else diffusers adds zeros, which is the same to the bit
                for name, value in control.residuals(every, schedule.guided).items():
                    added[name] = total(added.get(name), value)
        if added.keys().isdisjoint(every):
            return forward(*args, **given, **_fresh(added))
        return forward(**{**every, **added})  # latents with those of the image beside them

    return run


def _fresh(added: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of lists, of which a UNet takes elements out."""
    return {name: list(value) if isinstance(value, (list, tuple)) else value for name, value in added.items()}
