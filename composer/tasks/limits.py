"""Ranges of the root keys of tasks: tasks refuse by them, and the JSON Schema of the config states
them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from composer.system.constraints import Fraction, Ge, Interval

#: Number of seeds that torch's generators distinguish.
SEEDS = 2**64
#: Most denoising steps that the noise schedules of diffusion models have; a model may have fewer.
MAX_STEPS = 1000

#: For each prompt.
Images = Annotated[int, Interval(ge=1, le=100_000)]
Seed = Annotated[int, Interval(ge=0, le=SEEDS - 1)]
SeedStep = Annotated[int, Ge(0)]
Steps = Annotated[int, Interval(ge=1, le=MAX_STEPS)]
#: Of a side of an image or a clip.
Pixels = Annotated[int, Interval(ge=1, le=16_384)]
Strength = Fraction
#: Pixels that the edge of a mask is blurred by; an image's shorter side limits it too.
Blur = Annotated[float, Ge(0)]
#: Whether a repainted part's tones are shifted to meet the image's; auto: where the image's pixels are kept.
MatchTones = Literal["auto"] | bool | None
#: Pixels to add at an edge.
Margin = Annotated[int, Interval(ge=0, le=8192)]
UpscaleFactor = Annotated[float, Interval(ge=1, le=16)]
ControlScale = Annotated[float, Ge(0)]
#: Of a clip.
Frames = Annotated[int, Interval(ge=1, le=10_000)]
FramesPerSecond = Annotated[float, Interval(gt=0, le=1000)]
#: Of a sound.
Seconds = Annotated[float, Interval(gt=0, le=3600)]
