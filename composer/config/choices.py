"""Which class the option files of composer and of plugins name, and what an option is recorded and hashed as.

An option is known by its group, name, settings and provider. Where its class lies is nobody's business but the option
file's: a
class that moves to another module changes no record and no job. Only an option file of the user's own can give a name
to another
class tomorrow, so there the class has a say.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from composer.config.plugins import plugins, provider
from composer.config.search_path import packaged_conf
from composer.config.spec import Choice, SchedulerSpec


def choice(target: Choice) -> dict[str, Any]:
    """What an option is recorded and hashed as, plain data."""
    return _choice(target, target.keywords)


def scheduler_choice(spec: SchedulerSpec) -> dict[str, Any]:
    """The same of a scheduler, which may be the checkpoint's own class."""
    return _choice(spec.target or Choice(path="", group="scheduler", name=spec.name), spec.keywords)


def shipped(group: str, name: str) -> str | None:
    """The class that composer's own option names, or else a plugin's; None where neither has such an option."""
    folders = (packaged_conf(), *(plugin.conf for plugin in plugins() if plugin.conf))
    return next((found for folder in folders if (found := class_in(folder, group, name)) is not None), None)


def option_of(group: str, path: str) -> str | None:
    """composer's own option that names a class."""
    names = sorted(file.stem for file in (packaged_conf() / group).glob("*.yaml"))
    return next((name for name in names if class_in(packaged_conf(), group, name) == path), None)


@cache
def class_in(folder: Path, group: str, name: str) -> str | None:
    """The class that an option file names: at its root, or nested under the option's name or the group's."""
    try:
        node = yaml.safe_load((folder / group / f"{name}.yaml").read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    places = [node, *(node.get(key) for key in (name, group))] if isinstance(node, dict) else []
    return next((str(each["_target_"] or "") for each in places if isinstance(each, dict) and "_target_" in each), None)


def _choice(target: Choice, settings: Any) -> dict[str, Any]:
    whose = provider(target.path)
    found = {"group": target.group, "name": target.name, "settings": dict(settings), "provider": whose and str(whose)}
    if shipped(target.group, target.name) == target.path:
        return found
    return found | {"class": target.path.rpartition(".")[2]}
