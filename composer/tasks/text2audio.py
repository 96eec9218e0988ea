"""Sounds from a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.system.constraints import require
from composer.tasks.base import Inputs
from composer.tasks.limits import Seconds
from composer.tasks.text2img import Text2Img


class Text2Audio(Text2Img):
    """A sound for each image that another task would make."""

    keys: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "seconds")
    roles: ClassVar[tuple[str, ...]] = ("audio",)
    pipeline_kind = "text2audio"
    makes = "sound"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        seconds = values["seconds"]
        if seconds is None:
            seconds = checkpoint.defaults and checkpoint.defaults.seconds
        else:
            seconds = float(require("seconds", seconds, Seconds))
        return Inputs(height=0, width=0, sides=(), values={"seconds": seconds})
