"""Options that are put on models once and stay until a run wants them otherwise: such as compiling, which takes a
minute.

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
from composer.options.base import ModelOption, options_key
from composer.system.run_lock import in_turn


@dataclass(eq=False)
class Applied:
    """holder: a diffusers pipeline. how: the options, as text. undo: closed to take them off."""

    pipe: Any
    how: str
    undo: ExitStack = field(default_factory=ExitStack)


_fitted: list[Applied] = []


@in_turn
def fit(pipe: Any, options: Mapping[str, ModelOption], device: torch.device) -> None:
    """Have the models of a diffusers pipeline be as these options want them, and no other."""
    how = options_key(options)
    if any(each.pipe is pipe and each.how == how for each in _fitted):
        return
    for each in [each for each in _fitted if _models(each.pipe) & _models(pipe)]:
        _take_off(each)
    if not options:
        return
    new = Applied(pipe, how)
    with new.undo as stack:
        for option in options.values():
            stack.enter_context(option.fit(pipe, device))
        new.undo = stack.pop_all()
    _fitted.append(new)
    atexit.unregister(
        remove_options
    )  # always the last to be registered, so that it comes before what the libraries of an option do at exit
    atexit.register(remove_options)


@in_turn
def remove_options(pipe: Any = None) -> None:
    """Take everything off this pipeline's models, or off all."""
    for each in [each for each in _fitted if pipe is None or each.pipe is pipe]:
        _take_off(each)


@in_turn
def forget() -> None:
    """Take all options off, and load everything anew next time."""
    remove_options()
    loader.forget()


def _take_off(fitted: Applied) -> None:
    _fitted.remove(fitted)
    fitted.undo.close()


def _models(pipe: Any) -> set[int]:
    return {id(part) for part in pipe.components.values() if isinstance(part, nn.Module)}
