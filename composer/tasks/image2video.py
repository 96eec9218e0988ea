"""Clips that begin with an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.tasks.base import Inputs
from composer.tasks.img2img import several
from composer.tasks.text2video import Text2Video
from composer.tasks.values import each


class Image2Video(Text2Video):
    """The clip has the model's own size unless another one is set; the pipeline scales the image to it."""

    keys: ClassVar[tuple[str, ...]] = (*Text2Video.keys, "image")
    roles: ClassVar[tuple[str, ...]] = ("image2video",)
    pipeline_kind = "image2video"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import read_image

        first = each("image", [read_image("image", one) for one in several(values["image"])], batch, images)
        base = super().inputs(values, batch, images, checkpoint)
        return replace(base, values={**base.values, "image": first})
