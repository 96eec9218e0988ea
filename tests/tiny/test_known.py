"""The embedded model says which words of a prompt it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from composer.tiny import known
from composer.tiny.captions import caption
from composer.tiny.edit_pairs import edits
from composer.tiny.instructions import instruction
from composer.tiny.scenes import sample_scene


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a cat", ["cat"]),
        ("A Red cone, and two blue CUBES", []),
        ("a photo of spheres on grass, at sunset", []),
        ("portrait of an old warrior chief", ["portrait", "old", "warrior", "chief"]),
        ("ein roter Kegel", ["ein", "roter", "kegel"]),
        ("", []),
    ],
)
def test_words_of_no_caption_are_unknown(prompt, unknown):
    assert known.unknown(prompt) == unknown


def test_words_that_an_adapter_taught_are_known():
    assert known.note(["a zorb cat"], taught=["Zorb"])[0].count("does not know: cat.") == 1
    assert known.note(["a <zorb> cube"], taught=["<zorb>"]) == ()


def test_every_caption_is_known():
    rng = np.random.default_rng(0)
    assert not [word for _ in range(500) for word in known.unknown(caption(sample_scene(rng), rng)[0])]


def test_every_instruction_is_known_to_the_model_that_edits():
    rng = np.random.default_rng(0)
    texts = [instruction(edit, rng)[0] for edit in edits(300, 7)]
    assert not [word for text in texts for word in known.unknown(text, edits=True)]
    assert known.unknown("make the cone a cat", edits=True) == ["cat"]
    assert known.unknown("make the cone blue") == ["make"]


def test_a_run_notes_what_its_prompt_asks_in_vain(compose, checkpoints):
    words = ("prompt=a cat and a red cone", "steps=1", "callbacks=[]")
    noted = compose(*words)
    assert noted.code == 0 and noted.err.count("does not know: cat.") == 1
    assert compose("prompt=a red cone", *words[1:]).err == ""
    assert compose(f"model.source={checkpoints['sd']}", *words).err == ""
