"""Edits and their words agree with what the renderer shows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from composer.tiny.captions import WORDS
from composer.tiny.edit_pairs import edited_images, edits
from composer.tiny.edits import KINDS, possible, sample_edit
from composer.tiny.instructions import instruction
from composer.tiny.render import render
from composer.tiny.scenes import COLOURS, HELD_OUT, POSITIONS, SIZES, sample_scene

EDITS = edits(400, 5)


def of(kind: str):
    return [edit for edit in EDITS if edit.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_changes_what_its_kind_says_and_nothing_else(kind):
    for edit in of(kind):
        before, after = edit.before, edit.after
        kept = [thing for i, thing in enumerate(before.things) if i != edit.target]
        assert all(thing in after.things for thing in kept)
        assert len(after.things) - len(before.things) == {"add": 1, "remove": -1}.get(kind, 0)
        assert (after.ground != before.ground) == (kind == "ground") and (after.sky != before.sky) == (kind == "sky")
        assert [POSITIONS.index(thing.position) for thing in after.things] == sorted(
            POSITIONS.index(thing.position) for thing in after.things
        )
        if edit.target is not None and edit.thing is not None:
            old = before.things[edit.target]
            names = ("colour", "shape", "size", "position")
            changed = {name for name in names if getattr(old, name) != getattr(edit.thing, name)}
            assert changed == {
                "recolour": {"colour"}, "reshape": {"shape"}, "replace": {"colour", "shape"}, "resize": {"size"},
                "move": {"position"},
            }[kind]  # fmt: skip


def test_every_kind_occurs_and_no_held_out_pair_does():
    assert {edit.kind for edit in EDITS} == set(KINDS)
    shown = {(thing.colour, thing.shape) for edit in EDITS for thing in edit.after.things}
    assert not shown & HELD_OUT
    rng = np.random.default_rng(0)
    added = sample_edit(sample_scene(rng, count=0), rng, "held_out", "add").thing
    assert (added.colour, added.shape) in HELD_OUT


def test_a_scene_of_two_takes_no_more_things():
    rng = np.random.default_rng(0)
    assert "add" not in possible(sample_scene(rng, count=2)) and "move" not in possible(sample_scene(rng, count=2))
    assert possible(sample_scene(rng, count=0)) == ["add", "ground", "sky"]


def test_the_images_are_those_of_the_scenes_after_the_edits(tmp_path):
    rows = edited_images(tmp_path, 3, 5, 64)
    assert all((row == render(edit.after, 64).image).all() for row, edit in zip(rows, EDITS))


def test_an_instruction_names_one_thing_of_the_scene():
    rng = np.random.default_rng(1)
    for edit in EDITS:
        _, facts = instruction(edit, rng)
        if edit.target is None:
            continue
        named = [(thing.colour, thing.shape, thing.position) for thing in edit.before.things]
        meant = [all(fact in (None, value) for fact, value in zip(facts.meant, one)) for one in named]
        assert meant.count(True) == 1 and meant.index(True) == edit.target


def test_an_instruction_says_what_becomes_of_it():
    rng = np.random.default_rng(2)
    for edit in EDITS:
        text, facts = instruction(edit, rng)
        assert "{" not in text and facts.kind == edit.kind
        new = edit.thing
        if new is not None:
            values = (new.colour, new.shape, new.size, new.position)
            assert all(fact in (None, value) for fact, value in zip(facts.new, values))
        stated = {
            "recolour": facts.new[0], "reshape": facts.new[1], "replace": facts.new[0] and facts.new[1],
            "resize": facts.new[2], "move": facts.new[3], "add": facts.new[0] and facts.new[1], "ground": facts.ground,
            "sky": facts.sky, "remove": "it",
        }  # fmt: skip
        assert stated[edit.kind]
        if facts.new[0]:
            assert re.search(rf"\b{facts.new[0]}\b", text)
        if facts.new[1]:
            assert any(word in text for word in WORDS[facts.new[1]])


def test_a_thing_that_grows_covers_more_and_one_that_is_gone_nothing():
    for edit in of("resize")[:6]:
        before, after = (render(scene, 64).masks[edit.target].sum() for scene in (edit.before, edit.after))
        assert (after > before) == (edit.thing.size == SIZES[-1])
    edit = of("remove")[0]
    assert (render(edit.after, 64).image == render(replace(edit.after, things=edit.after.things), 64).image).all()
    gone = render(edit.before, 64).masks[edit.target] > 0.9
    assert np.abs(render(edit.after, 64).image.astype(int) - render(edit.before, 64).image)[gone].mean() > 10


def test_a_recoloured_thing_has_its_new_colour_in_the_image():
    channel = {"red": 0, "green": 1, "blue": 2}
    seen = 0
    for edit in of("recolour"):
        if edit.thing.colour in channel and edit.after.sky != "sunset":
            rendering = render(edit.after, 64)
            inside = rendering.image[rendering.masks[edit.target] > 0.99].astype(int)
            seen += 1
            assert inside.mean(0).argmax() == channel[edit.thing.colour], COLOURS
    assert seen > 5
