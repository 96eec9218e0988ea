"""What can be chosen for a checkpoint: tasks, moments of callbacks, guidance, memory and acceleration options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.compatibility import Checked
from composer.checks.hosted_task import hosted_tasks
from composer.checks.requirements import check_guidance
from composer.config.catalogue import catalogue
from composer.config.search_path import conf_folders
from composer.config.spec import Choice
from composer.config.targets import build, resolve
from composer.errors import ComposerError
from composer.loading.check_cache import recall_or
from composer.options.base import ModelOption, OptionContext
from composer.pipelines.check_facts import offer_facts
from composer.sampling.guidance import Guidance
from composer.sampling.hooks import MOMENTS
from composer.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Offers:
    """Names of the options that a checkpoint can be run with, each with its default settings.

    Attributes:
        engine: ``native``, ``hosted`` for the checkpoint's own diffusers pipeline, or ``modular`` for its blocks.
        tasks: Tasks.
        moments: Methods of callbacks that are called.
        guidance: Guidance options.
        memory: Memory options.
        accel: Acceleration options.
    """

    engine: str
    tasks: tuple[str, ...]
    moments: tuple[str, ...]
    guidance: tuple[str, ...]
    memory: tuple[str, ...]
    accel: tuple[str, ...]


def find_offers(checked: Checked) -> Offers:
    """Find out what can be chosen for a checkpoint, without its weights.

    Args:
        checked: A request with its checkpoint.

    Returns:
        The options that no check refuses for this checkpoint on this device.
    """
    kept = recall_or("offers", offer_facts(checked), lambda: asdict(_search(checked)))
    lists: dict[str, tuple[str, ...]] = {name: tuple(value) for name, value in kept.items() if name != "engine"}
    return Offers(engine=kept["engine"], **lists)


def _search(checked: Checked) -> Offers:
    from composer.checks.hosted_steps import shows_loop
    from composer.loading.precision import resolve_device
    from composer.pipelines.resolve import hosted_class, resolve_dtype_plan

    checkpoint = checked.checkpoint
    is_hosted = checkpoint.family == HOSTED
    loops = not is_hosted or shows_loop(hosted_class(checkpoint))
    options = catalogue(conf_folders())
    device = resolve_device(checked.spec.device)
    context = OptionContext(checked=checked, device=device, dtypes=resolve_dtype_plan(checked, device)[0])
    able = {group: tuple(_options(group, options[group], context)) for group in ("memory", "accel")}
    return Offers(
        engine=checkpoint.engine,
        tasks=tuple(_tasks(options["task"], checkpoint)),
        moments=MOMENTS if loops else MOMENTS[-1:],
        guidance=tuple(_guidance(options["guidance"], checked)),
        memory=able["memory"],
        accel=able["accel"],
    )


def _tasks(options: Mapping[str, Mapping[str, Any]], checkpoint: Checkpoint) -> Iterator[str]:
    if checkpoint.family == HOSTED:
        yield from hosted_tasks(checkpoint)
        return
    for name, content in options.items():
        task: type[Task] = resolve("task", _choice("task", name, content["task"]), Task)
        if task.conditioned_on == checkpoint.family_info.conditioned_on and checkpoint.does(task.roles):
            yield name


def _guidance(options: Mapping[str, Mapping[str, Any]], checked: Checked) -> Iterator[str]:
    from composer.checks.hosted_steps import check_hosted_guidance
    from composer.pipelines.resolve import hosted_class

    checkpoint = checked.checkpoint
    pipeline = hosted_class(checkpoint) if checkpoint.family == HOSTED else None
    for name, content in options.items():
        try:
            guidance: Guidance = build("guidance", _choice("guidance", name, content), Guidance)
            guidance = guidance.for_model(checkpoint.takes_guidance_scale)
            check_guidance(guidance, checkpoint, name)
            if pipeline is not None:
                check_hosted_guidance(pipeline, guidance, name)
        except ComposerError:
            continue
        yield name


def _options(group: str, options: Mapping[str, Mapping[str, Any]], context: OptionContext) -> Iterator[str]:
    for name, content in options.items():
        try:
            build(f"{group}.{name}", _choice(group, name, content[name]), ModelOption).check(context)
        except ComposerError:
            continue
        yield name


def _choice(group: str, name: str, node: Mapping[str, Any]) -> Choice:
    """An option with its default settings; a guidance scale that only a model knows is that of its class."""
    settings = {
        key: value for key, value in node.items() if not key.startswith("_") and (key, value) != ("scale", None)
    }
    return Choice(path=node["_target_"], keywords=settings, group=group, name=name)
