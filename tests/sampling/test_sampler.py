"""The x₀ estimate is exact when the prediction is: noise known clean latents, hand over the true prediction, get them
back.
"""

from __future__ import annotations

import pytest
import torch
from tiers import sampled

from composer.callbacks.base import Conditioning, Step
from composer.config.compose import compose_config
from composer.config.read import read
from composer.sampling.sampler import Sampler
from composer.sampling.schedulers import make_scheduler, scheduler_parts
from composer.testing import pipelines

VP = ("ddim", "ddpm", "pndm", "dpmpp_2m", "dpmpp_sde", "unipc", "deis", "lcm", "tcd", "sa_solver")
VE = ("euler", "euler_karras", "euler_a", "heun", "lms")
FLOW = ("flow_euler", "flow_dpmpp_2m", "flow_unipc")


def sampler(option: str, **config) -> Sampler:
    spec = read(compose_config([f"scheduler={option}"])).scheduler
    original = {
        **(pipelines.flux() if option in FLOW else pipelines.sd()).scheduler.config,
        **config,
        "use_dynamic_shifting": False,
    }
    cls, settings, of_step = scheduler_parts(spec, "DDIMScheduler")
    scheduler = make_scheduler(cls, original, settings)
    scheduler.set_timesteps(8)
    return Sampler(scheduler, (torch.Generator().manual_seed(0),), of_step)


def step_of(it: Sampler, index: int, latents: torch.Tensor) -> Step:
    return Step(
        index=index, total=len(it.timesteps), timestep=it.timesteps[index], sigma=it.sigma(index), latents=latents,
        model_input=latents,
        conditioning=Conditioning(positive=None), guidance_scale=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(("option", "kind"), sampled(VP + VE, ["v_prediction", "epsilon", "sample"]))
def test_denoised_inverts_the_noising(option, kind):
    if (option, kind) in {("lms", "sample"), ("euler_a", "sample"), ("heun", "sample")}:
        pytest.skip("diffusers does not implement it")
    it = sampler(option, prediction_type=kind)
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for index in (0, 3):
        alpha = (
            it.scheduler.alphas_cumprod[int(it.timesteps[index])] if option in VP else 1 / (1 + it.sigma(index) ** 2)
        )
        a, s = alpha**0.5, (1 - alpha) ** 0.5
        x = a * x0 + s * noise
        prediction = {"epsilon": noise, "v_prediction": a * noise - s * x0, "sample": x0}[kind]
        scaled = x if option in VP else x / a
        assert torch.allclose(
            it.denoised(step_of(it, index, scaled), prediction), x0, atol=1e-3
        )  # fp32 division by a small alpha
        assert torch.allclose(it.predicted(step_of(it, index, scaled), x0), prediction, atol=1e-3)


@pytest.mark.parametrize("option", FLOW)
def test_denoised_of_flow_matching(option):
    it = sampler(option)
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    sigma = it.sigma(2)
    x = (1 - sigma) * x0 + sigma * noise
    assert torch.allclose(it.denoised(step_of(it, 2, x), noise - x0), x0, atol=1e-5)
    assert torch.allclose(it.predicted(step_of(it, 2, x), x0), noise - x0, atol=1e-5)


@pytest.mark.parametrize("option", [*VP, *VE, *FLOW, "ipndm", "dpm2"])
def test_noised_knows_every_level_before_and_amid_a_run_that_begins_late(option):
    it = sampler(option)
    it.skip(3)
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    before = [it.noised(x0, noise, index) for index in range(3)]
    it.step(noise, it.timesteps[0], before[0])
    amid = [it.noised(x0, noise, index) for index in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(before, amid)) and not torch.equal(before[0], before[2])
    prediction = noise - x0 if option in FLOW else noise
    for index, x in enumerate(amid):
        if option not in ("dpm2", "heun") or index % 2 == 0:  # in between they have a sigma of their own
            assert torch.allclose(it.denoised(step_of(it, index, x), prediction), x0, atol=1e-3)


def test_settings_reach_step_only_where_it_takes_them():
    assert set(sampler("ddim").settings) == {"eta", "generator"}
    assert set(sampler("heun").settings) == set()
