"""Refuses what a pipeline class can't take or do, from its signature, its source and its own check of inputs; before
weights load.
"""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Mapping
from typing import Any

from composer.callbacks.base import StepCallback
from composer.callbacks.progress import Progress
from composer.callbacks.request import Request
from composer.checks.pipeline_arguments import TABLE, arguments, name_of, plain
from composer.checks.pipeline_class import takes, told
from composer.errors import ComposerError
from composer.sampling.guidance import Distilled, Guidance
from composer.sampling.hooks import MOMENTS, overrides
from composer.system.signatures import keywords_of

#: Moments that a pipeline with `callback_on_step_end` can offer.
OFFERED = ("after_step", "after_decode")
#: Inputs of a task that are images.
PICTURES = ("image", "mask", "depth")
#: Those that are no argument of a pipeline: what is done with the images that it makes.
AFTERWARDS = ("blur", "keep_unmasked")


def check(
    pipeline: type, request: Request, guidance: Guidance, callbacks: Mapping[str, StepCallback], sizes: Mapping[str, Any],
    together: int = 1, option: str = "",
) -> None:  # fmt: skip
    """Refuse what this pipeline class can't take.

    Args:
        sizes: height and width as the user set them, None where they were left open. together: images in one batch.
        option: of guidance, as it was typed.

    Raises:
        ComposerError: it makes no images, or has no place for something that was set.
    """
    _check_output(pipeline)
    _check_inputs(pipeline, request, sizes)
    _check_guidance(pipeline, guidance, option)
    _check_needed(pipeline, arguments(pipeline, request, guidance))
    if together > 1 and told(pipeline).reads & {name_of(key, pipeline) for key in request.inputs if key in PICTURES}:
        raise ComposerError(
            "batch", None, f"{pipeline.__name__} takes several images for references of each: say batch=1"
        )
    _check_callbacks(pipeline, callbacks)


def _check_output(pipeline: type) -> None:
    if not told(pipeline).images:
        what = " and ".join(sorted(told(pipeline).makes))
        raise ComposerError(
            "model.source", None, f"{pipeline.__name__} makes {what} and no images, which composer can't write"
        )


def _check_inputs(pipeline: type, request: Request, sizes: Mapping[str, Any]) -> None:
    """Each that was set has a place."""
    name, inputs = pipeline.__name__, request.inputs
    if any(request.prompts) and name_of("prompt", pipeline) is None:
        raise ComposerError("prompt", request.prompts[0], f"{name} takes no prompt")
    negative = next(filter(None, request.negative_prompts), None)
    if negative and name_of("negative_prompt", pipeline) is None:
        raise ComposerError("negative_prompt", negative, f"{name} takes none: leave it out")
    for key in PICTURES:
        if inputs.get(key) is not None and name_of(key, pipeline) is None:
            raise ComposerError("task", None, f"{name} takes no {TABLE[key][0]}: choose a task without {key}")
    strength = inputs.get("strength")
    if strength not in (None, 1) and name_of("strength", pipeline) is None:
        raise ComposerError("strength", strength, f"{name} takes none and does all of the steps: say strength=1")
    for key, value in sizes.items():
        if value is not None and name_of(key, pipeline) is None and inputs.get("image") is None:
            raise ComposerError(key, value, f"{name} takes none: leave it out")
    for key in inputs:
        if key not in (*PICTURES, *AFTERWARDS, "strength") and inputs[key] is not None:
            raise ComposerError("task", None, f"{name} takes no {key}: choose another task")
    if name_of("steps", pipeline) is None and request.steps != 1:
        raise ComposerError("steps", request.steps, f"{name} takes none: say steps=1")


def _check_guidance(pipeline: type, guidance: Guidance, option: str) -> None:
    name, shown = pipeline.__name__, option or type(guidance).__name__
    if not plain(guidance):
        raise ComposerError(
            "guidance", shown, f"can't reach into {name}, which guides by itself", ("auto", "cfg", "distilled", "none")
        )
    if isinstance(guidance, Distilled):
        if name_of("guidance.embedded", pipeline) is None:
            raise ComposerError("guidance", "distilled", f"{name} takes no scale: use guidance=none")
        return
    scale = name_of("guidance.scale", pipeline)
    if scale is None and guidance.scale != 1:
        raise ComposerError("guidance.scale", guidance.scale, f"{name} takes no scale: use guidance=none")
    if guidance.embedded != 1 and name_of("guidance.embedded", pipeline) in (None, scale):
        raise ComposerError("guidance.embedded", guidance.embedded, f"{name} takes one scale alone: leave it out")
    rescale = getattr(guidance, "rescale", 0)
    if rescale and name_of("guidance.rescale", pipeline) is None:
        raise ComposerError("guidance.rescale", rescale, f"{name} can't rescale: leave it out")


