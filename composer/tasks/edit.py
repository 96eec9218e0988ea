"""Change images by an instruction: the model sees one or several reference images beside the text, and starts from noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.checkpoints.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.tasks.base import Inputs, Task
from composer.tasks.img2img import several


class Edit(Task):
    """All references are for each of the prompts; the size is the model's choice unless it is set."""

    keys: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "references", "image", "height", "width")
    roles: ClassVar[tuple[str, ...]] = ("edit",)
    pipeline_kind = "edit"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        from composer.images.reading import read_image

        if values["image"] is not None and values["references"] is not None:
            reason = "is another name of references: leave one of the two out"
            raise ComposerError("image", values["image"], reason)
        key = "references" if values["image"] is None else "image"
        if values[key] is None:
            raise ComposerError(key, None, "an image is needed: references=FILE, or references=[FILE,FILE]")
        references = tuple(read_image(key, one) for one in several(values[key]))
        base = super().inputs(values, batch, images, checkpoint)
        return replace(base, values={"references": (references,) * batch})
