"""Each family of flow transformers against diffusers' own pipelines: latents after every step, pixels before
postprocessing, and images, bit for bit."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from functools import cache, partial

import diffusers
import pytest
import torch
from flow_cases import EDITS, FLOW_FAMILIES, MASKED, RAISES, SCALES, SIDE, STEPS
from runs import PROMPTS, assert_same, classic, generators, image, mask, ours
from tiers import slow_but
from zoo import ZOO

from composer.checkpoints.layouts import families
from composer.sampling.guidance import ClassifierFree, Distilled
from composer.tasks.edit import Edit
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img

STRENGTH = 0.6
TASKS = {"text2img": Text2Img, "img2img": Img2Img, "inpaint": Inpaint}


@cache
def tiny(family: str):
    pipe = ZOO[FLOW_FAMILIES[family].zoo].make()
    if FLOW_FAMILIES[family].slicing:
        pipe.vae.enable_slicing()
    return pipe


def family_of(name: str, pipe):
    module, _, cls = families()[name].family.partition(":")
    return getattr(__import__(module, fromlist=[cls]), cls)(pipe)


@contextmanager
def pixels_of(*pipes):
    """What the image processors of pipelines are passed to make images of."""
    seen, processors = [], {id(pipe.image_processor): pipe.image_processor for pipe in pipes}.values()
    for processor in processors:
        postprocess = processor.postprocess
        processor.postprocess = lambda pixels, *args, _own=postprocess, **kw: (
            seen.append(pixels.clone()),
            _own(pixels, *args, **kw),
        )[1]
    try:
        yield seen
    finally:
        for processor in processors:
            del processor.postprocess


def compare(
    name: str,
    task: str,
    scale: float,
    batch: int,
    option: str = "default",
    strength: float = STRENGTH,
    handed: bool = False,
) -> None:
    """`handed`: diffusers' pipelines keep their generator from schedulers that add noise, which get it here."""
    case, pipe = FLOW_FAMILIES[name], tiny(name)
    info = families()[case.family or name]
    guidance = Distilled(scale) if case.distilled else ClassifierFree(scale)
    negative = "blurry" if case.takes_negative else None
    inputs, arguments = inputs_of(task, batch, strength)
    other = getattr(diffusers, case.pipelines[task])(**pipe.components) if task in case.pipelines else pipe
    skip = 0 if task == "text2img" else info.steps_to_skip(STEPS, strength)
    with pixels_of(pipe, other) as pixels:
        *mine, scheduler = ours(
            family_of(info.name, pipe), option, guidance, batch, SIDE, TASKS[task](), negative=negative,
            skip=skip, steps=STEPS, **inputs,
        )  # fmt: skip
        if negative and scale > 1:
            arguments["negative_prompt"] = [negative] * batch
        arguments |= case.scale(scale) | case.more | {"height": SIDE, "width": SIDE}
        known = inspect.signature(other.__call__).parameters
        arguments = {key: value for key, value in arguments.items() if key in known}
        generator = generators(batch)
        if handed:
            scheduler.step = partial(scheduler.step, generator=generator)
        theirs = classic(other, scheduler, steps=STEPS, prompt=list(PROMPTS[:batch]), generator=generator, **arguments)
    assert_same(mine, theirs)
    assert len(pixels) == 2 and torch.equal(*pixels), "pixels before postprocessing differ"


def inputs_of(task: str, batch: int, strength: float):
    """Of composer's request, and of diffusers' pipeline."""
    if task == "text2img":
        return {}, {}
    images = tuple(image(SIDE, seed) for seed in range(batch))
    inputs, arguments = {"image": images, "strength": strength}, {"image": list(images), "strength": strength}
    if task == "inpaint":
        masks = (mask(SIDE),) * batch
        inputs |= {"mask": masks, "blur": 0, "keep_unmasked": False}
        arguments["mask_image"] = list(masks)
    return inputs, arguments


CASES = [(name, task) for name, case in FLOW_FAMILIES.items() for task in case.tasks]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "task"), CASES)
def test_family_is_bit_equal(name, task, scale, batch):
    compare(name, task, scale, batch)


@pytest.mark.parametrize("batch", [1, 2])
def test_inpainting_from_noise_is_bit_equal(batch):
    """The pipeline samples the image's latents before the noise, though nothing remains of them."""
    compare("flux_fill", "inpaint", SCALES[-1], batch, strength=1.0)


