"""Prompts longer than the text encoder reads: noted, refused, or read in windows."""

from __future__ import annotations

import re

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from composer.callbacks.request import Request
from composer.families.chunks import split_windows
from composer.families.sd.model import StableDiffusion
from composer.families.sdxl.model import StableDiffusionXL
from composer.families.settings import FamilySettings

LONG = " ".join(f"a red cone number {i}" for i in range(40)) + " at the very end"


#: Of the encoder that reads furthest; the tiny T5 has a token for each letter.
READ = {"sd": 75, "sdxl": 75, "sd3": 255, "flux": 47}


@pytest.mark.parametrize("family", READ)
def test_what_is_dropped_is_noted(compose, checkpoints, family):
    words = ["model=local", f"model.source={checkpoints[family]}", "steps=1", "callbacks=[]", "height=64", "width=64"]
    done = compose(*words, f"prompt={LONG}", "output.folder=out")
    read, last, text = re.fullmatch(
        r'compose: note: prompt: (\d+) tokens are read, and the last (\d+) are not: "(.*)" \(.*\)\n', done.err
    ).groups()
    assert done.code == 0 and int(read) == READ[family] and int(last) > 100
    assert text.removesuffix("…") in LONG and LONG.index(text.removesuffix("…")) > 40, "as it was typed"
    refused = compose(*words, f"prompt={LONG}", "prompt_overflow=error", "output.folder=no")
    assert refused.code == 2 and refused.err.startswith("compose: prompt=") and "prompt_overflow=chunk" in refused.err
    short = compose(*words, "prompt=a cone", "prompt_overflow=error", "output.folder=short")
    assert short.code == 0 and "tokens" not in short.err, short.err


def test_negative_prompts_count_too(compose):
    done = compose(f"negative_prompt={LONG}", "steps=1", "prompt_overflow=error")
    assert done.code == 2 and done.err.startswith("compose: negative_prompt=")


OURS = {"sd": (StableDiffusionPipeline, StableDiffusion), "sdxl": (StableDiffusionXLPipeline, StableDiffusionXL)}


@pytest.mark.parametrize("name", OURS)
def test_windows_are_what_the_encoder_makes_of_each(checkpoints, name, one_thread):
    cls, ours = OURS[name]
    pipe = cls.from_pretrained(checkpoints[name])
    family, cutting = ours(pipe, FamilySettings(long_prompts="chunk")), ours(pipe)
    tokenizer = pipe.tokenizer
    memory = tokenizer.model_max_length - 2
    ids = tokenizer(LONG, add_special_tokens=False).input_ids
    rows = split_windows(tokenizer, LONG)
    assert [row[1:-1] for row in rows] == [ids[i : i + memory] for i in range(0, len(ids), memory)] and len(rows) > 1

    def request(prompt: str, negative: str | None = None) -> Request:
        return Request(prompts=(prompt,), negative_prompts=(negative,), seeds=(0,), steps=1, height=64, width=64)

    with torch.no_grad():
        short = family.encode(request("a cone"), True)
        classic = cutting.encode(request("a cone"), True)
        assert torch.equal(short.positive.hidden, classic.positive.hidden) and torch.equal(
            short.negative.hidden, classic.negative.hidden
        )
        # the first window is the text cut after it, the negative one is as long
        long = family.encode(request(LONG, "a sky"), True)
        cut = cutting.encode(request(LONG, "a sky"), True)
    length = tokenizer.model_max_length
    assert long.positive.hidden.shape[1] == long.negative.hidden.shape[1] == len(rows) * length
    assert torch.equal(long.positive.hidden[:, :length], cut.positive.hidden)
    assert torch.equal(long.negative.hidden[:, :length], cut.negative.hidden)
    if name == "sdxl":
        assert torch.equal(long.positive.pooled, cut.positive.pooled)
    assert len(family.tokens(LONG)) == long.positive.hidden.shape[1]


def test_what_was_beyond_the_end_has_a_say(compose, checkpoints):
    from composer.testing.image_files import pixels

    words = ["steps=3", "prompt_overflow=chunk", "callbacks=[]"]
    for name, end in (("one", "red"), ("two", "blue")):
        assert compose(*words, f"prompt={LONG} {end}", f"output.folder={name}").code == 0
        assert compose("steps=3", "callbacks=[]", f"prompt={LONG} {end}", f"output.folder={name}-cut").code == 0
    assert pixels("one/000.png") != pixels("two/000.png") and pixels("one-cut/000.png") == pixels("two-cut/000.png")


@pytest.mark.parametrize(("words", "message"), [
    (["prompt_overflow=drop"], "prompt_overflow=drop: is not known (allowed: warn, error, chunk)"),
    (["prompt_overflow=chunk", "model=local", "model.source={sd3}"],
        "prompt_overflow=chunk: is for models that read by CLIP alone"),
])  # fmt: skip
def test_refusals(compose, checkpoints, words, message):
    done = compose(*(word.replace("{sd3}", str(checkpoints["sd3"])) for word in words))
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
