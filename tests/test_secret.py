"""A token of the environment is used and never told: not in a file, not in a record, not in a line of any command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CANARY = "hf_canaryCANARYcanary0123456789"


@pytest.fixture
def alone(tmp_path):
    """Run `compose WORDS…` in a process of its own, with secrets in its environment; everything it said."""

    def run(*words: str) -> tuple[int, str]:
        env = os.environ | {"HF_TOKEN": CANARY, "SOME_API_KEY": f"key-{CANARY}"}
        done = subprocess.run([sys.executable, "-m", "composer", *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def leaks(folder: Path) -> list[Path]:
    """Files and folders with the canary in their names or bytes."""
    found = [each for each in folder.rglob("*") if "canary" in each.name.lower()]
    return found + [file for file in folder.rglob("*") if file.is_file() and b"canaryCANARY" in file.read_bytes()]


def test_nothing_that_is_drawn_holds_it(alone, tmp_path):
    for words in (
        ("steps=1", "callbacks=[trace,preview]", "-v", "output.folder=one"),
        ("-m", "steps=1", "seed=0,1", "callbacks=[]", "-v"),
        ("rerun", "one/000.png", "-v"),
        ("doctor",),
        ("model=sd15", "-v"),
    ):
        code, said = alone(*words)
        assert code == (2 if "model=sd15" in words else 0), said
        assert "canary" not in said.lower(), words
    assert len(list(tmp_path.rglob("*.png"))) >= 4 and leaks(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        ("prompt=${oc.env:HF_TOKEN}", "scheduler.x=${oc.env:HF_TOKEN}"),
        ("model.revision=${oc.env:HF_TOKEN}",),
        ("model.variant=${oc.env:SOME_API_KEY}",),
        ("output.folder=${oc.env:HF_TOKEN}",),
        ("hydra.run.dir=x/${oc.env:HF_TOKEN}",),
        (f"+token={CANARY}",),
        ("-m", "seed=1,2", "model.revision=${oc.env:HF_TOKEN}"),
    ],
    ids=" ".join,
)
def test_no_setting_takes_it(alone, tmp_path, words):
    code, said = alone(*words, "steps=1", "callbacks=[]")
    lines = [line for line in said.splitlines() if line.startswith("compose: ")]
    assert code == 2 and lines and leaks(tmp_path) == [], said
    assert "canary" not in said.lower(), said
    assert not list(tmp_path.rglob("*.png"))


def test_a_prompt_is_text_and_no_question(alone, tmp_path):
    code, said = alone("prompt=${oc.env:HF_TOKEN}", "steps=1", "callbacks=[]", "output.folder=out")
    assert code == 0 and leaks(tmp_path) == [] and "canary" not in said.lower()
    assert "${oc.env:HF_TOKEN}" in (tmp_path / "out" / "run.json").read_text()
