"""Images from a text that follow a control image, such as edges, depth or a pose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.system.constraints import require
from composer.tasks.base import Inputs
from composer.tasks.img2img import Img2Img
from composer.tasks.limits import ControlScale


class Control(Img2Img):
    """The images have the size of the control image unless another one is set, and start from noise."""

    keys: ClassVar[tuple[str, ...]] = (
        "prompt", "negative_prompt", "control_image", "control_scale", "height", "width",
    )  # fmt: skip
    roles: ClassVar[tuple[str, ...]] = ("control",)
    pipeline_kind = "control"
    source = "control_image"

    def skip(self, values: Mapping[str, Any], steps: int, checkpoint: Checkpoint) -> int:
        return 0

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import resize_to

        scale = float(require("control_scale", values["control_scale"], ControlScale))
        loaded = self.read_images(self.source, values, batch, images)
        height, width, notes = self.size(values, loaded, checkpoint)
        resized = tuple(resize_to(image, height, width) for image in loaded)
        return Inputs(
            height=height, width=width, values={"control_image": resized, "control_scale": scale}, notes=notes
        )  # fmt: skip
