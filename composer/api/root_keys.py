"""Root keys of the config → which values they take, for the JSON Schema; tasks refuse by the same limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from composer.config.spec import Batch, LongPrompts, SyntaxName
from composer.system.constraints import Interval, Len, MinLen
from composer.tasks.limits import (
    SEEDS,
    Blur,
    ControlScale,
    Frames,
    FramesPerSecond,
    Images,
    Margin,
    MatchTones,
    Pixels,
    Seconds,
    SeedStep,
    Steps,
    Strength,
    UpscaleFactor,
)

Texts = str | Annotated[Sequence[str], MinLen(1)]
Files = str | Annotated[Sequence[str], MinLen(1)] | None
#: A seed, or −1 or null for one that is generated.
AnySeed = Annotated[int, Interval(ge=-1, le=SEEDS - 1)] | None

#: Key → annotation. Where the model recommends a value, or a task starts without one, the key may be null.
ROOT_KEYS: Mapping[str, Any] = MappingProxyType({
    "prompt": Texts,
    "negative_prompt": Texts | None,
    "steps": Steps | None,
    "seed": AnySeed,
    "seed_step": SeedStep,
    "images": Images,
    "height": Pixels | None,
    "width": Pixels | None,
    "image": Files,
    "mask": Files,
    "depth": Files,
    "references": Files,
    "control_image": Files,
    "last_image": Files,
    "strength": Strength,
    "invert_mask": bool,
    "keep_unmasked": bool,
    "blur": Blur | None,
    "match_tones": MatchTones,
    "margins": Margin | Annotated[Sequence[Margin], Len(4, 4)],
    "factor": UpscaleFactor,
    "control_scale": ControlScale,
    "frames": Frames | None,
    "fps": FramesPerSecond | None,
    "seconds": Seconds | None,
    "arguments": Mapping[str, Any] | None,
    "batch": Batch,
    "prompt_overflow": LongPrompts,
    "prompt_syntax": SyntaxName | Sequence[SyntaxName],
    "wildcards": str | None,
})  # fmt: skip
