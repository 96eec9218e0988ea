"""The scheduler of a run with its settings and timesteps, as `compose show` prints them."""

from __future__ import annotations

from composer.checks.compatibility import Checked
from composer.checks.pipeline_steps import Steps
from composer.pipelines.resolve import timestep_layout
from composer.pipelines.schedule_check import original_config
from composer.sampling.schedulers import effective_settings, make_scheduler, scheduler_parts


def schedule_lines(checked: Checked) -> list[str]:
    """Describe the scheduler of a run and its timesteps.

    Args:
        checked: A request whose schedule was checked.

    Returns:
        Lines of text.
    """
    checkpoint, request = checked.checkpoint, checked.request
    cls, settings, of_step = scheduler_parts(
        checked.spec.scheduler, checkpoint.classes.get("scheduler", "DDIMScheduler")
    )
    scheduler = make_scheduler(cls, original_config(checkpoint), settings)
    config = {key: value for key, value in effective_settings(scheduler).items() if value is not None}
    lines = [f"scheduler  {cls.__name__}", *(f"  {key} = {value}" for key, value in sorted(config.items()))]
    lines += [f"  step: {key} = {value}" for key, value in of_step.items()]
    laid_out, steps = (
        timestep_layout(checkpoint),
        f"{request.steps - request.steps_skipped} of {request.steps}" if request.steps_skipped else request.steps,
    )
    if isinstance(laid_out, Steps) and laid_out.own(scheduler):
        return [*lines, "", f"steps      {steps}, laid out by {laid_out.pipeline.__name__} itself"]
    laid_out.set_timesteps(scheduler, request, checkpoint.vae_scale_factor, "cpu")
    times = [f"{float(t):g}" for t in scheduler.timesteps[request.steps_skipped * getattr(scheduler, "order", 1) :]]
    return [*lines, "", f"steps      {steps}, {len(times)} iterations at timesteps {' '.join(times)}"]
