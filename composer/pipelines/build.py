"""Checked spec → Pipeline: import what the config names, load the weights, put the parts together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from typing import Any

import diffusers
import torch

from composer.callbacks.base import StepCallback
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.headers import count_weights
from composer.checkpoints.layouts import CLASSIC, broken_families
from composer.checks.classic import check_classic, check_own, check_step
from composer.checks.compatibility import Checked
from composer.checks.pipeline_arguments import arguments
from composer.checks.pipeline_steps import Steps
from composer.checks.requirements import check_guidance, check_requirements
from composer.config.spec import RunSpec
from composer.config.targets import build
from composer.errors import ComposerError
from composer.families.base import Family
from composer.families.settings import FamilySettings
from composer.loading import integrity, quantization
from composer.loading.load_options import LoadOptions
from composer.loading.loader import load
from composer.loading.precision import DtypePlan, resolve_device, resolve_dtypes
from composer.loading.rehearsal import rehearse
from composer.loading.skeleton import create_skeleton
from composer.options.base import ModelOption, NoEffect, OptionContext
from composer.options.lifecycle import remove_options
from composer.pipelines.classic.run import Classic
from composer.pipelines.pipeline import Pipeline
from composer.pipelines.refined import Refined
from composer.pipelines.schedule_check import check_schedule
from composer.sampling.guidance import Guidance
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.system.run_lock import in_turn


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All of a pipeline that needs no weights. scheduler: class and keywords of its constructor."""

    guidance: Guidance
    callbacks: Mapping[str, StepCallback]
    scheduler: tuple[type, dict[str, Any]]
    step_settings: Mapping[str, Any]
    device: torch.device
    numbers: DtypePlan
    notes: tuple[str, ...]
    options: Mapping[str, ModelOption]


@in_turn
def parts(checked: Checked, more: Sequence[StepCallback] = ()) -> Parts:
    """Everything that can be refused by name without the weights is refused here; `more` are callbacks beside the
    config's.

    Raises:
        ComposerError: what can't work, and why.
    """
    spec, checkpoint = checked.spec, checked.checkpoint
    device = resolve_device(spec.device)
    numbers, notes = resolve_dtypes(spec.precision, device, denoiser_bytes(checkpoint), checkpoint.single_file)
    if spec.precision.storage:
        quantization.check_storage(spec.precision.storage, device, checkpoint.single_file)
        numbers = _stored(numbers, checkpoint, spec.precision.storage)
    if checkpoint.quantised:
        numbers = _stored(numbers, checkpoint, quantization.GGUF)
    guidance = build("guidance", spec.guidance, Guidance)
    guidance = guidance.for_model(checkpoint.takes_guidance_scale)
    callbacks = {name: build(f"callbacks.{name}", target, StepCallback) for name, target in spec.callbacks.items()}
    for callback in more:
        callbacks[_free(type(callback).__name__, callbacks)] = callback
    cls, settings, step_settings = scheduler_parts(spec.scheduler, checkpoint.classes.get("scheduler", "DDIMScheduler"))
    options, chosen = options_of(checked, device, numbers)
    for storage in filter(None, (option.storage for option in options.values())):
        numbers = _stored(numbers, checkpoint, storage)
    if spec.overflow == "chunk" and not family_class(checkpoint).reads_long_prompts:
        reason = f"is for models that read by CLIP alone, and {spec.model.name} is of the family {checkpoint.family}"
        raise ComposerError("prompt_overflow", "chunk", reason, ("warn", "error"))
    for each in filter(None, (checkpoint, checked.refiner)):
        check_requirements(callbacks, checked.task, each, spec.task.name)
        check_guidance(guidance, each)
    if checkpoint.family == CLASSIC:
        _check_classic(checked, guidance, callbacks, cls, step_settings)
    lost = check_schedule(checked, cls, settings, step_settings, layer(checkpoint))
    return Parts(
        guidance=guidance, callbacks=callbacks, scheduler=(cls, settings), step_settings=step_settings, device=device,
        numbers=numbers, notes=(*notes, *chosen, *lost, *_unloaded(checkpoint)), options=options,
    )  # fmt: skip


