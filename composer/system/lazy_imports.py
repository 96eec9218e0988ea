"""Modules that are loaded when something in them is first used, although they are imported before.

Not by importlib's LazyLoader: it loads at any look at the module, and torch looks at all there are.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

#: diffusers imports it for the few samplers that space their sigmas by a beta distribution; it takes half a second.
DEFERRED_MODULE = "scipy.stats"


class LazyModule(ModuleType):
    """Stands in a module's place until one of its names is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # by which the import of a submodule asks
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def defer(name: str = DEFERRED_MODULE) -> None:
    """Have the next `import NAME` return at once; nothing where it is loaded already or not installed.

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
