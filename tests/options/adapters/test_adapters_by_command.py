"""Each kind of adapter generates by the console command, which defers imports, what it does from Python, and leaves
nothing to the next run, whichever is the first on the weights just loaded.

PEFT and diffusers' loaders read modules in their own ways, so that a deferred one could be missed.
"""

from __future__ import annotations

from pathlib import Path

import ip_files
import pytest
import torch
from option_runs import images_of_command
from safetensors.torch import save_file

from composer import compose
from composer.options.lifecycle import clear_models
from composer.testing import pipelines

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]  # a process each


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux"])
def test_lora(models, family, tmp_path):
    model = models(family)
    for name, file in (("one", model.one), ("two", model.two)):
        _equal(model.words(f"lora={file}"), tmp_path / name, without="lora")


@pytest.mark.parametrize("kind", ["sd", "sd_t2i", "flux"])
def test_control(control_models, kind, tmp_path):
    model = control_models(kind)
    _equal(model.words(*model.control()), tmp_path, without="control")


def test_ip_adapter(tmp_path):
    source = pipelines.save("sd", tmp_path / "model")
    ip_files.encoder(tmp_path / "image_encoder")
    file = ip_files.adapter(pipelines.MAKERS["sd"]().unet, tmp_path / "ip.safetensors")
    image = ip_files.image(tmp_path / "image.png", 0)
    _equal([*_words(source), f"ip_adapter={file}", f"ip_adapter.image={image}"], tmp_path, without="ip_adapter")


def test_textual_inversion(tmp_path):
    source = pipelines.save("sd", tmp_path / "model")
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    save_file({"<ink>": vectors}, tmp_path / "ink.safetensors")
    words = [*_words(source, "a cat, <ink>"), f"embedding={tmp_path / 'ink.safetensors'}"]
    _equal(words, tmp_path, without="embedding")


def _words(source: Path, prompt: str = "a cat") -> list[str]:
    size = ["height=64", "width=64", "steps=2", "seed=7", "callbacks=[]"]
    return ["model=local", f"model.source={source}", f"prompt={prompt}", *size]


def _equal(words: list[str], tmp_path: Path, without: str) -> None:
    plain = [word for word in words if not word.startswith(without)]
    clear_models()
    before, here = ([image.tobytes() for image in compose(*run).images] for run in (plain, words))
    clear_models()
    again, after = ([image.tobytes() for image in compose(*run).images] for run in (words, plain))
    assert again == here != before == after
    assert images_of_command(words, tmp_path / "images") == here
