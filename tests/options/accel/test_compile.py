"""Compiled denoisers: near to what they were, callbacks still reach into them, and nothing stays compiled."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch._inductor import config as inductor

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.options.lifecycle import remove_options
from composer.pipelines.build import build_pipeline
from composer.testing import pipelines
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")

COMPLETE, REGIONAL = ["accel=[compile]"], ["accel=[compile]", "accel.compile.regional=true"]


class Counts(AttnProcessor2_0):
    calls = 0

    def __call__(self, *args, **settings):
        Counts.calls += 1
        return super().__call__(*args, **settings)


class Reaches(composer.StepCallback):
    """Into the model: a hook on its middle, a processor of its own."""

    calls = 0

    @contextmanager
    def around(self, run):
        unet = run.modules["unet"]
        attention = unet.mid_block.attentions[0]
        before, attention.processor = attention.processor, Counts()
        hook = unet.mid_block.register_forward_hook(self.count)
        try:
            yield
        finally:
            attention.processor = before
            hook.remove()

    def count(self, *_):
        self.calls += 1


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("compile")
    yield {family: pipelines.save(family, root / family) for family in ("flux", "ddpm")}
    remove_options()


@pytest.fixture(autouse=True)
def nothing_stays_compiled():
    """A denoiser that an earlier test left compiled would not be compiled again, so that no compiler could fail."""
    yield
    remove_options()


def built(source, *words, more=()):
    usual = ["task=unconditional"] if source.name == "ddpm" else ["prompt=a cat", "height=32", "width=32"]
    checked = check(
        read(
            compose_config(
                ["model=local", f"model.source={source}", "callbacks=[]", "steps=3", "device=cpu", *usual, *words]
            )
        )
    )
    return build_pipeline(checked, list(more)), checked.request


def generated(source, *words, more=()):
    pipeline, request = built(source, *words, more=more)
    return pipeline(request), pipeline.family.denoiser


@pytest.mark.slow  # a minute and a half of compiling
@pytest.mark.parametrize(("family", "words"), [("flux", REGIONAL), ("ddpm", COMPLETE)])
def test_compiled_and_then_not(sources, family, words):
    plain, denoiser = generated(sources[family])
    torch._dynamo.utils.counters.clear()
    on, _ = generated(sources[family], *words)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    generated(sources[family], *words)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, "it was compiled twice"
    again, _ = generated(sources[family])
    assert same(plain, again)
    assert "forward" not in vars(denoiser) and not any(layer._compiled_call_impl for layer in denoiser.modules())
    pixels = [torch.tensor([*run.image.tobytes()], dtype=int) for run in (plain, on)]
    assert (pixels[0] - pixels[1]).abs().max() <= 1  # fused operations round differently


@pytest.mark.slow  # compiles three times
def test_hooks_and_processors_that_come_later_are_seen(sources):
    generated(sources["ddpm"], *COMPLETE)
    reaches, Counts.calls = Reaches(), 0
    generated(sources["ddpm"], *COMPLETE, more=[reaches])
    assert reaches.calls == 3 and Counts.calls == 3
    generated(sources["ddpm"], *COMPLETE)
    assert reaches.calls == 3 and Counts.calls == 3


def test_a_compiler_that_is_missing_is_named(sources):
    missing = r"^accel=compile: needs a C\+\+ compiler \(g\+\+ or clang\+\+\), which is not here"
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(ComposerError, match=missing):
        built(sources["ddpm"], *COMPLETE)


@pytest.mark.slow  # half a minute of compiling
def test_a_compiler_that_fails_is_named(sources):
    pipeline, request = built(sources["ddpm"], *COMPLETE)
    with inductor.patch({"cpp.cxx": ("false",), "force_disable_caches": True}), pytest.raises(ComposerError) as caught:
        pipeline(request)
    assert "accel=compile: torch can't compile this model: " in str(caught.value) and "\n" not in str(caught.value)
    assert same(generated(sources["ddpm"])[0], generated(sources["ddpm"])[0])


@pytest.mark.slow  # half a minute of compiling, in a process whose end is what is looked at
def test_a_process_that_compiled_ends_without_a_word(sources, tmp_path):
    words = [
        "model=local",
        f"model.source={sources['ddpm']}",
        "task=unconditional",
        "steps=1",
        "callbacks=[]",
        *COMPLETE,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "composer", *words], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
