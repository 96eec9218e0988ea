"""Images of other tools: `info` shows their texts; `rerun` and `info --json` say whose record it is."""

from __future__ import annotations

import json

import pytest
from PIL import Image, PngImagePlugin

A1111 = "a red cone\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64"
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
#: Tool → the texts that it writes into a PNG, and how it is called.
TOOLS = {
    "A1111": ({"parameters": A1111}, "AUTOMATIC1111's web UI"),
    "ComfyUI": ({"prompt": GRAPH, "workflow": '{"last_node_id": 3, "nodes": []}'}, "ComfyUI"),
    "InvokeAI": ({"invokeai_metadata": '{"positive_prompt": "a red cone"}'}, "InvokeAI"),
    "old InvokeAI": ({"sd-metadata": "{}", "Dream": '"a red cone" -s 20'}, "InvokeAI"),
    "Fooocus": (
        {"fooocus_scheme": "fooocus", "parameters": '{"prompt": "a red cone", "version": "Fooocus v2.5.5"}'},
        "Fooocus",
    ),
    "NovelAI": ({"Software": "NovelAI", "Description": "a red cone", "Comment": '{"steps": 28}'}, "NovelAI"),
    "SwarmUI": ({"parameters": '{"sui_image_params": {"prompt": "a red cone"}}'}, "SwarmUI"),
    "anything": ({"Title": "a red cone"}, "another tool"),
}


@pytest.fixture
def image(request, tmp_path):
    texts, name = TOOLS[request.param]
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    return texts, name


@pytest.mark.parametrize("image", TOOLS, indirect=True)
def test_info_shows_the_texts_of_other_tools(compose, image):
    texts, name = image
    done = compose("info", "a.png")
    assert done.code == 0 and name in done.out.splitlines()[0]
    for key, text in texts.items():
        assert f"{key}:\n{text}" in done.out


@pytest.mark.parametrize("words", [("rerun", "a.png"), ("info", "--json", "a.png"), ("--json", "info", "a.png")])
@pytest.mark.parametrize("image", TOOLS, indirect=True)
def test_texts_of_other_tools_are_no_records(compose, image, words):
    done = compose(*words)
    message = done.err + done.out
    assert done.code == 2 and image[1] in message and "`compose info a.png`" in message


def test_an_image_without_texts_holds_no_record(compose, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    for words in (("info", "a.png"), ("rerun", "a.png")):
        done = compose(*words)
        assert done.code == 2 and "holds no record" in done.err and "there may be a run.json beside it" in done.err
