"""Stable Diffusion 3 against diffusers, bit for bit: text2img, img2img, inpainting with 16 and 33 channels."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from cases import BATCHES, SD3, SD3_CORE, SD3_FROM_IMAGE, SD3_NOISY, SD3_NOISY_FROM_IMAGE, SD3_REFUSED, STRENGTHS
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline
from runs import PROMPTS, assert_same, classic, generators, image, mask, ours
from tiers import sampled

from composer.checkpoints.layouts import families
from composer.families.sd3.model import StableDiffusion3
from composer.sampling.guidance import ClassifierFree
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

STEPS = 7
CFG = 7.5


def start_images(batch):
    return tuple(image(64, seed) for seed in range(batch))


def theirs(pipe, scheduler, batch, scale, noisy=False, **more):
    """The classic pipelines keep their generator from `step`; `noisy` hands it on for them."""
    generator = generators(batch)
    if noisy:
        scheduler.step = partial(scheduler.step, generator=generator)
    more |= {
        "prompt": list(PROMPTS[:batch]),
        "generator": generator,
        "guidance_scale": scale,
        "height": 64,
        "width": 64,
    }
    return classic(pipe, scheduler, STEPS, **more)


# Each returns (ours, classic) for a scheduler option, a strength, a batch size and a guidance scale.


def text2img(pipe, option, strength, batch, scale, negative=None, **more):
    *mine, scheduler = ours(
        StableDiffusion3(pipe), option, ClassifierFree(scale), batch, 64, Text2Img(), negative=negative, steps=STEPS
    )
    prompts = None if negative is None else [negative] * batch
    return mine, theirs(pipe, scheduler, batch, scale, negative_prompt=prompts, **more)


def img2img(pipe, option, strength, batch, scale, **more):
    inputs = {
        "image": start_images(batch),
        "strength": strength,
        "skip": families()["sd3"].steps_to_skip(STEPS, strength),
    }
    *mine, scheduler = ours(
        StableDiffusion3(pipe), option, ClassifierFree(scale), batch, 64, Img2Img(), steps=STEPS, **inputs
    )
    other = StableDiffusion3Img2ImgPipeline(**pipe.components)
    return mine, theirs(other, scheduler, batch, scale, image=list(start_images(batch)), strength=strength, **more)


def inpaint(pipe, option, strength, batch, scale, **more):
    masks = (mask(64),) * batch
    inputs = {"image": start_images(batch), "mask": masks, "strength": strength, "blur": 0, "keep_unmasked": False}
    inputs["skip"] = families()["sd3"].steps_to_skip(STEPS, strength)
    *mine, scheduler = ours(
        StableDiffusion3(pipe), option, ClassifierFree(scale), batch, 64, Inpaint(), steps=STEPS, **inputs
    )
    other = StableDiffusion3InpaintPipeline(**pipe.components)
    return mine, theirs(
        other,
        scheduler,
        batch,
        scale,
        image=list(start_images(batch)),
        mask_image=list(masks),
        strength=strength,
        **more,
    )


def unshifted(**settings):
    """StableDiffusion3InpaintPipeline forgets the VAE's shift when it decodes, see the end: images can only be equal
    without.
    """
    pipe = pipelines.sd3(**settings)
    pipe.vae.register_to_config(shift_factor=0.0)
    return pipe


def latents_alone(mine, other) -> None:
    assert_same((mine[0], []), (other[0], []))


TASKS = {"img2img": (img2img, pipelines.sd3), "inpaint, 16 channels": (inpaint, unshifted)}


@pytest.fixture(scope="module")
def base():
    return pipelines.sd3()


@pytest.fixture(scope="module", params=TASKS)
def from_image(request):
    run, make = TASKS[request.param]
    return partial(run, make())


@pytest.mark.parametrize(("option", "scale", "batch"), sampled(SD3_CORE, (1.0, CFG), BATCHES))
def test_text2img_is_bit_equal(base, option, scale, batch):
    assert_same(*text2img(base, option, 1.0, batch, scale))


@pytest.mark.parametrize("option", [option for option in SD3 if option not in SD3_CORE])
def test_text2img_is_bit_equal_for_the_other_schedulers(base, option):
    assert_same(*text2img(base, option, 1.0, 2, CFG, negative="blurry"))


@pytest.mark.parametrize("option", SD3_NOISY)
def test_text2img_is_bit_equal_once_the_classic_pipeline_passes_its_generator_on(base, option):
    assert_same(*text2img(base, option, 1.0, 2, CFG, noisy=True))


@pytest.mark.parametrize(
    ("option", "from_image", "strength", "scale", "batch"),
    sampled(SD3_CORE, TASKS, STRENGTHS, (1.0, CFG), BATCHES),
    indirect=["from_image"],
)
def test_from_an_image_is_bit_equal(from_image, option, strength, scale, batch):
    assert_same(*from_image(option, strength, batch, scale))


@pytest.mark.parametrize("option", [option for option in SD3_FROM_IMAGE if option not in SD3_CORE])
def test_from_an_image_is_bit_equal_for_the_other_schedulers(from_image, option):
    assert_same(*from_image(option, 0.6, 2, CFG))


@pytest.mark.parametrize(
    ("option", "from_image", "strength"),
    sampled(SD3_NOISY_FROM_IMAGE, TASKS, STRENGTHS, each=2),
    indirect=["from_image"],
)
def test_from_an_image_is_bit_equal_once_the_classic_pipeline_passes_its_generator_on(from_image, option, strength):
    assert_same(*from_image(option, strength, 2, CFG, noisy=True))


@pytest.mark.parametrize(
    ("option", "strength", "scale"),
    sampled(["default", "flow_euler_karras", "flow_heun"], STRENGTHS, [1.0, CFG], each=2),
)
def test_a_model_that_takes_the_mask_is_bit_equal(option, strength, scale):
    assert_same(*inpaint(unshifted(in_channels=33), option, strength, 1, scale))


@pytest.mark.parametrize("strength", [0.3, 0.77, 0.99])
def test_a_step_that_strength_only_begins_counts(base, strength):
    """2.1, 5.39 and 6.93 of seven steps: SD3's pipelines round up where Stable Diffusion's round down."""
    mine, other = img2img(base, "flow_euler", strength, 1, CFG)
    assert_same(mine, other)
    assert len(mine[0]) == {0.3: 3, 0.77: 6, 0.99: 7}[strength]


@pytest.mark.parametrize("option", ["default", "flow_euler_karras", "flow_unipc"])
def test_a_shift_that_grows_with_the_image_is_bit_equal(option):
    pipe = pipelines.sd3(dynamic_shift=True)
    assert_same(*text2img(pipe, option, 1.0, 2, CFG))
    if option in SD3_FROM_IMAGE:
        assert_same(*img2img(pipe, option, 0.6, 2, CFG))


def test_without_t5_is_bit_equal():
    pipe = pipelines.sd3(with_t5=False)
    assert_same(*text2img(pipe, "flow_euler", 1.0, 2, CFG, negative="blurry"))
    assert_same(*img2img(pipe, "flow_euler", 0.6, 2, CFG))


# --- where the classic pipeline is wrong ------------------------------------------------------------------------------


def test_the_inpaint_pipeline_forgets_the_vaes_shift(base):
    """It encodes with the VAE's shift and decodes without: latents are the same to the end, its images are off in
    colour.
    """
    mine, other = inpaint(base, "flow_euler", 0.6, 2, CFG)
    latents_alone(mine, other)
    assert mine[1][0].tobytes() != other[1][0].tobytes()
    config, last = base.vae.config, other[0][-1]
    with torch.no_grad():
        right, wrong = (
            base.vae.decode(last / config.scaling_factor + shift).sample for shift in (config.shift_factor, 0.0)
        )
    mend = StableDiffusion3Img2ImgPipeline(**base.components).image_processor.postprocess
    assert [image.tobytes() for image in mend(right)] == [image.tobytes() for image in mine[1]]
    assert [image.tobytes() for image in mend(wrong)] == [image.tobytes() for image in other[1]]


def test_the_inpaint_pipeline_encodes_masked_images_as_one_batch():
    """Everything else goes through the VAE image by image. In one batch the convolutions round otherwise: no image's
    latents are then what they are alone, which composer's are."""
    pipe = unshifted(in_channels=33)
    mine, other = inpaint(pipe, "flow_euler", 0.6, 2, CFG)
    alone, _ = inpaint(pipe, "flow_euler", 0.6, 1, CFG)
    for ours_, theirs_, one in zip(mine[0], other[0], alone[0]):
        assert torch.allclose(ours_, theirs_, atol=1e-4)
        assert torch.allclose(ours_[:1], one, atol=1e-4)


