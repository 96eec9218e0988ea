"""Checks that were made before answer without torch, and say the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest
from safetensors.torch import load_file, save_file

from composer.callbacks.base import StepCallback
from composer.checkpoints.sources import EMBEDDED
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.loading import check_cache
from composer.pipelines import refusals, schedules_ahead, trial
from composer.pipelines.trial import tried

#: Runs commands in one process, and says what each printed and which large libraries were imported.
COMMANDS = """
import contextlib, io, json, sys
from composer.cli.main import main
answers = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    answers.append([code, out.getvalue(), err.getvalue()])
heavy = ("torch", "diffusers", "transformers", "accelerate", "numpy", "rich.console")
loaded = [name for name in heavy if name in sys.modules]
print(json.dumps([answers, loaded]))
"""
RUN = ["prompt=a red cone", "steps=7", "height=64", "width=64"]
PASSING = [
    ["check", *RUN, "precision=fp16", "prompt_syntax=weights"], ["show", *RUN, "memory=[vae_slicing]", "images=2"],
    ["plan", "-m", *RUN, "seed=range(3)", "scheduler=ddim,euler"], ["config", *RUN],
    ["check", *RUN, "model.family=hosted"], ["show", *RUN, "model.family=hosted", "accel=[deepcache]"],
    ["plan", "-m", *RUN, "model.family=hosted", "seed=range(3)"],
]  # fmt: skip
REFUSED = [
    [*RUN, "device=cuda:99"], ["check", *RUN, "memory=[model_offload]", "device=cpu"], [*RUN, "accel=[tensorrt]"],
    [*RUN, "memory=[vae_tiling]"], ["check", *RUN, "guidance.rescale=-1"], ["check", *RUN, "callbacks=[mask_overlay]"],
]  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(check_cache, "find_tested", lambda kind, facts: None)  # of the results that come with composer


@pytest.mark.slow  # two processes, the first of which imports torch
def test_the_second_answer_is_the_same_and_needs_no_torch(cache, tmp_path):
    (first, loaded), (second, then) = (answers(tmp_path) for _ in range(2))
    assert [answer[0] for answer in first] == [0] * len(PASSING) + [2] * len(REFUSED)
    assert second == first
    assert "torch" in loaded and then == []


def answers(folder):
    """What a new process answers to all commands, and which large libraries it has loaded then."""
    arguments = [sys.executable, "-c", COMMANDS, json.dumps([*PASSING, *REFUSED])]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=os.environ, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def checked(*words):
    return check(read(compose_config(["prompt=a red cone", "steps=3", "height=64", "width=64", *words])))


@pytest.fixture
def trials(cache, monkeypatch):
    """How many runs were tried, and not found."""
    monkeypatch.setattr(schedules_ahead, "_spent", 0.0)  # by other tests of this process
    count, original = [], trial._try
    monkeypatch.setattr(trial, "_try", lambda *given: count.append(given) or original(*given))
    return count


#: What needs a trial of its own, and what was tried with the first one or needs none.
NEW = ["steps=400", "scheduler.timestep_spacing=trailing", "precision=fp16", "memory=[vae_tiling]", "accel=[deepcache]"]
KNOWN = ["seed=3", "prompt=a blue cube", "guidance.scale=2", "images=3", "callbacks=[]", "steps=20", "width=72",
         "precision=bf16", "device=cpu"]  # fmt: skip


def test_what_a_trial_depends_on(trials):
    tried(checked())
    for word in KNOWN:
        tried(checked(word))
        assert len(trials) == 1, word
    for number, word in enumerate(NEW, 2):
        with suppress(ComposerError):  # which is tried as well
            tried(checked(word))
        tried(checked())
        assert len(trials) == number, word


def test_a_pipeline_of_diffusers_is_tried_with_its_inputs(trials):
    hosted = "model.family=hosted"
    tried(checked(hosted))
    tried(checked(hosted, "seed=3"))
    assert len(trials) == 1
    for number, word in enumerate(["prompt=a blue cube", "steps=4", "guidance.scale=2", "task=img2img"], 2):
        tried(checked(hosted, word))
        tried(checked(hosted))
        assert len(trials) == number, word
    tried(checked(hosted), [StepCallback()])
    assert len(trials) == number + 1  # what a callback from Python needs is not known


def test_a_refusal_is_repeated_and_ends_with_its_cause(trials):
    words = ["memory=[vae_tiling]", "height=128", "width=128"]
    for _ in range(2):
        with pytest.raises(ComposerError, match="it would do nothing for 128 × 128"):
            tried(checked(*words))
        assert len(trials) == 1
    tried(checked(*words, "width=192"))
    for number in (2, 3):  # a light part is refused, too, and a trial refuses it later: nothing is kept
        with pytest.raises(ComposerError, match="it would do nothing for 128 × 128"):
            tried(checked(*words, "prompt_syntax=weights", "prompt_overflow=chunk"))
        assert len(trials) == number + 1


def test_a_refusal_is_tried_again_where_a_gpu_may_come_and_go(trials, monkeypatch):
    monkeypatch.setattr(refusals, "is_on_cpu", lambda device: False)
    for number in (1, 2):
        with pytest.raises(ComposerError, match="it would do nothing for 128 × 128"):
            tried(checked("memory=[vae_tiling]", "height=128", "width=128"))
        assert len(trials) == number


def test_a_changed_file_is_tried_again(trials, tmp_path):
    shutil.copytree(EMBEDDED / "text2img", tmp_path / "sd")
    words = ["model=local", f"model.source={tmp_path / 'sd'}"]
    tried(checked(*words))
    tried(checked(*words))
    assert len(trials) == 1
    weights = next((tmp_path / "sd" / "vae").glob("*.safetensors"))
    tensors = load_file(weights)
    del tensors["decoder.conv_out.weight"]
    save_file(tensors, weights)
    with pytest.raises(ComposerError, match=r"decoder\.conv_out\.weight"):
        tried(checked(*words))
    assert len(trials) == 2


def test_without_a_cache_all_is_tried(trials, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "file"))
    assert tried(checked()) == tried(checked()) and len(trials) == 2


def test_options_by_free_memory_are_tried_each_time(trials):
    tried(checked("memory=[auto]"))
    tried(checked("memory=[auto]"))
    assert len(trials) == 2
