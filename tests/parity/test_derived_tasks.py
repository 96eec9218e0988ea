"""Tasks made of others (outpainting, variations, upscaling) against the same chain of diffusers' pipelines."""

from __future__ import annotations

import inspect

import diffusers
import pytest
from family_tasks import derived
from flow_cases import FLOW_FAMILIES
from runs import PROMPTS, assert_same, classic, generators, image, ours
from test_flow_families import family_of
from tiers import slow_but
from zoo import ZOO

from composer.checkpoints.layouts import families
from composer.images.masks import pad_for_outpainting
from composer.images.reading import resize_to
from composer.sampling.guidance import ClassifierFree
from composer.tasks.outpaint import Outpaint
from composer.tasks.upscale import Upscale
from composer.tasks.variations import Variations
from composer.testing import pipelines

SIDE, STEPS, STRENGTH, SCALE = 32, 4, 0.5, 4.0
#: Family → its classes of diffusers that begin with an image.
CLASSES = {
    "sd": ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    "sdxl": ("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    "sd3": ("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    "flux": ("FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    **{
        name: (case.pipelines.get("img2img", ""), case.pipelines.get("inpaint", ""))
        for name, case in FLOW_FAMILIES.items()
    },
}


def made(name: str):
    """The tiny pipeline, and those that begin with an image."""
    pipe = pipelines.MAKERS[name]() if name in pipelines.MAKERS else ZOO[FLOW_FAMILIES[name].zoo].make()
    checker = {"requires_safety_checker": False} if name == "sd" else {}
    return pipe, *(cls and getattr(diffusers, cls)(**pipe.components, **checker) for cls in CLASSES[name])


def call(pipe, name: str, scheduler, prompts, **arguments):
    """One run of diffusers' pipeline at the scale."""
    known = inspect.signature(pipe.__call__).parameters
    more = dict(FLOW_FAMILIES[name].more) if name in FLOW_FAMILIES else {}
    more |= FLOW_FAMILIES[name].scale(SCALE) if name in FLOW_FAMILIES else {"guidance_scale": SCALE}
    if name == "flux":
        more |= {"true_cfg_scale": SCALE, "guidance_scale": 1.0, "max_sequence_length": 48}
    arguments |= more | {"negative_prompt": [""] * len(prompts), "prompt": list(prompts)}
    arguments = {key: value for key, value in arguments.items() if key in known}
    return classic(pipe, scheduler, steps=STEPS, generator=generators(len(prompts)), **arguments)


def compare(name: str, task: str) -> None:
    pipe, img2img, inpaint = made(name)
    if (name, task) == ("sd3", "outpaint"):  # its pipeline decodes without the VAE's shift, see test_sd3.py
        pipe.vae.register_to_config(shift_factor=0.0)
    # composer encodes equal texts once, and a batch of two has other last bits than one
    batch = 1 if task == "variations" else 2
    family, first = family_of(name, pipe), tuple(image(SIDE, seed) for seed in range(batch))
    skip, fresh = families()[name].steps_to_skip(STEPS, STRENGTH), pipe.scheduler.from_config
    size, prompts = {"height": SIDE, "width": SIDE}, ("",) if task == "variations" else PROMPTS[:batch]
    begin, inputs = {"negative": "", "steps": STEPS, "prompts": prompts}, {"strength": STRENGTH}
    guidance = ClassifierFree(SCALE)
    if task == "variations":
        *mine, scheduler = ours(
            family, "default", guidance, batch, SIDE, Variations(), skip=skip, image=first, **inputs, **begin
        )
        theirs = call(img2img, name, scheduler, prompts, image=list(first), **inputs, **size)
    elif task == "outpaint":
        inner = [one.resize((SIDE - 16, SIDE)) for one in first]
        canvases, masks = zip(*(pad_for_outpainting(one, 0, 0, 16, 0) for one in inner))
        inputs |= {"image": canvases, "mask": masks, "blur": 0, "keep_unmasked": False}
        *mine, scheduler = ours(family, "default", guidance, batch, SIDE, Outpaint(), skip=skip, **inputs, **begin)
        given = {"image": list(canvases), "mask_image": list(masks), "strength": STRENGTH}
        theirs = call(inpaint, name, scheduler, prompts, **given, **size)
    else:
        second = {"height": 2 * SIDE, "width": 2 * SIDE, "steps_skipped": skip}
        *mine, scheduler = ours(family, "default", guidance, batch, SIDE, Upscale(), second=second, **inputs, **begin)
        latents, images = call(pipe, name, scheduler, prompts, **size)
        scaled = [resize_to(one, 2 * SIDE, 2 * SIDE) for one in images]
        more, images = call(
            img2img, name, fresh(scheduler.config), prompts, image=scaled, height=2 * SIDE, width=2 * SIDE, **inputs
        )
        theirs = [*latents, *more], images
    assert_same(mine, theirs, least=2)


@pytest.mark.parametrize(("name", "task"), slow_but([("z_image", "upscale")], derived()))
def test_a_chain_is_bit_equal(name, task):
    compare(name, task)
