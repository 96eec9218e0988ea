"""`compose list`: the options of groups, and with `model=…` those of the schedulers and tasks that fit a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.checks.pipeline_tasks import tasks_of_pipeline
from composer.config.catalogue import catalogue
from composer.config.search_path import conf_folders, groups, options
from composer.config.spec import Choice, RunSpec
from composer.config.spellings import group_of
from composer.config.targets import resolve
from composer.errors import ComposerError, suggest
from composer.system import console
from composer.tasks.base import Task

#: Groups whose options depend on the model.
NARROWED = ("scheduler", "task")
#: Config nodes that determine the model.
CHOOSING = ("model", "task")


def listed(words: Sequence[str], config_dir: str | None = None) -> dict[str, dict[str, str]]:
    """List options.

    Args:
        words: Names of groups (none for all of them), and `key=value` of a run whose model the options must fit.
        config_dir: Directory with option files of your own.

    Returns:
        Group to option to a line about it.

    Raises:
        ComposerError: There is no such group, or the model does not determine which options fit.
    """
    folders = conf_folders(config_dir)
    known_groups, requested = groups(folders), [word for word in words if "=" not in word]
    for group in requested:
        if group not in known_groups:
            reason = f"there is no such group.{_near(group, known_groups, config_dir)}"
            raise ComposerError("list", group, reason, known_groups)
    listing = {group: options(group, folders) for group in requested or known_groups}
    settings = [word for word in words if "=" in word]
    if not settings:
        return listing
    if not requested or set(requested) - set(NARROWED):
        key, _, value = settings[0].partition("=")
        raise ComposerError(
            key, value, f"only {' and '.join(NARROWED)} can be narrowed: type compose list scheduler model=sd15"
        )
    for key, value in (word.split("=", 1) for word in settings):
        if key.lstrip("+").split(".")[0] not in CHOOSING:
            raise ComposerError(key, value, "does not change which options fit: use model=… and task=…")
    keep = _fitting(settings, config_dir)
    known = catalogue(folders)
    return {
        group: {name: line for name, line in named.items() if keep(group, known[group][name])}
        for group, named in listing.items()
    }


def text(listing: Mapping[str, Mapping[str, str]], show_options: bool) -> str:
    """Format a listing.

    Args:
        listing: Group to option to a line about it.
        show_options: Whether to print a line for each option, instead of one for each group.

    Returns:
        The lines.
    """
    if not show_options:
        return "\n".join(f"{group:12}{len(named):3} options   compose list {group}" for group, named in listing.items())
    lines = []
    for group, named in listing.items():
        width = max(map(len, named), default=0) + 2
        lines += [f"{group}={name:{width}}{line}" for name, line in named.items()]
    return "\n".join(lines)


def _near(word: str, known_groups: Sequence[str], config_dir: str | None) -> str:
    """A group of a similar name, or the one that has an option of this name."""
    group = group_of(catalogue(conf_folders(config_dir)), word)
    return f" It is an option: type {group}={word}." if group else suggest(word, known_groups)


def _fitting(settings: Sequence[str], config_dir: str | None) -> Callable[[str, Mapping[str, Any]], bool]:
    """Return a predicate: whether the content of an option file fits the model that settings choose."""
    from composer.config.compose import compose_config
    from composer.config.read import read

    spec = read(compose_config(list(settings), config_dir))
    kind, does, conditioned_on, hosted = _traits(spec, settings, config_dir)

    def keep(group: str, content: Mapping[str, Any]) -> bool:
        if group == "scheduler":
            return content.get("_kind_") in (None, kind)
        task: type[Task] = resolve("task", Choice(path=content["task"]["_target_"]), Task)
        if hosted is not None:
            return task.pipeline_kind in hosted
        return task.conditioned_on == conditioned_on and does(task.roles)

    return keep


def _traits(
    spec: RunSpec, settings: Sequence[str], config_dir: str | None
) -> tuple[str, Callable[[Collection[str]], bool], str | None, Collection[str] | None]:  # fmt: skip
    """Kind of scheduler, whether it has one of some roles, conditioning, and of a hosted pipeline the kinds of tasks
    that it does.

    By the checkpoint's json files, else by its option's description.
    """
    try:
        checkpoint = find_checkpoint(spec.model)
        hosted = tasks_of_pipeline(checkpoint) if checkpoint.family == HOSTED else None
        return checkpoint.scheduler_type, checkpoint.does, checkpoint.family_info.conditioned_on, hosted
    except ComposerError:
        line = options("model", conf_folders(config_dir)).get(str(spec.options.get("model")), "")
        if "http" not in line or any(word.lstrip("+").startswith("model.") for word in settings):
            raise
    named = re.findall(r"task=(\w+)", line)
    kind = "flow" if "flow matching" in line else "diffusion"
    console.print_note(
        f"{spec.model.name} is not on this machine, so this goes by the description of its option: a {kind} model"
    )
    roles = {"inpaint": "inpaint", "depth2img": "depth", "text2video": "video", "image2video": "image2video"}
    role = next((roles[task] for task in roles if task in named), "plain")
    return kind, lambda roles: role in roles, None if "unconditional" in named else "text", None
