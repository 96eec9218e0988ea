"""Helpers of the options of ``accel=[…]``: supported denoisers, and reversible replacement of forwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from composer.checkpoints.layouts import Supports, families
from composer.options.base import ModelOption, OptionContext

#: Options that replace the denoiser's forward by a compiled program, which does not run hooks of its layers.
PROGRAMS = frozenset({"accel.compile", "accel.openvino", "accel.onnx"})
#: Shape of a forward's input, and the number of its text among those seen.
Like = tuple[tuple[int, ...], int]


class Acceleration(ModelOption):
    """Base of options that change how the denoiser runs.

    Attributes:
        why: Reason of the refusal for denoisers of other families, with ``{}`` for their class.
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
        """Whether the option supports the denoiser of a family.

        Args:
            supports: What the family supports.
        """
        return True


def denoiser_of(pipe: Any) -> nn.Module:
    """Return the UNet or transformer of a diffusers pipeline.

    Args:
        pipe: The pipeline.
    """
    parts = pipe.components
    return next(
        parts[name] for name in ("unet", "transformer", "prior", "decoder") if isinstance(parts.get(name), nn.Module)
    )


def denoisers_of(pipe: Any) -> list[nn.Module]:
    """Return all models of a diffusers pipeline that denoise: one, or two where they share the noise levels.

    Args:
        pipe: The pipeline.
    """
    return list(filter(None, (denoiser_of(pipe), pipe.components.get("transformer_2"))))


@contextmanager
def patched_forward(module: nn.Module, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Replace the forward of a module; the former one is restored when the context exits.

    Args:
        module: The module.
        make: Returns the new forward, given the present one.
    """
    former = module.__dict__.get("forward")
    module.forward = make(module.forward)
    try:
        yield
    finally:
        if former is None:
            module.__dict__.pop("forward", None)
        else:
            module.forward = former


class Forwards:
    """Distinguishes the forwards within a step, so that each finds the state of its counterpart in the step before.

    A step may have several forwards: separate branches of guidance, second evaluations, predictions that callbacks
    request. Forwards with equal shape and text are numbered in their order within the step. Comparing texts waits for a
    GPU once a forward, which costs far less than caches save.
    """

    def __init__(self) -> None:
        self.step = -1
        self.timestep: float | None = None
        self.texts: list[Tensor] = []
        self.counted: Counter[Like] = Counter()

    def count(self, sample: Tensor, timestep: Any, text: Tensor | None) -> tuple[Like, int]:
        """Count a forward; a new timestep begins a new step.

        Args:
            sample: Input of the denoiser, such as latents ``(B, 4, H/8, W/8)``.
            timestep: The timestep, also one for each row or token.
            text: Prompt embeddings; None without a prompt.

        Returns:
            The key of the forward within its step.
        """
        now = torch.as_tensor(timestep).max().item()  # tokens of frames that are given have 0
        if now != self.timestep:
            self.step, self.timestep = self.step + 1, now
            self.counted.clear()
        like = tuple(sample.shape), self._number(text)
        self.counted[like] += 1
        return like, self.counted[like]

    def _number(self, text: Tensor | None) -> int:
        if text is None:
            return -1
        index = next((number for number, known in enumerate(self.texts) if torch.equal(known, text)), None)
        if index is None:
            self.texts.append(text)
        return len(self.texts) - 1 if index is None else index
