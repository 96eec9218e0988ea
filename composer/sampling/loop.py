"""The denoising loop: predict, guide, step, and the callbacks between them.

It knows no task, no family and no feature.
"""

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
    inputs: Mapping[str, Any] = MappingProxyType({}),
    canvas: tuple[int, ...] = (),
    watch: Callable[[int, Tensor, Tensor], None] = lambda index, prediction, latents: None,
) -> Tensor:
    """Take latents x_T through all timesteps to x₀.

    Args:
        sampler: Scheduler with timesteps set.
        latents: First latents x_T, in the model's layout.
        conditioning: Embeddings of the texts.
        predict: Evaluates the model for one step.
        guidance: Combines the branches of a prediction.
        hooks: Callbacks of the run.
        inputs: `Step.inputs` of every step, such as ``mask``.
        canvas: `Step.canvas` of every step.
        watch: Called after each step with index, guided prediction and new latents.

    Returns:
        The last latents, in the shape of the first.

    Raises:
        CallbackError: A callback failed; names it, its method and the step.
    """
    timesteps = sampler.timesteps
    template = Step(
        index=0, total=len(timesteps), timestep=timesteps[0], sigma=0.0, latents=latents, model_input=latents,
        conditioning=conditioning,
        guidance_scale=guidance.scale, embedded_guidance=guidance.embedded, canvas=canvas,
        inputs=MappingProxyType(dict(inputs)),
    )  # fmt: skip
    for index, timestep in enumerate(timesteps):
        sigma = sampler.sigma(index)
        step = replace_step(
            template, index=index, timestep=timestep, sigma=sigma, latents=latents, model_input=latents
        )  # fmt: skip
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
    """Replace fields of a step, in a tenth of the time of `dataclasses.replace`.

    A step is made twice an iteration, and setting the fields of a frozen dataclass is slow.

    Args:
        step: Step to copy.
        **changes: Fields and their new values; not checked.

    Returns:
        A changed copy.
    """
    copy = object.__new__(type(step))
    vars(copy).update(vars(step), **changes)
    return copy
