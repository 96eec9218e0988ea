"""Options that are put on models once and stay until a run wants them otherwise: such as compiling, which takes a minute.

Models are shared between pipelines, so whatever is fitted to one of them is taken off before another pipeline runs it.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from composer.loading import loader
from composer.options.base import Option, settings_of
from composer.system.run_lock import in_turn


@dataclass(eq=False)
class Fitted:
    """holder: a diffusers pipeline. how: the options, as text. undo: closed to take them off."""

    holder: Any
    how: str
    undo: ExitStack = field(default_factory=ExitStack)


_fitted: list[Fitted] = []


@in_turn
def fit(holder: Any, options: Mapping[str, Option], device: torch.device) -> None:
    """Have the models of a diffusers pipeline be as these options want them, and no other."""
    how = settings_of(options)
    if any(each.holder is holder and each.how == how for each in _fitted):
        return
    for each in [each for each in _fitted if _models(each.holder) & _models(holder)]:
        _take_off(each)
    if not options:
        return
    new = Fitted(holder, how)
    with new.undo as stack:
        for option in options.values():
            stack.enter_context(option.fit(holder, device))
        new.undo = stack.pop_all()
    _fitted.append(new)
    atexit.unregister(loosen)  # always the last to be registered, so that it comes before what the libraries of an option do at exit
    atexit.register(loosen)


@in_turn
def loosen(holder: Any = None) -> None:
    """Take everything off this pipeline's models, or off all."""
    for each in [each for each in _fitted if holder is None or each.holder is holder]:
        _take_off(each)


@in_turn
def forget() -> None:
    """Take all options off, and load everything anew next time."""
    loosen()
    loader.forget()


def _take_off(fitted: Fitted) -> None:
    _fitted.remove(fitted)
    fitted.undo.close()


def _models(holder: Any) -> set[int]:
    return {id(part) for part in holder.components.values() if isinstance(part, nn.Module)}
