"""Clips from a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.errors import ComposerError
from composer.families.base import Family
from composer.sampling.sampler import Sampler
from composer.system.constraints import require
from composer.tasks.base import Inputs, Start
from composer.tasks.limits import Frames, FramesPerSecond
from composer.tasks.text2img import Text2Img
from composer.tasks.values import require_integer


class Text2Video(Text2Img):
    """A clip for each image that another task would make."""

    keys: ClassVar[tuple[str, ...]] = (*Text2Img.keys, "frames", "fps")
    roles: ClassVar[tuple[str, ...]] = ("video",)
    pipeline_kind = "text2video"
    makes = "clip"

    def inputs(self, values: Mapping[str, Any], batch: int, images: int, checkpoint: Checkpoint) -> Inputs:
        base = super().inputs(values, batch, images, checkpoint)
        count = frames(values, checkpoint)
        inner = (
            {} if checkpoint.family == HOSTED or count is None else {"latent_frames": checkpoint.latent_frames(count)}
        )
        return replace(base, values={"frames": count, "fps": fps(values, checkpoint), **inner})

    def start(self, family: Family, sampler: Sampler, request: Request) -> Start:
        start = super().start(family, sampler, request)
        return replace(start, inputs={"fps": request.inputs["fps"]})


def frames(values: Mapping[str, Any], checkpoint: Checkpoint) -> int | None:
    """Read the number of frames of a clip.

    Args:
        values: Root key → value.
        checkpoint: The checkpoint.

    Returns:
        Frames: as set, else the model's default; None if only the run knows it.

    Raises:
        ComposerError: It is out of range, or not one more than a multiple that the model generates.
    """
    value, multiple = values["frames"], checkpoint.frame_multiple
    if value is None:
        return checkpoint.frames
    count = require_integer("frames", value, Frames)
    if (count - 1) % multiple:
        fewer = (count - 1) // multiple * multiple + 1
        reason = f"must be one more than a multiple of {multiple} for this model: {fewer} or {fewer + multiple}"
        raise ComposerError("frames", value, reason)
    return count


def fps(values: Mapping[str, Any], checkpoint: Checkpoint) -> float | None:
    """Read the frames per second of a clip.

    Args:
        values: Root key → value.
        checkpoint: The checkpoint.

    Returns:
        Frames per second: as set, else the model's default.

    Raises:
        ComposerError: It is out of range.
    """
    if values["fps"] is None:
        return checkpoint.fps
    rate = float(require("fps", values["fps"], FramesPerSecond))
    return int(rate) if rate.is_integer() else rate
