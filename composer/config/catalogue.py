"""What the option files hold, read as plain data: neither Hydra nor torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from composer.config.keys import LISTS
from composer.config.search_path import MAIN, groups, option_files, packaged_conf
from composer.config.yaml_limits import parsed, read_bounded_yaml
from composer.errors import ComposerError

#: Group → option → what its file holds.
Catalogue = Mapping[str, Mapping[str, Mapping[str, Any]]]

#: Name of the file that holds what all options of a group have; no option itself.
BASE = "_base"


def catalogue(folders: list[Path]) -> Catalogue:
    """All options of all groups; the first folder that has one wins, as when a run is composed."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for group in groups(folders):
        for file in (file for folder in folders for file in option_files(folder / group)):
            found.setdefault(group, {}).setdefault(file.stem, with_base(file, contents(file), folders))
    return found


def contents(file: Path) -> Mapping[str, Any]:
    """What an option file holds; nothing where it can't be read, which is for the runs that choose it to say."""
    try:
        found = parsed(read_bounded_yaml("config", file))
    except (ComposerError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def with_base(file: Path, content: Mapping[str, Any], folders: list[Path]) -> Mapping[str, Any]:
    """An option's content over that of its group's `_base.yaml`, where the file names it in its defaults."""
    defaults = content.get("defaults")
    if not isinstance(defaults, list) or BASE not in defaults:
        return content
    bases = (folder / file.parent.name / f"{BASE}.yaml" for folder in (*folders, file.parent.parent))
    base = next((base for base in bases if base.is_file()), None)
    return {**contents(base), **content} if base else content


def root_keys(known: Catalogue) -> list[str]:
    """Keys that are typed without a group: what tasks declare, what compose.yaml holds, and the groups."""
    of_tasks = (key for content in known.get("task", {}).values() for key in content)
    keys = dict.fromkeys([*of_tasks, *contents(packaged_conf() / MAIN), *known])
    return [key for key in keys if isinstance(key, str) and key not in ("defaults", "hydra")]


def settings(known: Catalogue, group: str) -> Iterator[tuple[str, str]]:
    """(option, dotted key) of all settings of a group's options, as they are typed."""
    for name, content in known.get(group, {}).items():
        nodes = content.get(name) if group in LISTS else content
        for key in nodes if isinstance(nodes, Mapping) else ():
            if isinstance(key, str) and key != "defaults" and not key.startswith("_"):
                yield name, f"{group}.{name}.{key}" if group in LISTS else f"{group}.{key}"
