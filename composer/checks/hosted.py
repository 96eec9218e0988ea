"""Checks of diffusers pipeline classes without a native family, from signature, source text and their own check."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Mapping
from typing import Any

from composer.callbacks.base import StepCallback
from composer.callbacks.request import Request
from composer.checks.further_arguments import check_further_arguments
from composer.checks.hosted_steps import check_hosted_callbacks, check_hosted_guidance
from composer.checks.pipeline_arguments import TABLE, arguments, name_of
from composer.checks.pipeline_class import output_kind, read_call
from composer.errors import ComposerError
from composer.sampling.guidance import Guidance
from composer.system.signatures import keywords_of
from composer.tasks.base import ARGUMENTS

#: Inputs of tasks that are images.
IMAGE_INPUTS = ("image", "mask", "depth", "references", "control_image", "last_image")
#: Inputs that a pipeline without such an argument does not ignore only at this value.
NEUTRAL = {
    "strength": (1, "takes none and does all of the steps: say strength=1"),
    "control_scale": (1, "takes none: say control_scale=1"),
}
#: Inputs of tasks that are applied to the generated images, and are no arguments of a pipeline.
APPLIED_AFTERWARDS = ("blur", "keep_unmasked", "match_tones", "fps", ARGUMENTS)


def check_hosted(
    pipeline: Any, request: Request, guidance: Guidance, callbacks: Mapping[str, StepCallback],
    sizes: Mapping[str, Any], batch: int = 1, option: str = "", makes: str = "image",
) -> None:  # fmt: skip
    """Refuse settings that a diffusers pipeline class does not take.

    Args:
        pipeline: diffusers pipeline class.
        request: The request.
        guidance: The guidance.
        callbacks: Callbacks by option name.
        sizes: ``height`` and ``width`` in pixels as the user set them, or None.
        batch: Images in one batch.
        option: Option name of the guidance, for errors.
        makes: Kind of media that the task makes.

    Raises:
        ComposerError: The class generates something else, or has no argument for a setting.
    """
    _check_output(pipeline, makes)
    _check_inputs(pipeline, request, sizes)
    check_further_arguments(pipeline, request.inputs.get(ARGUMENTS, {}))
    check_hosted_guidance(pipeline, guidance, option)
    _check_required(pipeline, arguments(pipeline, request, guidance))
    if batch > 1:
        _check_batch(pipeline, request)
    check_hosted_callbacks(pipeline, callbacks)


def _check_batch(pipeline: Any, request: Request) -> None:
    """Refuse several images at once where the pipeline would mix up their inputs."""
    name, facts = pipeline.__name__, read_call(pipeline)
    if facts.takes_one:
        raise ComposerError("batch", None, f"{name} takes one prompt at a time: say batch=1")
    references = request.inputs.get("references")
    if references is not None and name_of("references", pipeline) not in facts.references:
        raise ComposerError("batch", None, f"{name} takes the references of one image at a time: say batch=1")
    if facts.references & {name_of(key, pipeline) for key in ("image", "control_image") if key in request.inputs}:
        reason = f"{name} takes several images for references of each: say batch=1"
        raise ComposerError("batch", None, reason)


def _check_output(pipeline: Any, makes: str) -> None:
    kind, outputs = output_kind(pipeline), read_call(pipeline).outputs
    if kind is None:
        reason = f"{pipeline.__name__} makes {' and '.join(sorted(outputs))} and no images"
        raise ComposerError("model.source", None, f"{reason}, which composer can't write")
    if kind != makes:
        raise ComposerError("task", None, f"makes {makes}s, and {pipeline.__name__} makes {kind}s: choose another task")


def _check_inputs(pipeline: Any, request: Request, sizes: Mapping[str, Any]) -> None:
    """Refuse inputs without an argument."""
    name, inputs = pipeline.__name__, request.inputs
    if any(request.prompts) and name_of("prompt", pipeline) is None:
        raise ComposerError("prompt", request.prompts[0], f"{name} takes no prompt")
    negative = next(filter(None, request.negative_prompts), None)
    if negative and name_of("negative_prompt", pipeline) is None:
        raise ComposerError("negative_prompt", negative, f"{name} takes none: leave it out")
    for key in IMAGE_INPUTS:
        if inputs.get(key) is not None and name_of(key, pipeline) is None:
            raise ComposerError("task", None, f"{name} takes no {TABLE[key][0]}: choose a task without {key}")
    for key, (neutral, reason) in NEUTRAL.items():
        if inputs.get(key) not in (None, neutral) and name_of(key, pipeline) is None:
            raise ComposerError(key, inputs[key], f"{name} {reason}")
    resized = output_kind(pipeline) == "image" and any(inputs.get(key) for key in ("image", "control_image"))
    for key, value in sizes.items():
        if value is not None and name_of(key, pipeline) is None and not resized:
            raise ComposerError(key, value, f"{name} takes none: leave it out")
    for key in inputs:
        handled = key in (*IMAGE_INPUTS, *APPLIED_AFTERWARDS, *NEUTRAL)
        if not handled and inputs[key] is not None and (key not in TABLE or name_of(key, pipeline) is None):
            raise ComposerError("task", None, f"{name} takes no {key}: choose another task")
    if name_of("steps", pipeline) is None and request.steps != 1:
        raise ComposerError("steps", request.steps, f"{name} takes none: say steps=1")


def _check_required(pipeline: Any, given: Mapping[str, Any]) -> None:
    """Refuse a request without a required argument."""
    for parameter in inspect.signature(pipeline.__call__).parameters.values():
        required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if required and parameter.name not in ("self", *given):
            raise _missing(pipeline, parameter.name)
    for name in sorted(read_call(pipeline).required - set(given), reverse=True):  # a mask comes with an image
        raise _missing(pipeline, name)


def check_step(pipeline: Any, scheduler: Any, settings: Mapping[str, Any]) -> None:
    """Refuse arguments of a scheduler's ``step`` that a pipeline class does not pass on.

    Args:
        pipeline: diffusers pipeline class.
        scheduler: Scheduler class.
        settings: Arguments of ``step``.

    Raises:
        ComposerError: An argument that is not the default would have no effect.
    """
    parameters = inspect.signature(scheduler.step).parameters
    for name, value in settings.items():
        if name not in keywords_of(pipeline.__call__) and value != parameters[name].default:
            reason = f"{pipeline.__name__} does not hand it to its scheduler: leave it out"
            raise ComposerError(f"scheduler.{name}", value, reason)


def check_own(pipeline: Any, given: Mapping[str, Any]) -> None:
    """Let a pipeline without weights check its inputs, as it does at the start of a run.

    Args:
        pipeline: Skeleton of a diffusers pipeline; None if there is none.
        given: Arguments of its ``__call__``.

    Raises:
        ComposerError: The pipeline refuses its inputs.
    """
    if not hasattr(pipeline, "check_inputs"):
        return
    call = inspect.signature(type(pipeline).__call__).parameters
    defaults = {name: parameter.default for name, parameter in call.items()}
    checked = inspect.signature(pipeline.check_inputs).parameters
    values = {name: given.get(name, defaults.get(name, parameter.default)) for name, parameter in checked.items()}
    values = {name: None if value is inspect.Parameter.empty else value for name, value in values.items()}
    try:
        pipeline.check_inputs(**values)
    except (ValueError, TypeError) as error:
        if _is_raised_by_check(error):
            raise _refusal(type(pipeline), given, error) from None
    except Exception:  # it needs more than settings, which only a run can provide
        return


def _is_raised_by_check(error: Exception) -> bool:
    """Whether a ``raise`` of the check caused an error, and not an access to something that is not loaded."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (linecache.getline(last.filename, last.lineno or 0)).lstrip().startswith("raise ")


def _refusal(pipeline: Any, given: Mapping[str, Any], error: Exception) -> ComposerError:
    """Describe a refusal: a missing image in composer's words, anything else in those of the class."""
    names = [name for key in IMAGE_INPUTS for name in TABLE[key]]
    missing = next((name for name in names if _mentions(error, name) and name not in given), None)
    if missing is not None:
        return _missing(pipeline, missing)
    reason = (str(error).splitlines() or [""])[0]
    return ComposerError("model.source", None, f"{pipeline.__name__} refuses its inputs: {reason}")


def _missing(pipeline: Any, name: str) -> ComposerError:
    """Describe a missing argument, with a task that provides it."""
    tasks = {
        "mask": "task=inpaint image=FILE mask=FILE", "control_image": "task=control control_image=FILE",
        "image": "task=img2img image=FILE", "references": "task=edit references=FILE",
    }  # fmt: skip
    task = next((words for key, words in tasks.items() if name_of(key, pipeline) == name), None)
    advice = f": say {task}" if task else ", and no task can"
    return ComposerError("task", None, f"{pipeline.__name__} needs {name}, which this task does not give{advice}")


def _mentions(error: Exception, name: str) -> bool:
    return name in str(error).replace("`", " ").split()
