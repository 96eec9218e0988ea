"""Steps and a guidance scale for who names none: of the checkpoint's option, else the defaults of its diffusers
pipeline class.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import CLASSIC
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.sampling.custom_steps import custom_steps


def recommend(spec: RunSpec, checkpoint: Checkpoint) -> RunSpec:
    """A spec with a number of steps and a guidance scale.

    Raises:
        ComposerError: the steps are listed one by one, and another number of them is asked for.
    """
    liked: dict[str, Any] = {}
    steps, listed = spec.values.get("steps"), custom_steps(spec.scheduler.keywords)
    if listed is not None:
        key, values = listed
        if _asked(spec) and steps != len(values):
            raise ComposerError("steps", steps, f"scheduler.{key} lists {len(values)}: leave one of the two out")
        steps = len(values)
    if "steps" in spec.values and steps is None:
        liked = _liked(checkpoint)
        steps = liked["steps"]
    values = MappingProxyType({**spec.values, "steps": steps}) if "steps" in spec.values else spec.values
    guidance = spec.guidance
    if guidance.keywords.get("scale", 0) is None:
        scale = (liked or _liked(checkpoint))["guidance"]
        guidance = replace(guidance, keywords=MappingProxyType({**guidance.keywords, "scale": scale}))
    return replace(spec, values=values, guidance=guidance)


def _asked(spec: RunSpec) -> bool:
    """Whether a number of steps was asked for, and is not what the model likes."""
    return spec.config.get("steps") is not None


def _liked(checkpoint: Checkpoint) -> dict[str, Any]:
    if checkpoint.family == CLASSIC:
        from composer.checks.pipeline_arguments import liked

        return liked(checkpoint.pipeline, bool(checkpoint.takes_guidance_scale))
    info = checkpoint.family_info
    return {
        "steps": info.steps,
        "guidance": info.guidance_scale if not info.distilled_scale or checkpoint.takes_guidance_scale else 1.0,
    }
