"""A diffusers scheduler under one signature, whatever its class takes and has.

Knows no model and no diffusers class: it asks the object at hand. Schedulers hold state, so a sampler lives for one
run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Step
from composer.system.signatures import keywords_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Sampler:
    """Steps latents with a scheduler whose timesteps are set.

    Args:
        scheduler: fresh, with `set_timesteps` called.
        generators: one for each image of the batch; they feed every scheduler that generates noise.
        settings: keywords for its `step`, such as eta; those it does not take are not passed.
    """

    def __init__(
        self, scheduler: Any, generators: tuple[torch.Generator, ...], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.scheduler, self.generators = scheduler, generators
        # eta=0 and the generators: what diffusers' pipelines pass to every scheduler that takes them
        offered = {"eta": 0.0, "generator": list(generators), **(settings or {})}
        taken = keywords_of(scheduler.step)
        self.settings = {name: value for name, value in offered.items() if name in taken}
        self.first = 0

    def skip(self, steps: int) -> None:
        """Leave out the noisiest steps, for latents that are not pure noise; call it before the first step."""
        self.begin(steps * getattr(self.scheduler, "order", 1))

    def begin(self, iteration: int) -> None:
        """Start at an iteration of the whole schedule; call it before the first step."""
        self.first = iteration
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(self.first)

    @property
    def timesteps(self) -> Tensor:
        return self.scheduler.timesteps[self.first :]

    @property
    def initial_sigma(self) -> float:
        """Standard deviation of the first latents."""
        return getattr(self.scheduler, "init_noise_sigma", 1.0)

    def scale(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Latents as the model wants them; flow-matching schedulers have nothing to scale."""
        if hasattr(self.scheduler, "scale_model_input"):
            return self.scheduler.scale_model_input(latents, timestep)
        return latents

    def step(self, prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """x_t → x_{t−1}, in the dtype of x_t."""
        moved = self.scheduler.step(prediction, timestep, latents, return_dict=False, **self.settings)[0]
        return moved.to(latents.dtype)

    def sigma(self, index: int) -> float | None:
        """Noise level at an iteration, None for schedulers that think in timesteps alone."""
        return None if self._sigmas is None else self._sigmas[index + self.first]

    @cached_property
    def _sigmas(self) -> list[float] | None:
        """Noise levels of the whole schedule; read once, since a number out of a tensor takes microseconds, and on a
        GPU waits for it.
        """
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None:
            return None
        between = getattr(self.scheduler, "sigmas_interpol", None)  # DPM2 visits the middle of each step
        levels = sigmas.tolist()
        if between is not None:
            levels[1::2] = between.tolist()[1::2]
        return levels

    def noised(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """Clean latents x₀ and noise → x_t as it is before iteration `index`."""
        timestep, at = self.timesteps[index : index + 1], index + self.first
        if hasattr(self.scheduler, "scale_noise"):
            return self._standing_at(at, lambda: self.scheduler.scale_noise(clean, timestep, noise))
        if hasattr(self.scheduler, "add_noise"):
            return self._standing_at(at, lambda: self.scheduler.add_noise(clean, noise, timestep))
        # IPNDM: diffusers can start it from noise alone
        return float(self.scheduler.alphas[at]) * clean + float(self.scheduler.betas[at]) * noise

    def _standing_at(self, index: int, call: Callable[[], Tensor]) -> Tensor:
        """In a run that begins late, schedulers noise to where they stand and not to the timestep they are given."""
        if not hasattr(self.scheduler, "_step_index"):
            return call()
        stands, self.scheduler._step_index = self.scheduler._step_index, index
        try:
            return call()
        finally:
            self.scheduler._step_index = stands

    def denoised(self, step: Step, prediction: Tensor) -> Tensor:
        """Estimate of the clean latents x₀ from x_t and a prediction, for every kind of prediction."""
        x, kind = step.latents, self.scheduler.config.get("prediction_type", "flow_prediction")
        if kind == "sample":
            return prediction
        if kind == "flow_prediction":
            return x - step.sigma * prediction
        alpha, sigma = self._levels(step)
        if kind == "v_prediction":
            size = (alpha**2 + sigma**2) ** 0.5  # 1, but for schedulers whose x_t is x₀ + σ·noise
            return alpha / size * (x / size) - sigma / size * prediction
        return (x - sigma * prediction) / alpha

    def predicted(self, step: Step, clean: Tensor) -> Tensor:
        """The prediction by which `denoised` comes to `clean`, x₀."""
        x, kind = step.latents, self.scheduler.config.get("prediction_type", "flow_prediction")
        if kind == "sample":
            return clean
        if kind == "flow_prediction":
            return (x - clean) / step.sigma
        alpha, sigma = self._levels(step)
        if kind == "v_prediction":
            size = (alpha**2 + sigma**2) ** 0.5
            return (alpha / size * (x / size) - clean) * size / sigma
        return (x - alpha * clean) / sigma

    def _levels(self, step: Step) -> tuple[float, float]:
        """(alpha, sigma) with x_t = alpha · x₀ + sigma · noise."""
        if float(self.initial_sigma) > 1:
            return 1.0, step.sigma
        if not hasattr(self.scheduler, "alphas_cumprod"):  # IPNDM has a schedule of its own
            return float(self.scheduler.alphas[step.index + self.first]), float(
                self.scheduler.betas[step.index + self.first]
            )
        alpha = float(self.scheduler.alphas_cumprod[int(step.timestep)])
        return alpha**0.5, (1 - alpha) ** 0.5
