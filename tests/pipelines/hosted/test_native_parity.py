"""The same callbacks on a native pipeline and on diffusers' own loop: equal at every moment, and so are the images."""

from __future__ import annotations

from typing import Any

import pytest
from pipelines.hosted.cases import Recorder, assert_same_moments, hosted, request, scheduler_maker
from zoo import ZOO

from composer.families.chroma.model import Chroma
from composer.families.flux.model import Flux
from composer.families.lumina2.model import Lumina2
from composer.families.qwen_image.model import QwenImage
from composer.families.sana.model import Sana
from composer.families.sd.model import StableDiffusion
from composer.families.sd3.model import StableDiffusion3
from composer.families.sdxl.model import StableDiffusionXL
from composer.pipelines.pipeline import Pipeline
from composer.sampling.guidance import ClassifierFree
from composer.tasks.text2img import Text2Img
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
#: Family → tiny pipeline, class and side in pixels.
FAMILIES: dict[str, tuple[Any, Any, int]] = {
    "sd": (pipelines.sd, StableDiffusion, 64),
    "sdxl": (pipelines.sdxl, StableDiffusionXL, 64),
    "sd3": (pipelines.sd3, StableDiffusion3, 64),
    "flux": (pipelines.flux, Flux, 32),
    "qwen_image": (ZOO["qwen"].make, QwenImage, 32),
    "chroma": (ZOO["chroma"].make, Chroma, 32),
    "lumina2": (ZOO["lumina2"].make, Lumina2, 32),
    "sana": (ZOO["sana"].make, Sana, 32),
}
#: Lengths of prompts that the tiny tokenizer of T5 has, and sizes as requested.
KEYWORDS = {
    "flux": {"max_sequence_length": 48},
    "chroma": {"max_sequence_length": 48},
    "sana": {"use_resolution_binning": False},
}
#: Those of a diffusion model: first and second order, several steps back, with noise.
SCHEDULERS = ("default", "heun", "pndm", "euler_a", "dpmpp_2m", "euler", "ddpm", "unipc")
#: What is run for each merge.
OFTEN = {("sd", "heun", 2), ("sd", "euler_a", 1), ("sd3", "default", 2), ("flux", "default", 1)}


def cases() -> list[Any]:
    every = [("sd", option) for option in SCHEDULERS] + [(family, "default") for family in FAMILIES if family != "sd"]
    return [
        pytest.param(*case, batch, marks=() if (*case, batch) in OFTEN else (pytest.mark.slow,))
        for case in every
        for batch in (1, 2)
    ]


def native(family: Any, pipe: Any, callback: Recorder, option: str) -> Pipeline:
    make, of_step = scheduler_maker(pipe, option)
    return Pipeline(
        family=family(pipe), task=Text2Img(), make_scheduler=make, step_settings=of_step, guidance=ClassifierFree(4.0),
        callbacks={"c0": callback},
    )  # fmt: skip


@pytest.mark.parametrize(("name", "option", "batch"), cases())
@pytest.mark.parametrize("edits", [False, True], ids=["looks", "edits"])
def test_hosted_equals_native(name, option, batch, edits):
    make, family, side = FAMILIES[name]
    pipe, mine, other = make(), Recorder(edits), Recorder(edits)
    ours = native(family, pipe, mine, option)(request(side, batch))
    theirs = hosted(pipe, [other], option=option, keywords=KEYWORDS.get(name))(request(side, batch))
    assert_same_moments(mine.seen, other.seen)
    assert [image.tobytes() for image in ours.images] == [image.tobytes() for image in theirs.images]
    assert ours.iterations == theirs.iterations
