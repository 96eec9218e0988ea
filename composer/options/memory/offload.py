"""Offloading: models stay in the CPU's memory until they are used, as with ``memory=[model_offload]``.

See https://huggingface.co/docs/diffusers/optimization/memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from torch import nn

from composer.compat.hooks import delete_empty_registries, remove_group_offloading
from composer.options.base import ModelOption, OptionContext
from composer.system.constraints import Ge

NAMES = ("model_offload", "group_offload", "sequential_offload", "cpu_text_encoder")


class Offload(ModelOption):
    """Base of options that offload models from devices with memory of their own."""

    group = "memory"
    devices = frozenset({"cuda", "xpu"})  # a literal, since `checks.signatures` reads it from the source text
    offloads = True

    def __init_subclass__(cls) -> None:
        cls.excludes = frozenset(f"memory.{name}" for name in NAMES if name != cls.name)

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if context.checked.checkpoint.engine == "modular" and self.name != CpuTextEncoder.name:
            self.refuse(
                "is a method of diffusers' pipeline classes, and this model exists only as blocks: leave it out"
            )


class ModelOffload(Offload):
    """Keep each model on the device only while it runs: a little slower, with the memory of the largest model."""

    name = "model_offload"

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        pipe.enable_model_cpu_offload(device=device)
        try:
            yield
        finally:
            _unhook(pipe)

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        try:
            yield
        finally:
            pipe.maybe_free_model_hooks()  # what worked last is still there


class GroupOffload(Offload):
    """Keep groups of layers on the device only while they run.

    Args:
        blocks: Blocks in a group; None for single layers, which need the least memory.
        stream: Whether the next group is copied while one runs; None for yes where the device supports it.
    """

    name = "group_offload"

    def __init__(self, blocks: Annotated[int, Ge(1)] | None = None, stream: bool | None = None) -> None:
        self.blocks, self.stream = blocks, stream

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        stream = device.type in (Offload.devices or ()) if self.stream is None else self.stream
        blocks = 1 if stream and self.blocks else self.blocks  # diffusers fetches ahead by single blocks alone
        level = (
            {"offload_type": "block_level", "num_blocks_per_group": blocks}
            if blocks
            else {"offload_type": "leaf_level"}
        )
        pipe.enable_group_offload(onload_device=device, use_stream=stream, **level)
        try:
            yield
        finally:
            for model in _models(pipe):
                remove_group_offloading(model)
            pipe.to("cpu")


class SequentialOffload(GroupOffload):
    """Keep each layer on the device only while it runs: by far the least memory, and by far the slowest.

    It uses diffusers' groups of one layer, since accelerate's hooks can't always be removed.
    """

    name = "sequential_offload"

    def __init__(self) -> None:
        super().__init__(blocks=None, stream=False)


class CpuTextEncoder(Offload):
    """Run text encoders on the CPU: they run once, and T5 alone can take half of a GPU's memory."""

    name = "cpu_text_encoder"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "text_encoder_3")

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if not context.checked.checkpoint.family_info.takes_prompt:
            self.refuse_no_effect(
                f"{context.checked.checkpoint.family} models have no text encoder, so it would do nothing"
            )

    @contextmanager
    def attach(self, pipe: Any, device: torch.device) -> Iterator[None]:
        encoders = [model for name in self.encoders if (model := getattr(pipe, name, None)) is not None]
        for model in _models(pipe):
            if all(model is not encoder for encoder in encoders):
                model.to(device)
        for encoder in encoders:
            add_hook_to_module(encoder, AlignDevicesHook(execution_device=torch.device("cpu"), io_same_device=True))
        try:
            yield
        finally:
            for encoder in encoders:
                remove_hook_from_module(encoder)
            pipe.to("cpu")


def _models(pipe: Any) -> list[nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, nn.Module)]


def _unhook(pipe: Any) -> None:
    pipe.remove_all_hooks()
    pipe.to("cpu")
    for model in _models(pipe):
        delete_empty_registries(model)
