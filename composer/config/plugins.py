"""Packages that bring options, classes and model families, read from entry points without importing any of them.

A plugin is a distribution with an entry point of the group `composer.plugins`, whose value is the name of its package,
or with entry points of the group `composer.families`. Option files are in that package's folder `conf`, as composer's
own are. `COMPOSER_PLUGINS` names those to use (`a,b`); empty, it uses none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from composer.errors import ComposerError, suggest

GROUP = "composer.plugins"
#: Entry points of model families: name → `module:INFO`, see `composer.FamilyInfo`.
FAMILIES = "composer.families"
VARIABLE = "COMPOSER_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One installed distribution.

    Attributes:
        name: The name of its entry point.
        distribution: The name that it is installed as.
        version: Its version.
        package: The top-level package that it is trusted for.
        conf: The directory of its option files, if any.
        families: Its model families, as pairs of name and `module:INFO`.
    """

    name: str
    distribution: str
    version: str
    package: str
    conf: Path | None
    families: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def plugins() -> tuple[Plugin, ...]:
    """List the plugins in use.

    Returns:
        Plugins in the order of their names.

    Raises:
        ComposerError: COMPOSER_PLUGINS names one that is not installed.
    """
    installed, selected = everything(), os.environ.get(VARIABLE)
    if selected is None:
        return installed
    names = [name.strip() for name in selected.split(",") if name.strip()]
    for name in names:
        if name not in {plugin.name for plugin in installed}:
            known = [plugin.name for plugin in installed]
            raise ComposerError(VARIABLE, name, f"no such plugin is installed.{suggest(name, known)}", known)
    return tuple(plugin for plugin in installed if plugin.name in names)


def provider(module: str) -> Plugin | None:
    """Find the plugin that a module belongs to.

    Args:
        module: Dotted path of a module or class.

    Returns:
        The plugin, or `None`.
    """
    return next((plugin for plugin in plugins() if plugin.package == module.split(".")[0]), None)


def trusted() -> Iterator[str]:
    """Iterate over the top-level packages of all plugins in use.

    Yields:
        Names of packages.
    """
    return (plugin.package for plugin in plugins())


@lru_cache(maxsize=1)
def everything() -> tuple[Plugin, ...]:
    """List all installed plugins, including those that are not in use.

    All installed distributions are searched, so the result is cached.

    Returns:
        Plugins in the order of their names and distributions.
    """
    families = _families()
    installed = {}
    for point in entry_points(group=GROUP):
        package = _package(point)
        distribution, version = _distribution(point)
        mine = tuple(families.pop((distribution, package), ()))
        installed[distribution, point.name] = Plugin(point.name, distribution, version, package, _conf(package), mine)
    for (distribution, package), points in families.items():  # a package that brings families alone
        version = next(_distribution(point)[1] for point in entry_points(group=FAMILIES) if _package(point) == package)
        name = points[0][0]
        installed[distribution, name] = Plugin(name, distribution, version, package, _conf(package), tuple(points))
    return tuple(sorted(installed.values(), key=lambda plugin: (plugin.name, plugin.distribution)))


def _families() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(Distribution, package) → its model families; composer's own are found in its directory `families`."""
    families: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for point in sorted(entry_points(group=FAMILIES), key=lambda point: point.name):
        if _package(point) != "composer":
            families.setdefault((_distribution(point)[0], _package(point)), []).append((point.name, point.value))
    return families


def _package(point: EntryPoint) -> str:
    return point.value.split(":")[0].split(".")[0].strip()


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Name and version."""
    return (point.dist.name, point.dist.version) if point.dist else (point.name, "?")


def _conf(package: str) -> Path | None:
    """The package's folder of option files; finding a top-level package imports nothing of it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    folders = [Path(location) / "conf" for location in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if folder.is_dir()), None)
