"""Noise and targets against diffusers' schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_snr

from composer.errors import ComposerError
from composer.training.objectives import make_objective

CLEAN = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(1))


def noisy(objective):
    """A batch, and the noise that it was made with."""
    generator = torch.Generator().manual_seed(2)
    batch = objective(CLEAN, generator)
    again = torch.Generator().manual_seed(2)
    steps = torch.randint(0, 1000, (5,), generator=again)
    return batch, steps, torch.randn(CLEAN.shape, generator=again)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("settings", [{}, {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True}])
def test_diffusion_is_that_of_diffusers(kind, settings):
    scheduler = DDPMScheduler(prediction_type=kind, **settings)
    batch, steps, noise = noisy(make_objective(scheduler.config, False, None))
    target = {"epsilon": noise, "v_prediction": scheduler.get_velocity(CLEAN, noise, steps), "sample": CLEAN}[kind]
    assert torch.equal(batch.timesteps, steps) and torch.equal(batch.weights, torch.ones(5))
    # the square roots are of the same numbers, and products may be added in another order
    assert torch.allclose(batch.latents, scheduler.add_noise(CLEAN, noise, steps), atol=1e-6)
    assert torch.allclose(batch.target, target, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_is_that_of_diffusers_scripts(kind):
    scheduler = DDPMScheduler(prediction_type=kind)
    batch, steps, _ = noisy(make_objective(scheduler.config, False, 5.0))
    snr = compute_snr(scheduler, steps)
    expected = torch.stack([snr, 5.0 * torch.ones(5)], 1).min(1)[0] / (snr + (kind == "v_prediction"))
    assert torch.allclose(batch.weights, expected, rtol=1e-4)  # compute_snr squares a square root


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_is_that_of_diffusers(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    batch, *_ = noisy(make_objective(scheduler.config, True, None))
    generator = torch.Generator().manual_seed(2)
    level = torch.sigmoid(torch.randn(5, generator=generator))
    noise = torch.randn(CLEAN.shape, generator=generator)
    sigma = shift * level / (1 + (shift - 1) * level)
    assert torch.allclose(batch.timesteps, sigma * 1000)
    nearest = [int((scheduler.timesteps - step).abs().argmin()) for step in batch.timesteps]
    theirs = scheduler.scale_noise(CLEAN, scheduler.timesteps[nearest], noise)
    assert torch.allclose(batch.latents, theirs, atol=5e-3)  # their levels are a thousand, ours are continuous
    assert torch.equal(batch.target, noise - CLEAN)


def test_a_dynamic_shift_is_for_sampling_alone():
    config = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).config
    plain = FlowMatchEulerDiscreteScheduler().config
    one, other = (noisy(make_objective(scheduler, True, None))[0] for scheduler in (config, plain))
    assert torch.equal(one.timesteps, other.timesteps)


def test_min_snr_of_flow_is_refused():
    with pytest.raises(ComposerError, match=r"min_snr=5\.0: is for diffusion"):
        make_objective(FlowMatchEulerDiscreteScheduler().config, True, 5.0)
