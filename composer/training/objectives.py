"""What the denoiser is trained to predict, by the prediction type of the checkpoint's scheduler.

| type | noisy latents | target | timesteps |
|---|---|---|---|
| epsilon | √ᾱ x + √(1 − ᾱ) n | n | uniform |
| v_prediction | the same | √ᾱ n − √(1 − ᾱ) x | uniform |
| sample | the same | x | uniform |
| flow | (1 − σ) x + σ n | n − x | σ = sigmoid(normal), then the scheduler's constant shift |

https://arxiv.org/abs/2006.11239, https://arxiv.org/abs/2202.00512, https://arxiv.org/abs/2403.03206
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from composer.errors import ComposerError

#: (clean latents, noise, ᾱ in the shape of a batch) → what the denoiser is to predict.
TARGETS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda clean, noise, alpha: noise,
    "v_prediction": lambda clean, noise, alpha: alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
    "sample": lambda clean, noise, alpha: clean,
}
#: Prediction type → factor of the squared error at a signal-to-noise ratio whose weight is 1.
_SNR_FACTORS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "epsilon": lambda snr: snr,
    "v_prediction": lambda snr: snr + 1,
    "sample": lambda snr: torch.ones_like(snr),
}


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """A batch with noise.

    Attributes:
        latents: Noisy latents, in the shape of the clean ones, fp32.
        timesteps: Timestep of each image, `(B,)`.
        target: What the denoiser is to predict, in the shape of the latents, fp32.
        weights: Weight of each image's squared error, `(B,)`.
    """

    latents: Tensor
    timesteps: Tensor
    target: Tensor
    weights: Tensor


#: (clean latents, generator on the CPU) → batch with noise.
Objective = Callable[[Tensor, torch.Generator], Noisy]


def make_objective(scheduler_config: Mapping[str, Any], is_flow: bool, min_snr: float | None) -> Objective:
    """Make the objective of a checkpoint.

    Args:
        scheduler_config: Config of the checkpoint's scheduler.
        is_flow: Whether the model was trained by flow matching.
        min_snr: Largest signal-to-noise ratio that a timestep counts for; ``None`` weighs all alike.

    Returns:
        Adds noise to clean latents.

    Raises:
        ComposerError: There is no min-SNR for flow matching.
    """
    if is_flow:
        if min_snr is not None:
            raise ComposerError("min_snr", min_snr, "is for diffusion, and this model was trained by flow matching")
        return FlowMatching(scheduler_config)
    return Diffusion(scheduler_config, min_snr)


class Diffusion:
    """Noise by a schedule of ᾱ, for epsilon, v-prediction and sample.

    Args:
        scheduler_config: Config of the checkpoint's scheduler, with its betas.
        min_snr: As for `make_objective`.
    """

    def __init__(self, scheduler_config: Mapping[str, Any], min_snr: float | None = None) -> None:
        schedule: Any = DDPMScheduler.from_config(dict(scheduler_config))
        self.kind = str(schedule.config.prediction_type)
        self.alphas = schedule.alphas_cumprod.float()
        snr = self.alphas / (1 - self.alphas)
        capped = snr if min_snr is None else snr.clamp(max=min_snr)
        self.weights = torch.ones_like(snr) if min_snr is None else capped / _SNR_FACTORS[self.kind](snr)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Noisy:
        """Add noise at random timesteps.

        Args:
            clean: Clean latents `(B, …)`.
            generator: Generator on the CPU, so that a seed gives the same noise on every device.

        Returns:
            The batch with noise.
        """
        clean = clean.float()
        timesteps = torch.randint(0, len(self.alphas), (len(clean),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        alpha = _like(self.alphas[timesteps], clean)
        return Noisy(
            latents=alpha.sqrt() * clean + (1 - alpha).sqrt() * noise,
            timesteps=timesteps.to(clean.device),
            target=TARGETS[self.kind](clean, noise, alpha),
            weights=self.weights[timesteps].to(clean.device),
        )


class FlowMatching:
    """Straight lines from noise to images; noise levels are logit-normal, as Stable Diffusion 3 was trained.

    Args:
        scheduler_config: Config of the checkpoint's scheduler, with its `shift`.
    """

    def __init__(self, scheduler_config: Mapping[str, Any]) -> None:
        dynamic = scheduler_config.get("use_dynamic_shifting")
        self.shift = 1.0 if dynamic else float(scheduler_config.get("shift") or 1.0)
        self.steps = int(scheduler_config.get("num_train_timesteps") or 1000)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Noisy:
        """Add noise at random levels.

        Args:
            clean: Clean latents `(B, …)`.
            generator: Generator on the CPU.

        Returns:
            The batch with noise; timesteps are noise levels in thousandths, as schedulers of flow matching have them.
        """
        clean = clean.float()
        level = torch.sigmoid(torch.randn(len(clean), generator=generator))
        level = self.shift * level / (1 + (self.shift - 1) * level)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        sigma = _like(level, clean)
        return Noisy(
            latents=(1 - sigma) * clean + sigma * noise,
            timesteps=(level * self.steps).to(clean.device),
            target=noise - clean,
            weights=torch.ones(len(clean), device=clean.device),
        )


def _like(values: Tensor, batch: Tensor) -> Tensor:
    """Values `(B,)` on the device of a batch, in a shape that broadcasts with it."""
    return values.to(batch.device).view(-1, *[1] * (batch.ndim - 1))
