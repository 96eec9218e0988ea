"""The loop: predict, guide, step, and between them the callbacks. It knows no task, no family and no feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Conditioning, Step, StopDenoising
from composer.sampling.guidance import Branches, Guidance
from composer.sampling.hooks import Hooks
from composer.sampling.sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor


def denoise(
    sampler: Sampler,
    latents: Tensor,
    conditioning: Conditioning,
    predict: Callable[[Step], Branches],
    guidance: Guidance,
    hooks: Hooks,
    inputs: Mapping[str, Tensor] = MappingProxyType({}),
    watch: Callable[[int, Tensor, Tensor], None] = lambda index, prediction, latents: None,
) -> Tensor:
    """Take latents x_T through all timesteps to x₀; `inputs` are the task's fields of every step, such as a mask.

    `watch` looks at each step's prediction and at the latents that came of it.

    Raises:
        CallbackError: names the callback, the moment and the step.
    """
    timesteps = sampler.timesteps
    each = Step(
        index=0, total=len(timesteps), timestep=timesteps[0], sigma=None, latents=latents, model_input=latents, conditioning=conditioning,
        guidance_scale=guidance.scale, embedded_guidance=guidance.embedded, **inputs,
    )  # fmt: skip
    for index, timestep in enumerate(timesteps):
        step = replace_step(
            each, index=index, timestep=timestep, sigma=sampler.sigma(index), latents=latents, model_input=latents
        )
        step = hooks.before(step)
        step = replace_step(step, model_input=sampler.scale(step.latents, timestep))
        prediction = hooks.edit("after_predict", step, guidance.prediction(step, predict))
        latents = sampler.step(prediction, timestep, step.latents)
        watch(index, prediction, latents)
        try:
            latents = hooks.edit("after_step", step, latents)
        except StopDenoising as stop:
            return latents if stop.latents is None else stop.latents
    return latents


def replace_step(step: Step, **changes: Any) -> Step:
    """What `dataclasses.replace` gives, in a tenth of its time: steps are made twice an iteration, and frozen fields
    are dear to set.
    """
    made = object.__new__(type(step))
    vars(made).update(vars(step), **changes)
    return made
