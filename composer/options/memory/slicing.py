"""``memory=[vae_slicing, vae_tiling, attention_slicing]``: computing in smaller parts, reverted after each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from composer.errors import ComposerError
from composer.options.base import ModelOption, OptionContext
from composer.options.memory.estimate import tile_of
from composer.system.constraints import Ge

#: What a sweep tries one after the other when memory runs out for a single job; the least harmful first.
LADDER = {
    "vae_tiling": "composer.options.memory.slicing.VaeTiling",
    "attention_slicing": "composer.options.memory.slicing.AttentionSlicing",
}


class Saving(ModelOption):
    """Base of memory options that are active during a run only."""

    group = "memory"


class VaeSlicing(Saving):
    """Decode image by image. Convolutions may sum in another order than for a batch, which differs by about 1e-6."""

    name, component = "vae_slicing", "vae"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if 1 in (context.checked.request.batch, context.checked.spec.batch):
            self.refuse_no_effect("a single image has nothing to slice, so it would do nothing")

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        pipe.vae.enable_slicing()
        try:
            yield
        finally:
            pipe.vae.disable_slicing()


class VaeTiling(Saving):
    """Encode and decode in overlapping tiles of the VAE's training size. Seams are blended, so pixels differ."""

    name, component = "vae_tiling", "vae"

    def check(self, context: OptionContext) -> None:
        super().check(context)
        checked = context.checked
        tile, request = tile_of(checked.checkpoint), checked.request
        if max(map(max, request.sizes)) <= tile:
            self.refuse_no_effect(
                f"tiles are {tile} pixels, so it would do nothing for {request.width} × {request.height}"
            )

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        pipe.vae.enable_tiling()
        try:
            yield
        finally:
            pipe.vae.disable_tiling()


class AttentionSlicing(Saving):
    """Compute the UNet's attention for a few heads at a time.

    Fused kernels make it needless, see https://arxiv.org/abs/2205.14135.

    Args:
        heads: Heads at a time; ``auto`` for half of them, ``max`` for one.
    """

    name, component = "attention_slicing", "unet"

    def __init__(self, heads: Literal["auto", "max"] | Annotated[int, Ge(1)] = "auto") -> None:
        self.heads = heads

    def check(self, context: OptionContext) -> None:
        super().check(context)
        checkpoint = context.checked.checkpoint
        if not checkpoint.family_info.supports.attention_slicing:
            self.refuse_no_effect(
                f"{checkpoint.family} models attend in a way that can't be sliced, so it would do nothing"
            )

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        before = dict(pipe.unet.attn_processors)
        try:
            self._slice(pipe.unet)
            yield
        finally:
            pipe.unet.set_attn_processor(before)

    def _slice(self, unet: Any) -> None:
        try:
            unet.set_attention_slice(self.heads)
        except ValueError as error:  # more slices than heads, which only the loaded model knows
            raise ComposerError("memory.attention_slicing.heads", self.heads, f"can't be sliced so: {error}") from None
