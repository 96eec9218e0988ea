"""What callbacks and guidance state that they need, against what the checkpoint and the task can give; before any
weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from composer.callbacks.base import Run, Step, StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import CLASSIC, families
from composer.errors import ComposerError, suggest
from composer.sampling import callback_methods
from composer.sampling.guidance import Guidance
from composer.tasks.base import Task

#: Fields that only some tasks fill, and those that only a model with a prompt has.
OF_TASKS = {"mask", "masked_latents", "depth"}
OF_TEXT = {"conditioning", "encode", "tokens"}
KNOWN = sorted({field.name for kind in (Step, Run) for field in fields(kind)} | {"prediction"})
#: What stands before the name of another callback.
OTHER = "callbacks."


def check(
    callbacks: Mapping[str, StepCallback], task: Task, checkpoint: Checkpoint, task_name: str = "the task"
) -> None:
    """Raises:
    ComposerError: a callback that can't do its work here, and why.
    """
    before: set[str] = set()
    for name, callback in callbacks.items():
        callback_methods.check(name, callback)
        key, family = f"callbacks.{name}", checkpoint.family
        if callback.families is not None and family not in callback.families:
            raise ComposerError(
                key, None, f"is for other models than {family}", sorted(callback.families & set(families()))
            )
        for need in sorted(callback.needs):
            if need.startswith(OTHER):
                if need.removeprefix(OTHER) not in before:
                    raise ComposerError(key, None, f"needs {need} before it: name both, in this order")
                continue
            if need not in KNOWN:
                raise ComposerError(key, None, f"needs {need}, which no run has.{suggest(need, KNOWN)}")
            if need in OF_TASKS - task.fills:
                raise ComposerError(key, None, f"needs {need}, which {task_name} does not have: choose another task")
            if need in OF_TEXT and not checkpoint.family_info.takes_prompt:
                raise ComposerError(key, None, f"needs {need}, and {family} takes no prompt")
        before.add(name)


def check_guidance(guidance: Guidance, checkpoint: Checkpoint) -> None:
    """Raises:
    ComposerError: a guidance that would do nothing with this model, or that can't reach into it.
    """
    family, name = checkpoint.family, getattr(guidance, "guider", type(guidance).__name__)
    able = guidance.families
    if guidance.support is not None:
        infos = families().values()
        able = frozenset(info.name for info in infos if guidance.support in info.supports.guiders)
    if able is not None and family not in able:
        raise ComposerError(
            "guidance", name, f"can't reach into {family} models", [] if family == CLASSIC else sorted(able)
        )
    if guidance.do_classifier_free_guidance and not checkpoint.family_info.takes_prompt:
        raise ComposerError(
            "guidance", name, f"{family} takes no prompt, so there is nothing to guide: use guidance=none"
        )
