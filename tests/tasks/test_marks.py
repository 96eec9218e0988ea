"""Marks of other tools in prompts are read as plain text, and a note says so; ordinary prose has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composer.tasks import marks

MARKED = [
    "a (red:1.3) cone", "(red, big:1.3)", "(1girl:0.8)", "(red:.5)", "(красный:1.2)", "((red)) cone",
    "a cone <lora:x:0.8>", "<LORA: x : 1>", "<hypernet:x:1>", "embedding:easynegative",
    "a cone BREAK a cube", "BREAK", "{red|blue} cone", "{2$$red|blue}", "a __colour__ cone", "__colours/warm__",
    "[red:blue:0.5] cone", "[red:10]", "[red::0.5]", "[red|blue] cone",
]  # fmt: skip
PROSE = [
    "", "a red cone", "a photo (16:9)", "at 10:30 (or 11:15)", "John 3:16", "ratio (1:1.5)", "16:9, 4k",
    "title: a cone",
    'a sign that says "BREAK"', "TAKE A BREAK", "break", "BREAKFAST", "COFFEE BREAK TIME", "fill in the ____",
    "x__y__z",
    "snake_case and __ alone", "a set {1, 2, 3}", "{}", "[a note]", "[10:30]", "[sic]", "(see below)",
    "(see: the cone)",
    "f(x) = (a + b)", "a <b> c", "1 < 2", "a:b", "a | b", "C++ code", "wow!!! (really)", "a (small) cone: red", '"("',
    "an emoji :)", "8) cones (:",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKED)
def test_marks_are_found(text):
    assert list(marks.marks(text))


@pytest.mark.parametrize("text", PROSE)
def test_prose_has_no_marks(text):
    assert list(marks.marks(text)) == []


@pytest.mark.parametrize("key", ["prompt", "negative_prompt"])
def test_one_note_says_that_marks_are_plain_text(compose, key):
    done = compose(
        f"{key}=a (red:1.3) cone <lora:x:0.8> BREAK", "images=2", "steps=1", "output.folder=out", "callbacks=[]"
    )
    assert done.code == 0 and done.err.count("read as plain text") == 1
    assert '"(red:1.3)"' in done.err and '"<lora:x:0.8>"' in done.err and '"BREAK"' in done.err
    notes = json.loads(Path("out/run.json").read_text("utf-8"))["notes"]
    assert sum("read as plain text" in note for note in notes) == 1
