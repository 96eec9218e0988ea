"""The scheduler and the steps of options that leave them to the model, such as `scheduler=fast`."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.layouts import HOSTED
from composer.config.spec import SchedulerSpec


def choose_scheduler(scheduler: SchedulerSpec, checkpoint: Checkpoint, own_steps: int | None) -> SchedulerSpec:
    """Replace the checkpoint's own scheduler by the one that the option names for its kind of models.

    A model that needs fewer steps than the option allows was distilled for its own scheduler, and a hosted pipeline may
    rely on the one that it was saved with: both keep it.

    Args:
        scheduler: The option.
        checkpoint: The checkpoint.
        own_steps: Number of steps that is recommended for it.

    Returns:
        The scheduler of the run, with the settings that were typed.
    """
    chosen = scheduler.by_kind.get(checkpoint.scheduler_type)
    if chosen is None or checkpoint.family == HOSTED or needs_fewer(scheduler, own_steps):
        return scheduler
    keywords = {**chosen.keywords, **scheduler.keywords}
    return replace(chosen, keywords=MappingProxyType(keywords), most_steps=scheduler.most_steps)


def limit_steps(scheduler: SchedulerSpec, own_steps: int | None) -> int | None:
    """Return the number of steps of a run for which none is typed.

    Args:
        scheduler: The scheduler of the run.
        own_steps: Number of steps that is recommended for the model; `None` for a pipeline that takes none.

    Returns:
        That number, or as many as the scheduler's option allows at most.
    """
    if own_steps is None or scheduler.most_steps is None:
        return own_steps
    return min(own_steps, scheduler.most_steps)


def needs_fewer(scheduler: SchedulerSpec, own_steps: int | None) -> bool:
    """Check whether a model needs fewer steps than an option allows.

    Args:
        scheduler: The option.
        own_steps: Number of steps that is recommended for the model.

    Returns:
        False without a limit or a recommendation.
    """
    return own_steps is not None and scheduler.most_steps is not None and own_steps < scheduler.most_steps
