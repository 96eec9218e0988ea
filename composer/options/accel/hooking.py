"""What the options of accel=[…] share: which models they can reach into, and forwards that are put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from composer.checkpoints.layouts import Supports, families
from composer.options.base import ModelOption, OptionContext

#: Other programs in the denoiser's place: what hooks into the model's layers would not be seen by them.
PROGRAMS = frozenset({"accel.compile", "accel.openvino", "accel.onnx"})
#: Shape of a forward's input, and the number of its text among those seen.
Like = tuple[tuple[int, ...], int]


class Acceleration(ModelOption):
    """An option that changes how the denoiser runs.

    Attributes:
        why: Why it can't reach into the denoisers of other families, `{}` for their class.
    """

    group = "accel"
    why: ClassVar[str] = "can't reach into a {}, so it would do nothing"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        info = context.checked.checkpoint.family_info
        if not self.supported(info.supports):
            able = sorted(other.denoiser[1] for other in families().values() if self.supported(other.supports))
            self.refuse(self.why.format(info.denoiser[1]), sorted({*able}))

    def supported(self, supports: Supports) -> bool:
        """Whether it can reach into the denoiser of a family."""
        return True


def denoiser_of(pipe: Any) -> nn.Module:
    """The UNet or transformer of a diffusers pipeline."""
    parts = pipe.components
    return next(
        parts[name] for name in ("unet", "transformer", "prior", "decoder") if isinstance(parts.get(name), nn.Module)
    )


@contextmanager
def patched_forward(module: nn.Module, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Have a module run what `make` makes of its forward; then what it ran before."""
    own = module.__dict__.get("forward")
    module.forward = make(module.forward)
    try:
        yield
    finally:
        if own is None:
            module.__dict__.pop("forward", None)
        else:
            module.forward = own


class Forwards:
    """Tells the forwards of a run apart, so that each finds what the like of it left in the step before.

    A step may have several: branches of guidance apart, second evaluations, predictions that callbacks ask for. Alike
    are those of one
    shape under one text, that have as many such before them in their step. It compares values, for which a GPU is
    waited for: once a
    forward, which costs far less than what is saved.
    """

    def __init__(self) -> None:
        self.step, self.timestep = -1, None
        self.texts: list[Tensor] = []
        self.counted: Counter[Like] = Counter()

    def count(self, sample: Tensor, timestep: Any, text: Tensor | None) -> tuple[Like, int]:
        """A forward's key; a new timestep is a new step."""
        now = torch.as_tensor(timestep).flatten()[0].item()
        if now != self.timestep:
            self.step, self.timestep = self.step + 1, now
            self.counted.clear()
        like = tuple(sample.shape), self._number(text)
        self.counted[like] += 1
        return like, self.counted[like]

    def _number(self, text: Tensor | None) -> int:
        if text is None:
            return -1
        found = next((number for number, known in enumerate(self.texts) if torch.equal(known, text)), None)
        if found is None:
            self.texts.append(text)
        return len(self.texts) - 1 if found is None else found
