"""Default settings of a diffusers pipeline class for one checkpoint, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PipelineDefaults:
    """What a pipeline uses for settings that the user leaves open.

    Attributes:
        size: Height and width in pixels; None where the pipeline chooses them in a run, such as from its input image.
        multiple: Number of pixels of which heights and widths are multiples.
        steps: Denoising steps; 1 for a pipeline without any.
        guidance_scale: Guidance scale; 1 for a pipeline without guidance.
        frames: Frames of a clip; None for other media.
        frame_multiple: Clips have one frame more than a multiple of this; 1 for any number.
        fps: Frames per second; None for other media.
        seconds: Length of a sound; None for other media, or where the pipeline alone knows it.
        rounds_strength_up: Whether a step that `strength` only begins counts as a complete one.
    """

    size: tuple[int, int] | None = None
    multiple: int = 1
    steps: int = 1
    guidance_scale: float = 1.0
    frames: int | None = None
    frame_multiple: int = 1
    fps: float | None = None
    seconds: float | None = None
    rounds_strength_up: bool = False
