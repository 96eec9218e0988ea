"""Values from Python are known by protocol; what no config can hold is refused with what to give instead."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

import composer
from composer.config.python_values import override_of, sort_values, sweep_overrides
from composer.errors import ComposerError


class Three(Enum):
    member = 3


class Index:
    def __index__(self) -> int:
        return 3


class Seen(composer.StepCallback):
    def after_step(self, step, latents):
        return None


class Foreign:
    def on_step_end(self, *arguments):
        return None


THREES = [
    3, np.int64(3), np.uint8(3), np.int32(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8), Index(),
    Three.member,
]  # fmt: skip


@pytest.mark.parametrize("three", THREES, ids=lambda each: type(each).__name__)
def test_an_index_is_an_integer_whatever_its_class(three):
    assert override_of("seed", three) == "seed=3"
    assert override_of("seed", [three, (three,)]) == "seed=[3,[3]]"


WORDS = [
    (np.float32(2.5), "2.5"), (np.float64(0.1), "0.1"), (torch.tensor(2.5), "2.5"), (Decimal("2.5"), "2.5"),
    (Fraction(5, 2), "2.5"),
    (np.bool_(True), "true"), (torch.tensor(False), "false"), (None, "null"), (np.array([1, 2]), "[1,2]"),
    (range(2), "[0,1]"),
    (torch.arange(2), "[0,1]"), (np.array([0.5, 1.0]), "[0.5,1.0]"), (np.str_("a, b"), "'a, b'"),
    (Path("a b.png"), "'a b.png'"),
    (torch.float16, "'float16'"), (torch.device("cpu"), "'cpu'"), ("3", "'3'"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "word"), WORDS, ids=lambda each: str(each)[:20])
def test_other_values_become_words_too(value, word):
    assert override_of("key", value) == f"key={word}"


def test_a_mapping_holds_settings():
    assert sort_values((), {"scheduler": {"eta": np.float64(0.5)}, "seed": 1}).words == ["scheduler.eta=0.5", "seed=1"]


def test_numpy_and_torch_scalars_give_the_same_image():
    plain = composer.compose(steps=1, seed=3, guidance=2.5).image.tobytes()
    assert composer.compose(steps=np.int64(1), seed=torch.tensor(3), guidance=np.float32(2.5)).image.tobytes() == plain


REFUSED = {
    "scheduler": (
        {"scheduler": diffusers.EulerDiscreteScheduler()},
        "scheduler=EulerDiscreteScheduler: .* scheduler='euler'",
    ),
    "scheduler_class": ({"scheduler": diffusers.DDIMScheduler}, "scheduler='ddim'"),
    "no_scheduler": ({"scheduler": torch.nn.Identity()}, "compose list scheduler"),
    "task": ({"task": composer.Task}, "compose list task"),
    "model": ({"model": torch.nn.Identity()}, r"save_pretrained\(FOLDER\)"),
    "generator": ({"seed": torch.Generator()}, "give its seed as a number"),
    "object": ({"steps": object()}, "steps=object: must be text, a number"),
    "nested": ({"negative_prompt": ["a", object()]}, "negative_prompt=object: must be text"),
    "callback_class": (
        {"callbacks": [Seen]},
        r"callbacks=Seen: is a class: pass an object of it, callbacks=\[Seen\(\)\]",
    ),
    "function": ({"callbacks": [lambda step, latents: None]}, "is a function: .* derives from composer.StepCallback"),
    "function_alone": ({"callbacks": print}, "is a function"),
    "foreign": (
        {"callbacks": [Foreign()]},
        "callbacks=Foreign: is no callback: its class must derive from composer.StepCallback",
    ),
    "mixed": ({"callbacks": ["preview", Seen()]}, r'compose\("callbacks=\[preview\]", callbacks=\[Mine\(\)\]\)'),
    "settings": ({"callbacks": [{"preview": {"every": 2}}]}, "callbacks.preview.every=2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_object_is_refused_with_what_to_give(name):
    values, message = REFUSED[name]
    with pytest.raises(ComposerError, match=message):
        composer.compose(**values)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-m", r"composer\.sweep"),
        ("--multirun", r"composer\.sweep"),
        ("--config-dir=x", "config_dir=FOLDER"),
        ("-v", "key=value"),
        (3, "texts"),
    ],
)
def test_a_flag_is_refused_with_what_does_it_here(word, message):
    with pytest.raises(ComposerError, match=message):
        composer.compose(word)


def test_a_single_callback_needs_no_list():
    one = Seen()
    assert sort_values((), {"callbacks": one}).callbacks == [one] == sort_values((), {"callbacks": (one,)}).callbacks


def test_a_list_is_what_a_sweep_is_over():
    result = sweep_overrides(
        {"seed": range(2), "prompt": ["a, b", ["c", "d"]], "steps": np.int64(2), "callbacks": ["trace", "preview"]}
    )
    assert result == ["seed=0,1", "prompt='a, b',['c','d']", "steps=2", "callbacks=['trace','preview']"]


@pytest.mark.parametrize("values", [{"image": np.zeros((8, 8), np.uint8)}, {"callbacks": [Seen()]}])
def test_a_sweep_takes_nothing_that_only_this_process_has(values):
    with pytest.raises(ComposerError, match="so that it can be resumed"):
        sweep_overrides(values)
