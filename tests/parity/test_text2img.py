"""The oracle is diffusers: same components, same seeds, CPU, fp32, one thread → the same latents at every step, bit for
bit.

Each family is compared with its classic pipeline over every scheduler option for which that pipeline is right. Where
it is wrong the case is named at the end, with what goes wrong.
"""

from __future__ import annotations

from functools import partial

import diffusers
import pytest
import torch
from cases import BATCHES, DDPM, FLUX, FLUX_NOISY, FLUX_REFUSED, SCALES, SD
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler
from runs import PROMPTS, STEPS, assert_same, classic, generators, scheduler_of
from runs import ours as run
from tiers import every, sampled

from composer.families.ddpm.model import Unconditional
from composer.families.flux.model import Flux
from composer.families.sd.model import StableDiffusion
from composer.sampling.guidance import ClassifierFree, Distilled, Unguided
from composer.sampling.schedulers import scheduler_parts
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

ours = partial(run, task=Text2Img())


@pytest.fixture(scope="module")
def sd_pipe():
    return pipelines.sd()


@pytest.mark.parametrize(("option", "scale", "batch"), sampled(SD, SCALES, BATCHES))
def test_sd_is_bit_equal(sd_pipe, option, scale, batch):
    *mine, scheduler = ours(StableDiffusion(sd_pipe), option, ClassifierFree(scale), batch, 64)
    theirs = classic(
        sd_pipe, scheduler, prompt=list(PROMPTS[:batch]), generator=generators(batch), guidance_scale=scale
    )
    assert_same(mine, theirs)


@pytest.mark.parametrize("option", ["ddim", "euler", "dpmpp_2m", "unipc"])
def test_sd_with_v_prediction_rescale_and_a_negative_prompt_is_bit_equal(option):
    pipe = pipelines.sd(prediction_type="v_prediction")
    *mine, scheduler = ours(StableDiffusion(pipe), option, ClassifierFree(5.0, rescale=0.7), 2, 64, negative="blurry")
    assert scheduler.config.prediction_type == "v_prediction"
    theirs = classic(
        pipe,
        scheduler,
        prompt=list(PROMPTS),
        negative_prompt=["blurry"] * 2,
        generator=generators(2),
        guidance_scale=5.0,
        guidance_rescale=0.7,
    )
    assert_same(mine, theirs)


