"""SDXL against diffusers, bit for bit: text2img, img2img, inpainting with 4 and 9 channels, and the refiner on its
own.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from cases import BATCHES, SCALES, SDXL, SDXL_CORE, SDXL_FROM_IMAGE, STRENGTHS
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from runs import PROMPTS, assert_same, classic, generators, image, mask, ours
from tiers import every, sampled

from composer.callbacks.request import Request
from composer.checkpoints.layouts import families
from composer.families.sdxl.model import StableDiffusionXL
from composer.images.pixels import to_pixels
from composer.sampling.guidance import ClassifierFree, Distilled
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

STEPS = 7
SIZE = {"height": 64, "width": 64}


def images(batch):
    return tuple(image(64, seed) for seed in range(batch))


def call_arguments(batch, scale, **more):
    return {"prompt": list(PROMPTS[:batch]), "generator": generators(batch), "guidance_scale": scale, **more}


def sibling(cls, pipe):
    """Another pipeline on the same components."""
    settings = {
        key: pipe.config[key]
        for key in ("requires_aesthetics_score", "force_zeros_for_empty_prompt")
        if key in pipe.config
    }
    return cls(**pipe.components, add_watermarker=False, **settings)


# Each returns (ours, classic) for a scheduler option, a strength, a batch size and guidance. `more` goes to both, by
# our names.


def text2img(pipe, option, strength, batch, guidance, eta=None, **more):
    *mine, scheduler = ours(StableDiffusionXL(pipe), option, guidance, batch, 64, Text2Img(), eta=eta, steps=STEPS)
    return mine, classic(
        pipe, scheduler, STEPS, **call_arguments(batch, guidance.scale, **SIZE, **given(eta, guidance), **more)
    )


def img2img(pipe, option, strength, batch, guidance, eta=None, **more):
    inputs = {"image": images(batch), "strength": strength, "skip": families()["sdxl"].steps_to_skip(STEPS, strength)}
    *mine, scheduler = ours(
        StableDiffusionXL(pipe), option, guidance, batch, 64, Img2Img(), eta=eta, steps=STEPS, **inputs
    )
    arguments = call_arguments(
        batch, guidance.scale, image=list(images(batch)), strength=strength, **given(eta, guidance), **more
    )
    return mine, classic(sibling(StableDiffusionXLImg2ImgPipeline, pipe), scheduler, STEPS, **arguments)


def inpaint(pipe, option, strength, batch, guidance, eta=None, **more):
    masks = (mask(64),) * batch
    inputs = {"image": images(batch), "mask": masks, "strength": strength, "blur": 0, "keep_unmasked": False}
    inputs["skip"] = families()["sdxl"].steps_to_skip(STEPS, strength)
    *mine, scheduler = ours(
        StableDiffusionXL(pipe), option, guidance, batch, 64, Inpaint(), eta=eta, steps=STEPS, **inputs
    )
    arguments = call_arguments(
        batch, guidance.scale, image=list(images(batch)), mask_image=list(masks), strength=strength, **SIZE
    )
    return mine, classic(
        sibling(StableDiffusionXLInpaintPipeline, pipe), scheduler, STEPS, **arguments, **given(eta, guidance), **more
    )


def given(eta, guidance):
    arguments = {"guidance_rescale": getattr(guidance, "rescale", 0.0)}
    return arguments if eta is None else arguments | {"eta": eta}


TASKS = {
    "img2img": (img2img, pipelines.sdxl),
    "inpaint, 4 channels": (inpaint, pipelines.sdxl),
    "inpaint, 9 channels": (inpaint, partial(pipelines.sdxl, in_channels=9)),
}


@pytest.fixture(scope="module")
def base():
    return pipelines.sdxl()


@pytest.fixture(scope="module", params=TASKS)
def from_image(request):
    run, make = TASKS[request.param]
    return partial(run, make())


@pytest.mark.parametrize(("option", "scale", "batch"), sampled(SDXL_CORE, SCALES, BATCHES))
def test_text2img_is_bit_equal(base, option, scale, batch):
    assert_same(*text2img(base, option, 1.0, batch, ClassifierFree(scale)))


@pytest.mark.parametrize(
    "option", every(3, [option for option in SDXL if option not in SDXL_CORE])
)  # each runs from an image, below
def test_text2img_is_bit_equal_for_the_other_schedulers(base, option):
    assert_same(*text2img(base, option, 1.0, 2, ClassifierFree(7.5)))


@pytest.mark.parametrize(
    ("option", "from_image", "strength", "scale", "batch"),
    sampled(SDXL_CORE, TASKS, STRENGTHS, SCALES, BATCHES, each=2),
    indirect=["from_image"],
)
def test_from_an_image_is_bit_equal(from_image, option, strength, scale, batch):
    assert_same(*from_image(option, strength, batch, ClassifierFree(scale)))


@pytest.mark.parametrize(
    ("option", "from_image"),
    sampled([option for option in SDXL_FROM_IMAGE if option not in SDXL_CORE], TASKS),
    indirect=["from_image"],
)
def test_from_an_image_is_bit_equal_for_the_other_schedulers(from_image, option):
    assert_same(*from_image(option, 0.6, 2, ClassifierFree(7.5)))


@pytest.mark.parametrize(("option", "strength"), sampled(SDXL_CORE, STRENGTHS))
def test_a_refiner_is_bit_equal(option, strength):
    assert_same(*img2img(pipelines.sdxl_refiner(), option, strength, 2, ClassifierFree(7.5)))


def test_rescaled_guidance_is_bit_equal(base, from_image):
    assert_same(*text2img(base, "euler", 1.0, 2, ClassifierFree(7.5, rescale=0.7)))
    assert_same(*from_image("euler", 0.6, 2, ClassifierFree(7.5, rescale=0.7)))


def test_eta_is_bit_equal(base, from_image):
    assert_same(*text2img(base, "ddim", 1.0, 2, ClassifierFree(7.5), eta=0.5))
    assert_same(*from_image("ddim", 0.6, 2, ClassifierFree(7.5), eta=0.5))


@pytest.mark.parametrize(("run", "option"), sampled([text2img, img2img, inpaint], ["lcm", "euler"]))
def test_a_scale_as_an_input_of_the_unet_is_bit_equal(run, option):
    """LCM: the scale is an input and there is no negative branch."""
    guidance = Distilled(8.0)
    guidance.scale = 8.0  # the scale of the classic pipeline; a step of composer's ignores it without a negative branch
    assert_same(*run(pipelines.sdxl(takes_guidance_scale=True), option, 1.0, 2, guidance))


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", [None, "", "blurry"])
def test_no_negative_prompt_is_not_an_empty_one(negative, zeros):
    """None is zeros where the checkpoint says so, "" is the empty text's embedding."""
    pipe = pipelines.sdxl()
    pipe.register_to_config(force_zeros_for_empty_prompt=zeros)
    *mine, scheduler = ours(
        StableDiffusionXL(pipe), "euler", ClassifierFree(7.5), 2, 64, Text2Img(), negative=negative, steps=6
    )
    prompts = None if negative is None else [negative] * 2
    assert_same(mine, classic(pipe, scheduler, 6, **call_arguments(2, 7.5, negative_prompt=prompts, **SIZE)))


