"""Pictures from noise alone, or from a picture with noise on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoint import Checkpoint
from composer.families.base import Family
from composer.sampler import Sampler
from composer.spec import Request
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import Img2Img
from composer.tasks.text2img import Text2Img


class Unconditional(Text2Img):
    keys = ("image", "strength")
    text = False

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        return 0 if values["image"] is None else Img2Img().skip(values, steps, checkpoint)

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        """A picture is scaled to the model's own size: these models draw no other."""
        if values["image"] is None:
            return super().inputs(values, batch, images, checkpoint)
        height, width = checkpoint.size
        return Img2Img().inputs({**values, "height": height, "width": width}, batch, images, checkpoint)

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        of = Img2Img() if "image" in request.inputs else super()
        return of.start(family, sampler, request)
