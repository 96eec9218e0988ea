"""memory=[…]: ways to hold less at once, each for one run; the models are afterwards as they were.

An option that would do nothing is refused before weights load, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from composer.check import Checked
from composer.errors import ComposerError

#: What a sweep tries one after the other when memory runs out for a single job; the least harmful first.
LADDER = {"vae_tiling": "composer.memory.VaeTiling", "attention_slicing": "composer.memory.AttentionSlicing"}


class MemoryOption:
    """name: of the option. component: of the checkpoint, that it is about."""

    name: ClassVar[str]
    component: ClassVar[str]

    def check(self, checked: Checked) -> None:
        """Raises:
        ComposerError: it would do nothing here.
        """
        if self.component not in checked.checkpoint.classes:
            self.refuse(f"{checked.checkpoint.family} models have no {self.component}, so it would do nothing")

    @contextmanager
    def on(self, holder: Any) -> Iterator[None]:
        """Switch it on for the components that a diffusers pipeline holds, and off again."""
        raise TypeError(f"{type(self).__name__} does not say what it does")
        yield

    def refuse(self, reason: str) -> None:
        raise ComposerError("memory", self.name, reason)


class VaeSlicing(MemoryOption):
    """The VAE decodes picture by picture; convolutions may then sum in another order than for the batch, by about 1e-6."""

    name, component = "vae_slicing", "vae"

    def check(self, checked: Checked) -> None:
        super().check(checked)
        if checked.request.batch == 1:
            self.refuse("a single picture has nothing to slice, so it would do nothing")

    @contextmanager
    def on(self, holder: Any) -> Iterator[None]:
        holder.vae.enable_slicing()
        try:
            yield
        finally:
            holder.vae.disable_slicing()


class VaeTiling(MemoryOption):
    """The VAE encodes and decodes in overlapping tiles of the size that it was trained at; seams are blended, so pixels differ."""

    name, component = "vae_tiling", "vae"

    def check(self, checked: Checked) -> None:
        super().check(checked)
        size = checked.checkpoint.configs.get("vae", {}).get("sample_size", 512)
        tile, request = max(size) if isinstance(size, (list, tuple)) else size, checked.request
        second = request.inputs.get("second") or {}  # a pass that draws larger
        if max(request.height, request.width, second.get("height", 0), second.get("width", 0)) <= tile:
            self.refuse(f"tiles are {tile} pixels, so it would do nothing for {request.width} × {request.height}")

    @contextmanager
    def on(self, holder: Any) -> Iterator[None]:
        holder.vae.enable_tiling()
        try:
            yield
        finally:
            holder.vae.disable_tiling()


class AttentionSlicing(MemoryOption):
    """The UNet's attention a few heads at a time. https://arxiv.org/abs/2205.14135 says why fused kernels make it needless."""

    name, component = "attention_slicing", "unet"

    def __init__(self, heads: int | str = "auto") -> None:
        if heads not in ("auto", "max") and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
            raise ComposerError("memory.attention_slicing.heads", heads, "must be auto, max or a whole number, 1 or more")
        self.heads = heads

    def check(self, checked: Checked) -> None:
        super().check(checked)
        if not checked.checkpoint.layout.text:
            self.refuse(f"{checked.checkpoint.family} models attend in a way that can't be sliced, so it would do nothing")

    @contextmanager
    def on(self, holder: Any) -> Iterator[None]:
        before = dict(holder.unet.attn_processors)
        try:
            self._slice(holder.unet)
            yield
        finally:
            holder.unet.set_attn_processor(before)

    def _slice(self, unet: Any) -> None:
        try:
            unet.set_attention_slice(self.heads)
        except ValueError as error:  # more heads than there are: only the loaded model tells
            raise ComposerError("memory.attention_slicing.heads", self.heads, f"can't be sliced so: {error}") from None
