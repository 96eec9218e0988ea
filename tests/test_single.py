"""A single file and the json files that describe it: given, or those that diffusers takes for its kind, from the hub's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import original_layout
import pytest

from composer.testing import pipelines
from composer.testing.pictures import pixels

WORDS = ["model=local", "steps=1", "height=64", "width=64", "callbacks=[]"]


@pytest.fixture
def cached(checkpoints, tmp_path, monkeypatch):
    """A hub cache that holds the json files and vocabularies of one repository."""
    repository = tmp_path / "cache/models--stable-diffusion-v1-5--stable-diffusion-v1-5"
    shutil.copytree(checkpoints["sd"], repository / "snapshots/0123", ignore=shutil.ignore_patterns("*.safetensors"))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_json_files_in_the_cache_describe_a_file(compose, checkpoints, cached):
    file = original_layout.save(pipelines.sd(), Path("m.safetensors"))
    shown = compose("show", *WORDS, f"model.source={file}")
    assert shown.code == 0 and "64 x 64" in shown.out and "DDIMScheduler" in shown.out and "snapshots/0123" in shown.out, shown.err
    done = compose(*WORDS, f"model.source={file}", "output.folder=inferred")
    assert done.code == 0 and done.err == "", done.err
    assert compose(*WORDS, f"model.source={file}", f"model.config={checkpoints['sd']}", "output.folder=given").code == 0
    assert pixels(Path("inferred/000.png")) == pixels(Path("given/000.png"))


def test_a_single_file_says_nothing_on_stderr(compose, checkpoints):
    file = original_layout.save(pipelines.sd(), Path("m.safetensors"))
    done = compose(*WORDS, f"model.source={file}", f"model.config={checkpoints['sd']}", "output.folder=out")
    assert done.code == 0 and done.err == "", done.err
