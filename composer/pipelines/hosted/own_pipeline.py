"""A diffusers pipeline of one run around shared components, so that nothing a run sets is found by the next one."""

from __future__ import annotations

from copy import copy, deepcopy
from functools import partial
from typing import Any

from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from composer.compat.attributes import reset_stateful_caches


def run_pipeline(shared: DiffusionPipeline, scheduler: Any = None) -> DiffusionPipeline:
    """Copy a pipeline with schedulers and guiders of its own, as `pipe.scheduler = scheduler` would change it.

    Not built by its class from `components`: some classes rewrite the settings of a scheduler that they are built with.

    Args:
        shared: The cached pipeline. It is not changed, nor are the pipelines in it, of diffusers' combined ones.
        scheduler: Replaces its `scheduler`; ``None`` for a copy of that one.

    Returns:
        A pipeline that shares the models of `shared`.
    """
    pipe: Any = copy(shared)
    for name, component in vars(shared).items():
        if name == "scheduler" and scheduler is not None:
            setattr(pipe, name, scheduler)
        elif isinstance(component, (SchedulerMixin, BaseGuidance)):  # both have state of a run
            setattr(pipe, name, deepcopy(component))
        elif isinstance(component, DiffusionPipeline):
            follows = getattr(component, "scheduler", None) is getattr(shared, "scheduler", None)
            setattr(pipe, name, run_pipeline(component, scheduler if follows else None))
    # at the end of its call, a class would put hooks of offloading on anew; the option does so after the run
    pipe.maybe_free_model_hooks = partial(reset_stateful_caches, pipe)
    return pipe
