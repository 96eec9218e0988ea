"""Images that keep the depth of an image while the prompt changes the rest.

See https://huggingface.co/docs/diffusers/using-diffusers/depth2img.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import Img2Img, several
from composer.tasks.values import each


class Depth2Img(Img2Img):
    """Img2img with a depth map as an input of the model, from `depth` or the checkpoint's depth estimator."""

    keys: ClassVar[tuple[str, ...]] = (*Img2Img.keys, "depth")
    roles: ClassVar = ("depth",)
    fills: ClassVar = frozenset({"depth"})

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import read_depth

        base, given = super().inputs(values, batch, images, checkpoint), values["depth"]
        if given is None and "depth_estimator" not in checkpoint.classes:
            raise ComposerError("depth", None, "this checkpoint has no depth estimator: give a depth map, depth=FILE")
        maps = (
            None
            if given is None
            else each("depth", [read_depth("depth", one) for one in several(given)], batch, images)
        )
        return replace(base, values={**base.values, "depth": maps})

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        depth = family.depth(request.inputs["image"], request.inputs["depth"])
        return replace(super().start(family, sampler, request), inputs={"depth": depth})
