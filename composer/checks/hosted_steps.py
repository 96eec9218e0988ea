"""Guidance and callbacks on the loops of a diffusers pipeline class, as far as they can be checked before weights
load.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from composer.callbacks.base import StepCallback
from composer.callbacks.progress import Progress
from composer.checks.modular_blocks import is_workflow
from composer.checks.modular_guidance import check_guider
from composer.checks.pipeline_arguments import name_of, plain
from composer.errors import ComposerError
from composer.sampling.guidance import ClassifierFree, Distilled, Guidance
from composer.sampling.hooks import MOMENTS, overrides

#: Moments that need a loop.
STEP_MOMENTS = MOMENTS[:3]


def applied_by_composer(pipeline: Any, guidance: Guidance) -> bool:
    """Whether composer combines the branches that a pipeline evaluates, since the pipeline can't combine them so.

    Args:
        pipeline: diffusers pipeline class.
        guidance: The guidance of a run.
    """
    if not plain(guidance):
        return True
    rescales = isinstance(guidance, ClassifierFree) and guidance.rescale > 0
    return rescales and name_of("guidance.rescale", pipeline) is None


def check_hosted_guidance(pipeline: Any, guidance: Guidance, option: str = "") -> None:
    """Refuse a guidance whose scale a pipeline class does not take, or that would need two branches of one.

    Args:
        pipeline: diffusers pipeline class.
        guidance: The guidance.
        option: Its option name, for errors.

    Raises:
        ComposerError: The guidance would do nothing.
    """
    name = pipeline.__name__
    if is_workflow(pipeline):
        check_guider(pipeline, guidance, option)
    if isinstance(guidance, Distilled):
        if name_of("guidance.embedded", pipeline) is None:
            raise ComposerError("guidance", "distilled", f"{name} takes no scale: use guidance=none")
        return
    scale = name_of("guidance.scale", pipeline)
    if scale is None and guidance.scale != 1:
        raise ComposerError("guidance.scale", guidance.scale, f"{name} takes no scale: use guidance=none")
    if guidance.embedded != 1 and name_of("guidance.embedded", pipeline) in (None, scale):
        raise ComposerError("guidance.embedded", guidance.embedded, f"{name} takes one scale alone: leave it out")
    if applied_by_composer(pipeline, guidance) and not guidance.do_classifier_free_guidance:
        reason = f"combines two branches, and {name} evaluates one at a scale of {guidance.scale:g}: use guidance=cfg"
        raise ComposerError("guidance", option or type(guidance).__name__, reason)


def check_hosted_callbacks(pipeline: Any, callbacks: Mapping[str, StepCallback]) -> None:
    """Refuse callbacks of steps on a pipeline class without a loop that shows them.

    Args:
        pipeline: diffusers pipeline class.
        callbacks: Callbacks by option name.

    Raises:
        ComposerError: A callback would never be called.
    """
    if shows_loop(pipeline):
        return
    for key, callback in callbacks.items():
        missing = [moment for moment in STEP_MOMENTS if overrides(callback, moment)]
        if missing and not isinstance(callback, Progress):  # which only shows nothing
            offers = f"{pipeline.__name__} shows no denoising loop, so it offers after_decode alone"
            raise ComposerError(f"callbacks.{key}", None, f"wants {', '.join(missing)}, and {offers}")


@lru_cache(maxsize=64)
def shows_loop(pipeline: Any) -> bool:
    """Whether a pipeline class announces its loops by a progress bar, or has pipelines inside that do.

    Args:
        pipeline: diffusers pipeline class.
    """
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    if is_workflow(pipeline):  # one without is refused when it is chosen
        return True
    classes = (cls for cls in pipeline.__mro__ if issubclass(cls, DiffusionPipeline) and cls is not DiffusionPipeline)
    try:
        text = "".join(map(inspect.getsource, classes))
    except (OSError, TypeError):  # no source: only a run can show it
        return True
    return bool(re.search(r"self\.(progress_bar\(|\w+_pipe(line)?\()", text))
