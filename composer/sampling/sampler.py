"""A diffusers scheduler under one signature, whatever its class takes and has.

Knows no model and no diffusers class: it tests the object at hand. Schedulers hold state, so a sampler lives for one
run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any

from composer.callbacks.base import Step
from composer.compat.attributes import at_step_index
from composer.system.signatures import keywords_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Least signal in the noise level σ/α of a schedule: one that begins with noise alone would divide by 0.
MIN_ALPHA = 1e-6


class Sampler:
    """Steps latents with a scheduler whose timesteps are set.

    Args:
        scheduler: A fresh diffusers scheduler, after `set_timesteps`.
        generators: One CPU generator for each image; they feed every scheduler that samples noise.
        settings: Keywords for the scheduler's `step`, such as ``eta``; those that it does not take are dropped.

    Attributes:
        first: Iteration of the complete schedule that the run starts at.
    """

    def __init__(
        self, scheduler: Any, generators: tuple[torch.Generator, ...], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.scheduler, self.generators = scheduler, generators
        # eta=0 and the generators: what diffusers' pipelines pass to every scheduler that takes them
        offered = {"eta": 0.0, "generator": list(generators), **(settings or {})}
        keywords = keywords_of(scheduler.step)
        self.settings = {name: value for name, value in offered.items() if name in keywords}
        self.first = 0

    def skip(self, steps: int) -> None:
        """Omit the noisiest steps, for latents that are not pure noise. Call it before the first step.

        Args:
            steps: Number of steps; a second-order scheduler takes two iterations for each.
        """
        self.begin(steps * getattr(self.scheduler, "order", 1))

    def begin(self, iteration: int) -> None:
        """Start at an iteration of the complete schedule. Call it before the first step.

        Args:
            iteration: Index into the scheduler's timesteps.
        """
        self.first = iteration
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(self.first)

    @property
    def timesteps(self) -> Tensor:
        """Timesteps of the run, `(iterations,)`."""
        return self.scheduler.timesteps[self.first :]

    @property
    def initial_sigma(self) -> float:
        """Standard deviation of the first latents."""
        return getattr(self.scheduler, "init_noise_sigma", 1.0)

    def scale(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Scale latents for the model; flow-matching schedulers have nothing to scale.

        Args:
            latents: Latents x_t.
            timestep: Present timestep, a tensor without dimensions.

        Returns:
            The model's input, in the shape of the latents.
        """
        if hasattr(self.scheduler, "scale_model_input"):
            return self.scheduler.scale_model_input(latents, timestep)
        return latents

    def step(self, prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """Take one step, x_t → x_{t−1}.

        Args:
            prediction: Guided prediction, in the shape of the latents.
            timestep: Present timestep, a tensor without dimensions.
            latents: Latents x_t.

        Returns:
            Latents x_{t−1}, in the dtype of x_t.
        """
        stepped = self.scheduler.step(prediction, timestep, latents, return_dict=False, **self.settings)[0]
        return stepped.to(latents.dtype)

    def sigma(self, index: int) -> float:
        """Get the noise level before an iteration.

        Args:
            index: Iteration of the run, from 0.

        Returns:
            Noise per signal, σ/α, of a diffusion schedule, or σ in `[0, 1]` of flow matching; NaN if the scheduler's
            class defines no noise levels.
        """
        return self._sigmas[index + self.first]

    @cached_property
    def _sigmas(self) -> list[float]:
        """Noise levels of the complete schedule, read once: an element of a tensor takes microseconds."""
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None:
            return _derive_sigmas(self.scheduler)
        between = getattr(self.scheduler, "sigmas_interpol", None)  # DPM2 visits the middle of each step
        levels = sigmas.tolist()
        if between is not None:
            levels[1::2] = between.tolist()[1::2]
        return levels

    def noised(self, clean: Tensor, noise: Tensor, index: int) -> Tensor:
        """Add noise to clean latents.

        Args:
            clean: Clean latents x₀.
            noise: Standard normal noise, in the shape of the latents.
            index: Iteration of the run, from 0.

        Returns:
            Latents x_t as they are before the iteration.
        """
        timestep, position = self.timesteps[index : index + 1], index + self.first
        # in a run that begins late, schedulers add the noise of their present index, whatever timestep they get
        if hasattr(self.scheduler, "scale_noise"):
            with at_step_index(self.scheduler, position):
                return self.scheduler.scale_noise(clean, timestep, noise)
        if hasattr(self.scheduler, "add_noise"):
            with at_step_index(self.scheduler, position):
                return self.scheduler.add_noise(clean, noise, timestep)
        # IPNDM: diffusers can start it from noise alone
        return float(self.scheduler.alphas[position]) * clean + float(self.scheduler.betas[position]) * noise

    def denoised(self, step: Step, prediction: Tensor) -> Tensor:
        """Estimate the clean latents, for every prediction type.

        Args:
            step: Latents x_t, timestep and noise level.
            prediction: Guided prediction, in the shape of the latents.

        Returns:
            Estimate of x₀, in the shape of the latents.
        """
        x, kind = step.latents, self._prediction_type
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
        """Invert `denoised`.

        Args:
            step: Latents x_t, timestep and noise level.
            clean: Clean latents x₀.

        Returns:
            The prediction for which `denoised` is `clean`.
        """
        x, kind = step.latents, self._prediction_type
        if kind == "sample":
            return clean
        if kind == "flow_prediction":
            return (x - clean) / step.sigma
        alpha, sigma = self._levels(step)
        if kind == "v_prediction":
            size = (alpha**2 + sigma**2) ** 0.5
            return (alpha / size * (x / size) - clean) * size / sigma
        return (x - alpha * clean) / sigma

    @property
    def _prediction_type(self) -> str:
        return self.scheduler.config.get("prediction_type", "flow_prediction")

    def _levels(self, step: Step) -> tuple[float, float]:
        """(alpha, sigma) with x_t = alpha · x₀ + sigma · noise."""
        if float(self.initial_sigma) > 1:
            return 1.0, step.sigma
        if not hasattr(self.scheduler, "alphas_cumprod"):  # IPNDM has a schedule of its own
            position = step.index + self.first
            return float(self.scheduler.alphas[position]), float(self.scheduler.betas[position])
        alpha = float(self.scheduler.alphas_cumprod[int(step.timestep)])
        return alpha**0.5, (1 - alpha) ** 0.5


def _derive_sigmas(scheduler: Any) -> list[float]:
    """Noise per signal σ/α at each timestep of a scheduler that is defined by its alphas."""
    if hasattr(scheduler, "alphas_cumprod"):
        timesteps = scheduler.timesteps.long().cpu().clamp(0, len(scheduler.alphas_cumprod) - 1)
        signal = scheduler.alphas_cumprod[timesteps]
        return ((1 - signal) / signal.clamp(min=MIN_ALPHA**2)).sqrt().tolist()
    if hasattr(scheduler, "alphas") and hasattr(scheduler, "betas"):  # IPNDM
        return (scheduler.betas / scheduler.alphas.clamp(min=MIN_ALPHA)).tolist()
    return [nan] * len(scheduler.timesteps)
