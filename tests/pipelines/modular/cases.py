"""What the tests of modular pipelines share: tiny checkpoints, diffusers' own call, and runs without the command
line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from zoo import modular

from composer import StepCallback
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.pipelines.build import build_pipeline
from composer.pipelines.pipeline import Pipeline
from composer.records.result import Result

STEPS = 3


#: What a family is called with besides prompt, steps and size: words of the config.
VIDEO = ("task=text2video", "frames=5")
WORDS = {
    "ltx2": VIDEO,
    "ltx25": ("task=text2video", "frames=9"),
    "wan": VIDEO,
    "flux3": ("+arguments.max_new_tokens=8",),
}
#: Those of diffusers' call.
ARGUMENTS: dict[str, dict[str, Any]] = {
    **{name: {"num_frames": 5} for name in ("wan", "ltx2")},
    "ltx25": {"num_frames": 9},
    "flux3": {"prompt": "a cat", "max_new_tokens": 8},
}


def words(folder: Path, *more: str) -> list[str]:
    plain = ["model=local", f"model.source={folder}", "prompt=a cat", f"steps={STEPS}", "height=64", "width=64"]
    return [*plain, *WORDS.get(folder.name, ()), *more]


def pipeline(folder: Path, callbacks: Sequence[StepCallback] = (), *more: str) -> tuple[Pipeline, Any]:
    checked = check(read(compose_config([*words(folder), *more])))
    return build_pipeline(checked, callbacks), checked.request


def run(folder: Path, callbacks: Sequence[StepCallback] = (), *more: str) -> Result:
    mine, request = pipeline(folder, callbacks, *more)
    return mine(request)


def pixels(media: Sequence[Any]) -> list[np.ndarray]:
    """Images, or all frames of clips, as arrays of bytes."""
    frames = [
        frame for medium in media for frame in getattr(medium, "frames", medium if _is_clip(medium) else [medium])
    ]
    arrays = [np.asarray(frame) for frame in frames]
    return [array if array.dtype == np.uint8 else (array * 255).round().astype(np.uint8) for array in arrays]


def _is_clip(medium: Any) -> bool:
    return isinstance(medium, list) or (isinstance(medium, np.ndarray) and medium.ndim == 4)


def same(mine: Sequence[Any], other: Sequence[Any]) -> bool:
    pairs = list(zip(pixels(mine), pixels(other), strict=True))
    return bool(pairs) and all((a == b).all() for a, b in pairs)


def own_call(folder: Path, **keywords: Any) -> Any:
    """What diffusers makes of a checkpoint, with its complete blocks."""
    pipe = diffusers.ModularPipeline.from_pretrained(str(folder))
    pipe.load_components(torch_dtype=torch.float32)
    complete = modular.make(
        folder.name
    )  # for what diffusers can't read by the class in the index, such as a tiny tokenizer
    absent = [name for name in pipe.pretrained_component_names if getattr(pipe, name) is None]
    pipe.register_components(**{name: part for name in absent if (part := getattr(complete, name)) is not None})
    return call(pipe, **ARGUMENTS.get(folder.name, {}) | keywords)


def call(pipe: Any, **keywords: Any) -> Any:
    defaults: dict[str, Any] = {"prompt": ["a cat"], "num_inference_steps": STEPS, "height": 64, "width": 64}
    state = pipe(generator=[torch.Generator().manual_seed(0)], **defaults | keywords)
    return state.get("images") if state.get("images") is not None else state.get("videos")
