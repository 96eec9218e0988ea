"""A single file and the json files that describe it: given, or those that diffusers takes for its kind, from the hub's
cache.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import original_layout
import pytest
import torch
from safetensors.torch import load_file, save_file

from composer.checkpoints.headers import PICKLED
from composer.testing import pipelines
from composer.testing.image_files import pixels

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
    assert (
        shown.code == 0 and "64 x 64" in shown.out and "DDIMScheduler" in shown.out and "snapshots/0123" in shown.out
    ), shown.err
    done = compose(*WORDS, f"model.source={file}", "output.folder=inferred")
    assert done.code == 0 and done.err == "", done.err
    assert compose(*WORDS, f"model.source={file}", f"model.config={checkpoints['sd']}", "output.folder=given").code == 0
    assert pixels(Path("inferred/000.png")) == pixels(Path("given/000.png"))


@pytest.mark.parametrize("suffix", PICKLED)
def test_a_pickled_file_equals_the_safe_one(compose, checkpoints, suffix):
    file = original_layout.save(pipelines.sd(), Path("m.safetensors"))
    torch.save({"state_dict": load_file(file)}, f"m{suffix}")
    config, pickled = f"model.config={checkpoints['sd']}", ["model.family=sd", "model.allow_pickle=true"]
    assert compose(*WORDS, f"model.source={file}", config, "output.folder=safe").code == 0
    done = compose(*WORDS, f"model.source=m{suffix}", config, *pickled, "output.folder=pickled")
    assert done.code == 0 and done.err == "", done.err
    assert pixels(Path("safe/000.png")) == pixels(Path("pickled/000.png"))
    assert "pickled" in compose("show", *WORDS, f"model.source=m{suffix}", config, *pickled).out


@pytest.mark.parametrize(("family", "name"), [("sd", "text_encoder"), ("flux", "text_encoder_2")])
def test_a_text_encoder_can_be_a_file(compose, checkpoints, family, name):
    """It is another one than the checkpoint's own, and generates what it generates as a folder."""
    getattr(pipelines, family)(seed=3).save_pretrained("other")
    words = [*WORDS, f"model.source={checkpoints[family]}"]
    assert compose(*words, f"model.components.{name}=other/{name}", "output.folder=folder").code == 0
    done = compose(*words, f"model.components.{name}=other/{name}/model.safetensors", "output.folder=file")
    assert done.code == 0, done.err
    assert compose(*words, "output.folder=own").code == 0
    folder, file, expected = (pixels(Path(f"{location}/000.png")) for location in ("folder", "file", "own"))
    assert file == folder != expected


@pytest.mark.slow
def test_a_single_file_says_nothing_on_stderr(checkpoints, tmp_path):
    """In a process of its own, where the libraries' loggers are as a command finds them; EMA weights make diffusers
    talk.
    """
    tensors = load_file(original_layout.save(pipelines.sd(), tmp_path / "m.safetensors"))
    save_file({**tensors, **{f"model_ema.x{n}": torch.zeros(1) for n in range(120)}}, tmp_path / "m.safetensors")
    words = [*WORDS, "model.source=m.safetensors", f"model.config={checkpoints['sd']}", "precision=bf16"]
    done = subprocess.run([sys.executable, "-m", "composer", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
