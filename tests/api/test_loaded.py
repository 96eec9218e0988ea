"""A held pipeline generates what a run with the same words does, and loads nothing again."""

from __future__ import annotations

import numpy as np
import pytest

import composer
from composer.errors import ComposerError
from composer.loading.component_loader import loaded

WORDS = ("callbacks=[]", "steps=2")


@pytest.fixture(scope="module")
def pipe():
    return composer.load(*WORDS)


CALLS = [
    {"seed": 3}, {"seed": np.int64(3), "prompt": "a red cone, 'so'"}, {"prompt": ["a", "@b"], "images": 2},
    {"steps": 1, "negative_prompt": "x"},
    {"guidance": 2.5}, {"scheduler": {"eta": 0.5}},
]  # fmt: skip


@pytest.mark.parametrize("values", CALLS, ids=lambda values: "-".join(values))
def test_a_call_equals_a_run(pipe, values):
    before = loaded.total()
    held = pipe(**values)
    assert loaded.total() == before
    run = composer.compose(*WORDS, **values)
    assert [image.tobytes() for image in held.images] == [image.tobytes() for image in run.images]
    volatile = ("seconds", "peak_memory")
    assert {k: v for k, v in held.record.items() if k not in volatile} == {
        k: v for k, v in run.record.items() if k not in volatile
    }


def test_a_call_takes_overrides_and_refuses_typos(pipe):
    assert pipe("scheduler=euler").record["options"]["scheduler"] == "euler"
    assert pipe(seed=0).record["options"]["scheduler"] == "default"
    with pytest.raises(ComposerError, match="Did you mean steps"):
        pipe(stpes=3)
    with pytest.raises(ComposerError, match="steps=0"):
        pipe(steps=0)


def test_it_is_loaded_no_more_after_other_models_came(pipe, checkpoints):
    for family in ("sd", "sdxl", "ddpm"):
        extra = ["task=unconditional"] if family == "ddpm" else []
        composer.compose("model=local", f"model.source={checkpoints[family]}", *extra, "callbacks=[]", steps=1)
    before = {path: count for path, count in loaded.items() if "unet" in path and "text2img" in path}
    pipe(seed=1)
    assert {path: count for path, count in loaded.items() if "unet" in path and "text2img" in path} == before


def test_a_refusal_comes_before_weights(checkpoints):
    before = loaded.total()
    with pytest.raises(ComposerError, match="Did you mean steps"):
        composer.load(stepz=3)
    assert loaded.total() == before
