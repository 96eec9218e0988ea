"""A function that is called when a module was imported, before whoever imports it uses its names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def after_import(name: str, then: Callable[[ModuleType], None]) -> None:
    """Call a function once a module is imported; at once if it is, and never if it is not installed.

    Args:
        name: Dotted name of the module.
        then: Receives the module.
    """
    module = sys.modules.get(name)
    if module is not None:
        then(module)
    else:
        sys.meta_path.insert(0, _Finder(name, then))


class _Finder(MetaPathFinder):
    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name, self.then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._imported)
        return spec

    def _imported(self, module: ModuleType) -> None:
        sys.meta_path.remove(self)  # not in `find_spec`, while Python iterates over the list
        self.then(module)


class _Loader(Loader):
    """The module's own loader, which stays the one that the module names."""

    def __init__(self, own: Loader, then: Callable[[ModuleType], None]) -> None:
        self.own, self.then = own, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.own
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        self.own.exec_module(module)
        self.then(module)