def _check_needed(pipeline: type, given: Mapping[str, Any]) -> None:
    """Arguments without a default."""
    for parameter in inspect.signature(pipeline.__call__).parameters.values():
        needed = (
            parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        if needed and parameter.name not in ("self", *given):
            raise _missing(pipeline, parameter.name)
    for name in sorted(told(pipeline).needs - set(given), reverse=True):  # a mask comes with an image
        raise _missing(pipeline, name)


def _check_callbacks(pipeline: type, callbacks: Mapping[str, StepCallback]) -> None:
    offered = OFFERED if "callback_on_step_end" in keywords_of(pipeline.__call__) else OFFERED[1:]
    for key, callback in callbacks.items():
        wants = [moment for moment in MOMENTS if overrides(callback, moment) and moment not in offered]
        if wants and not isinstance(callback, Progress):  # which merely shows nothing
            reason = f"wants {', '.join(wants)}, and {pipeline.__name__} is no native family: it offers {' and '.join(offered)}"
            raise ComposerError(f"callbacks.{key}", None, reason)


def check_step(pipeline: type, scheduler: type, settings: Mapping[str, Any]) -> None:
    """Refuse settings of a scheduler's `step` that a pipeline does not hand on.

    Args:
        settings: keywords of `step`.

    Raises:
        ComposerError: it would step as if nothing had been set.
    """
    usual = inspect.signature(scheduler.step).parameters
    for name, value in settings.items():
        if name not in keywords_of(pipeline.__call__) and value != usual[name].default:
            raise ComposerError(
                f"scheduler.{name}", value, f"{pipeline.__name__} does not hand it to its scheduler: leave it out"
            )


def check_own(pipeline: Any, given: Mapping[str, Any]) -> None:
    """Ask a pipeline without weights for its own check of inputs, which is the first thing that a run does.

    Args:
        pipeline: as `create_skeleton` makes it. given: what its `__call__` is given.

    Raises:
        ComposerError: it refuses them, and says so itself.
    """
    if not hasattr(pipeline, "check_inputs"):
        return
    usual = {name: each.default for name, each in inspect.signature(type(pipeline).__call__).parameters.items()}
    asked = inspect.signature(pipeline.check_inputs).parameters
    values = {name: given.get(name, usual.get(name, each.default)) for name, each in asked.items()}
    values = {name: None if value is inspect.Parameter.empty else value for name, value in values.items()}
    try:
        pipeline.check_inputs(**values)
    except (ValueError, TypeError) as error:
        if _raised(error):
            raise _refusal(type(pipeline), given, error) from None
    except Exception:  # it asks for more than settings: the run will tell
        return


def _raised(error: Exception) -> bool:
    """Whether a check itself refused, and did not merely stumble over what is not loaded yet."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (linecache.getline(last.filename, last.lineno or 0)).lstrip().startswith("raise ")


def _refusal(pipeline: type, given: Mapping[str, Any], error: Exception) -> ComposerError:
    """In composer's words where an image is missing, else in the class's own."""
    missing = next(
        (name for key in PICTURES for name in TABLE[key] if _mentions(error, name) and name not in given), None
    )
    if missing is not None:
        return _missing(pipeline, missing)
    return ComposerError(
        "model.source", None, f"{pipeline.__name__} refuses its inputs: {(str(error).splitlines() or [''])[0]}"
    )


def _missing(pipeline: type, name: str) -> ComposerError:
    """That an argument is needed, and which task gives it, where one does."""
    strength = "" if takes(pipeline, "strength") else " strength=1"
    ways = {"image": f"task=img2img image=FILE{strength}", "mask": f"task=inpaint image=FILE mask=FILE{strength}"}
    way = next((words for key, words in ways.items() if name_of(key, pipeline) == name), None)
    more = f": say {way}" if way else ", and no task can"
    return ComposerError("task", None, f"{pipeline.__name__} needs {name}, which this task does not give{more}")


def _mentions(error: Exception, name: str) -> bool:
    return name in str(error).replace("`", " ").split()