def _unloaded(checkpoint: Checkpoint) -> Iterator[str]:
    """Families of plugins that can't be loaded, one of which might have run a checkpoint of no family."""
    if checkpoint.family == CLASSIC:
        yield from (f"model.family: the family {name} {why}" for name, why in broken_families().items())


def tried(checked: Checked, more: Sequence[StepCallback] = ()) -> tuple[str, ...]:
    """Try a run as far as that goes without weights: with models of the same layers that hold no numbers.

    Returns:
        Notes: what the run would do otherwise than asked.

    Raises:
        ComposerError: what building or loading would refuse.
    """
    found, model = parts(checked, more), checked.spec.model
    rehearse(checked.checkpoint, model.variant)
    if checked.refiner is not None:
        rehearse(checked.refiner, model.refiner.variant)
    return (*checked.request.notes, *found.notes)


def _check_classic(
    checked: Checked, guidance: Guidance, callbacks: Mapping[str, StepCallback], scheduler: type, step_settings: Mapping[str, Any]
) -> None:  # fmt: skip
    """What the checkpoint's own pipeline class can't take or do."""
    pipeline, values = classic_class(checked.checkpoint), checked.spec.values
    sizes = {key: values.get(key) for key in ("height", "width")}
    check_classic(pipeline, checked.request, guidance, callbacks, sizes, checked.at_once, checked.spec.guidance.name)
    check_step(pipeline, scheduler, step_settings)
    check_own(create_skeleton(checked.checkpoint), arguments(pipeline, checked.request, guidance))


def layer(checkpoint: Checkpoint) -> Any:
    """What lays out the steps of a checkpoint: its family, or what is known of its own pipeline class."""
    return Steps(classic_class(checkpoint)) if checkpoint.family == CLASSIC else family_class(checkpoint)


@in_turn
def build_pipeline(checked: Checked, more: Sequence[StepCallback] = ()) -> Pipeline:
    """Put the parts together around the loaded weights."""
    spec, checkpoint, found = checked.spec, checked.checkpoint, parts(checked, more)
    cls, settings = found.scheduler
    offloaded = any(option.offloads for option in found.options.values())
    place = torch.device("cpu") if offloaded else found.device
    how = LoadOptions(found.numbers, place, spec.model.variant, spec.precision.cache, offloaded)
    pipe = load(checkpoint, how, remove_options)
    family = family_class(checkpoint)(pipe, family_settings(spec, found.device))
    pipeline = (Classic if checkpoint.family == CLASSIC else Pipeline)(
        family=family,
        task=checked.task,
        make_scheduler=partial(make_scheduler, cls, scheduler_config(pipe), settings),
        step_settings=found.step_settings,
        guidance=found.guidance.for_model(family.takes_guidance_scale),
        callbacks=found.callbacks,
        notes=(*found.notes, *integrity.unused_key_warnings(family.modules)),
        skip_on_error=spec.skip_on_error,
        options=found.options,
        device=found.device,
        overflow=spec.overflow,
    )
    return pipeline if checked.refiner is None else _refined(pipeline, spec, checked.refiner, how)


def options_of(checked: Checked, device: torch.device, numbers: DtypePlan) -> tuple[dict[str, ModelOption], list[str]]:
    """The options of memory and accel as objects, by `group.name`, and what those that chose others have to say."""
    groups = {"memory": checked.spec.memory, "accel": checked.spec.accel}
    targets = {f"{group}.{name}": target for group, named in groups.items() for name, target in named.items()}
    asked = {name: build(name, target, ModelOption) for name, target in targets.items()}
    setting = OptionContext(checked=checked, device=device, dtypes=numbers, active=frozenset(asked))
    idle = {name: error for name, option in asked.items() if (error := _idle(option, setting))}
    found: dict[str, ModelOption] = {}
    lines = [f"{error}: left out" for error in idle.values()]
    for option in (option for name, option in asked.items() if name not in idle):
        instead, line = option.expand(setting)
        found = {**instead, **found}  # what was asked for by name stands
        lines += [line] if line else []
    return found, lines


