"""Guidance of workflows: what their component `guider` can compute, checked before weights load."""

from __future__ import annotations

import inspect
from typing import Any

from composer.checks.modular_blocks import ModularWorkflow
from composer.checks.modular_loops import DENOISER, loops_in
from composer.errors import ComposerError
from composer.sampling.guidance import ClassifierFree, Distilled, Guidance, Interval, Unguided

#: Guider that diffusers' blocks expect, which others of its guiders can replace.
PLAIN_GUIDER = "ClassifierFreeGuidance"


def check_guider(pipeline: type[ModularWorkflow], guidance: Guidance, option: str = "") -> None:
    """Refuse a guidance that the guider of a workflow does not compute.

    Args:
        pipeline: The workflow.
        guidance: The guidance.
        option: Its option name, for errors.

    Raises:
        ComposerError: It would do nothing, or something else.
    """
    from composer.sampling.guiders import Guider

    name, option = pipeline.__name__, option or type(guidance).__name__
    rescale = getattr(guidance, "rescale", 0)
    if not pipeline.guides:
        if type(guidance) not in (ClassifierFree, Distilled, Unguided):
            raise ComposerError("guidance", option, f"{name} has no guider that combines branches: use guidance=auto")
        if rescale:
            raise ComposerError("guidance.rescale", rescale, f"{name} has no guider that rescales: leave it out")
        return
    if type(guidance) not in (ClassifierFree, Interval, Distilled, Unguided, Guider):
        reason = f"is no guider of diffusers, and {name} guides by one: use guidance=cfg"
        raise ComposerError("guidance", option, reason)
    if isinstance(guidance, Guider) and _guider_class(pipeline) != PLAIN_GUIDER:
        reason = f"can't replace the {_guider_class(pipeline)} of {name}: use guidance=cfg"
        raise ComposerError("guidance", option, reason)
    if rescale and _keeps_norm(pipeline):
        reason = f"{name} scales its prediction to the norm of the positive branch, which undoes it: leave it out"
        raise ComposerError("guidance.rescale", rescale, reason)


def _guider_class(pipeline: type[ModularWorkflow]) -> str:
    specs = (spec for spec in pipeline.blocks.expected_components if spec.name == "guider")
    return next((spec.type_hint.__name__ for spec in specs if spec.type_hint), "")


def _keeps_norm(pipeline: type[ModularWorkflow]) -> bool:
    """Whether the prediction gets the norm of the positive branch for each token, as that of Qwen-Image does."""
    denoisers: list[Any] = [type(loop.sub_blocks[DENOISER]) for loop in loops_in(pipeline.blocks).values()]
    try:
        return any("pred_cond_norm" in inspect.getsource(denoiser) for denoiser in denoisers)
    except (OSError, TypeError):  # no source
        return False
