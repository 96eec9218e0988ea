"""Clips that begin with an image, and may end with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from composer.callbacks.base import StepCallback
from composer.callbacks.hold import Hold
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.tasks.base import Inputs, Start
from composer.tasks.img2img import several
from composer.tasks.text2video import Text2Video
from composer.tasks.values import each

if TYPE_CHECKING:
    from PIL.Image import Image


class Image2Video(Text2Video):
    """The clip has the model's own size unless another one is set; the pipeline scales the images to it."""

    keys: ClassVar[tuple[str, ...]] = (*Text2Video.keys, "image", "last_image")
    roles: ClassVar[tuple[str, ...]] = ("image2video",)
    pipeline_kind = "image2video"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        _check_last(values["last_image"], checkpoint)
        given = {
            key: _read(key, values[key], batch, images) for key in ("image", "last_image") if values[key] is not None
        }
        base = super().inputs(values, batch, images, checkpoint)
        least = 1 + checkpoint.frame_multiple
        if "last_image" in given and (base.values["frames"] or least) < least:
            reason = f"must be {least} or more, with a first and a last frame"
            raise ComposerError("frames", values["frames"], reason)
        return replace(base, values={**base.values, **given})

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        given = family.given_frames(request, sampler.generators)
        latents = family.start_noise(request, sampler.generators) * sampler.initial_sigma
        callbacks: dict[str, StepCallback] = {} if given.clean is None else {"image2video.hold": Hold(given.hold)}
        return Start(
            latents=given.hold(latents),
            inputs={"given_frames": given, "fps": request.inputs["fps"]},
            callbacks=callbacks,
        )


def _read(key: str, value: Any, batch: int, images: int) -> tuple[Image, ...]:
    from composer.images.reading import read_image

    return each(key, [read_image(key, one) for one in several(value)], batch, images)


def _check_last(value: Any, checkpoint: Checkpoint) -> None:
    """Refuse a last frame of a model that takes none, and none of a model that needs one."""
    use = None if checkpoint.family == HOSTED else checkpoint.last_image
    if use == "none" and value is not None:
        raise ComposerError("last_image", value, "this model takes the first frame alone: leave it out")
    if use == "required" and value is None:
        raise ComposerError("last_image", None, "this model wants the last frame too: last_image=FILE")