@pytest.mark.parametrize("option", ["flow_unipc", "flow_dpmpp_2m", "flow_dpmpp_2s", "flow_deis"])
def test_the_pipelines_from_an_image_raise_but_composer_runs(base, option):
    """They call a `scale_noise` that these schedulers do not have; composer calls their `add_noise`."""
    with pytest.raises(AttributeError, match="scale_noise"):
        img2img(base, option, 0.6, 1, CFG)
    inputs = {"image": start_images(1), "strength": 0.6, "skip": 4}
    latents, images, _ = ours(StableDiffusion3(base), option, ClassifierFree(CFG), 1, 64, Img2Img(), **inputs)
    assert len(latents) == 6 and latents[-1].isfinite().all() and images[0].size == (64, 64)


@pytest.mark.parametrize("option", SD3_REFUSED)
def test_the_pipeline_raises_where_a_shift_grows_but_composer_runs(option):
    pipe = pipelines.sd3(dynamic_shift=True)
    with pytest.raises((TypeError, ValueError), match=SD3_REFUSED[option]):
        text2img(pipe, option, 1.0, 1, CFG)
    latents, _, _ = ours(StableDiffusion3(pipe), option, ClassifierFree(CFG), 1, 64, Text2Img())
    assert latents[-1].isfinite().all()


def test_the_transformer_of_sd_3_0_is_bit_equal():
    """Without the norms and second attentions of SD 3.5, which the other tests have."""
    pipe = pipelines.sd3()
    assert pipe.transformer.config.qk_norm and pipe.transformer.config.dual_attention_layers
    config = {**pipe.transformer.config, "qk_norm": None, "dual_attention_layers": ()}
    pipe.register_modules(transformer=type(pipe.transformer).from_config(config).eval())
    assert_same(*text2img(pipe, "default", 1.0, 2, CFG))
