"""`~` is a home folder wherever a path is typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from composer.checkpoints.sources import EMBEDDED
from composer.config import overrides
from composer.system.paths import expand_user

BASE = ("steps=2", "callbacks=[]")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("word", "multirun", "prepared"),
    [
        ("model.source=~/my models/x", False, "++model.source='~/my models/x'"),
        ("model.source=~", False, "++model.source='~'"),
        ("model.source=~/a,~/b", True, "++model.source='~/a','~/b'"),
        ("model.source='~/a'", False, "++model.source='~/a'"),
        ("model.components={vae:~/a,unet: ~/b}", False, "++model.components={vae:'~/a',unet: '~/b'}"),
        ("output.folder=~/x", False, "++output.folder='~/x'"),
        ("sweep.jobs=~/j.csv", True, "sweep.jobs='~/j.csv'"),
        ("image=[~/a.png,~/b.png]", False, "image=['~/a.png','~/b.png']"),
        ("seed=1", False, "seed=1"),
    ],
)
def test_paths_from_home_are_quoted(word, multirun, prepared):
    assert overrides.prepare([word], multirun) == [prepared]


def test_nobodys_home_stays_as_it_is(home):
    assert expand_user("~/x") == home / "x"
    assert expand_user("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


@pytest.mark.parametrize("key", ["model.source", "model.components.vae", "image", "mask", "sweep.jobs", "prompt"])
def test_a_path_that_is_not_there_is_named(compose, home, key):
    words = {
        "image": ["task=img2img", "image=~/x"],
        "mask": ["task=inpaint", "mask=~/x"],
        "sweep.jobs": ["-m", "sweep.jobs=~/x"],
        "prompt": ["prompt=@~/x"],
    }.get(key, ["model=local", f"{key}=~/x"])
    done = compose("check", *words)
    assert done.code == 2 and "put quotes around" not in done.err and done.err.count("\n") == 1, done.err


def test_files_and_models_are_found_at_home(compose, home):
    shutil.copytree(EMBEDDED / "text2img", home / "model")
    Image.new("RGB", (32, 32)).save(home / "a.png")
    (home / "p.txt").write_text("a red cone")
    done = compose(
        "task=img2img", "model.source=~/model", "image=~/a.png", "prompt=@~/p.txt", "output.folder=~/out", *BASE
    )
    assert done.code == 0, done.err
    assert json.loads((home / "out/run.json").read_text("utf-8"))["images"][0]["prompt"] == "a red cone"
    assert compose("info", "~/out").code == 0


def test_a_sweep_writes_at_home(compose, home):
    done = compose("-m", "seed=1,2", "output.folder=~/sweep", *BASE)
    assert done.code == 0 and (home / "sweep/index.html").exists(), done.err
    assert not Path("~").exists() and "2" in compose("status", "~/sweep").out
