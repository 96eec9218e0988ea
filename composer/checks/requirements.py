"""Requirements of callbacks and guidance, compared with what checkpoint and task provide before weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from composer.callbacks.base import Run, Step, StepCallback
from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED, families
from composer.errors import ComposerError, suggest
from composer.sampling import callback_methods
from composer.sampling.guidance import Guidance
from composer.tasks.base import Task

#: Fields of a run that only some tasks fill.
TASK_FIELDS = {"mask", "masked_latents", "depth"}
#: Fields of a run that only models with a prompt have.
PROMPT_FIELDS = {"conditioning", "encode", "tokens"}
KNOWN_FIELDS = sorted({field.name for kind in (Step, Run) for field in fields(kind)} | TASK_FIELDS | {"prediction"})
#: Fields that hosted pipelines keep to themselves.
HIDDEN_FIELDS = {"conditioning", "encode", "predict", "latent_mask", "tokens", "canvas", "inputs", *TASK_FIELDS}
#: Prefix of another callback's name.
CALLBACK_PREFIX = "callbacks."


def check_requirements(
    callbacks: Mapping[str, StepCallback], task: Task, checkpoint: Checkpoint, task_name: str = "the task"
) -> None:
    """Refuse callbacks that can't work with a checkpoint and a task.

    Args:
        callbacks: Callbacks by option name, in their order.
        task: The task.
        checkpoint: The checkpoint.
        task_name: Option name of the task, for errors.

    Raises:
        ComposerError: A callback needs a field, a family or another callback that the run does not have.
    """
    before: set[str] = set()
    for name, callback in callbacks.items():
        callback_methods.check(name, callback)
        key, family = f"callbacks.{name}", checkpoint.family
        if task.makes not in callback.media:
            works_on = " and ".join(f"{kind}s" for kind in sorted(callback.media))
            raise ComposerError(key, None, f"works on {works_on} (its `media`), and {task_name} makes {task.makes}s")
        if callback.families is not None and family not in callback.families:
            raise ComposerError(
                key, None, f"is for other models than {family}", sorted(callback.families & set(families()))
            )
        for need in sorted(callback.needs):
            if need.startswith(CALLBACK_PREFIX):
                if need.removeprefix(CALLBACK_PREFIX) not in before:
                    raise ComposerError(key, None, f"needs {need} before it: name both, in this order")
                continue
            if need not in KNOWN_FIELDS:
                raise ComposerError(key, None, f"needs {need}, which no run has.{suggest(need, KNOWN_FIELDS)}")
            if need in HIDDEN_FIELDS and family == HOSTED:
                reason = f"needs {need}, and {checkpoint.pipeline} does that itself: it needs a native family"
                raise ComposerError(key, None, reason, sorted(families()))
            if need in TASK_FIELDS - task.fills:
                raise ComposerError(key, None, f"needs {need}, which {task_name} does not have: choose another task")
            if need in PROMPT_FIELDS and not checkpoint.family_info.takes_prompt:
                raise ComposerError(key, None, f"needs {need}, and {family} takes no prompt")
        before.add(name)


def check_second_scale(guidance: Guidance, request: Request) -> None:
    """Refuse a guidance scale of a second denoiser in a run without guidance, as it would do nothing.

    Args:
        guidance: The guidance.
        request: The request, with further arguments of the run.

    Raises:
        ComposerError: There is such a scale and no guidance.
    """
    scale = request.inputs.get("arguments", {}).get("guidance_scale_2")
    if scale is not None and not guidance.do_classifier_free_guidance:
        key = "arguments.guidance_scale_2"
        raise ComposerError(key, scale, "does nothing without guidance: set guidance.scale above 1, or leave it out")


def check_guidance(guidance: Guidance, checkpoint: Checkpoint, option: str = "") -> None:
    """Refuse a guidance that has no effect on a checkpoint, or does not support its family.

    Args:
        guidance: The guidance.
        checkpoint: The checkpoint.
        option: Name of its option, which messages use; empty for that of its class.

    Raises:
        ComposerError: The guidance can't be used.
    """
    family, name = checkpoint.family, option or getattr(guidance, "guider", type(guidance).__name__)
    able = guidance.families
    if guidance.support is not None:
        infos = families().values()
        able = frozenset(info.name for info in infos if guidance.support in info.supports.guiders)
    if able is not None and family not in able:
        raise ComposerError(
            "guidance", name, f"can't reach into {family} models", [] if family == HOSTED else sorted(able)
        )
    is_native = family != HOSTED  # a hosted pipeline may guide by an image; its class is checked besides
    if is_native and guidance.do_classifier_free_guidance and not checkpoint.family_info.takes_prompt:
        raise ComposerError(
            "guidance", name, f"{family} takes no prompt, so there is nothing to guide: use guidance=none"
        )
