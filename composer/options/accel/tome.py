"""``accel=[tome]``: attention over fewer tokens, of which similar ones are merged.

See https://arxiv.org/abs/2303.17604.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import Supports
from composer.errors import ComposerError
from composer.options.accel.hooking import PROGRAMS, Acceleration, denoiser_of
from composer.options.base import OptionContext
from composer.system.constraints import Interval

#: Of four neighbours one is always kept.
MOST = 0.75


class TokenMerging(Acceleration):
    """Merge similar tokens before attention.

    Args:
        ratio: Part of the tokens that are merged, in ``(0, 0.75]``.
        downsample: Largest factor between latents and tokens at which tokens are merged; ``auto`` for the smallest one
            at which the model has attention.
        rand: Whether the kept tokens are random, so that an image depends on its batch.
    """

    name = "tome"
    excludes = PROGRAMS

    def __init__(
        self,
        ratio: Annotated[float, Interval(gt=0, le=MOST)] = 0.5,
        downsample: Literal["auto", 1, 2, 4, 8] = "auto",
        rand: bool = False,
    ) -> None:
        self.ratio, self.downsample, self.rand = ratio, downsample, rand

    def supported(self, supports: Supports) -> bool:
        """Whether the option supports the denoiser of a family.

        Args:
            supports: What the family supports.
        """
        return supports.tome

    def check(self, context: OptionContext) -> None:
        super().check(context)
        if find_spec("tomesd") is None:
            self.refuse("needs the package tomesd: pip install 'diffusion-composer[tome]'")
        least = first_attention(context.checked.checkpoint)
        factor = self.downsample if isinstance(self.downsample, int) else least
        if factor < least:
            reason = f"this model attends at {least} and more, so it would do nothing"
            raise ComposerError("accel.tome.downsample", self.downsample, reason)
        self.factor = factor

    @contextmanager
    def active(self, pipe: Any) -> Iterator[None]:
        import tomesd

        unet = denoiser_of(pipe)
        tomesd.apply_patch(unet, ratio=self.ratio, max_downsample=self.factor, use_rand=self.rand)
        try:
            if not any(type(module).__name__ == "ToMeBlock" for module in unet.modules()):
                self.refuse_no_effect("this model has no block that it knows, so it would do nothing")
            yield
        finally:
            tomesd.remove_patch(unet)
            for module in unet.modules():
                module.__dict__.pop("_tome_info", None)


def first_attention(checkpoint: Checkpoint) -> int:
    """Return the factor between latents and tokens of a UNet's first attention.

    Args:
        checkpoint: The checkpoint.
    """
    kinds = checkpoint.denoiser.get("down_block_types", ())
    return 2 ** next((level for level, kind in enumerate(kinds) if "Attn" in kind), max(len(kinds) - 1, 0))
