"""accel=[channels_last]: convolution weights with channels last in memory, which GPUs' tensor cores read as they are.

https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import nn

from composer.options.accel.hooking import Acceleration
from composer.options.base import OptionContext

#: Axes of a convolution's weights → its layout; in video VAEs, which some families of images have too, there are five.
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class ChannelsLast(Acceleration):
    """Store convolution weights with channels last in memory.

    Args:
        of: ``unet``, ``vae``, or ``all`` for both.
    """

    name = "channels_last"
    excludes = frozenset({"memory.sequential_offload", "memory.group_offload"})  # which keep the weights themselves

    def __init__(self, of: Literal["all", "unet", "vae"] = "all") -> None:
        self.of = of

    def check(self, context: OptionContext) -> None:
        super().check(context)
        info = context.checked.checkpoint.family_info
        if self.of != "vae" and not info.supports.channels_last:
            reason = f"a {info.denoiser[1]} has no convolutions to speak of, so it would do nothing"
            self.refuse_no_effect(f"{reason}: accel.channels_last.of=vae is left")
        if self.of == "vae" and "vae" not in context.checked.checkpoint.classes:
            self.refuse_no_effect("the model has no vae, so it would do nothing")

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        components = ("unet", "vae") if self.of == "all" else (self.of,)
        with ExitStack() as stack:
            for model in filter(None, map(pipe.components.get, components)):
                stack.enter_context(channels_last(model))
            yield


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Change the memory layout of a model; all strides, which affect torch's kernels, are restored at the end.

    Args:
        model: The model.
    """
    before = {weight: weight.stride() for weight in model.parameters() if weight.dim() in FORMATS}
    for weight in before:
        weight.data = weight.data.contiguous(memory_format=FORMATS[weight.dim()])
    try:
        yield
    finally:
        for weight, strides in before.items():
            if weight.stride() != strides:
                weight.data = torch.empty_strided(
                    weight.shape, strides, dtype=weight.dtype, device=weight.device
                ).copy_(weight.data)
