"""diffusers' callback of a pipeline's own loop → composer's `after_step`."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Step, StopDenoising
from composer.compat.attributes import interrupt
from composer.sampling.hooks import Hooks
from composer.sampling.non_finite import FiniteWatch


def step_end_callback(
    hooks: Hooks, scale: float, total: int, watch: FiniteWatch
) -> Callable[..., dict[str, Tensor]]:  # fmt: skip
    """Build a `callback_on_step_end` that calls `after_step` of all callbacks.

    Args:
        hooks: Callbacks of the run.
        scale: Guidance scale, for `Step.guidance_scale`.
        total: Number of steps.
        watch: Tests the latents after each step.

    Returns:
        The callback. The latents of its steps are those after the step, and their noise level is NaN.
    """
    stopped: list[Tensor] = []

    def on_step_end(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        latents = tensors["latents"]
        watch(index, latents, latents)
        if stopped:  # not every pipeline can be interrupted: the others continue without effect
            return {"latents": stopped[0]}
        step = Step(
            index=index, total=total, timestep=torch.as_tensor(timestep), sigma=nan, latents=latents, model_input=latents,
            conditioning=Conditioning(positive=None), guidance_scale=scale,
        )  # fmt: skip
        try:
            return {"latents": hooks.edit("after_step", step, latents)}
        except StopDenoising as stop:
            interrupt(pipeline)
            stopped.append(latents if stop.latents is None else stop.latents)
            return {"latents": stopped[0]}

    return on_step_end
