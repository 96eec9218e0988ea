"""The command line of `compose train`: what is refused, by name and before anything is loaded."""

from __future__ import annotations

import re
import sys

import pytest
from training_data import write_images

from composer.training.settings import parse_training
from composer.training.spec import InversionTraining, LoraTraining

#: Words → what the error says.
REFUSED = {
    "": "train: say what to train. (allowed: lora, textual_inversion)",
    "lorra data=d": "train=lorra: say what to train. Did you mean lora?",
    "lora": "data: a folder of images with captions is needed: data=FOLDER",
    "lora data=nowhere": "data=nowhere: there is no such folder",
    "lora data=d lrr=1": "lrr=1: is no setting of compose train lora. Did you mean lr?",
    "lora data=d vectors=2": "vectors=2: is no setting of compose train lora.",
    "textual_inversion data=d rank=2": "rank=2: is no setting of compose train textual_inversion.",
    "textual_inversion data=d": "word: a new word is needed: word=zorb",
    "textual_inversion data=d word=zorb caption_dropout=0.1": "caption_dropout=0.1: is for a LoRA",
    "lora data=d sweep.name=x": "sweep.name=x: is no setting of compose train lora.",
    "lora data=d accel=[compile]": "accel=[compile]: is no setting of compose train lora.",
    "lora data=d steps=0": "steps=0: must be an integer, 1 or more",
    "lora data=d lr=0": "lr=0: must be a number above 0",
    "lora data=d lr_schedule=cosin": "lr_schedule=cosin: is not known. Did you mean cosine?",
    "lora data=d rank=1.5": "rank=1.5: must be an integer, 1 or more",
    "lora data=d warmup=500": "warmup=500: must be less than steps, which is 500",
    "lora data=d word=two,words": "word=two,words: is in none of the 2 captions",
    "lora data=d resolution=70": "resolution=70: must be a multiple of 8, for this model",
    "lora data=d precision=fp16": "precision=fp16: is no dtype to train in",
    "lora data=d -m lr=1,2": "-m: check and plan take it, and train does not",
}


@pytest.mark.parametrize("words", REFUSED)
def test_it_is_refused_in_one_line(compose, tmp_path, words):
    write_images(tmp_path / "d")
    done = compose("train", *words.split())
    assert done.code == 2 and done.err.startswith(f"compose: {REFUSED[words]}"), done.err
    assert done.err.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ddpm", "model=.*: textual_inversion is trained on sd, sdxl, and this model is of the family ddpm"),
        ("sd3", "model=.*: textual_inversion is trained on sd, sdxl, and this model is of the family sd3"),
    ],
)
def test_models_without_the_method_are_refused(compose, tmp_path, checkpoints, source, reason):
    write_images(tmp_path / "d")
    words = ("data=d", "word=red", "model=local", f"model.source={checkpoints[source]}")
    done = compose("train", "textual_inversion", *words)
    assert done.code == 2 and re.search(reason, done.err), done.err


def test_a_lora_needs_peft_and_says_how_to_get_it(compose, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)  # as where it is not installed
    write_images(tmp_path / "d")
    done = compose("train", "lora", "data=d")
    assert done.code == 2 and "needs the package peft: pip install 'diffusion-composer[train]'" in done.err


def test_values_are_of_the_grammar_of_runs():
    words = ["lora", "data=my photos, all", "lr=1e-3", "caption=it's a cat, in (parentheses)", "min_snr=null"]
    requested = parse_training([*words, "prompt=one, two", "guidance=3"])
    assert requested.spec == LoraTraining(
        data="my photos, all", lr=1e-3, caption="it's a cat, in (parentheses)", min_snr=None
    )
    assert requested.config["prompt"] == "one, two" and requested.config["guidance"]["scale"] == 3
    assert requested.folder is None and requested.typed == {"prompt", "guidance"}


def test_a_method_has_its_own_defaults():
    requested = parse_training(["textual_inversion", "data=d", "word=zorb", "vectors=2"])
    assert requested.spec == InversionTraining(data="d", word="zorb", vectors=2) and requested.spec.lr == 5e-3
