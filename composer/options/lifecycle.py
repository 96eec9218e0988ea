"""Options that stay on loaded models between runs, such as compiling, which takes a minute.

Pipelines share models. Options on a model are therefore removed before another pipeline runs it.
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
from composer.options.base import ModelOption, attach_key
from composer.system.run_lock import in_turn


@dataclass(eq=False)
class Applied:
    """Options that are attached to the models of a pipeline.

    Attributes:
        pipe: The diffusers pipeline.
        key: What the options leave on the models, as text.
        undo: Removes the options when it is closed.
    """

    pipe: Any
    key: str
    undo: ExitStack = field(default_factory=ExitStack)


_applied: list[Applied] = []


@in_turn
def apply_options(pipe: Any, options: Mapping[str, ModelOption], device: torch.device) -> None:
    """Attach options to the models of a diffusers pipeline, and remove all others from them.

    Args:
        pipe: The diffusers pipeline.
        options: The options of the run, by ``group.name``.
        device: Device of the run.

    Raises:
        ComposerError: An option can't be attached; those before it are removed again.
    """
    key = attach_key(options)
    if any(applied.pipe is pipe and applied.key == key for applied in _applied):
        return
    for applied in [applied for applied in _applied if _model_ids(applied.pipe) & _model_ids(pipe)]:
        _detach(applied)
    if not options:
        return
    new = Applied(pipe, key)
    with new.undo as stack:
        for option in options.values():
            stack.enter_context(option.attach(pipe, device))
        new.undo = stack.pop_all()
    _applied.append(new)
    # registered last, so that it runs before the exit functions of the options' libraries
    atexit.unregister(remove_options)
    atexit.register(remove_options)


@in_turn
def remove_options(pipe: Any = None) -> None:
    """Remove all options from the models of a pipeline, or from all models.

    Args:
        pipe: The diffusers pipeline; None for all.
    """
    for applied in [applied for applied in _applied if pipe is None or applied.pipe is pipe]:
        _detach(applied)


@in_turn
def clear_models() -> None:
    """Remove all options and drop all loaded checkpoints, so that the next run loads its own."""
    remove_options()
    loader.clear()


def _detach(applied: Applied) -> None:
    _applied.remove(applied)
    applied.undo.close()


def _model_ids(pipe: Any) -> set[int]:
    return {id(component) for component in pipe.components.values() if isinstance(component, nn.Module)}
