"""Private attributes of diffusers' pipelines, models and schedulers. The module imports neither library nor torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def execution_device(pipe: Any) -> torch.device:
    """Return the device that a pipeline runs on, which is not ``pipe.device`` while models are offloaded.

    Args:
        pipe: A pipeline of diffusers.
    """
    return pipe._execution_device


def interrupt(pipe: Any, leave_out: bool = True) -> None:
    """Let a pipeline leave out its further steps; ``interrupt`` is a property without a setter.

    Args:
        pipe: A pipeline of diffusers. Those whose loops don't look at it continue.
        leave_out: False to let it take steps again.
    """
    pipe._interrupt = leave_out


def reset_stateful_caches(pipe: Any) -> None:
    """Reset the state that hooks of diffusers keep from step to step.

    Args:
        pipe: A pipeline of diffusers, all of whose models are reset.
    """
    for component in pipe.components.values():
        if hasattr(component, "_reset_stateful_cache"):
            component._reset_stateful_cache()


def component_names(cls: Any) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the names of a pipeline's required and optional components; public ones exist only on instances.

    Args:
        cls: Class of a pipeline.

    Returns:
        Arguments without a default, and those of them that can be None. None if the class is diffusers' placeholder for
        one that needs a package that is not installed.
    """
    if not hasattr(cls, "_get_signature_keys"):
        return None
    required, _ = cls._get_signature_keys(cls)
    return frozenset(required), frozenset(cls._optional_components)


def repeated_blocks(cls: Any) -> tuple[str, ...]:
    """Return the class names of blocks that ``compile_repeated_blocks`` compiles; it raises an error if there are none.

    Args:
        cls: Class of a model, or None.
    """
    return tuple(getattr(cls, "_repeated_blocks", None) or ())


def set_config(model: Any, config: Mapping[str, Any]) -> None:
    """Give a model of diffusers that was made without its constructor a ``config``, a property that reads this dict.

    Args:
        model: The model.
        config: Its settings.
    """
    from diffusers.configuration_utils import FrozenDict

    model._internal_dict = FrozenDict(config)


@contextmanager
def at_step_index(scheduler: Any, index: int) -> Iterator[None]:
    """Set the index of a scheduler's step within the context; ``step_index`` is a property without a setter.

    Args:
        scheduler: A scheduler of diffusers. Those without an index find a step by its timestep, and stay as they are.
        index: Index into the scheduler's timesteps.
    """
    if not hasattr(scheduler, "_step_index"):
        yield
        return
    before, scheduler._step_index = scheduler._step_index, index
    try:
        yield
    finally:
        scheduler._step_index = before