def _suits_refiner(option: ModelOption, setting: OptionContext, refiner: Checkpoint) -> None:
    """Hold an option against the refiner too, whose models it is put on as it is on the base's."""
    try:
        # a copy: what an option notes of the checkpoint that it is checked against is of the base model
        copy(option).check(replace(setting, checked=replace(setting.checked, checkpoint=refiner, refiner=None)))
    except ComposerError as error:
        raise type(error)(
            error.key, error.value, f"{error.reason} (the refiner, {refiner.source})", error.allowed
        ) from None


def _idle(option: ModelOption, setting: OptionContext) -> NoEffect | None:
    """Check an option: that it would do nothing comes back where that is no reason to refuse the run."""
    try:
        option.check(setting)
        if setting.checked.refiner is not None:
            _suits_refiner(option, setting, setting.checked.refiner)
    except NoEffect as error:
        if not setting.checked.lenient:
            raise
        return error
    return None


def _stored(numbers: DtypePlan, checkpoint: Checkpoint, storage: str) -> DtypePlan:
    denoiser = checkpoint.family_info.denoiser[0]
    if checkpoint.quantised and storage != quantization.GGUF:
        file = checkpoint.folder(denoiser).name
        raise ComposerError(
            f"model.components.{denoiser}", file, f"is quantised already, and can't be kept as {storage} besides"
        )
    return replace(numbers, stored=((denoiser, storage),))


def denoiser_bytes(checkpoint: Checkpoint) -> int:
    """What the denoiser's weights take in fp32, from the headers of its files; 0 where they are not here yet."""
    files = [checkpoint.path] if checkpoint.single_file else checkpoint.files(checkpoint.family_info.denoiser[0])
    return sum(count_weights(files).values()) * 4


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """A name that is not taken: `Mine`, `Mine2`, …"""
    return next(each for each in (name, *(f"{name}{i}" for i in range(2, len(taken) + 3))) if each not in taken)


def _refined(base: Pipeline, spec: RunSpec, checkpoint: Checkpoint, how: LoadOptions) -> Refined:
    """The same scheduler option, guidance and callbacks on a second checkpoint."""
    cls, settings, _ = scheduler_parts(spec.scheduler, checkpoint.classes.get("scheduler", "DDIMScheduler"))
    own = tuple(
        each for each in how.dtypes.stored if each[1] != quantization.GGUF
    )  # what the base's files hold is not the refiner's
    pipe = load(
        checkpoint,
        replace(how, dtypes=replace(how.dtypes, stored=own), variant=spec.model.refiner.variant),
        remove_options,
    )
    family = family_class(checkpoint)(pipe, family_settings(spec, base.device))
    scheduler = partial(make_scheduler, cls, scheduler_config(pipe), settings)
    refiner = replace(
        base, family=family, make_scheduler=scheduler, guidance=base.guidance.for_model(family.takes_guidance_scale)
    )
    return Refined(
        **{each.name: getattr(base, each.name) for each in fields(base)},
        refiner=refiner,
        start_fraction=spec.model.refiner.start,
    )


def family_settings(spec: RunSpec, device: torch.device) -> FamilySettings:
    """What a run tells its families."""
    long_prompts = "chunk" if spec.overflow == "chunk" else "truncate"
    return FamilySettings(device=device, upcast_vae=spec.precision.vae_upcast, long_prompts=long_prompts)


def scheduler_config(pipe: Any) -> dict[str, Any]:
    """The scheduler settings of a loaded checkpoint, after its pipeline class's own changes, as plain data."""
    return deepcopy(dict(pipe.scheduler.config))


def classic_class(checkpoint: Checkpoint) -> type:
    """The diffusers pipeline that a checkpoint without a native family names."""
    found = getattr(diffusers, checkpoint.pipeline, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise ComposerError(
            "model.source", checkpoint.source, f"diffusers {diffusers.__version__} has no {checkpoint.pipeline}"
        )
    return found


def family_class(checkpoint: Checkpoint) -> type[Family]:
    module, _, name = checkpoint.family_info.family.partition(":")
    return getattr(import_module(module), name)
