"""Packages that bring options and classes: entry points of the group `composer.plugins`, read without importing any of
them.

A plugin is a distribution with an entry point whose value is the name of its package; option files lie in that
package's
folder `conf`, laid out as composer's own. `COMPOSER_PLUGINS` names those to use (`a,b`), nothing (``) uses none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from composer.errors import ComposerError, suggest

GROUP = "composer.plugins"
VARIABLE = "COMPOSER_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One installed distribution. package: the top-level package that it is trusted for. conf: its option files, if
    any.
    """

    name: str
    distribution: str
    version: str
    package: str
    conf: Path | None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def plugins() -> tuple[Plugin, ...]:
    """The plugins to use, by name.

    Raises:
        ComposerError: COMPOSER_PLUGINS names one that is not installed.
    """
    there, wanted = everything(), os.environ.get(VARIABLE)
    if wanted is None:
        return there
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in {plugin.name for plugin in there}:
            known = [plugin.name for plugin in there]
            raise ComposerError(VARIABLE, name, f"no such plugin is installed.{suggest(name, known)}", known)
    return tuple(plugin for plugin in there if plugin.name in names)


def provider(module: str) -> Plugin | None:
    """The plugin that a module belongs to."""
    return next((plugin for plugin in plugins() if plugin.package == module.split(".")[0]), None)


def trusted() -> Iterator[str]:
    """Top-level packages of all plugins."""
    return (plugin.package for plugin in plugins())


@lru_cache(maxsize=1)
def everything() -> tuple[Plugin, ...]:
    """Also those that are not to be used; read once, since it looks into every installed distribution."""
    found = {}
    for point in entry_points(group=GROUP):
        package = point.value.split(":")[0].split(".")[0].strip()
        name, version = (point.dist.name, point.dist.version) if point.dist else (point.name, "?")
        found[name, point.name] = Plugin(point.name, name, version, package, _conf(package))
    return tuple(sorted(found.values(), key=lambda plugin: (plugin.name, plugin.distribution)))


def _conf(package: str) -> Path | None:
    """The package's folder of option files; finding a top-level package imports nothing of it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    folders = [Path(place) / "conf" for place in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if folder.is_dir()), None)
