"""Indexes of installed files that libraries make at each import, kept with the results of checks.

diffusers asks of which distribution each installed package is, and transformers reads the files of all its models for
the names in them: together nearly a second of CPU. Both depend on what is installed alone, as results of checks do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from composer.system.import_hooks import after_import

KIND = "index"
#: transformers' module with the function that reads the files, and the names of the function's parameters.
MODULE, PARAMETERS = "transformers.utils.import_utils", ["module_path", "prefix"]
#: Required packages → module → the names that it defines.
Structure = dict[frozenset[str], dict[str, set[str]]]
#: Whether this process uses kept indexes.
_kept = False


def keep_indexes() -> None:
    """Use kept indexes in a process that composer owns, before the libraries are imported. Again is harmless."""
    global _kept
    if not _kept:
        _kept = True
        after_import("importlib.metadata", _keep_distributions)
        after_import(MODULE, _keep_structure)


def _keep_distributions(module: ModuleType) -> None:
    vars(module)["packages_distributions"] = _kept_distributions(module.packages_distributions)


def _kept_distributions(find: Callable[[], Mapping[str, list[str]]]) -> Callable[[], Mapping[str, list[str]]]:
    """`importlib.metadata.packages_distributions`, with a kept result."""

    @wraps(find)
    def packages_distributions() -> Mapping[str, list[str]]:
        from composer.loading.check_cache import recall_or

        known: Mapping[str, list[str]] = recall_or(KIND, "distributions", lambda: dict(find()))
        return known

    return packages_distributions


def _keep_structure(module: ModuleType) -> None:
    """Replace transformers' function, unless it is another one than composer knows."""
    from inspect import signature

    read: Any = getattr(module, "define_import_structure", None)
    if read is not None and [*signature(read).parameters] == PARAMETERS:
        vars(module)["define_import_structure"] = _kept_structure(
            read, Path(str(module.__file__)).parents[1] / "models"
        )


def _kept_structure(read: Callable[[Any, str | None], Structure], models: Path) -> Callable[..., Structure]:
    """transformers' function, with a kept result for the directory of all models."""

    @lru_cache
    def define_import_structure(module_path: Any, prefix: str | None = None) -> Structure:
        from composer.loading.check_cache import recall_or

        if Path(module_path) not in (models, models / "__init__.py"):
            return read(module_path, prefix)
        rows = recall_or(KIND, [MODULE, prefix], lambda: _to_rows(read(module_path, prefix)))
        return {frozenset(needed): {name: set(names) for name, names in row.items()} for needed, row in rows}

    return define_import_structure


def _to_rows(structure: Structure) -> list[Any]:
    return [[sorted(needed), {name: sorted(names) for name, names in row.items()}] for needed, row in structure.items()]
