"""`compose show` lists what can be chosen for a checkpoint."""

from __future__ import annotations

import json

import pytest


def shown(compose, *words: str) -> dict:
    done = compose("show", "--json", *words)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_native_checkpoint(compose):
    facts = shown(compose)
    offers = facts["offers"]
    assert facts["engine"] == "native" and set(offers["tasks"]) >= {"text2img", "inpaint", "upscale"}
    assert "edit" not in offers["tasks"] and "pag" in offers["guidance"] and "deepcache" in offers["accel"]
    assert "before_step" in offers["moments"]


def test_a_hosted_checkpoint(compose, others):
    facts = shown(compose, "model=local", f"model.source={others['qwen']}", "model.family=hosted")
    offers = facts["offers"]
    assert facts["engine"] == "hosted" and (facts["height"], facts["width"]) == (1024, 1024)
    assert offers["tasks"] == ["text2img", "img2img", "inpaint"]
    assert "cfg" in offers["guidance"] and "pag" not in offers["guidance"] and "deepcache" not in offers["accel"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen", "lumina2"])
def test_what_is_offered_passes_the_check_and_nothing_else(compose, others, name):
    words = ["model=local", f"model.source={others[name]}", "height=64", "width=64", "steps=2"]
    offers = shown(compose, *words)["offers"]
    for option in ("cfg", "apg", "interval", "pag", "slg", "seg", "autoguidance", "none"):
        done = compose("check", *words, f"guidance={option}")
        assert (done.code == 0) == (option in offers["guidance"]), (option, done.err)
