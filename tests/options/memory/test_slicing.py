"""Memory options: what they are worth is for benchmarks; here that they do something, change little, and leave nothing
behind.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.pipelines.build import build_pipeline
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("steps=2", "height=64", "width=64", "images=2")
LARGE = ("steps=2", "height=192", "width=192")


def furthest(one, other) -> int:
    return max(
        int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())
        for a, b in zip(one.images, other.images, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "words", "most"),
    [
        ("vae_slicing", SMALL, 1),  # a batch of one adds in another order than one of two
        ("attention_slicing", SMALL, 1),  # heads one after the other, without the fused kernel
        (
            "vae_tiling",
            LARGE,
            120,
        ),  # tiles don't see each other: the VAE's group norms take their statistics over a tile
    ],
)
def test_an_option_changes_little_and_the_next_run_nothing(name, words, most):
    plain = composer.compose(*words)
    saving = composer.compose(*words, f"memory=[{name}]")
    assert furthest(plain, saving) <= most
    assert same(composer.compose(*words), plain), "it was not switched off again"
    assert saving.record["memory"].keys() == {name}


def test_options_are_on_while_a_run_lasts_and_off_after_a_failure():
    seen = []

    class Looks(composer.StepCallback):
        def around(self, run):
            self.unet = run.modules["unet"]
            return super().around(run)

        def before_step(self, step):
            seen.append({type(attn_processor).__name__ for attn_processor in self.unet.attn_processors.values()})
            raise ValueError("on purpose")

    looks = Looks()
    with pytest.raises(ComposerError, match="on purpose"):
        composer.compose(*SMALL, "memory=[attention_slicing]", callbacks=[looks])
    assert seen == [{"SlicedAttnProcessor"}]
    assert {type(attn_processor).__name__ for attn_processor in looks.unet.attn_processors.values()} == {
        "AttnProcessor2_0"
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["memory=[vae_tiling]"], "memory=vae_tiling: tiles are 128 pixels, so it would do nothing for 128 × 128"),
        (["memory=[vae_slicing]"], "memory=vae_slicing: a single image has nothing to slice"),
        (
            ["memory=[vae_tiling]", "task=unconditional"],
            "memory=vae_tiling: ddpm models have no vae, so it would do nothing",
        ),
        (["memory=[attention_slicing]", "task=unconditional"], "memory=attention_slicing: ddpm models attend in a way"),
        (
            ["memory=[attention_slicing]", "memory.attention_slicing.heads=0"],
            "memory.attention_slicing.heads=0: must be auto, max, or an integer, 1 or more",
        ),
    ],
)
def test_what_would_do_nothing_is_refused(words, message):
    with pytest.raises(ComposerError) as caught:
        build_pipeline(check(read(compose_config(words))))
    assert message in str(caught.value)


def test_in_a_sweep_what_would_do_nothing_is_left_out_with_a_note(compose):
    words = ["memory=[vae_tiling]", "height=64,192", "width=64", "steps=1", "sweep.name=axis"]
    done = compose("-m", *words)
    assert done.code == 0, done.err
    records = [json.loads(file.read_text()) for file in sorted(Path("outputs/sweeps/axis").glob("*/run.json"))]
    assert [(record["height"], list(record["memory"])) for record in records] == [(64, []), (192, ["vae_tiling"])]
    assert [
        any("so it would do nothing for 64 × 64: left out" in note for note in record["notes"]) for record in records
    ] == [True, False]
    assert compose("rerun", "outputs/sweeps/axis/0000/000.png").code == 0


def test_more_heads_than_there_are(compose):
    done = compose("memory=[attention_slicing]", "memory.attention_slicing.heads=7", "steps=1")
    assert done.code == 2 and "memory.attention_slicing.heads=7: can't be sliced so" in done.err


def test_a_second_pass_is_what_tiles_are_for(compose):
    assert compose("task=upscale", "memory=[vae_tiling]", "steps=5", "hydra.run.dir=out").code == 0
