"""Change images by an instruction: the model sees one or several reference images beside the text, and starts from
noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start, Task
from composer.tasks.img2img import several

if TYPE_CHECKING:
    from PIL.Image import Image


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
        if checkpoint.family != HOSTED:
            values = {**values, **self._size(values, references[0], checkpoint)}
        base = super().inputs(values, batch, images, checkpoint)
        return replace(base, values={"references": (references,) * batch})

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        references = family.references(request.inputs["references"])
        noise = family.start_noise(request, sampler.generators)
        return Start(latents=noise * sampler.initial_sigma, inputs={"references": references})

    def _size(self, values: Mapping[str, Any], first: Image, checkpoint: Checkpoint) -> dict[str, int]:
        """Sides that are not set: those of the first reference, in the pixels that the model was trained for."""
        sides = checkpoint.family_info.size_like(first.height, first.width, checkpoint.size_multiple)
        return {key: side for key, side in zip(("height", "width"), sides) if values.get(key) is None}
