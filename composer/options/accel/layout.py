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


class ChannelsLast(Acceleration):
    """of: unet, vae, or all for both where they are there."""

    name = "channels_last"
    excludes = frozenset({"memory.sequential_offload", "memory.group_offload"})  # which keep the weights themselves

    def __init__(self, of: Literal["all", "unet", "vae"] = "all") -> None:
        self.of = of

    def check(self, context: OptionContext) -> None:
        super().check(context)
        info = context.checked.checkpoint.family_info
        if self.of != "vae" and not info.supports.channels_last:
            self.refuse_no_effect(
                f"a {info.denoiser[1]} has no convolutions to speak of, so it would do nothing: accel.channels_last.of=vae is left"
            )
        if self.of == "vae" and "vae" not in context.checked.checkpoint.classes:
            self.refuse_no_effect("the model has no vae, so it would do nothing")

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        wanted = ("unet", "vae") if self.of == "all" else (self.of,)
        with ExitStack() as stack:
            for model in filter(None, map(pipe.components.get, wanted)):
                stack.enter_context(channels_last(model))
            yield


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Then strides as they were: they tell torch which kernel to take, even where they say the same."""
    before = {weight: weight.stride() for weight in model.parameters() if weight.dim() == 4}
    model.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for weight, strides in before.items():
            if weight.stride() != strides:
                weight.data = torch.empty_strided(
                    weight.shape, strides, dtype=weight.dtype, device=weight.device
                ).copy_(weight.data)
