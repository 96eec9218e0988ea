"""Images of an unconditional model, from noise or from an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import Img2Img, scaling, several
from composer.tasks.text2img import Text2Img

if TYPE_CHECKING:
    from PIL.Image import Image


class FromImage(Img2Img):
    """Img2img at the model's own size, the only one that unconditional models generate."""

    def size(
        self, values: Mapping[str, Any], loaded: Sequence[Image], checkpoint: Checkpoint
    ) -> tuple[int, int, tuple[str, ...]]:
        from composer.images.reading import is_sample

        height, width = checkpoint.size
        sample = all(is_sample(one) for one in several(values["image"]))
        return (
            height,
            width,
            () if sample else scaling("image", loaded[0], height, width, ", which is all that this model generates"),
        )


class Unconditional(Text2Img):
    """Images without a prompt; with `image`, denoising starts from it."""

    keys: ClassVar[tuple[str, ...]] = ("image", "strength")
    conditioned_on = None
    pipeline_kind = "unconditional"

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        return 0 if values["image"] is None else FromImage().skip(values, steps, checkpoint)

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        if values["image"] is None:
            return super().inputs(values, batch, images, checkpoint)
        return FromImage().inputs(values, batch, images, checkpoint)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        if "image" in request.inputs:
            return FromImage().start(family, sampler, request)
        return super().start(family, sampler, request)
