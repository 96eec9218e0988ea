"""Image-to-image, inpainting and depth-to-image against diffusers, bit for bit: the full product of strength, batch
and guidance over six schedulers, and every other scheduler once."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from cases import BATCHES, FLUX_FROM_IMAGE, FLUX_NOISY_FROM_IMAGE, SCALES, SD_CORE, SD_FROM_IMAGE, STRENGTHS
from diffusers import (
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from runs import PROMPTS, STEPS, assert_same, classic, generators, image, mask, ours
from tiers import every, sampled

from composer.checkpoints.layouts import families
from composer.families.ddpm.model import Unconditional
from composer.families.flux.model import Flux
from composer.families.sd.model import StableDiffusion
from composer.sampling.guidance import ClassifierFree, Distilled, Unguided
from composer.tasks.depth2img import Depth2Img
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.testing import pipelines


def start_images(size: int, batch: int):
    return tuple(image(size, seed) for seed in range(batch))


# Each returns (ours, classic) for a scheduler option, a strength, a batch size and a guidance scale.


def img2img(pipe, option, strength, batch, scale, eta=None):
    images = start_images(64, batch)
    inputs = {"image": images, "strength": strength, "skip": families()["sd"].steps_to_skip(STEPS, strength)}
    *mine, scheduler = ours(
        StableDiffusion(pipe), option, ClassifierFree(scale), batch, 64, Img2Img(), eta=eta, **inputs
    )
    other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    return mine, classic(other, scheduler, **call_arguments(batch, scale, strength, eta), image=list(images))


def inpaint(pipe, option, strength, batch, scale, eta=None):
    images, masks = start_images(64, batch), (mask(64),) * batch
    inputs = {"image": images, "mask": masks, "strength": strength, "blur": 0, "keep_unmasked": False}
    inputs["skip"] = families()["sd"].steps_to_skip(STEPS, strength)
    *mine, scheduler = ours(
        StableDiffusion(pipe), option, ClassifierFree(scale), batch, 64, Inpaint(), eta=eta, **inputs
    )
    other = StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
    size = {"height": 64, "width": 64}
    return mine, classic(
        other,
        scheduler,
        **call_arguments(batch, scale, strength, eta),
        image=list(images),
        mask_image=list(masks),
        **size,
    )


def depth2img(pipe, option, strength, batch, scale, eta=None, maps=None):
    images = start_images(64, batch)
    inputs = {
        "image": images,
        "strength": strength,
        "depth": maps,
        "skip": families()["sd"].steps_to_skip(STEPS, strength),
    }
    *mine, scheduler = ours(
        StableDiffusion(pipe), option, ClassifierFree(scale), batch, 64, Depth2Img(), eta=eta, **inputs
    )
    given = None if maps is None else torch.from_numpy(np.stack(maps))
    return mine, classic(
        pipe, scheduler, **call_arguments(batch, scale, strength, eta), image=list(images), depth_map=given
    )


def call_arguments(batch, scale, strength, eta=None):
    arguments = {
        "prompt": list(PROMPTS[:batch]),
        "generator": generators(batch),
        "guidance_scale": scale,
        "strength": strength,
    }
    return arguments if eta is None else arguments | {"eta": eta}


MODELS = {
    "img2img": (img2img, pipelines.sd),
    "inpaint, 4 channels": (inpaint, pipelines.sd),
    "inpaint, 9 channels": (inpaint, partial(pipelines.sd, in_channels=9)),
    "depth2img": (depth2img, pipelines.sd_depth),
}


@pytest.fixture(scope="module", params=MODELS)
def sd(request):
    run, make = MODELS[request.param]
    return partial(run, make())


@pytest.mark.parametrize(
    ("option", "sd", "strength", "scale", "batch"),
    sampled(SD_CORE, MODELS, STRENGTHS, SCALES, BATCHES, each=2),
    indirect=["sd"],
)
def test_sd_is_bit_equal(sd, option, strength, scale, batch):
    assert_same(*sd(option, strength, batch, scale))


@pytest.mark.parametrize(
    ("option", "sd"), sampled([option for option in SD_FROM_IMAGE if option not in SD_CORE], MODELS), indirect=["sd"]
)
def test_sd_is_bit_equal_for_the_other_schedulers(sd, option):
    assert_same(*sd(option, 0.6, 2, 7.5))


@pytest.mark.parametrize(("sd", "strength"), sampled([*MODELS], STRENGTHS), indirect=["sd"])
def test_sd_is_bit_equal_with_eta(sd, strength):
    assert_same(*sd("ddim", strength, 2, 7.5, eta=0.5))


def test_a_given_depth_map_is_bit_equal():
    maps = tuple(np.random.default_rng(seed).random((48, 80)).astype(np.float32) for seed in range(2))
    assert_same(*depth2img(pipelines.sd_depth(), "euler", 0.6, 2, 7.5, maps=maps))


@pytest.fixture(scope="module")
def flux():
    return pipelines.flux()


def flux_img2img(pipe, option, strength, batch, guidance, noisy=False, **more):
    images = start_images(32, batch)
    inputs = {"image": images, "strength": strength, "skip": families()["flux"].steps_to_skip(STEPS, strength)}
    *mine, scheduler = ours(Flux(pipe), option, guidance, batch, 32, Img2Img(), **inputs)
    return mine, flux_classic(
        FluxImg2ImgPipeline(**pipe.components), scheduler, batch, strength, noisy, image=list(images), **more
    )


def flux_inpaint(pipe, option, strength, batch, guidance, noisy=False, **more):
    images, masks = start_images(32, batch), (mask(32),) * batch
    inputs = {"image": images, "mask": masks, "strength": strength, "blur": 0, "keep_unmasked": False}
    inputs["skip"] = families()["flux"].steps_to_skip(STEPS, strength)
    *mine, scheduler = ours(Flux(pipe), option, guidance, batch, 32, Inpaint(), **inputs)
    other = FluxInpaintPipeline(**pipe.components)
    return mine, flux_classic(
        other, scheduler, batch, strength, noisy, image=list(images), mask_image=list(masks), **more
    )


def flux_classic(pipe, scheduler, batch, strength, noisy, **arguments):
    generator = generators(batch)
    if noisy:  # the classic pipelines keep their generator from `step`
        scheduler.step = partial(scheduler.step, generator=generator)
    arguments |= {
        "prompt": list(PROMPTS[:batch]),
        "height": 32,
        "width": 32,
        "max_sequence_length": 48,
        "generator": generator,
    }
    return classic(pipe, scheduler, strength=strength, **arguments)


@pytest.mark.parametrize(
    ("option", "run", "strength", "batch"), sampled(FLUX_FROM_IMAGE, [flux_img2img, flux_inpaint], STRENGTHS, BATCHES)
)
def test_flux_is_bit_equal(flux, run, option, strength, batch):
    assert_same(*run(flux, option, strength, batch, Unguided()))


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("option", FLUX_NOISY_FROM_IMAGE)
@pytest.mark.parametrize("run", [flux_img2img, flux_inpaint])
def test_flux_is_bit_equal_once_the_classic_pipeline_passes_its_generator_on(flux, run, option, strength):
    assert_same(*run(flux, option, strength, 2, Unguided(), noisy=True))


@pytest.mark.parametrize(
    ("run", "strength", "batch"), sampled([flux_img2img, flux_inpaint], STRENGTHS, BATCHES, each=2)
)
def test_flux_with_true_guidance_is_bit_equal(flux, run, strength, batch):
    negative = {"negative_prompt": [""] * batch, "true_cfg_scale": 4.0}
    assert_same(*run(flux, "flow_euler", strength, batch, ClassifierFree(4.0), **negative))


@pytest.mark.parametrize("run", [flux_img2img, flux_inpaint])
def test_flux_with_distilled_guidance_is_bit_equal(run):
    pipe = pipelines.flux(guidance_embeds=True)
    assert_same(*run(pipe, "flow_euler", 0.6, 2, Distilled(3.5), guidance_scale=3.5))


#: diffusers#5687, #3116 and #1866: few steps or a low strength gave NaN or raised, above all with Karras' sigmas.
FEW = ((1, 1.0), (2, 0.5), (3, 0.34), (5, 0.2), (10, 0.1), (20, 0.05), (30, 0.1))


@pytest.mark.parametrize(
    "option", every(2, ["euler_karras", "dpmpp_2m_karras", "dpmpp_2m_sde_karras", "lcm", *SD_CORE])
)
def test_few_steps_and_low_strengths_stay_finite(option):
    family = StableDiffusion(pipelines.sd())
    for steps, strength in FEW:
        inputs = {
            "image": start_images(64, 1),
            "strength": strength,
            "skip": families()["sd"].steps_to_skip(steps, strength),
        }
        latents, _, _ = ours(family, option, ClassifierFree(1.0), 1, 64, Img2Img(), steps=steps, **inputs)
        assert latents and latents[-1].isfinite().all(), (steps, strength)


# --- what no classic pipeline can do
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["flow_heun", "flow_unipc", "flow_dpmpp_2m", "flow_deis"])
def test_flux_pipelines_raise_but_composer_runs(flux, option):
    """They pass sigmas that these schedulers do not take, or call a `scale_noise` that they do not have."""
    with pytest.raises((ValueError, AttributeError), match=r"sigmas|scale_noise"):
        flux_img2img(flux, option, 0.6, 1, Unguided())
    inputs = {"image": start_images(32, 1), "strength": 0.6, "skip": 4}
    latents, images, _ = ours(Flux(flux), option, Unguided(), 1, 32, Img2Img(), **inputs)
    assert latents[-1].isfinite().all() and images[0].size == (32, 32)


def test_ipndm_starts_from_an_image_though_it_has_no_add_noise():
    latents, _, scheduler = ours(
        StableDiffusion(pipelines.sd()),
        "ipndm",
        ClassifierFree(7.5),
        1,
        64,
        Img2Img(),
        image=start_images(64, 1),
        strength=0.6,
        skip=4,
    )
    assert not hasattr(scheduler, "add_noise") and len(latents) == 6 and latents[-1].isfinite().all()


@pytest.mark.parametrize("option", ["default", "euler", "heun", "unipc"])
def test_unconditional_models_start_from_an_image(option):
    """By hand: diffusers has no such pipeline."""
    pipe, images = pipelines.ddpm(), start_images(16, 1)
    latents, _, scheduler = ours(
        Unconditional(pipe), option, Unguided(), 1, 16, Img2Img(), image=images, strength=0.6, skip=4
    )
    generator = generators(1)
    scheduler.set_timesteps(STEPS)
    first = 4 * scheduler.order
    scheduler.set_begin_index(first) if hasattr(scheduler, "set_begin_index") else None
    # [None] before permute: the memory format that composer and diffusers give an image, on which the order of
    # additions depends
    clean = torch.from_numpy(np.array(images[0])[None].astype(np.float32) / 255.0).permute(0, 3, 1, 2) * 2 - 1
    x = scheduler.add_noise(
        clean, torch.randn(clean.shape, generator=generator[0]), scheduler.timesteps[first : first + 1]
    )
    with torch.no_grad():
        for index, t in enumerate(scheduler.timesteps[first:]):
            prediction = pipe.unet(scheduler.scale_model_input(x, t), t).sample
            extra = {"generator": generator} if option == "default" else {}
            x = scheduler.step(prediction, t, x, **extra).prev_sample
            assert torch.equal(latents[index], x)
