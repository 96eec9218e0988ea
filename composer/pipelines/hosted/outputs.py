"""A pipeline's output → what composer keeps of it. Only this module knows the fields of diffusers' outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from composer.checks.pipeline_class import IMAGES
from composer.errors import ComposerError
from composer.families.settings import Decoded
from composer.media.clip import Clip
from composer.media.medium import Medium
from composer.media.sound import Sound
from composer.sampling.non_finite import NonFinite

#: Fields of diffusers' outputs that hold clips, the sounds of these, and sounds alone.
FRAMES, AUDIO, AUDIOS = "frames", "audio", "audios"
#: Where pipelines keep the sampling rate of their sounds: component, and settings of it. The first that is found
#: counts.
RATES = (
    ("vocoder", ("output_sampling_rate", "sampling_rate")), ("vae", ("sampling_rate", "sample_rate")),
    ("audio_vae", ("sample_rate", "sampling_rate")), ("unet", ("sample_rate",)),
)  # fmt: skip
#: Frames a second where neither the user nor the model chose, as in diffusers' `export_to_video`.
DEFAULT_FPS = 10


def decoded_of(output: Any, pipe: Any, fps: float | None = None) -> Decoded:
    """Get the images, clips or sounds of a pipeline's output, and the flags of its safety checker.

    Clips are in the field `frames`: a list of lists of PIL images, or arrays or tensors of `[0, 1]` with the axes
    batch, frame, height, width, channel (of tensors: batch, frame, channel, height, width). Their sounds are in
    `audio`, and sounds alone in `audios`: batch, then channels if there are several, then samples.

    Args:
        output: An output of diffusers.
        pipe: The pipeline, which knows the sampling rate of sounds.
        fps: Frames a second of clips; `None` for `DEFAULT_FPS`.

    Returns:
        One medium for each row of the batch.

    Raises:
        ComposerError: It holds none.
        NonFinite: Some pixels or samples are not finite.
    """
    nsfw = getattr(output, "nsfw_content_detected", None) or ()
    return Decoded(media=_media(output, pipe, fps), flagged=tuple(bool(flag) for flag in nsfw))


def _media(output: Any, pipe: Any, fps: float | None) -> Sequence[Medium]:
    if getattr(output, FRAMES, None) is not None:
        return _clips(output, pipe, fps or DEFAULT_FPS)
    if getattr(output, AUDIOS, None) is not None:
        return _sounds(output.audios, sampling_rate(pipe))
    images = next((getattr(output, name) for name in IMAGES if hasattr(output, name)), None)
    if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
        reason = f"this pipeline makes {type(output).__name__} and no images, clips or sounds: composer can't write it"
        raise ComposerError("model.source", None, reason)
    return images


def _clips(output: Any, pipe: Any, fps: float) -> list[Clip]:
    clips = [list(_frames(clip)) for clip in output.frames]
    audio = getattr(output, AUDIO, None)
    sounds: Sequence[Sound | None] = [None] * len(clips) if audio is None else _sounds(audio, sampling_rate(pipe))
    return [Clip(frames, fps, sound) for frames, sound in zip(clips, sounds, strict=True)]


def sampling_rate(pipe: Any) -> int:
    """Find the sampling rate of a pipeline's sounds.

    Args:
        pipe: A diffusers pipeline.

    Returns:
        Samples a second, in Hz.

    Raises:
        ComposerError: None of its components says it.
    """
    for name, settings in RATES:
        config = getattr(getattr(pipe, name, None), "config", {})
        # some are no settings of diffusers but objects of transformers
        values = (config.get(key) if hasattr(config, "get") else getattr(config, key, None) for key in settings)
        rate = next(filter(None, values), None)
        if rate is not None:
            return int(rate)
    raise ComposerError("model.source", None, f"{type(pipe).__name__} does not say the sampling rate of its sounds")


def _frames(clip: Any) -> Iterator[Image.Image]:
    """The frames of one clip as RGB images, converted as diffusers converts them."""
    for frame in clip:
        if isinstance(frame, Image.Image):
            yield frame if frame.mode == "RGB" else frame.convert("RGB")
        else:
            pixels = _array(frame, "vae", "its frames hold")
            pixels = pixels.transpose(1, 2, 0) if isinstance(frame, torch.Tensor) else pixels
            yield Image.fromarray((pixels * 255).round().astype(np.uint8))


def _sounds(audio: Any, rate: int) -> list[Sound]:
    rows = (_array(row, "vae", "its sound holds") for row in audio)
    return [Sound(np.ascontiguousarray(np.atleast_2d(row)), rate) for row in rows]


def _array(value: Any, component: str, holds: str) -> NDArray[np.float32]:
    """A tensor or array as float32."""
    array = np.asarray(value.detach().cpu().float() if isinstance(value, torch.Tensor) else value, np.float32)
    if not np.isfinite(array).all():
        raise NonFinite(component, None, f"{holds} numbers that are not finite (NaN or infinity)")
    return array
