"""diffusers' callback of a pipeline's own loop → composer's moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from composer.callbacks.base import Conditioning, Step, StopDenoising
from composer.sampling.hooks import Hooks
from composer.sampling.non_finite import Watch


def bridge(hooks: Hooks, scale: float, total: int, watch: Watch) -> Callable[..., dict[str, Tensor]]:
    """`callback_on_step_end` of diffusers → `after_step` of ours; the step's own latents are those after it."""
    stopped: list[Tensor] = []

    def after(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        latents = tensors["latents"]
        watch(index, latents, latents)
        if stopped:  # not every pipeline can be interrupted: the others go on, but to no effect
            return {"latents": stopped[0]}
        step = Step(
            index=index, total=total, timestep=torch.as_tensor(timestep), sigma=None, latents=latents, model_input=latents,
            conditioning=Conditioning(positive=None), guidance_scale=scale,
        )  # fmt: skip
        try:
            return {"latents": hooks.edit("after_step", step, latents)}
        except StopDenoising as stop:
            pipeline._interrupt = True
            stopped.append(latents if stop.latents is None else stop.latents)
            return {"latents": stopped[0]}

    return after