#: Guidance off is slow: the text encoders of editing models read the references too, which takes most of the time.
EDIT_CASES = [
    (name, sides, batch, scale)
    for name, case in EDITS.items()
    for sides in case.sides
    for batch in case.batches
    for scale in SCALES
]


@pytest.mark.parametrize(("name", "sides", "batch", "scale"), slow_but(lambda case: case[-1] > 1, EDIT_CASES))
def test_edits_are_bit_equal(name, sides, batch, scale, monkeypatch):
    compare_edits(name, sides, scale, batch, monkeypatch)


def compare_edits(name, sides, scale, batch, monkeypatch, option="default", handed=False):
    case = EDITS[name]
    pipe, references = ZOO[case.zoo].make(), tuple(image(side, seed) for seed, side in enumerate(sides))
    family = family_of(case.family or name, pipe)
    if hasattr(family, "reference_size"):
        monkeypatch.setattr(type(family), "reference_size", lambda self, image: (image.height, image.width))
    with pixels_of(pipe) as pixels:
        *mine, scheduler = ours(
            family,
            option,
            ClassifierFree(scale),
            batch,
            case.size,
            Edit(),
            steps=STEPS,
            references=(references,) * batch,
        )
        arguments = case.scale(scale) | case.more | {"height": case.size, "width": case.size}
        if "true_cfg_scale" in arguments and scale > 1:
            arguments["negative_prompt"] = [""] * batch
        generator = generators(batch)
        if handed:
            scheduler.step = partial(scheduler.step, generator=generator)
        shown = list(references) if len(references) > 1 else references[0]
        theirs = classic(
            pipe,
            scheduler,
            steps=STEPS,
            prompt=list(PROMPTS[:batch]),
            generator=generator,
            image=shown,
            **arguments,
        )
    assert_same(mine, theirs)
    assert torch.equal(*pixels), "pixels before postprocessing differ"


OTHERS = [(name, task, option) for name, task in CASES for option in FLOW_FAMILIES[name].options(task)]
#: Standard ones: UniPC where it runs, since its schedule is another than Euler's.
OFTEN = [(name, "text2img", "flow_unipc") for name, task in CASES if task == "text2img"]


@pytest.mark.parametrize(("name", "task", "option"), slow_but(OFTEN, OTHERS))
def test_other_schedulers_are_bit_equal_or_diffusers_raises(name, task, option):
    mark = FLOW_FAMILIES[name].options(task)[option]
    if mark not in RAISES:
        compare(name, task, SCALES[-1], 2, option, handed=mark == "g")
        return
    with pytest.raises((ValueError, TypeError, AttributeError), match=RAISES[mark][0]):
        compare(name, task, SCALES[-1], 2, option)


@pytest.mark.parametrize(
    ("name", "option"),
    [pytest.param(name, option, marks=pytest.mark.slow) for name, case in EDITS.items() for option in case.options()],
)
def test_edits_with_other_schedulers_are_bit_equal(name, option, monkeypatch):
    case = EDITS[name]
    compare_edits(name, case.sides[-1], SCALES[-1], 1, monkeypatch, option, handed=case.options()[option] == "g")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MASKED)
def test_edits_under_a_mask_are_bit_equal(name, scale, monkeypatch):
    case = EDITS[name]
    pipe, first, white = ZOO[case.zoo].make(), image(SIDE), mask(SIDE)
    family = family_of(name, pipe)
    if hasattr(family, "reference_size"):
        monkeypatch.setattr(type(family), "reference_size", lambda self, image: (image.height, image.width))
    inputs = {"references": ((first,),), "kept": (first,), "mask": (white,), "blur": 0, "keep_unmasked": False}
    *mine, scheduler = ours(family, "default", ClassifierFree(scale), 1, SIDE, Edit(), steps=STEPS, **inputs)
    other = getattr(diffusers, MASKED[name])(**pipe.components)
    arguments = case.scale(scale) | {key: value for key, value in case.more.items() if key != "max_area"}
    if "true_cfg_scale" in arguments and scale > 1:
        arguments["negative_prompt"] = [""]
    theirs = classic(
        other, scheduler, steps=STEPS, prompt=list(PROMPTS[:1]), generator=generators(1), image=first, mask_image=white,
        strength=1.0, height=SIDE, width=SIDE, **arguments,
    )  # fmt: skip
    assert_same(mine, theirs)
