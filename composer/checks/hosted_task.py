"""The diffusers pipeline class that does a task for a checkpoint without a native family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.pipeline_defaults import PipelineDefaults
from composer.checks.class_defaults import class_defaults
from composer.checks.class_needs import why_one
from composer.checks.modular_blocks import is_workflow, no_workflow, with_scheduler
from composer.checks.modular_defaults import workflow_defaults
from composer.checks.modular_loops import check_loops
from composer.checks.pipeline_class import read_call
from composer.checks.pipeline_tasks import kinds_of, pipeline_classes, tasks_of_pipeline
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.loading.check_cache import keep, recall, recall_or
from composer.loading.load_options import checkpoint_key
from composer.loading.plain_data import NotPlain, plain
from composer.tasks.base import Task

#: Of results that are kept: the class that does a task, with its default settings.
KIND = "pipeline"
#: Kind of task → keys of the images that it gives.
GIVEN: Mapping[str, tuple[str, ...]] = {
    "img2img": ("image",), "inpaint": ("image", "mask"), "edit": ("references",), "control": ("control_image",),
    "image2video": ("image",), "other": ("image",),
}  # fmt: skip
#: Kinds whose pipelines take the images of one prompt in one call.
ONE_AT_A_TIME = ("edit", "image2video")
#: Kinds that are the name of no task → what to say instead.
_SPELLED = {"other": "img2img with strength=1"}


def choose_pipeline(spec: RunSpec, task: Task, checkpoint: Checkpoint) -> tuple[RunSpec, Checkpoint]:
    """Choose the class that does a task: the checkpoint's own, or a sibling with the same components.

    Args:
        spec: Settings of the run.
        task: The task.
        checkpoint: A checkpoint of no native family.

    Returns:
        The settings, with ``batch=1`` for a class that takes one prompt at a time; and the checkpoint with the class
        and its default settings.

    Raises:
        ComposerError: No class does the task; the message names the tasks that can be done.
    """
    facts = None if checkpoint.blocks else _facts(task.pipeline_kind, checkpoint)
    if facts is not None and (kept := recall(KIND, facts)) is not None:
        one, chosen = kept["one"], replace(checkpoint, pipeline=kept["pipeline"], defaults=_defaults(kept["defaults"]))
    else:
        one, chosen = _choose(spec, task, checkpoint)
        if facts is not None and chosen.defaults is not None:
            keep(KIND, facts, {"one": one, "pipeline": chosen.pipeline, "defaults": asdict(chosen.defaults)})
    return (replace(spec, batch=1) if one and spec.batch in (None, "auto") else spec), chosen


def _facts(kind: str | None, checkpoint: Checkpoint) -> Any:
    """What the choice for a kind of task depends on; None if it can't be found again."""
    with suppress(NotPlain):
        return [kind, plain(checkpoint), repr(checkpoint_key(checkpoint))]
    return None


def _defaults(kept: Mapping[str, Any]) -> PipelineDefaults:
    size = kept["size"]
    return PipelineDefaults(**{**kept, "size": None if size is None else tuple(size)})


def _choose(spec: RunSpec, task: Task, checkpoint: Checkpoint) -> tuple[bool, Checkpoint]:
    """Whether it takes one prompt at a time, and the checkpoint with the class and its default settings."""
    kinds = (task.pipeline_kind, *(["other"] if task.pipeline_kind == "img2img" else []))
    named = next(pipeline_classes(checkpoint), None)
    if named is None and checkpoint.blocks:
        raise no_workflow(checkpoint)
    if named is None:  # a class that the installed diffusers does not have, which is refused later
        return False, checkpoint
    kind, pipeline = next(_fitting(checkpoint, kinds), (None, named))
    if kind is None and task.pipeline_kind is not None:
        raise ComposerError("task", spec.task.name, f"{checkpoint.pipeline} {_instead(checkpoint)}")
    one = kind in ONE_AT_A_TIME or read_call(pipeline).takes_text or why_one(pipeline, checkpoint) is not None
    if is_workflow(pipeline):
        check_loops(pipeline)
        checkpoint = with_scheduler(replace(checkpoint, workflow=pipeline.workflow), pipeline)
    return one, with_defaults(replace(checkpoint, pipeline=pipeline.__name__), pipeline, kind)


def with_defaults(checkpoint: Checkpoint, pipeline: Any, kind: str | None) -> Checkpoint:
    """Fill in the default settings of a checkpoint's pipeline class.

    Args:
        checkpoint: The checkpoint, which names the class.
        pipeline: The class.
        kind: Kind of the task.
    """
    from composer.loading.skeleton import create_skeleton

    find = workflow_defaults if is_workflow(pipeline) else class_defaults
    defaults = find(checkpoint, pipeline, create_skeleton(checkpoint), GIVEN.get(kind or "", ()))
    return replace(checkpoint, defaults=defaults)


def hosted_tasks(checkpoint: Checkpoint) -> list[str]:
    """List the tasks that can be done with a checkpoint of no native family.

    Args:
        checkpoint: The checkpoint.

    Returns:
        Names of tasks.
    """
    facts = None if checkpoint.blocks else _facts(None, checkpoint)
    kinds: list[str] = recall_or("kinds", facts, lambda: list(tasks_of_pipeline(checkpoint)))
    return [_SPELLED.get(kind, kind) for kind in kinds if kind != "other" or len(kinds) == 1]


def _fitting(checkpoint: Checkpoint, kinds: tuple[str | None, ...]) -> Iterator[tuple[str, Any]]:
    for kind in filter(None, kinds):
        yield from ((kind, pipeline) for pipeline in pipeline_classes(checkpoint) if kind in kinds_of(pipeline))


def _instead(checkpoint: Checkpoint) -> str:
    if tasks := hosted_tasks(checkpoint):
        return f"does not do it: use task={' or '.join(tasks)}"
    outputs = " and ".join(sorted(read_call(next(pipeline_classes(checkpoint))).outputs))
    return f"makes {outputs or 'nothing'}, which composer can't write: choose another model"
