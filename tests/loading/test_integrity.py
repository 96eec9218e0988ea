"""What was loaded is what the files hold; what libraries would load all the same is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import original_layout
import pytest
import torch
from safetensors.torch import load_file, save_file

from composer.testing import pipelines


@pytest.fixture
def copy(checkpoints, tmp_path):
    """A tiny checkpoint of a family, to be damaged."""

    def make(family: str = "sd") -> Path:
        return Path(shutil.copytree(checkpoints[family], tmp_path / "copy"))

    return make


def without(folder: Path, start: str) -> None:
    """Take weights out of a model's file."""
    file = next(folder.glob("*.safetensors"))
    kept = {key: tensor for key, tensor in load_file(file).items() if start not in key}
    save_file(kept, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("component", "start"),
    [
        ("unet", "conv_in.weight"),
        ("vae", "decoder.conv_out"),
        ("text_encoder", "encoder.layers.0."),
        ("unet", "up_blocks.0.resnets"),
    ],
)
def test_missing_weights_are_refused(compose, copy, component, start):
    source = copy()
    without(source / component, start)
    done = compose("model=local", f"model.source={source}", "steps=1", "output.folder=out")
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert "missing in its files" in done.err and start.rstrip(".") in done.err and f"/{component}: " in done.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "start", ["input_blocks.0.0.bias", "first_stage_model.decoder.conv_in", "text_model.encoder.layers.0."]
)
def test_missing_weights_of_a_single_file(compose, checkpoints, tmp_path, start):
    file = original_layout.save(pipelines.sd(), tmp_path / "model.safetensors")
    without(tmp_path, start)
    done = compose(
        "model=local", f"model.source={file}", f"model.config={checkpoints['sd']}", "steps=1", "output.folder=out"
    )
    assert done.code == 2 and done.err.count("\n") == 1 and "missing in" in done.err and not Path("out").exists(), (
        done.err
    )


def test_weights_too_many_are_named(compose, copy):
    source = copy()
    file = next((source / "unet").glob("*.safetensors"))
    save_file({**load_file(file), "of.another": torch.zeros(2), "and.more": torch.zeros(1)}, file, {"format": "pt"})
    done = compose("model=local", f"model.source={source}", "steps=1", "output.folder=out")
    assert done.code == 0 and "note: unet: and.more and 1 more are in its files, and not used" in done.err


@pytest.mark.parametrize("what", ["folder", "vocabulary", "config"])
def test_an_incomplete_tokenizer(compose, copy, what):
    source = copy()
    if what == "folder":
        shutil.rmtree(source / "tokenizer")
    else:
        for file in (source / "tokenizer").iterdir():
            if (file.name == "tokenizer_config.json") == (what == "config"):
                file.unlink()
    done = compose("model=local", f"model.source={source}", "steps=1", "output.folder=out")
    assert done.code == 2 and done.err.count("\n") == 1 and "model.source=" in done.err and not Path("out").exists(), (
        done.err
    )


def test_a_vocabulary_of_nothing(compose, copy):
    source = copy()
    file = source / "tokenizer/tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[:3])
    tokenizer["model"]["merges"] = []
    file.write_text(json.dumps(tokenizer))
    done = compose("model=local", f"model.source={source}", "steps=1", "output.folder=out")
    assert done.code == 2 and any(
        why in done.err for why in ("tokens, so its vocabulary is missing", "can't be loaded")
    ), done.err


@pytest.mark.parametrize("entry", [["canary", "Canary"], ["os", "system"], ["torch.hub", "load"], [7, "X"]])
def test_a_checkpoint_chooses_no_other_packages_classes(compose, copy, tmp_path, monkeypatch, entry):
    source = copy()
    (tmp_path / "canary.py").write_text("open('canary-was-here', 'w')\nclass Canary: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    index = json.loads((source / "model_index.json").read_text())
    (source / "model_index.json").write_text(json.dumps({**index, "vae": entry}))
    done = compose("model=local", f"model.source={source}", "steps=1")
    assert (
        done.code == 2
        and f"its vae is to come from {entry[0]}" in done.err
        and not list(tmp_path.rglob("canary-was-here"))
    )


def test_hashes_are_compared_with_the_files(compose, copy):
    source = copy()
    file = next((source / "unet").glob("*.safetensors"))
    name = str(file.relative_to(source))
    words = ["model=local", f"model.source={source}", "steps=1"]
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    assert compose(*words, f"model.sha256={{{name}: {right}}}", "output.folder=out").code == 0
    data = bytearray(file.read_bytes())
    data[-5] ^= 1  # which loads silently
    file.write_bytes(data)
    done = compose(*words, f"model.sha256={{{name}: {right}}}", "output.folder=two")
    assert done.code == 2 and f"model.sha256={right}" in done.err and "has another content than expected" in done.err
    assert "holds no such file" in compose(*words, f"model.sha256={{a.safetensors: {right}}}").err
    assert "give one for each file" in compose(*words, f"model.sha256={right}").err
    assert "must be 64 hexadecimal digits" in compose(*words, "model.sha256=12ab").err


def test_pickles_only_as_typed(compose, copy, tmp_path):
    source = copy()
    for name in ("unet", "vae", "text_encoder"):
        file = next((source / name).glob("*.safetensors"))
        torch.save(
            load_file(file),
            source / name / ("pytorch_model.bin" if name == "text_encoder" else "diffusion_pytorch_model.bin"),
        )
        file.unlink()
    words = ["model=local", f"model.source={source}", "steps=1", "callbacks=[]"]
    done = compose(*words)
    assert done.code == 2 and "pickled weights are not loaded" in done.err and "model.allow_pickle=true" in done.err
    assert compose(*words, "model.allow_pickle=true", "output.folder=out").code == 0
    conf = tmp_path / "mine/model"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text(f"name: mine\nsource: {source}\nallow_pickle: true\n")
    done = compose("--config-dir", str(tmp_path / "mine"), "model=mine", "steps=1")
    assert done.code == 2 and "can be set only on the command line" in done.err
    (tmp_path / "jobs.yaml").write_text("- {model.allow_pickle: true}\n")
    assert "which a job file must not set" in compose("-m", "sweep.jobs=jobs.yaml", *words).err
    again = compose("rerun", "out/000.png", "--trust")
    assert again.code == 2 and "only on the command line" in again.err
    assert compose("rerun", "out/000.png", "--trust", "model.allow_pickle=true").code == 0
