"""Root keys of the config → which values they take, for the JSON Schema; tasks check the same limits themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from composer.config.spec import Batch, LongPrompts, SyntaxName
from composer.system.constraints import Fraction, Ge, Interval, Len, MinLen
from composer.tasks.base import MAX_IMAGES, MAX_PIXELS
from composer.tasks.outpaint import Margin
from composer.tasks.text2audio import MAX_SECONDS
from composer.tasks.text2video import MAX_FPS, MAX_FRAMES
from composer.tasks.values import SEEDS

Texts = str | Annotated[Sequence[str], MinLen(1)]
Files = str | Annotated[Sequence[str], MinLen(1)] | None
#: Most denoising steps that the noise schedules of diffusion models have.
MAX_STEPS = 1000
Pixels = Annotated[int, Interval(ge=1, le=MAX_PIXELS)] | None
Steps = Annotated[int, Interval(ge=1, le=MAX_STEPS)] | None
Seed = Annotated[int, Interval(ge=-1, le=SEEDS - 1)] | None
Blur = Annotated[float, Ge(0)] | None
Frames = Annotated[int, Interval(ge=1, le=MAX_FRAMES)] | None
FramesPerSecond = Annotated[float, Interval(gt=0, le=MAX_FPS)] | None
Seconds = Annotated[float, Interval(gt=0, le=MAX_SECONDS)] | None

#: Key → annotation. Where the model recommends a value, or a task starts without one, the key may be null.
ROOT_KEYS: Mapping[str, Any] = MappingProxyType({
    "prompt": Texts,
    "negative_prompt": Texts | None,
    "steps": Steps,
    "seed": Seed,
    "seed_step": Annotated[int, Ge(0)],
    "images": Annotated[int, Interval(ge=1, le=MAX_IMAGES)],
    "height": Pixels,
    "width": Pixels,
    "image": Files,
    "mask": Files,
    "depth": Files,
    "references": Files,
    "control_image": Files,
    "last_image": Files,
    "strength": Fraction,
    "invert_mask": bool,
    "keep_unmasked": bool,
    "blur": Blur,
    "margins": Margin | Annotated[Sequence[Margin], Len(4, 4)],
    "factor": Annotated[float, Interval(ge=1, le=16)],
    "control_scale": Annotated[float, Ge(0)],
    "frames": Frames,
    "fps": FramesPerSecond,
    "seconds": Seconds,
    "arguments": Mapping[str, Any] | None,
    "batch": Batch,
    "prompt_overflow": LongPrompts,
    "prompt_syntax": SyntaxName | Sequence[SyntaxName],
    "wildcards": str | None,
})  # fmt: skip
