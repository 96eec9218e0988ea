"""Modules that load on first use of one of their names instead of on import.

`importlib.util.LazyLoader` does not serve: it loads on any access to the module, and torch inspects all modules.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

#: diffusers imports it for the few schedulers that space their sigmas by a beta distribution; it takes half a second.
DEFERRED_MODULE = "scipy.stats"


class LazyModule(ModuleType):
    """Substitute of a module in `sys.modules` until one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import of a submodule reads `__path__`
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def lazy_import(name: str = DEFERRED_MODULE) -> None:
    """Let the next `import NAME` return at once; do nothing if the module is loaded already or not installed.

    Args:
        name: Dotted name of a submodule. Its package is not imported; it must look its submodules up when they are
            first used, as scipy's does.
    """
    package, _, last = name.rpartition(".")
    if name in sys.modules or not _is_installed(package, name):
        return
    sys.modules[name] = LazyModule(name)
    if package in sys.modules:
        setattr(sys.modules[package], last, sys.modules[name])


def _is_installed(package: str, name: str) -> bool:
    """`find_spec(name)` would import the package, which takes a tenth of a second."""
    spec = find_spec(package)
    return spec is not None and PathFinder.find_spec(name, spec.submodule_search_locations) is not None
