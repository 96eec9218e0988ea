"""What the images of a batch share is computed once: real forward hooks count the rows that each model sees."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from composer.callbacks.request import Request
from composer.families.distinct import index_distinct
from composer.families.flux.model import Flux
from composer.families.sd.model import StableDiffusion
from composer.families.sd3.model import StableDiffusion3
from composer.families.sdxl.model import StableDiffusionXL
from composer.families.settings import FamilySettings
from composer.families.vae import encode_pixels
from composer.pipelines.pipeline import Pipeline
from composer.sampling.guidance import ClassifierFree
from composer.tasks.depth2img import Depth2Img
from composer.tasks.img2img import Img2Img
from composer.tasks.inpaint import Inpaint
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

CLASSES = {"sd": StableDiffusion, "sdxl": StableDiffusionXL, "sd3": StableDiffusion3, "flux": Flux}


@contextmanager
def rows_of(**modules: torch.nn.Module):
    """Rows of the first input of each module's forward calls, in turn, by name."""
    names, seen = {id(module): name for name, module in modules.items()}, {name: [] for name in modules}

    def note(module, inputs, keywords):
        seen[names[id(module)]].append(len(inputs[0] if inputs else next(iter(keywords.values()))))

    handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules.values()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def image(seed: int = 0, size: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def generated(pipe, family, task, prompts, negatives, chunked=False, **inputs):
    """One step of the request's images."""
    seam = CLASSES[family](pipe, FamilySettings(long_prompts="chunk" if chunked else "truncate"))
    size = 32 if family == "flux" else 64
    pipeline = Pipeline(family=seam, task=task,
        make_scheduler=lambda: type(pipe.scheduler).from_config(pipe.scheduler.config),
                        guidance=ClassifierFree(4.0), overflow="chunk" if chunked else "warn")  # fmt: skip
    seeds = tuple(range(len(prompts)))
    request = Request(
        prompts=prompts, negative_prompts=negatives, seeds=seeds, steps=1, height=size, width=size, inputs=inputs
    )
    return pipeline(request)


def encoders(pipe) -> dict[str, torch.nn.Module]:
    return {
        name: part for name, part in pipe.components.items() if name.startswith("text_encoder") and part is not None
    }


@pytest.mark.parametrize("family", CLASSES)
@pytest.mark.parametrize(
    ("prompts", "negatives", "rows"),
    [
        (("a cone",) * 8, ("blue",) * 8, [1, 1]),
        (("a cone",) * 2 + ("a cube",) * 2, ("blue",) * 4, [2, 2]),
        (("a cone",) * 4, ("blue", "red") * 2, [2, 2]),
        (("a cone", "a cube", "a cone"), ("blue", "red", "red"), [3, 3]),
    ],
    ids=["one prompt", "two prompts", "two negative prompts", "three pairs"],
)
def test_text_encoders_see_each_distinct_pair_once(family, prompts, negatives, rows):
    pipe = getattr(pipelines, family)()
    with rows_of(**encoders(pipe)) as seen:
        generated(pipe, family, Text2Img(), prompts, negatives)
    assert seen and all(value == rows for value in seen.values()), seen


def test_windows_of_long_prompts_see_each_distinct_pair_once():
    pipe = pipelines.sd()
    with rows_of(**encoders(pipe)) as seen:
        generated(pipe, "sd", Text2Img(), ("a cone, " * 14,) * 8, (None,) * 8, chunked=True)
    assert seen["text_encoder"] == [1, 1] * 2


@pytest.mark.parametrize(
    ("family", "task"), [("sd", Img2Img()), ("sdxl", Img2Img()), ("sd3", Img2Img()), ("flux", Img2Img())]
)
def test_the_vae_encoder_sees_one_image_once(family, task):
    pipe, size = getattr(pipelines, family)(), 32 if family == "flux" else 64
    with rows_of(encoder=pipe.vae.encoder, decoder=pipe.vae.decoder) as seen:
        results = generated(
            pipe, family, task, ("a cone",) * 8, (None,) * 8, image=(image(size=size),) * 8, strength=1.0
        )
    assert seen == {"encoder": [1], "decoder": [8]}
    assert len({item.tobytes() for item in results.images}) == 8


def test_the_vae_encoder_sees_equal_copies_and_masked_images_once():
    pipe, mask = pipelines.sd(), Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 32))
    inputs = {
        "strength": 0.5,
        "blur": 0,
        "keep_unmasked": False,
        "image": tuple(image(i % 2) for i in range(4)),
        "mask": (mask,) * 4,
    }
    with rows_of(encoder=pipe.vae.encoder) as seen:
        generated(pipe, "sd", Inpaint(), ("a cone",) * 4, (None,) * 4, **inputs)
    assert seen == {"encoder": [1, 1] * 2}  # two images, and the same two under the mask


def test_the_depth_estimator_sees_each_distinct_image_once():
    pipe, images = pipelines.sd_depth(), (image(0), image(1), image(0), image(0))
    with rows_of(estimator=pipe.depth_estimator, encoder=pipe.vae.encoder) as seen:
        generated(pipe, "sd", Depth2Img(), ("a cone",) * 4, (None,) * 4, image=images, strength=1.0, depth=None)
    assert seen == {"estimator": [2], "encoder": [1, 1]}


def test_each_image_has_its_own_sample_of_the_vae():
    vae, pixels = pipelines.sd().vae, torch.rand(1, 3, 64, 64).repeat(3, 1, 1, 1)
    with torch.no_grad():
        mine = encode_pixels(vae, pixels, tuple(torch.Generator().manual_seed(i) for i in range(3)))
        theirs = [vae.encode(pixels[i : i + 1]).latent_dist.sample(torch.Generator().manual_seed(i)) for i in range(3)]
    assert torch.equal(mine, torch.cat(theirs)) and not torch.equal(mine[0], mine[1])


@pytest.mark.parametrize(
    ("keys", "first", "rows"),
    [("a", [0], [0]), ("aaa", [0], [0] * 3), ("abab", [0, 1], [0, 1, 0, 1]), ("bca", [0, 1, 2], [0, 1, 2])],
)
def test_indices_of_each_distinct_key(keys, first, rows):
    assert index_distinct(keys) == (first, rows)
