"""prompt_syntax=weights: what is read, what moves and what stays to the bit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

import composer
from composer.callbacks.request import Request
from composer.errors import ComposerError
from composer.families.flux.model import Flux
from composer.families.prompt_weights import parse_prompt
from composer.families.sd.model import StableDiffusion
from composer.families.sd3.model import StableDiffusion3
from composer.families.sdxl.model import StableDiffusionXL
from composer.families.settings import FamilySettings
from composer.families.weighted import encode_prompts
from composer.testing.image_files import pixels


@pytest.mark.parametrize(("typed", "text", "spans"), [
    ("a red cone", "a red cone", []),
    ("a (red:1.3) cone", "a red cone", [("red", 1.3)]),
    ("a (red) cone", "a red cone", [("red", 1.1)]),
    ("a [red] cone", "a red cone", [("red", 1 / 1.1)]),
    ("((red)) cone", "red cone", [("red", 1.1 * 1.1)]),
    ("(a [red] cone:2)", "a red cone", [("a ", 2), ("red", 2 / 1.1), (" cone", 2)]),
    ("(red:-.5)", "red", [("red", -0.5)]),
    ("(red:0)", "red", [("red", 0)]),
    ("(red:1)", "red", []),
    (r"a \(red:1.3\) \[cone\] \\", r"a (red:1.3) [cone] \\"[:-1], []),
    ("at 10:30, a:b", "at 10:30, a:b", []),
    ("()", "", []),
    ("", "", []),
])  # fmt: skip
def test_parsed(typed, text, spans):
    parsed = parse_prompt("prompt", typed)
    assert parsed.text == text
    parts = [(parsed.text[begin:end], weight) for begin, end, weight in parsed.spans]
    assert [word for word, _ in parts] == [word for word, _ in spans]
    assert [weight for _, weight in parts] == pytest.approx([weight for _, weight in spans])  # order of the factors


@pytest.mark.parametrize(("typed", "reason"), [
    ("a (red cone", r"has a ( that nothing closes: write \("),
    ("a red) cone", r"has a ) that nothing opens: write \)"),
    ("a (red] cone", "has a ] that nothing opens"),
    ("[red:blue:0.5]", "from step to step"),
    ("[red|blue]", "from step to step"),
])  # fmt: skip
def test_refused(typed, reason):
    with pytest.raises(ComposerError) as refused:
        parse_prompt("negative_prompt", typed)
    assert str(refused.value).startswith("negative_prompt=") and reason in str(refused.value)


#: The cases in the docstring of `parse_prompt_attention` in AUTOMATIC1111's stable-diffusion-webui 1.10,
#: modules/prompt_parser.py: prompt → parts with their weights, 1 included.
A1111 = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0), ("house", 1.5730000000000004), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55),
        (", sun, ", 1.1), ("sky", 1.4641000000000006), (".", 1.1),
    ],
}  # fmt: skip


@pytest.mark.parametrize("typed", A1111)
def test_prompts_of_a1111_have_its_weights_where_their_brackets_match(typed):
    """A bracket that nothing closes goes up to the end there, and is refused here."""
    closed = typed + ")" * (len(re.findall(r"(?<!\\)\(", typed)) - len(re.findall(r"(?<!\\)\)", typed)))
    if closed != typed:
        with pytest.raises(ComposerError, match="that nothing closes"):
            parse_prompt("prompt", typed)
    parsed, weights = parse_prompt("prompt", closed), list[float]()
    for part, weight in A1111[typed]:
        weights += [weight] * len(part)
    ours = [1.0] * len(parsed.text)
    for begin, end, weight in parsed.spans:
        ours[begin:end] = [weight] * (end - begin)
    assert parsed.text == "".join(part for part, _ in A1111[typed]) and ours == pytest.approx(weights)


@pytest.mark.slow
def test_other_words_stay_where_a1111_moves_all_of_them(checkpoints, one_thread):
    """A1111 multiplies the positions and restores the mean of all, so that each word moves; here the weighted ones."""
    family = StableDiffusion(
        StableDiffusionPipeline.from_pretrained(checkpoints["sd"]), FamilySettings(prompt_syntax="weights")
    )
    with torch.no_grad():
        plain = family.encode(request("a red cone"), False).positive.hidden
        ours = encode_prompts(family, request("a (red:1.4) cone"), False).positive.hidden
    at = (ours != plain).any(-1)[0]
    theirs = plain * torch.where(at, 1.4, 1.0)[None, :, None]
    theirs = theirs * (plain.mean() / theirs.mean())
    assert 0 < at.sum() < len(at) and torch.equal(ours[0, ~at], plain[0, ~at])
    assert (theirs != plain).any(-1).all()


PIPELINES = {
    "sd": (StableDiffusionPipeline, StableDiffusion),
    "sdxl": (StableDiffusionXLPipeline, StableDiffusionXL),
    "sd3": (StableDiffusion3Pipeline, StableDiffusion3),
    "flux": (FluxPipeline, Flux),
}


def request(prompt: str, negative: str | None = None) -> Request:
    return Request(prompts=(prompt,), negative_prompts=(negative,), seeds=(0,), steps=1, height=64, width=64)


@pytest.mark.parametrize("name", PIPELINES)
def test_words_move_by_their_weight_and_all_else_stays(checkpoints, name, one_thread):
    cls, ours = PIPELINES[name]
    family = ours(cls.from_pretrained(checkpoints[name]), FamilySettings(prompt_syntax="weights"))
    with torch.no_grad():
        plain = family.encode(request("a red cone", "a sky"), True)
        empty = family.encode(request(""), False).positive.hidden
        same = encode_prompts(family, request("a red cone", "a sky"), True)
        moved = encode_prompts(family, request("a (red:1.4) cone", "a sky"), True)
        negative = encode_prompts(family, request("a red cone", "a (sky:0)"), True).negative
    assert torch.equal(same.positive.hidden, plain.positive.hidden)
    assert torch.equal(moved.positive.pooled, plain.positive.pooled) if name != "sd" else moved.positive.pooled is None
    at = (moved.positive.hidden != plain.positive.hidden).any(-1)[0]
    tokens = family.tokens("a red cone")
    words = "".join(token for token, changed in zip(tokens, at, strict=True) if changed)
    readers = len(family.token_positions)
    assert words.replace("</w>", "").replace("▁", "") == "red" * readers
    expected = (plain.positive.hidden - empty) * torch.tensor(1.4) + empty
    assert torch.equal(moved.positive.hidden[0, at], expected[0, at])
    assert torch.equal(moved.negative.hidden, plain.negative.hidden)
    at = (negative.hidden != plain.negative.hidden).any(-1)[0]
    assert at.any() and torch.equal(negative.hidden[0, at], empty[0, at]), "weight 0 leaves the empty prompt"


def test_a_run_knows_the_syntax(compose, checkpoints):
    words = ["steps=1", "callbacks=[]", "model=local", f"model.source={checkpoints['sd']}", "height=64", "width=64"]
    runs = {
        "plain": ["prompt=a red cone"],
        "none": ["prompt=a red cone", "prompt_syntax=weights"],
        "weighted": ["prompt=a (red:3) cone", "prompt_syntax=weights"],
        "literal": ["prompt=a (red:3) cone"],
    }
    done = {name: compose(*words, *more, f"output.folder={name}") for name, more in runs.items()}
    assert all(run.code == 0 for run in done.values()), done
    images = {name: pixels(f"{name}/000.png") for name in runs}
    assert images["plain"] == images["none"] and len(set(images.values())) == 3
    assert "prompt_syntax=weights" in done["literal"].err and "plain text" not in done["weighted"].err
    again = compose("rerun", "weighted", "--trust", "output.folder=again")
    assert again.code == 0 and pixels("again/000.png") == images["weighted"], again.err


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_break_reads_the_parts_in_windows(checkpoints, name, one_thread):
    """The embeddings are those of the parts, one after the other; a shorter negative prompt gets an empty window."""
    cls, ours = PIPELINES[name]
    pipe = cls.from_pretrained(checkpoints[name])
    family = ours(pipe, FamilySettings(prompt_syntax="weights"))
    with torch.no_grad():
        joined = encode_prompts(family, request("a red cone BREAK a (blue:1.3) cube", "a sky"), True)
        parts = [
            encode_prompts(family, request(prompt, negative), True)
            for prompt, negative in (("a red cone", "a sky"), ("a (blue:1.3) cube", ""))
        ]
    assert torch.equal(joined.positive.hidden, torch.cat([part.positive.hidden for part in parts], dim=1))
    assert torch.equal(joined.negative.hidden, torch.cat([part.negative.hidden for part in parts], dim=1))
    if name == "sdxl":
        assert torch.equal(joined.positive.pooled, parts[0].positive.pooled)
    words = ["steps=1", "callbacks=[]", "model=local", f"model.source={checkpoints[name]}", "height=64", "width=64"]
    texts = ["prompt_syntax=weights", "prompt=a red cone BREAK a blue cube", "negative_prompt=a sky", "seed=3"]
    ours = composer.compose(*words, *texts).images[0].tobytes()
    plain = joined_embeddings(pipe)
    generator = torch.Generator().manual_seed(3)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(**plain, num_inference_steps=1, height=64, width=64, generator=generator).images[0].tobytes()
    assert ours == theirs


def joined_embeddings(pipe):
    """Embeddings by diffusers' own encoding of each part, concatenated."""

    def encode(prompt, negative):
        return pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True,
                                  negative_prompt=negative)  # fmt: skip

    with torch.no_grad():
        first, second = encode("a red cone", "a sky"), encode("a blue cube", "")
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    joined = [torch.cat(pair, dim=1) if i < 2 else pair[0] for i, pair in enumerate(zip(first, second))]
    return dict(zip(names, joined))


