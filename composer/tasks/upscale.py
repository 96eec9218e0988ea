"""Larger images in two passes: generate or read an image, scale it up, and generate details by img2img."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.system.constraints import require
from composer.tasks.base import Inputs, Start, Task
from composer.tasks.img2img import Img2Img
from composer.tasks.limits import UpscaleFactor
from composer.tasks.text2img import Text2Img

if TYPE_CHECKING:
    from PIL.Image import Image


class Upscale(Img2Img):
    """Generate at the model's size, scale by `factor` in `[1, 16]`, and denoise again with `strength`.

    With `image` there is only the second pass.
    """

    keys: ClassVar[tuple[str, ...]] = (*Img2Img.keys, "factor")

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        skipped = super().skip(values, steps, checkpoint)
        return skipped if values["image"] is not None else 0

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import resize_to

        factor = float(require("factor", values["factor"], UpscaleFactor))
        if values["image"] is None:
            base = Task.inputs(self, values, batch, images, checkpoint)
        else:
            base = super().inputs(values, batch, images, checkpoint)
        multiple = checkpoint.size_multiple
        height, width = (int(side * factor) // multiple * multiple for side in (base.height, base.width))
        if (height, width) == (base.height, base.width):
            raise ComposerError(
                "factor",
                values["factor"],
                f"makes nothing larger: {base.width} x {base.height} pixels stay as they are",
            )
        if values["image"] is not None:
            scaled = tuple(
                resize_to(image, height, width) for image in self.read_images("image", values, batch, images)
            )
            return replace(base, height=height, width=width, values={**base.values, "image": scaled})
        info, steps = checkpoint.family_info, int(values["steps"])
        strength = float(values["strength"])
        second = {"height": height, "width": width, "steps_skipped": info.steps_to_skip(steps, strength)}
        return replace(base, values={"strength": strength, "second": second})

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        if "image" in request.inputs:
            return super().start(family, sampler, request)
        return Text2Img().start(family, sampler, request)

    def next_pass(self, request: Request, images: Sequence[Image]) -> tuple[Task, Request] | None:
        from composer.images.reading import resize_to

        if "image" in request.inputs:
            return None
        second = request.inputs["second"]
        scaled = tuple(resize_to(image, second["height"], second["width"]) for image in images)
        kept = {key: value for key, value in request.inputs.items() if key != "second"}
        return self, replace(request, **second, inputs={**kept, "image": scaled})
