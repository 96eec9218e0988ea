"""Several images of a prompt against diffusers' `num_images_per_prompt`, bit for bit: its text encoders see each prompt
once.
"""

from __future__ import annotations

from functools import partial

import pytest
from diffusers import (
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from runs import PROMPTS, assert_same, classic, generators, mask, ours
from runs import image as input_image

from composer.checkpoints.layouts import families
from composer.families.flux.model import Flux
from composer.families.sd.model import StableDiffusion
from composer.families.sd3.model import StableDiffusion3
from composer.families.sdxl.model import StableDiffusionXL
from composer.sampling.guidance import ClassifierFree, Unguided
from composer.tasks.depth2img import Depth2Img
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

STRENGTH, STEPS = 0.5, 4
CLASSES = {"sd": StableDiffusion, "sdxl": StableDiffusionXL, "sd3": StableDiffusion3, "flux": Flux}
FROM_IMAGE = {
    "sd img2img": (pipelines.sd, StableDiffusionImg2ImgPipeline, Img2Img),
    "sd inpaint": (pipelines.sd, StableDiffusionInpaintPipeline, Inpaint),
    "sd inpaint, 9 channels": (partial(pipelines.sd, in_channels=9), StableDiffusionInpaintPipeline, Inpaint),
    "sd depth2img": (pipelines.sd_depth, None, Depth2Img),
    "sdxl img2img": (pipelines.sdxl, StableDiffusionXLImg2ImgPipeline, Img2Img),
    "sdxl inpaint": (pipelines.sdxl, StableDiffusionXLInpaintPipeline, Inpaint),
    "sd3 img2img": (pipelines.sd3, StableDiffusion3Img2ImgPipeline, Img2Img),
    "flux img2img": (pipelines.flux, FluxImg2ImgPipeline, Img2Img),
    "flux inpaint": (pipelines.flux, FluxInpaintPipeline, Inpaint),
}


def call_arguments(family: str, batch: int, **more) -> dict:
    """diffusers' arguments; guidance as `guided` has it."""
    size = 32 if family == "flux" else 64
    extra = {"max_sequence_length": 48} if family == "flux" else {"guidance_scale": 7.5}
    return {"generator": generators(batch), "height": size, "width": size, **extra, **more}


def guided(family: str):
    return Unguided() if family == "flux" else ClassifierFree(7.5)


def option(family: str) -> str:
    return "default" if family in ("sd3", "flux") else "euler"


def sibling(cls, pipe):
    """Another pipeline class on the same components."""
    if cls is None:
        return pipe
    more = {"requires_safety_checker": False} if type(pipe).__name__ == "StableDiffusionPipeline" else {}
    return cls(**pipe.components, **more)


@pytest.mark.parametrize("each", [3, 1])
@pytest.mark.parametrize("family", CLASSES)
def test_images_of_one_prompt_are_bit_equal(family, each):
    run(family, PROMPTS[:1], each)


@pytest.mark.parametrize("family", CLASSES)
def test_images_of_two_prompts_are_bit_equal(family):
    run(family, PROMPTS, 2)


def run(family: str, prompts, each: int) -> None:
    pipe, arguments = (
        getattr(pipelines, family)(),
        call_arguments(family, len(prompts) * each, num_images_per_prompt=each),
    )
    texts = [prompt for prompt in prompts for _ in range(each)]
    *mine, scheduler = ours(
        CLASSES[family](pipe),
        option(family),
        guided(family),
        len(texts),
        arguments["height"],
        Text2Img(),
        prompts=texts,
        steps=STEPS,
    )
    assert_same(mine, classic(pipe, scheduler, STEPS, prompt=list(prompts), **arguments))


@pytest.mark.parametrize("case", FROM_IMAGE)
def test_images_from_one_image_are_bit_equal(case):
    make, cls, task = FROM_IMAGE[case]
    family, pipe = case.split()[0], make()
    arguments = call_arguments(family, 3, num_images_per_prompt=3, strength=STRENGTH)
    size = arguments["height"]
    if task is Depth2Img or cls is StableDiffusionImg2ImgPipeline:
        arguments = {key: value for key, value in arguments.items() if key not in ("height", "width")}
    image, hole = input_image(size), mask(size)
    inputs = {"image": (image,) * 3, "strength": STRENGTH, "skip": families()[family].steps_to_skip(STEPS, STRENGTH)}
    # a list of as many images as generators: of one, some of diffusers' pipelines generate all VAE samples from the
    # first generator; depth2img repeats what it makes of one, as the others do with a list
    several = image if task is Depth2Img else [image] * 3
    theirs = {"image": several, **({"mask_image": [hole] * 3} if task is Inpaint else {})}
    if task is Inpaint:
        inputs |= {"mask": (hole,) * 3, "blur": 0, "keep_unmasked": False}
    if task is Depth2Img:
        inputs["depth"] = None
    *mine, scheduler = ours(
        CLASSES[family](pipe),
        option(family),
        guided(family),
        3,
        size,
        task(),
        prompts=PROMPTS[:1] * 3,
        steps=STEPS,
        **inputs,
    )
    assert_same(mine, classic(sibling(cls, pipe), scheduler, STEPS, prompt=PROMPTS[0], **theirs, **arguments))
