"""Checked spec → Pipeline: import what the config names, load the weights, put the parts together."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from diffusers.schedulers.scheduling_utils import SchedulerMixin

from composer.callbacks.base import StepCallback
from composer.check import Checked
from composer.checkpoint import Checkpoint
from composer.errors import ComposerError
from composer.families.base import Family
from composer.guidance import Guidance
from composer.pipeline import Pipeline
from composer.precision import device_of, dtype_of
from composer.spec import SchedulerSpec
from composer.targets import build, check_keywords, keywords_of, resolve
from composer.weights import load


def build_pipeline(checked: Checked) -> Pipeline:
    """Everything that can be refused by name is, before the weights are loaded."""
    spec, checkpoint = checked.spec, checked.checkpoint
    device = device_of(spec.device)
    dtype, fallback = dtype_of(spec.precision, device)
    guidance = build("guidance", spec.guidance, Guidance)
    if checkpoint.embeds_scale is not None:
        guidance = guidance.for_model(checkpoint.embeds_scale)
    callbacks = {name: build(f"callbacks.{name}", target, StepCallback) for name, target in spec.callbacks.items()}
    cls, settings, step_settings = scheduler_parts(spec.scheduler, checkpoint.classes.get("scheduler", "DDIMScheduler"))
    holder = load(checkpoint, dtype, device, spec.model.variant)
    family = family_class(checkpoint)(holder)
    return Pipeline(
        family=family,
        task=checked.task,
        make_scheduler=partial(make_scheduler, cls, holder.scheduler.config, settings),
        step_settings=step_settings,
        guidance=guidance.for_model(family.embeds_scale),
        callbacks=callbacks,
        notes=(fallback,) if fallback else (),
    )


def family_class(checkpoint: Checkpoint) -> type[Family]:
    module, _, name = checkpoint.layout.path.rpartition(".")
    return getattr(import_module(module), name)


def scheduler_parts(spec: SchedulerSpec, own: str) -> tuple[type, dict[str, Any], dict[str, Any]]:
    """The scheduler's class, the keywords for its constructor, and those for its `step`."""
    if spec.target is None:
        import diffusers

        cls = getattr(diffusers, own)
    else:
        cls = resolve("scheduler", spec.target, SchedulerMixin)
    of_step = keywords_of(cls.step) - {"model_output", "timestep", "sample", "generator", "return_dict", "variance_noise"}
    of_init = keywords_of(cls.__init__)
    check_keywords("scheduler", spec.keywords, of_init | of_step)
    split = {True: {}, False: {}}
    for name, value in spec.keywords.items():
        split[name in of_init][name] = value
    return cls, split[True], split[False]


def make_scheduler(cls: type, original: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Always from the checkpoint's own config: going through another scheduler would leak its settings."""
    if "shift" in original and "flow_shift" in keywords_of(cls.__init__):
        settings = {"flow_shift": original["shift"], **settings}  # one setting, two names: from_config would lose it
    try:
        return cls.from_config(original, **settings)
    except (ImportError, TypeError, ValueError) as error:
        raise ComposerError("scheduler", cls.__name__, f"refuses these settings: {error}") from None