@pytest.mark.parametrize(("words", "message"), [
    (["prompt_syntax=wild"], "prompt_syntax=wild: is not known (allowed: text, weights, dynamic)"),
    (["prompt_syntax=weights", "prompt=a BREAK b", "model=local", "model.source={sd3}"],
     "BREAK is for models that read by CLIP alone"),
    (["prompt_syntax=weights", "prompt=a (cone"], "prompt=a (cone: has a ( that nothing closes"),
    (["prompt_syntax=weights", "prompt_overflow=chunk"], "can't be together with prompt_overflow=chunk"),
    (["prompt_syntax=weights", "model=local", "model.source={z_image}"], "of the family z_image can't take weights"),
])  # fmt: skip
def test_refusals(compose, others, checkpoints, words, message):
    words = [word.format(z_image=others["zimage"], sd3=checkpoints["sd3"]) if "{" in word else word for word in words]
    done = compose(*words, "steps=1")
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1


def test_a_sweep_keeps_the_syntaxes_apart(compose):
    done = compose("-m", "prompt_syntax=text,weights", "prompt=a (red:3) cone", "steps=1", "sweep.name=two")
    assert done.code == 0, done.err
    images = [pixels(path) for path in sorted(Path("outputs/sweeps/two").rglob("000.png"))]
    assert len(images) == 2 and images[0] != images[1]
