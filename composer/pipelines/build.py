"""Checked request → Pipeline: resolve the parts, load the weights, and put both together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal

import torch

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checks.compatibility import Checked
from composer.checks.modular_blocks import chosen_workflow
from composer.config.spec import RefinerSpec, RunSpec
from composer.families.base import Family
from composer.families.lookup import family_class
from composer.families.settings import FamilySettings
from composer.loading import integrity, quantization
from composer.loading.load_options import LoadOptions
from composer.loading.loader import load
from composer.loading.precision import DtypePlan, resolve_device
from composer.options.base import ModelOption
from composer.options.choose import choose_options
from composer.options.lifecycle import remove_options
from composer.pipelines.hosted.pipeline import Hosted
from composer.pipelines.light_parts import resolve_callbacks, resolve_guidance
from composer.pipelines.modular.pipeline import Modular
from composer.pipelines.pipeline import Pipeline
from composer.pipelines.refined import Refined
from composer.pipelines.refusals import refusals_kept
from composer.pipelines.resolve import (
    check_parts,
    family_notes,
    resolve_dtype_plan,
    resolve_scheduler,
    store_denoiser,
    timestep_layout,
)
from composer.pipelines.schedule_check import check_schedule
from composer.sampling.guidance import Guidance
from composer.sampling.schedulers import SchedulerParts, make_scheduler
from composer.system import garbage
from composer.system.run_lock import in_turn


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All of a pipeline that needs no weights.

    Attributes:
        device: Device that the models compute on.
        dtypes: Compute and storage dtype of each component.
        guidance: Guidance for the base model.
        callbacks: Callbacks by name, in the order of their calls.
        scheduler: Class, settings, and keywords of `step`.
        options: Memory and acceleration options by ``group.name``.
        notes_of: Notes for the user on the device's dtypes, on options, on the schedule and on families.
    """

    device: torch.device
    dtypes: DtypePlan
    guidance: Guidance
    callbacks: Mapping[str, StepCallback]
    scheduler: SchedulerParts
    options: Mapping[str, ModelOption]
    notes_of: Mapping[str, Sequence[str]]

    @property
    def notes(self) -> tuple[str, ...]:
        """All notes, in their order."""
        return tuple(note for notes in self.notes_of.values() for note in notes)


@in_turn
def parts(checked: Checked, more: Sequence[StepCallback] = ()) -> Parts:
    """Resolve all that needs no weights, and refuse what can be refused without them.

    Args:
        checked: The request with its checkpoint.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        The parts and their notes.

    Raises:
        ComposerError: A part can't work, and why.
    """
    device = resolve_device(checked.spec.device)
    dtypes, notes = resolve_dtype_plan(checked, device)
    guidance = resolve_guidance(checked)
    callbacks = resolve_callbacks(checked, more)
    scheduler = resolve_scheduler(checked, checked.checkpoint)
    options, option_notes = choose_options(checked, device, dtypes)
    dtypes = store_denoiser(dtypes, checked.checkpoint, (option.storage for option in options.values()))
    check_parts(checked, guidance, callbacks, scheduler, dtypes)
    schedule_notes = check_schedule(checked, *scheduler, timestep_layout(checked.checkpoint))
    return Parts(
        device=device, dtypes=dtypes, guidance=guidance, callbacks=callbacks, scheduler=scheduler, options=options,
        notes_of={
            "device": notes, "options": option_notes, "schedule": schedule_notes,
            "family": family_notes(checked.checkpoint),
        },
    )  # fmt: skip


