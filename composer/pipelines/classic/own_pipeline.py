"""A run's own diffusers pipeline around shared components, so that nothing a run sets is found by the next one."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin


def run_pipeline(shared: DiffusionPipeline, scheduler: Any = None) -> DiffusionPipeline:
    """A pipeline that shares another's models and has schedulers of its own, as `pipe.scheduler = scheduler` would give
    it.

    Not made by its class from `components`: some classes rewrite the settings of a scheduler that they are made with.

    Args:
        shared: the cached pipeline, which stays as it is; the pipelines in it, of diffusers' combined ones, do so too.
        scheduler: in place of its `scheduler`, None for a copy of that one.
    """
    from diffusers import DiffusionPipeline

    own = copy(shared)
    for name, part in vars(shared).items():
        if name == "scheduler" and scheduler is not None:
            own.scheduler = scheduler
        elif isinstance(part, SchedulerMixin):
            setattr(own, name, deepcopy(part))
        elif isinstance(part, DiffusionPipeline):
            follows = getattr(part, "scheduler", None) is getattr(shared, "scheduler", None)
            setattr(own, name, run_pipeline(part, scheduler if follows else None))
    return own
