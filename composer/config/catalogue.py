"""Option files as plain data, read without Hydra and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from composer.config.keys import LISTS
from composer.config.search_path import MAIN, groups, option_files, packaged_conf
from composer.config.yaml_limits import parsed, read_bounded_yaml
from composer.errors import ComposerError

#: Group → option → content of its file.
Catalogue = Mapping[str, Mapping[str, Mapping[str, Any]]]

#: Name of the file with settings that all options of a group share; it is no option.
BASE = "_base"


def catalogue(folders: list[Path]) -> Catalogue:
    """Read all options of all groups.

    Args:
        folders: Directories to search; the first that has an option wins, as when a run is composed.

    Returns:
        Group → option → content of its file, completed by the group's `_base.yaml`.
    """
    options: dict[str, dict[str, Mapping[str, Any]]] = {}
    for group in groups(folders):
        for file in (file for folder in folders for file in option_files(folder / group)):
            options.setdefault(group, {}).setdefault(file.stem, with_base(file, contents(file), folders))
    return options


def contents(file: Path) -> Mapping[str, Any]:
    """Read one option file.

    Args:
        file: A YAML file.

    Returns:
        Its content; empty if it cannot be read, which is reported by the runs that choose the option.
    """
    try:
        content = parsed(read_bounded_yaml("config", file))
    except (ComposerError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def with_base(file: Path, content: Mapping[str, Any], folders: list[Path]) -> Mapping[str, Any]:
    """Complete an option's content by its group's `_base.yaml`.

    Args:
        file: The option file.
        content: Its content.
        folders: Directories that are searched for the base, before the option's own.

    Returns:
        The content over that of the base; unchanged if its defaults do not name `_base`.
    """
    defaults = content.get("defaults")
    if not isinstance(defaults, list) or BASE not in defaults:
        return content
    bases = (folder / file.parent.name / f"{BASE}.yaml" for folder in (*folders, file.parent.parent))
    base = next((base for base in bases if base.is_file()), None)
    return {**contents(base), **content} if base else content


def root_keys(known: Catalogue) -> list[str]:
    """List the keys that are typed without a group.

    Args:
        known: All options.

    Returns:
        What tasks declare, what `compose.yaml` holds, and the names of the groups.
    """
    of_tasks = (key for content in known.get("task", {}).values() for key in content)
    keys = dict.fromkeys([*of_tasks, *contents(packaged_conf() / MAIN), *known])
    return [key for key in keys if isinstance(key, str) and key not in ("defaults", "hydra")]


def settings(known: Catalogue, group: str) -> Iterator[tuple[str, str]]:
    """Iterate over the settings of a group's options.

    Args:
        known: All options.
        group: Name of a group.

    Yields:
        Pairs of an option and a dotted key as it is typed, such as `("euler", "scheduler.eta")`.
    """
    for name, content in known.get(group, {}).items():
        nodes = content.get(name) if group in LISTS else content
        for key in nodes if isinstance(nodes, Mapping) else ():
            if isinstance(key, str) and key != "defaults" and not key.startswith("_"):
                yield name, f"{group}.{name}.{key}" if group in LISTS else f"{group}.{key}"