@pytest.fixture(scope="module")
def zero_snr_pipe():
    """A checkpoint whose schedule ends in pure noise (https://arxiv.org/abs/2305.08891), which its config alone
    says.
    """
    pipe = pipelines.sd(prediction_type="v_prediction")
    pipe.scheduler = type(pipe.scheduler).from_config(
        pipe.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    return pipe


@pytest.mark.parametrize("option", every(3, SD))
def test_what_the_checkpoint_says_of_its_schedule_is_kept(zero_snr_pipe, option):
    *mine, ours_was = ours(StableDiffusion(zero_snr_pipe), option, ClassifierFree(5.0), 1, 64)
    cls, settings, _ = scheduler_parts(scheduler_of(option), type(zero_snr_pipe.scheduler).__name__)
    theirs_is = getattr(diffusers, cls.__name__).from_config(zero_snr_pipe.scheduler.config, **settings)
    for key in ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing"):
        assert ours_was.config.get(key) == theirs_is.config.get(key), key
    assert_same(
        mine, classic(zero_snr_pipe, theirs_is, prompt=list(PROMPTS[:1]), generator=generators(1), guidance_scale=5.0)
    )


@pytest.fixture(scope="module")
def flux_pipe():
    return pipelines.flux()


def flux_arguments(batch: int) -> dict:
    return dict(prompt=list(PROMPTS[:batch]), generator=generators(batch), height=32, width=32, max_sequence_length=48)


@pytest.mark.parametrize(("option", "batch"), sampled(FLUX, BATCHES))
def test_flux_is_bit_equal(flux_pipe, option, batch):
    *mine, scheduler = ours(Flux(flux_pipe), option, Unguided(), batch, 32)
    assert_same(mine, classic(flux_pipe, scheduler, **flux_arguments(batch)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("option", FLUX_NOISY)
def test_flux_is_bit_equal_once_the_classic_pipeline_passes_its_generator_on(flux_pipe, option, batch):
    """FluxPipeline keeps its generator from `scheduler.step`: schedulers that add noise generate it unseeded, so no run
    can be repeated.
    """
    *mine, scheduler = ours(Flux(flux_pipe), option, Unguided(), batch, 32)
    arguments = flux_arguments(batch)
    unseeded = [
        classic(flux_pipe, type(scheduler).from_config(scheduler.config), **flux_arguments(batch))[1][0].tobytes()
        for _ in range(2)
    ]
    assert unseeded[0] != unseeded[1]
    scheduler.step = partial(scheduler.step, generator=arguments["generator"])
    assert_same(mine, classic(flux_pipe, scheduler, **arguments))


@pytest.mark.parametrize("option", ["default", "flow_euler_karras", "flow_unipc"])
def test_flux_with_distilled_guidance_is_bit_equal(option):
    pipe = pipelines.flux(guidance_embeds=True, dynamic_shift=False)
    *mine, scheduler = ours(Flux(pipe), option, Distilled(3.5), 2, 32)
    assert_same(mine, classic(pipe, scheduler, guidance_scale=3.5, **flux_arguments(2)))


@pytest.mark.parametrize("batch", [1, 2])
def test_flux_with_true_guidance_is_bit_equal(flux_pipe, batch):
    *mine, scheduler = ours(Flux(flux_pipe), "flow_euler", ClassifierFree(4.0), batch, 32, negative="blurry")
    arguments = flux_arguments(batch) | {"negative_prompt": ["blurry"] * batch, "true_cfg_scale": 4.0}
    assert_same(mine, classic(flux_pipe, scheduler, **arguments))


@pytest.fixture(scope="module")
def ddpm_pipe():
    return pipelines.ddpm()


@pytest.mark.parametrize(("option", "batch"), sampled(DDPM, BATCHES))
def test_ddpm_is_bit_equal_where_the_classic_pipeline_is_right(ddpm_pipe, option, batch):
    """DDPMPipeline has no callback: the scheduler is watched instead."""
    *mine, scheduler = ours(Unconditional(ddpm_pipe), option, Unguided(), batch, 16)
    theirs = unconditional_classic(ddpm_pipe, scheduler, batch)
    assert_same(mine, theirs)


def unconditional_classic(pipe, scheduler, batch: int):
    """Through a pipeline of its own, so that the checkpoint's scheduler stays as it is."""
    latents, step = [], scheduler.step

    def watched(*args, **kwargs):
        out = step(*args, **kwargs)
        latents.append(out.prev_sample.clone())
        return out

    scheduler.step = watched
    pipe = DDPMPipeline(pipe.unet, DDPMScheduler())
    pipe.scheduler = scheduler
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=batch, generator=generators(batch), num_inference_steps=STEPS).images
    return latents, images


def test_ddim_is_bit_equal_to_its_own_pipeline(ddpm_pipe):
    *mine, scheduler = ours(Unconditional(ddpm_pipe), "ddim", Unguided(), 2, 16)
    pipe = DDIMPipeline(ddpm_pipe.unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=2, generator=generators(2), num_inference_steps=STEPS, eta=0.0).images
    assert [image.tobytes() for image in mine[1]] == [image.tobytes() for image in images]


# --- where the classic pipeline is wrong ------------------------------------------------------------------------------

RAISES = ("pndm", "heun", "unipc", "lms", "dpm2", "deis", "ipndm")


@pytest.mark.parametrize("option", RAISES)
def test_ddpm_pipeline_raises_but_composer_runs(ddpm_pipe, option):
    """DDPMPipeline passes a generator to `step` of schedulers that take none."""
    latents, images, scheduler = ours(Unconditional(ddpm_pipe), option, Unguided(), 1, 16)
    with pytest.raises(TypeError, match="generator"):
        unconditional_classic(ddpm_pipe, scheduler, 1)
    assert latents[-1].isfinite().all() and images[0].size == (16, 16)


@pytest.mark.parametrize("option", ["euler", "euler_a", "dpm2_a"])
def test_ddpm_pipeline_is_wrong_where_noise_or_input_must_be_scaled(ddpm_pipe, option):
    """It starts from unit noise where the scheduler wants `init_noise_sigma`, and never calls `scale_model_input`."""
    latents, images, scheduler = ours(Unconditional(ddpm_pipe), option, Unguided(), 1, 16)
    _, theirs = unconditional_classic(ddpm_pipe, scheduler, 1)
    assert theirs[0].tobytes() != images[0].tobytes()
    assert torch.equal(latents[-1], by_hand(ddpm_pipe.unet, type(scheduler).from_config(scheduler.config)))


def by_hand(unet, scheduler) -> torch.Tensor:
    """The loop of the diffusers documentation, written out."""
    generator = generators(1)
    scheduler.set_timesteps(STEPS)
    x = torch.randn((1, 3, 16, 16), generator=generator[0]) * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            prediction = unet(scheduler.scale_model_input(x, t), t).sample
            x = scheduler.step(prediction, t, x, generator=generator).prev_sample
    return x


@pytest.mark.parametrize("option", FLUX_REFUSED)
def test_flux_pipeline_raises_but_composer_runs(flux_pipe, option):
    latents, _, scheduler = ours(Flux(flux_pipe), option, Unguided(), 1, 32)
    with pytest.raises((TypeError, ValueError), match=FLUX_REFUSED[option]):
        classic(flux_pipe, scheduler, **flux_arguments(1))
    assert len(latents) == (2 * STEPS - 1 if option == "flow_heun" else STEPS) and latents[-1].isfinite().all()


def test_every_scheduler_option_is_in_a_battery():
    """A new option joins the battery of its kind, or is named here with the reason why it can't."""
    from composer.config.search_path import conf_folders, options

    no_model = {"edm_euler", "edm_dpmpp_2m"}  # for EDM-preconditioned checkpoints, which no family here is
    others = {"fast"}  # it chooses one of them, see tests/checks/test_fast.py
    assert set(options("scheduler", conf_folders())) == {*SD, *FLUX, *FLUX_NOISY, *FLUX_REFUSED, *no_model, *others}