def request(*negatives: str | None) -> Request:
    return Request(prompts=PROMPTS, negative_prompts=negatives, seeds=(7, 8), steps=6, height=48, width=96)


def test_a_batch_may_mix_none_and_given_negative_prompts(base):
    family = StableDiffusionXL(base)
    mixed, empty = (family.encode(request(None, text), True).negative for text in ("blurry", None))
    given = family.encode(request("blurry", "blurry"), True).negative
    assert torch.equal(mixed.hidden, torch.stack([empty.hidden[0], given.hidden[1]])) and not empty.hidden.any()
    assert torch.equal(mixed.pooled, torch.stack([empty.pooled[0], given.pooled[1]]))


def test_time_ids_are_height_before_width_and_a_refiners_the_scores(base):
    conditioning = StableDiffusionXL(base).encode(request(None, None), True)
    assert (
        conditioning.positive.extra["time_ids"].tolist()
        == conditioning.negative.extra["time_ids"].tolist()
        == [[48, 96, 0, 0, 48, 96]] * 2
    )
    conditioning = StableDiffusionXL(pipelines.sdxl_refiner()).encode(request(None, None), True)
    assert conditioning.positive.extra["time_ids"].tolist() == [[48, 96, 0, 0, 6.0]] * 2
    assert conditioning.negative.extra["time_ids"].tolist() == [[48, 96, 0, 0, 2.5]] * 2


def with_statistics():
    pipe = pipelines.sdxl()
    pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.4], latents_std=[0.9, 1.1, 1.2, 0.8])
    return pipe


@pytest.mark.parametrize("run", [text2img, img2img])
def test_a_vae_with_mean_and_deviation_of_its_latents_is_bit_equal(run):
    assert_same(*run(with_statistics(), "euler", 0.6, 2, ClassifierFree(7.5)))


def test_half_precision_decodes_in_full():
    """SDXL's VAE overflows in fp16: the classic pipelines decode in fp32, and so does composer, which leaves the VAE as
    it was.
    """
    pipe = pipelines.sdxl().to(torch.float16)
    assert pipe.vae.config.force_upcast
    seen = []
    pipe.vae.post_quant_conv.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    assert_same(*text2img(pipe, "euler", 1.0, 2, ClassifierFree(7.5)))
    assert seen == [torch.float32] * 2 and pipe.vae.dtype == torch.float16


def test_half_precision_encodes_in_full():
    pipe = pipelines.sdxl().to(torch.float16)
    seen = []
    pipe.vae.quant_conv.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    latents = StableDiffusionXL(pipe).encode_image(to_pixels(images(2)), tuple(generators(2)))
    assert seen == [torch.float32] * 2 and latents.dtype == pipe.vae.dtype == torch.float16


# --- where the classic pipeline is wrong ------------------------------------------------------------------------------


def test_the_inpaint_pipeline_forgets_the_latents_mean_and_deviation():
    """It decodes with them but encodes without, so what it keeps of the image comes out in other colours."""
    pipe, pixels = with_statistics(), to_pixels(images(2))
    mine = StableDiffusionXL(pipe).encode_image(pixels, tuple(generators(2)))
    right = sibling(StableDiffusionXLImg2ImgPipeline, pipe)
    with torch.no_grad():
        right = right.prepare_latents(pixels, None, 2, 1, torch.float32, "cpu", generators(2), add_noise=False)
        wrong = sibling(StableDiffusionXLInpaintPipeline, pipe)._encode_vae_image(pixels, generators(2))
    assert torch.equal(mine, right)
    assert not torch.allclose(mine, wrong, atol=0.01)


def test_the_text_pipeline_raises_with_a_refiner_but_composer_runs():
    """StableDiffusionXLPipeline knows no aesthetic score."""
    pipe = pipelines.sdxl_refiner()
    latents, images, _ = ours(StableDiffusionXL(pipe), "euler", ClassifierFree(7.5), 1, 64, Text2Img(), steps=2)
    assert latents[-1].isfinite().all() and images[0].size == (64, 64)
    from diffusers import StableDiffusionXLPipeline

    with pytest.raises(ValueError, match="added time embedding vector"):
        StableDiffusionXLPipeline(**pipe.components, add_watermarker=False)(**call_arguments(1, 7.5, **SIZE))
