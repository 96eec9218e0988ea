"""Modules that are loaded when something in them is first used, although they are imported before.

Not by importlib's LazyLoader: it loads at any look at the module, and torch looks at all there are.
"""

from __future__ import annotations

import sys
from importlib import import_module
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
    """Have the next `import NAME` return at once; nothing where it is loaded already or not installed."""
    package, _, last = name.rpartition(".")
    if name not in sys.modules and find_spec(name) is not None:
        sys.modules[name] = LazyModule(name)
        setattr(sys.modules[package], last, sys.modules[name])
