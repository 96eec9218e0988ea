"""The parts of a run that need torch and no weights, each resolved from a checked request by one function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import diffusers
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED, broken_families
from composer.checks.class_needs import check_needs
from composer.checks.compatibility import Checked
from composer.checks.hosted import check_hosted, check_own, check_step
from composer.checks.modular_blocks import chosen_workflow
from composer.checks.pipeline_arguments import arguments
from composer.checks.pipeline_steps import Steps
from composer.errors import ComposerError
from composer.families.base import Family
from composer.families.lookup import family_class
from composer.loading import quantization
from composer.loading.precision import DTYPE_NAMES, DtypePlan, resolve_dtypes
from composer.loading.skeleton import create_skeleton
from composer.pipelines.check_facts import denoiser_bytes
from composer.pipelines.light_parts import check_light_parts
from composer.sampling.guidance import Guidance
from composer.sampling.schedulers import SchedulerParts, scheduler_parts


def resolve_dtype_plan(checked: Checked, device: torch.device) -> tuple[DtypePlan, tuple[str, ...]]:
    """Resolve the dtype of each component.

    Args:
        checked: The request with its checkpoint.
        device: Device that the models compute on.

    Returns:
        Compute and storage dtypes, and notes about replaced ones.

    Raises:
        ComposerError: A dtype or storage format does not work here.
    """
    precision, checkpoint = checked.spec.precision, checked.checkpoint
    dtypes, notes = resolve_dtypes(precision, device, denoiser_bytes(checkpoint), checkpoint.single_file)
    if precision.storage:
        quantization.check_storage(precision.storage, device, checkpoint.single_file)
    storages = (precision.storage, quantization.GGUF if checkpoint.quantised else None)
    return store_denoiser(dtypes, checkpoint, storages), notes


def store_denoiser(dtypes: DtypePlan, checkpoint: Checkpoint, storages: Iterable[str | None]) -> DtypePlan:
    """Set the storage format of the denoiser.

    Args:
        dtypes: Dtype of each component.
        checkpoint: Checkpoint of the run.
        storages: Names of formats; the last counts, ``None`` does not.

    Returns:
        The changed plan.

    Raises:
        ComposerError: The checkpoint's file is quantised already.
    """
    denoiser = checkpoint.family_info.denoiser[0]
    for storage in filter(None, storages):
        if checkpoint.quantised and storage != quantization.GGUF:
            reason = f"is quantised already, and can't be kept as {storage} besides"
            raise ComposerError(f"model.components.{denoiser}", checkpoint.folder(denoiser).name, reason)
        dtypes = replace(dtypes, stored=((denoiser, storage),))
    return dtypes


def resolve_scheduler(checked: Checked, checkpoint: Checkpoint) -> SchedulerParts:
    """Resolve the scheduler of a checkpoint.

    Args:
        checked: The request.
        checkpoint: The base checkpoint or the refiner.

    Returns:
        Class, settings, and keywords of `step`.

    Raises:
        ComposerError: The class does not have a setting.
    """
    return scheduler_parts(checked.spec.scheduler, checkpoint.classes.get("scheduler", "DDIMScheduler"))


def check_parts(
    checked: Checked, guidance: Guidance, callbacks: Mapping[str, StepCallback], scheduler: SchedulerParts,
    dtypes: DtypePlan,
) -> None:  # fmt: skip
    """Check what several parts need of each other.

    Args:
        checked: The request with its checkpoint.
        guidance: Guidance of the run.
        callbacks: Callbacks by name.
        scheduler: Scheduler of the run.
        dtypes: Dtypes of the components.

    Raises:
        ComposerError: A part can't work with the checkpoint or the task.
    """
    check_light_parts(checked, guidance, callbacks)
    if checked.checkpoint.family == HOSTED:
        _check_hosted(checked, guidance, callbacks, scheduler, dtypes)


def _check_hosted(
    checked: Checked, guidance: Guidance, callbacks: Mapping[str, StepCallback], scheduler: SchedulerParts,
    dtypes: DtypePlan,
) -> None:  # fmt: skip
    """Refuse what the checkpoint's own pipeline class can't take or do."""
    pipeline, values = hosted_class(checked.checkpoint), checked.spec.values
    sizes = {key: values.get(key) for key in ("height", "width")}
    check_hosted(
        pipeline, checked.request, guidance, callbacks, sizes, checked.at_once, checked.spec.guidance.name,
        checked.task.makes
    )  # fmt: skip
    check_needs(
        pipeline, checked.checkpoint, checked.request, checked.at_once,
        lambda component: DTYPE_NAMES.get(dtypes.of(component), ""),
    )  # fmt: skip
    check_step(pipeline, scheduler.cls, scheduler.step_settings)
    check_own(create_skeleton(checked.checkpoint), arguments(pipeline, checked.request, guidance))


def family_notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Describe families of plugins that can't be loaded, one of which might have run a checkpoint of no family.

    Args:
        checkpoint: Checkpoint of the run.

    Returns:
        A note for each of these families; none for a checkpoint of a native family.
    """
    if checkpoint.family != HOSTED:
        return ()
    return tuple(f"model.family: the family {name} {why}" for name, why in broken_families().items())


def timestep_layout(checkpoint: Checkpoint) -> type[Family] | Steps:
    """Get the object that lays out the timesteps of a checkpoint.

    Args:
        checkpoint: Checkpoint of the run.

    Returns:
        Its family's class, or the known steps of its own pipeline class.
    """
    return Steps(hosted_class(checkpoint)) if checkpoint.family == HOSTED else family_class(checkpoint)


def hosted_class(checkpoint: Checkpoint) -> Any:
    """Get the diffusers pipeline that a checkpoint without a native family names.

    Args:
        checkpoint: A checkpoint of no native family.

    Returns:
        The pipeline's class; of blocks, the `ModularWorkflow` that does the task.

    Raises:
        ComposerError: The installed diffusers has no such pipeline.
    """
    if checkpoint.blocks:
        return chosen_workflow(checkpoint)
    cls = getattr(diffusers, checkpoint.pipeline, None)
    if not (isinstance(cls, type) and issubclass(cls, DiffusionPipeline)):
        reason = f"diffusers {diffusers.__version__} has no {checkpoint.pipeline}"
        raise ComposerError("model.source", checkpoint.source, reason)
    return cls
