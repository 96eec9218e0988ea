"""Control models do what diffusers' pipelines do with them, bit for bit, and leave nothing behind."""

from __future__ import annotations

import diffusers as d
import pytest
import torch
from control_models import Model
from tiers import slow_but

from composer import compose

pytestmark = pytest.mark.usefixtures("one_thread")

PART = {"control_guidance_start": 0.25, "control_guidance_end": 0.75}
PART_WORDS = ("control.start=0.25", "control.end=0.75")


def noise(model: Model, *words: str) -> torch.Tensor:
    """The first latents of a run, for pipelines that sample others after the control image's."""
    from composer import StepCallback

    class First(StepCallback):
        latents = None

        def before_step(self, step):
            self.latents = step.latents.clone() if step.index == 0 else self.latents

    first = First()
    compose(*[word for word in model.words(*words) if not word.startswith("callbacks")], callbacks=[first])
    return first.latents


def both(model: Model):
    return [model.open("a"), model.open("b")]


def from_image(model: Model):
    return {"image": model.open("photo"), "strength": 0.6}


def from_mask(model: Model):
    return {**from_image(model), "mask_image": model.open("mask")}


def img2img_words(model: Model):
    return ["task=img2img", f"image={model.files['photo']}", "strength=0.6"]


def inpaint_words(model: Model):
    of_mask = [f"mask={model.files['mask']}", "blur=0", "keep_unmasked=false"]
    return ["task=inpaint", f"image={model.files['photo']}", "strength=0.6", *of_mask]


def net(
    cls, image="image", scale="controlnet_conditioning_scale", more=lambda model: {}, words=lambda model: (), **extra
):
    """One control model: (words of composer, image of diffusers)."""

    def case(model: Model):
        given = {image: model.open("a"), scale: 0.7, **more(model), **extra}
        return model.control("control.scale=0.7", *words(model)), model.classic(cls, **given)

    return case


def part(cls, image="image", more=lambda model: {}):
    return net(cls, image, more=lambda model: {**PART, **more(model)}, words=lambda model: PART_WORDS)


def nets(cls, image="image", more=lambda model: {}):
    """Two control models."""

    def case(model: Model):
        given = {image: both(model), "controlnet_conditioning_scale": [0.7, -0.3], **more(model)}
        return model.two(), model.classic(cls, 2, **given)

    return case


def adapter(cls, count=1):
    def case(model: Model):
        if count == 2:
            given = {"image": both(model), "adapter_conditioning_scale": [0.7, -0.3]}
            return model.two(), model.classic(cls, 2, "adapter", d.MultiAdapter, **given)
        given = {"image": model.open("a"), "adapter_conditioning_scale": 0.7}
        return model.control("control.scale=0.7"), model.classic(cls, 1, "adapter", **given)

    return case


def mode(cls, image, number, name, more=lambda model: {}, **extra):
    return net(cls, image, more=more, words=lambda model: [f"control.mode={name}"], control_mode=number, **extra)


def same_noise(model: Model):
    return {"latents": noise(model)}


def same_start(model: Model):
    return {**from_image(model), "latents": noise(model, *img2img_words(model))}


