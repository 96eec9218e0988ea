"""Default steps and guidance scale: of the family, or of the checkpoint's diffusers pipeline class."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.fast import choose_scheduler, limit_steps
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.sampling.custom_steps import custom_steps


def recommend(spec: RunSpec, checkpoint: Checkpoint) -> RunSpec:
    """Fill in the steps and the guidance scale that the user left open.

    Args:
        spec: Settings of the run.
        checkpoint: The checkpoint.

    Returns:
        Settings with both values.

    Raises:
        ComposerError: The scheduler lists its timesteps, and another number of steps is requested.
    """
    typed = spec.config.get("steps")
    recommended = spec.values.get("steps") if typed is None else _of_option(spec, "steps")
    limited = spec.scheduler.most_steps is not None
    if recommended is None and (limited or (typed is None and "steps" in spec.values)):
        recommended = _default_settings(checkpoint)["steps"]
    spec = replace(spec, scheduler=choose_scheduler(spec.scheduler, checkpoint, recommended))
    steps = limit_steps(spec.scheduler, recommended) if typed is None else spec.values.get("steps")
    custom = custom_steps(spec.scheduler.keywords)
    if custom is not None:
        key, timesteps = custom
        if typed is not None and steps != len(timesteps):
            raise ComposerError("steps", steps, f"scheduler.{key} lists {len(timesteps)}: leave one of the two out")
        steps = len(timesteps)
    values = MappingProxyType({**spec.values, "steps": steps}) if "steps" in spec.values else spec.values
    guidance = spec.guidance
    if guidance.keywords.get("scale", 0) is None:
        scale = _default_settings(checkpoint)["guidance"]
        guidance = replace(guidance, keywords=MappingProxyType({**guidance.keywords, "scale": scale}))
    return replace(spec, values=values, guidance=guidance)


def _of_option(spec: RunSpec, name: str) -> Any:
    """A value that the model's option recommends; `None` where it leaves that to the checkpoint."""
    return ((spec.config.get("model") or {}).get("recommended") or {}).get(name)


def _default_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    if checkpoint.defaults is not None:
        return {"steps": checkpoint.defaults.steps, "guidance": checkpoint.defaults.guidance_scale}
    if checkpoint.family == HOSTED:
        from composer.checks.pipeline_arguments import default_settings

        return default_settings(checkpoint.pipeline, bool(checkpoint.takes_guidance_scale))
    info = checkpoint.family_info
    if checkpoint.distilled:
        return {"steps": info.distilled_steps, "guidance": 1.0}
    steps, scale = info.pipeline_defaults.get(checkpoint.pipeline, (info.steps, info.guidance_scale))
    guided = not info.distilled_scale or checkpoint.takes_guidance_scale
    return {"steps": steps, "guidance": scale if guided else 1.0}
