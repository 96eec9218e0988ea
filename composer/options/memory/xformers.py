"""``memory=[xformers]``: attention of the xformers package, which torch's own has overtaken on most GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from composer.checkpoints.layouts import families
from composer.errors import ComposerError
from composer.options.accel.hooking import denoiser_of
from composer.options.base import ModelOption, OptionContext


class XFormers(ModelOption):
    """Compute attention without storing all of its weights at once."""

    group, name = "memory", "xformers"
    devices = frozenset({"cuda"})
    excludes = frozenset({"memory.attention_slicing", "accel.attention", "accel.compile", "accel.fused_qkv"})

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if find_spec("xformers") is None:
            self.refuse("needs the package xformers, which is not installed: torch's own attention is as sparing")
        info = context.checked.checkpoint.family_info
        if info.supports.attention_backends and not info.supports.xformers:
            self.refuse_no_effect(
                f"does nothing in {info.name}: use accel=[attention] accel.attention.backend=xformers"
            )
        if not info.supports.xformers:
            able = {other.denoiser[1] for other in families().values() if other.supports.xformers}
            self.refuse_no_effect(f"can't reach into a {info.denoiser[1]}, so it would do nothing", sorted(able))

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        model: Any = denoiser_of(pipe)
        before = {module: module.processor for module in model.modules() if hasattr(module, "processor")}
        try:
            self._enable(model)
            yield
        finally:
            for module, processor in before.items():
                module.set_processor(processor)

    def _enable(self, model: Any) -> None:
        try:
            model.enable_xformers_memory_efficient_attention()
        except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ComposerError("memory", "xformers", f"does not run on this GPU: {why}") from None
