"""Identity of an option: how it is recorded and hashed, independently of the module that its class is defined in.

An option is identified by its group, name, settings and provider. The module path of its class is known to its option
file alone, so a class that moves to another module changes no record and no job id. An option file of the user's own
can name another class tomorrow; for these the name of the class is part of the identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from composer.config.plugins import plugins, provider
from composer.config.search_path import packaged_conf
from composer.config.spec import Choice, SchedulerSpec


def choice(target: Choice) -> dict[str, Any]:
    """Describe an option for records and job ids.

    Args:
        target: The option.

    Returns:
        `group`, `name`, `settings` and `provider`, and `class` if the option file is the user's own.
    """
    return _choice(target, target.keywords)


def scheduler_choice(spec: SchedulerSpec) -> dict[str, Any]:
    """Describe a scheduler for records and job ids.

    Args:
        spec: The scheduler, which may be the checkpoint's own.

    Returns:
        As `choice`.
    """
    return _choice(spec.target or Choice(path="", group="scheduler", name=spec.name), spec.keywords)


#: Option file → its time of change and size, and the class that it names.
_classes: dict[Path, tuple[tuple[int, int], str | None]] = {}


def shipped(group: str, name: str) -> str | None:
    """Look up the class of an option that composer or a plugin ships.

    Args:
        group: Name of the group.
        name: Name of the option.

    Returns:
        Dotted path of the class, composer's first; `None` if neither ships such an option.
    """
    folders = (packaged_conf(), *(plugin.conf for plugin in plugins() if plugin.conf))
    return next((path for folder in folders if (path := class_in(folder, group, name)) is not None), None)


def option_of(group: str, path: str) -> str | None:
    """Find composer's own option for a class.

    Args:
        group: Name of the group.
        path: Dotted path of the class.

    Returns:
        Name of the first option in alphabetical order, or `None`.
    """
    names = sorted(file.stem for file in (packaged_conf() / group).glob("*.yaml"))
    return next((name for name in names if class_in(packaged_conf(), group, name) == path), None)


def class_in(folder: Path, group: str, name: str) -> str | None:
    """Read the class that an option file names, at its root or nested under the option's name or the group's.

    Args:
        folder: A directory of option files.
        group: Name of the group.
        name: Name of the option.

    Returns:
        Dotted path of the class; empty if the target is empty, `None` if there is no such file or no target.
    """
    file = folder / group / f"{name}.yaml"
    try:
        state = file.stat()
    except OSError:
        return None
    known = _classes.get(file)
    if known is None or known[0] != (state.st_mtime_ns, state.st_size):
        known = _classes[file] = (state.st_mtime_ns, state.st_size), _read_class(file, group, name)
    return known[1]


def _read_class(file: Path, group: str, name: str) -> str | None:
    try:
        node = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    nodes = [node, *(node.get(key) for key in (name, group))] if isinstance(node, dict) else []
    return next(
        (str(entry["_target_"] or "") for entry in nodes if isinstance(entry, dict) and "_target_" in entry), None
    )


def _choice(target: Choice, settings: Any) -> dict[str, Any]:
    plugin = provider(target.path)
    record = {
        "group": target.group,
        "name": target.name,
        "settings": dict(settings),
        "provider": plugin and str(plugin),
    }
    if shipped(target.group, target.name) == target.path:
        return record
    return record | {"class": target.path.rpartition(".")[2]}
