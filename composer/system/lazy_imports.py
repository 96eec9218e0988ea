"""Modules that load on first use of one of their names instead of on import.

`importlib.util.LazyLoader` does not serve: it loads on any access to the module, and torch inspects all modules.
A name that other modules import with `from MODULE import NAME` can be deferred, too: it becomes a `LazyName`.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class LazyName:
    """Function or class of a module that is not loaded yet. A call or an attribute loads the module.

    `isinstance(value, name)` loads nothing: a class that was never loaded has no instances.

    Args:
        module: Dotted name of the module.
        name: Name in it.
        lazy_calls: Whether a call is deferred, too, until the object that it makes is used.
    """

    def __init__(self, module: str, name: str, lazy_calls: bool = False) -> None:
        self._module, self._name, self._lazy_calls = module, name, lazy_calls

    def _resolve(self) -> Any:
        return getattr(_load(self._module), self._name)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if self._lazy_calls and _is_deferred(self._module):
            return _LazyObject(self, args, keywords)
        return self._resolve()(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __instancecheck__(self, value: object) -> bool:
        return not _is_deferred(self._module) and isinstance(value, self._resolve())

    def __subclasscheck__(self, cls: type) -> bool:
        return not _is_deferred(self._module) and issubclass(cls, self._resolve())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._resolve(),)


class _LazyObject:
    """An object that is made when one of its attributes is used."""

    def __init__(self, made_by: LazyName, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._made_by, self._args, self._keywords = made_by, args, keywords
        self._made: list[Any] = []

    def _resolve(self) -> Any:
        if not self._made:
            self._made.append(self._made_by._resolve()(*self._args, **self._keywords))
        return self._made[0]

    @property  # type: ignore[misc]  # what `isinstance` asks
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._resolve()) if not _is_deferred(self._made_by._module) else _LazyObject

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)


class LazyModule(ModuleType):
    """Substitute of a module in `sys.modules` until one of its names is used.

    Args:
        spec: Where the module is.
        names: Names that can be imported from it without loading it; objects of classes that end with "()" are made
            when they are used.
        light: Submodules that can be imported without loading it.
    """

    def __init__(self, spec: ModuleSpec, names: Collection[str] = (), light: Collection[str] = ()) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__file__ = spec, spec.origin
        if spec.submodule_search_locations is not None:
            self.__path__ = list(spec.submodule_search_locations)
        self._names = {name.removesuffix("()"): name.endswith("()") for name in names}
        self._light = frozenset(light)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._names:
            return LazyName(self.__name__, name, self._names[name])
        return getattr(_load(self.__name__), name)

    def loaded(self, module: ModuleType) -> None:
        """Apply to the module what was requested of the substitute. Called once, when the module is loaded.

        Args:
            module: The loaded module.
        """


class _Submodules(MetaPathFinder):
    """Load the package of a submodule that is imported, before the submodule."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, last = fullname.rpartition(".")
        lazy = sys.modules.get(package)
        if not isinstance(lazy, LazyModule) or last in lazy._light:
            return None
        _load(package)
        module = sys.modules.get(fullname)  # the package may have imported it
        return None if module is None else ModuleSpec(fullname, _Present(module), origin=module.__file__)


class _Present(Loader):
    """Give an import the module that is there."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


def lazy_import(name: str, names: Collection[str] = ()) -> None:
    """Let the next `import NAME` return at once; do nothing if the module is loaded already or not installed.

    Args:
        name: Dotted name of a module. Its package is not imported; it must look its submodules up when they are first
            used, as scipy's does.
        names: Functions and classes as for `LazyModule`.
    """
    spec = None if name in sys.modules else find_module(name)
    if spec is not None:
        defer(LazyModule(spec, names))


def defer(module: LazyModule) -> None:
    """Substitute a module.

    Args:
        module: The substitute.
    """
    package, _, last = module.__name__.rpartition(".")
    sys.modules[module.__name__] = module
    if package in sys.modules:
        setattr(sys.modules[package], last, module)
    if not any(isinstance(finder, _Submodules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Submodules())


def bind_to_packages() -> None:
    """Let the packages of deferred modules have them as attributes, as an import would.

    `defer` can do so only for a package that is loaded already. PEFT reads `torch.distributed.tensor` so.
    """
    for name, module in list(sys.modules.items()):
        package, _, last = name.rpartition(".")
        parent = sys.modules.get(package)
        if isinstance(module, LazyModule) and parent is not None and not isinstance(parent, LazyModule):
            vars(parent).setdefault(last, module)


def find_module(name: str) -> ModuleSpec | None:
    """Find a module without importing its packages, as `importlib.util.find_spec` would.

    Args:
        name: Dotted name.

    Returns:
        Where it is; None if it is not installed.
    """
    spec, path = None, None
    for end in [index for index, letter in enumerate(name) if letter == "."] + [len(name)]:
        spec = PathFinder.find_spec(name[:end], path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def _is_deferred(name: str) -> bool:
    return isinstance(sys.modules.get(name), LazyModule)


def _load(name: str) -> ModuleType:
    """Load a deferred module with its package and what is deferred in it: their modules load each other once."""
    outermost = name
    while _is_deferred(package := outermost.rpartition(".")[0]):
        outermost = package
    deferred = [
        (other, module)
        for other, module in list(sys.modules.items())
        if isinstance(module, LazyModule) and (other == outermost or other.startswith(f"{outermost}."))
    ]
    for other, _ in deferred:
        del sys.modules[other]
    import_module(outermost)
    for other, lazy in deferred:
        lazy.loaded(import_module(other))
    return import_module(name)