@in_turn
def build_pipeline(checked: Checked, more: Sequence[StepCallback] = ()) -> Pipeline:
    """Build a pipeline around loaded weights.

    Args:
        checked: The request with its checkpoint.
        more: Callbacks from Python, which follow those of the config.

    Returns:
        The pipeline; its models are shared with other pipelines of the same checkpoint.

    Raises:
        ComposerError: A part can't work, or the weights can't be loaded.
    """
    spec, checkpoint = checked.spec, checked.checkpoint
    with refusals_kept(checked, more):
        resolved = parts(checked, more)
    for metric in checked.metrics.values():
        metric.load()
    load_options = _load_options(spec, resolved)
    pipe = load(checkpoint, load_options, remove_options)
    garbage.resume()
    family = make_family(checkpoint, pipe, spec, resolved.device)
    pipeline = _pipeline_class(checkpoint)(
        family=family,
        task=checked.task,
        make_scheduler=scheduler_maker(pipe, resolved.scheduler),
        step_settings=resolved.scheduler.step_settings,
        guidance=resolved.guidance.for_model(family.takes_guidance_scale),
        callbacks=resolved.callbacks,
        notes=(*resolved.notes, *integrity.unused_key_warnings(family.modules)),
        skip_on_error=spec.skip_on_error,
        options=resolved.options,
        device=resolved.device,
        overflow=spec.overflow,
    )
    if checked.refiner is None or spec.model.refiner is None:
        return pipeline
    return _add_refiner(pipeline, checked, checked.refiner, spec.model.refiner, load_options)


def _pipeline_class(checkpoint: Checkpoint) -> Callable[..., Pipeline]:
    if checkpoint.engine == "modular":
        return partial(Modular, workflow=chosen_workflow(checkpoint))
    return Hosted if checkpoint.engine == "hosted" else Pipeline


def _load_options(spec: RunSpec, resolved: Parts) -> LoadOptions:
    """Options of loading; models that an option moves to the device when needed are loaded to the CPU."""
    offloads = any(option.offloads for option in resolved.options.values())
    device = torch.device("cpu") if offloads else resolved.device
    return LoadOptions(resolved.dtypes, device, spec.model.variant, spec.precision.cache, offloads)


def _add_refiner(
    base: Pipeline, checked: Checked, checkpoint: Checkpoint, refiner: RefinerSpec, load_options: LoadOptions
) -> Refined:
    """The same scheduler option, guidance and callbacks on a second checkpoint."""
    dtypes = load_options.dtypes  # the base's files may be quantised, the refiner's are not
    stored = tuple(entry for entry in dtypes.stored if entry[1] != quantization.GGUF)
    load_options = replace(load_options, dtypes=replace(dtypes, stored=stored), variant=refiner.variant)
    pipe = load(checkpoint, load_options, remove_options)
    family = make_family(checkpoint, pipe, checked.spec, base.device)
    finishing = replace(
        base,
        family=family,
        make_scheduler=scheduler_maker(pipe, resolve_scheduler(checked, checkpoint)),
        guidance=base.guidance.for_model(family.takes_guidance_scale),
        options={name: option for name, option in base.options.items() if not option.base_only},
    )
    shared = {field.name: getattr(base, field.name) for field in fields(base)}
    return Refined(**shared, refiner=finishing, start_fraction=refiner.start)


def make_family(checkpoint: Checkpoint, pipe: Any, spec: RunSpec, device: torch.device) -> Family:
    """Build the family of a run. All pipelines call this function.

    Args:
        checkpoint: The base checkpoint or the refiner.
        pipe: The loaded diffusers pipeline.
        spec: Settings of the run.
        device: Device that the models compute on.

    Returns:
        The frozen family.
    """
    long_prompts: Literal["chunk", "truncate"] = "chunk" if spec.overflow == "chunk" else "truncate"
    upcast = spec.precision.vae_upcast
    settings = FamilySettings(
        device=device, upcast_vae=upcast, long_prompts=long_prompts, prompt_syntax=spec.prompt_syntax
    )
    return family_class(checkpoint)(pipe, settings)


def scheduler_maker(pipe: Any, scheduler: SchedulerParts) -> partial[Any]:
    """Get a function that makes the schedulers of a pipeline's runs.

    Args:
        pipe: The loaded diffusers pipeline; the config of its scheduler is copied as plain data, after the changes
            that its class made.
        scheduler: Class and settings.

    Returns:
        A function without arguments that returns a fresh scheduler.
    """
    return partial(make_scheduler, scheduler.cls, deepcopy(dict(pipe.scheduler.config)), scheduler.settings)