CONTROL_IMAGE = "control_image"
CASES = {
    ("sd", "one"): net(d.StableDiffusionControlNetPipeline),
    ("sd", "a part of the steps"): part(d.StableDiffusionControlNetPipeline),
    ("sd", "two"): nets(d.StableDiffusionControlNetPipeline),
    ("sd_pooling", "one"): net(d.StableDiffusionControlNetPipeline),
    ("sd_pooling", "unguided"): net(
        d.StableDiffusionControlNetPipeline, words=lambda model: ["guidance=1"], guidance_scale=1.0
    ),
    ("sd", "img2img"): net(
        d.StableDiffusionControlNetImg2ImgPipeline, CONTROL_IMAGE, more=from_image, words=img2img_words
    ),
    ("sd", "inpaint"): net(
        d.StableDiffusionControlNetInpaintPipeline, CONTROL_IMAGE, more=from_mask, words=inpaint_words
    ),
    ("sd_inpaint", "inpaint"): net(
        d.StableDiffusionControlNetInpaintPipeline, CONTROL_IMAGE, more=from_mask, words=inpaint_words
    ),
    ("sd_t2i", "one"): adapter(d.StableDiffusionAdapterPipeline),
    ("sd_t2i", "two"): adapter(d.StableDiffusionAdapterPipeline, 2),
    ("sdxl", "one"): net(d.StableDiffusionXLControlNetPipeline),
    ("sdxl", "a part of the steps"): part(d.StableDiffusionXLControlNetPipeline),
    ("sdxl", "two"): nets(d.StableDiffusionXLControlNetPipeline),
    ("sdxl", "img2img"): net(
        d.StableDiffusionXLControlNetImg2ImgPipeline, CONTROL_IMAGE, more=from_image, words=img2img_words
    ),
    ("sdxl", "inpaint"): net(
        d.StableDiffusionXLControlNetInpaintPipeline, CONTROL_IMAGE, more=from_mask, words=inpaint_words
    ),
    ("sdxl_union", "one"): mode(d.StableDiffusionXLControlNetUnionPipeline, CONTROL_IMAGE, 1, "depth"),
    ("sdxl_t2i", "one"): adapter(d.StableDiffusionXLAdapterPipeline),
    ("sdxl_t2i", "two"): adapter(d.StableDiffusionXLAdapterPipeline, 2),
    ("sd3", "two"): nets(d.StableDiffusion3ControlNetPipeline, CONTROL_IMAGE),
    ("flux", "two"): nets(d.FluxControlNetPipeline, CONTROL_IMAGE, more=same_noise),
    ("sd3", "one"): net(d.StableDiffusion3ControlNetPipeline, CONTROL_IMAGE),
    ("sd3", "a part of the steps"): part(d.StableDiffusion3ControlNetPipeline, CONTROL_IMAGE),
    ("sd3_large", "one"): net(d.StableDiffusion3ControlNetPipeline, CONTROL_IMAGE),
    ("flux", "one"): net(d.FluxControlNetPipeline, CONTROL_IMAGE, more=same_noise),
    ("flux", "a part of the steps"): part(d.FluxControlNetPipeline, CONTROL_IMAGE, more=same_noise),
    ("flux", "img2img"): net(d.FluxControlNetImg2ImgPipeline, CONTROL_IMAGE, more=same_start, words=img2img_words),
    ("flux_union", "one"): mode(d.FluxControlNetPipeline, CONTROL_IMAGE, 2, "depth", more=same_noise),
    ("qwen_image", "one"): net(d.QwenImageControlNetPipeline, CONTROL_IMAGE, more=same_noise),
    ("qwen_image", "a part of the steps"): part(d.QwenImageControlNetPipeline, CONTROL_IMAGE, more=same_noise),
    ("z_image", "one"): net(d.ZImageControlNetPipeline, CONTROL_IMAGE),
}


#: One of each class, and of each case.
STANDARD = [
    ("sd", "two"), ("sd", "inpaint"), ("sd_t2i", "one"), ("sdxl", "img2img"), ("sdxl_union", "one"),
    ("sd3", "a part of the steps"), ("flux", "one"), ("qwen_image", "one"), ("z_image", "one"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "case"), slow_but(STANDARD, CASES))
def test_it_equals_diffusers_and_the_run_after_equals_the_run_before(control_models, kind, case):
    model = control_models(kind)
    words, expected = CASES[kind, case](model)
    plain = [word for word in words if not word.startswith("control")]
    before = model.image(*plain)
    assert model.image(*words) == expected != before
    if model.steps:  # those that T2I-Adapters have take no callbacks of this kind
        latents = model.latents(*words)
        assert len(latents) == len(model.steps)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(latents, model.steps))
    assert model.image(*plain) == before
