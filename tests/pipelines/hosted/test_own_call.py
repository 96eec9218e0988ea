"""A hosted pipeline without callbacks makes what diffusers' own call makes: without a negative prompt, and in bf16."""

from __future__ import annotations

import pytest
import torch
from pipelines.hosted.cases import STEPS, Recorder, hosted, request
from zoo import ZOO

from composer.pipelines.hosted.outputs import decoded_of
from composer.sampling.guidance import ClassifierFree

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", [pytest.param("sdxl", marks=pytest.mark.slow), "stable_audio"])
def test_without_a_negative_prompt_a_pipeline_guides_by_what_it_has_for_that(name):
    """SDXL and Stable Audio guide by zeros, which are not the embedding of an empty text."""
    pipe, call = ZOO[name].make(), ZOO[name].call(STEPS)
    more = {key: value for key, value in call.items() if key in ("height", "width", "audio_end_in_s")}

    def generated(negative):
        mine = hosted(pipe, guidance=ClassifierFree(4.0), keywords=more)(request(64, negative=negative))
        return [getattr(medium, "samples", medium).tobytes() for medium in mine.media]

    given = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "generator": torch.Generator().manual_seed(7)}
    theirs = pipe("a cat, sitting", **more | given)
    media = decoded_of(theirs, pipe, None).media
    assert generated(None) == [getattr(medium, "samples", medium).tobytes() for medium in media] != generated("")


def test_a_pipeline_in_bf16_is_hooked_bit_for_bit():
    pipe = ZOO["zimage"].make().to(torch.bfloat16)
    seen = Recorder(edits=False)
    watched, plain = (hosted(pipe, callbacks)(request(32, steps=2)) for callbacks in ([seen], []))
    assert watched.image.tobytes() == plain.image.tobytes()
    assert [moment[0] for moment in seen.seen] == ["before_step", "after_predict", "after_step"] * 2
    edited = hosted(pipe, [Recorder()])(request(32, steps=2))
    assert edited.image.tobytes() != plain.image.tobytes()
    given = {"num_inference_steps": 2, "guidance_scale": 4.0, "height": 32, "width": 32}
    theirs = pipe(["a cat, sitting"], negative_prompt=["blurry"], generator=torch.Generator().manual_seed(7), **given)
    assert theirs.images[0].tobytes() == plain.image.tobytes()
