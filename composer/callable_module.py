"""Modules that can be called as the command of their name.

`composer.check` is a module from the moment that something imports it, so `composer.check("steps=3")` has to be a call of the module.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that is a function of `composer.commands` besides."""

    def __call__(self, *arguments: Any, **values: Any) -> Any:
        """See `help(composer.commands)`."""
        from composer import commands

        return getattr(commands, self.__name__.rpartition(".")[2])(*arguments, **values)


def make_callable(name: str) -> None:
    """Have a loaded module of composer's answer calls."""
    sys.modules[name].__class__ = CallableModule
